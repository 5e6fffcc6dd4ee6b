"""Repeats, searches, segmenters: what the records hold and how they are scored."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from contestants import Segmenter, StageCox, make_cohort
from sklearn.base import BaseEstimator
from sklearn.model_selection import GridSearchCV

from survimg.benchmark import prediction_table, read_run, run_benchmark, score_run, write_tables
from survimg.benchmark.identity import describe
from survimg.benchmark.predictions import predictions_as_parquet
from survimg.benchmark.risk_groups import risk_groups
from survimg.benchmark.within_fold import within_fold_concordance
from survimg.evaluation import SurvivalScorer
from survimg.model_selection import k_fold_protocol, nested_protocol, repeated_protocol

PAPER = {"cox": {"c_index": 0.72, "dice": None, "source": "Somebody 2020"}}


class MasksOnly(BaseEstimator):
    """Segments and knows no risk."""

    def fit(self, X, y):
        return self

    def predict_mask(self, X):
        return np.stack([X.volume(i)[0] > 2 for i in range(len(X))])


def simulated(n, seed=0):
    rng = np.random.default_rng(seed)
    risk = rng.normal(size=n)
    time, end = rng.exponential(np.exp(-risk)), rng.exponential(1.5, n)
    return time <= end, np.minimum(time, end), risk + rng.normal(size=n), rng


@pytest.fixture(scope="module")
def repeated(tmp_path_factory, cohort):
    protocol = repeated_protocol(cohort, cohort.outcome, n_folds=3, n_repeats=2, random_state=0)
    return run_benchmark(
        {"cox": StageCox(), "segmenter": Segmenter(), "masks": MasksOnly()}, cohort,
        cohort.outcome, out=tmp_path_factory.mktemp("repeated"), reference="cox",
        published=PAPER, suite="own", settings={"endpoint": "death"}, **protocol.arguments(),
    )


def test_repeating_the_same_folds_does_not_make_patients_more_numerous():
    event, time, risk, rng = simulated(60)
    units = [(fold, risk[fold]) for fold in np.array_split(rng.permutation(60), 4)]
    once, thrice = (within_fold_concordance(event, time, units * k) for k in (1, 3))
    assert thrice.value == pytest.approx(once.value)
    assert thrice.standard_error == pytest.approx(once.standard_error)


def test_the_standard_error_over_repeats_is_that_of_weighting_patients():
    """Against the derivative by each patient's weight, taken numerically over all repeats."""
    event, time, risk, rng = simulated(40)
    units = [
        (fold, risk[fold] + 0.5 * rng.normal(size=fold.size))
        for _ in range(3) for fold in np.array_split(rng.permutation(40), 4)
    ]

    def weighted(weight):
        score = pairs = 0.0
        for fold, r in units:
            for a in np.flatnonzero(event[fold]):
                later = time[fold] > time[fold][a]
                w = weight[fold][a] * weight[fold][later]
                score += np.sum(w * ((r[a] > r[later]) + 0.5 * (r[a] == r[later])))
                pairs += np.sum(w)
        return score / pairs

    pooled = within_fold_concordance(event, time, units)
    assert pooled.value == pytest.approx(weighted(np.ones(40)))
    step = 1e-5
    slopes = [
        (weighted(1 + step * (np.arange(40) == i)) - weighted(1 - step * (np.arange(40) == i)))
        / (2 * step) for i in range(40)
    ]
    np.testing.assert_allclose(pooled.influence, slopes, atol=1e-8)


def test_images_of_one_patient_count_as_one():
    event, time, risk, _ = simulated(30)
    twice = [np.tile(values, 2) for values in (event, time, risk)]
    single = within_fold_concordance(event, time, [(np.arange(30), risk)])
    both = [(np.arange(30), risk), (np.arange(30, 60), risk)]
    doubled = within_fold_concordance(*twice[:2], both)
    clustered = within_fold_concordance(*twice[:2], both, clusters=np.tile(np.arange(30), 2))
    assert clustered.standard_error == pytest.approx(single.standard_error)
    assert doubled.standard_error == pytest.approx(single.standard_error / np.sqrt(2))


def test_a_repeated_run_scores_each_patient_once_per_repeat(repeated):
    assert repeated.repeats == [[0, 1, 2], [3, 4, 5]]
    table = prediction_table(repeated)
    counts = table.groupby(["model", "repeat", "patient_id"]).size()
    assert (counts == 1).all()
    assert len(counts) == 2 * 2 * 36
    scores = {score.model: score for score in score_run(repeated)}
    assert scores["segmenter"].dice.size == 36
    assert len(scores["cox"].fold_c) == 6
    groups = risk_groups(repeated, "cox")
    assert sorted(groups.position.tolist()) == list(range(36))


def test_predictions_on_disk_are_those_of_the_records(repeated):
    write_tables(repeated)
    stored = pd.read_parquet(repeated.folder / "predictions.parquet")
    pd.testing.assert_frame_equal(stored, prediction_table(repeated))
    record = repeated.records["cox", 4, 0]
    rows = stored[(stored.model == "cox") & (stored.fold == 5)]
    assert rows.patient_id.tolist() == record.arrays["test_ids"].tolist()
    np.testing.assert_array_equal(rows.risk, record.arrays["test_risk"])
    assert set(rows["repeat"]) == {2}


def test_names_on_disk_are_those_of_the_patients_whatever_they_hold(repeated):
    ids = repeated.ids.astype(object)
    ids[repeated.folds[0][1][:6]] = "", "NA", "1e5", 'a, "b"', "two\nlines", "carriage\rreturn"
    names = dict(zip(repeated.ids.tolist(), ids.tolist(), strict=True))
    record = repeated.records["cox", 0, 0]
    tested = np.array([names[name] for name in record.arrays["test_ids"].tolist()])
    record = replace(record, arrays={**record.arrays, "test_ids": tested})
    run = replace(repeated, ids=ids.astype(str), records={("cox", 0, 0): record})
    stored = pd.read_parquet(io.BytesIO(predictions_as_parquet(run)))
    pd.testing.assert_frame_equal(stored, prediction_table(run))


def test_a_model_that_only_segments_is_judged_by_its_masks(repeated):
    score = next(score for score in score_run(repeated) if score.model == "masks")
    assert (score.c_mean, score.within_folds, score.comparison) == (None, None, None)
    assert score.dice.size == 36
    assert score.verdict == "segments only: no risk to score"
    assert not repeated.records["masks", 0, 0].has_risk
    with pytest.raises(ValueError, match="0 of 3 folds have predicted risks"):
        risk_groups(repeated, "masks")


def test_a_run_tells_its_protocol_suite_and_published_numbers(repeated):
    run = read_run(repeated.folder)
    assert run.protocol == {
        "name": "repeated", "n_folds": 3, "n_repeats": 2, "random_state": 0
    }
    assert (run.suite, run.published) == ("own", PAPER)
    details = run.records["cox", 0, 0].details
    assert details["settings"] == {"endpoint": "death"}
    assert {"versions", "hardware", "git"} == set(details["environment"])
    assert details["gpu_memory_bytes"] is None
    assert len(details["data_fingerprint"]) == 64


@pytest.mark.parametrize(
    ("published", "message"),
    [({"cox": {"c_index": 0.7}}, "does not say its source"),
     ({"cox": {"c_index": 72.0, "source": "x"}}, "not within 0 to 1")],
)
def test_published_numbers_without_a_source_or_out_of_range(
    tmp_path, cohort, splits, published, message
):
    with pytest.raises(ValueError, match=message):
        run_benchmark({"cox": StageCox()}, cohort, cohort.outcome, splits=splits,
                      out=tmp_path / "x", published=published)


def test_a_search_is_judged_by_its_best_estimator_and_its_choice_is_kept(tmp_path, cohort):
    protocol = nested_protocol(cohort, cohort.outcome, n_folds=2, inner_folds=2, random_state=0)
    search = GridSearchCV(
        StageCox(), {"alpha": [0.01, 100.0]}, cv=protocol.inner_cv,
        scoring=SurvivalScorer("concordance"), error_score="raise",
    )
    arguments = {"out": tmp_path, **protocol.arguments()}
    run = run_benchmark({"cox": search}, cohort, cohort.outcome, **arguments)
    for fold, (train, test) in enumerate(protocol.splits):
        record = run.records["cox", fold, 0]
        model = StageCox(**record.details["chosen"]).fit(cohort[train], cohort.outcome[train])
        np.testing.assert_array_equal(record.arrays["test_risk"], model.predict(cohort[test]))
        assert record.arrays["survival"].shape[0] == test.size
    stored = json.loads((tmp_path / "splits.json").read_text())["folds"]
    for fold, inner in zip(stored, protocol.inner_splits, strict=True):
        assert [part["test"] for part in fold["inner"]] == [
            cohort.ids[held_out].tolist() for _, held_out in inner
        ]
        assert not set(fold["test"]) & {name for part in fold["inner"] for name in part["train"]}
    other = nested_protocol(cohort, cohort.outcome, n_folds=2, inner_folds=3, random_state=0)
    with pytest.raises(ValueError, match="of a run share its splits"):
        run_benchmark({"cox": search}, cohort, cohort.outcome, out=tmp_path, **other.arguments())


def test_inner_folds_may_not_reach_into_the_test_part(tmp_path, cohort):
    protocol = k_fold_protocol(cohort, cohort.outcome, n_folds=2)
    inner = [[(test[:5], test[5:])] for _, test in protocol.splits]
    with pytest.raises(ValueError, match="Fold 0: its inner folds hold position"):
        run_benchmark({"cox": StageCox()}, cohort, cohort.outcome, splits=protocol.splits,
                      inner_splits=inner, out=tmp_path / "x")


def test_weights_are_known_by_the_content_of_their_file(tmp_path):
    class Pretrained(StageCox):
        def __init__(self, initial_weights=None):
            self.initial_weights = initial_weights

    file = tmp_path / "weights.pt"
    file.write_bytes(b"one")
    before = describe(Pretrained(str(file)))
    file.write_bytes(b"two")
    assert describe(Pretrained(str(file))) != before


def test_images_are_read_once_for_all_calls(tmp_path, splits, monkeypatch):
    cohort = make_cohort(n=36)[0]
    models = {"cox": StageCox()}
    run_benchmark(models, cohort, cohort.outcome, splits=splits, out=tmp_path)

    def again(*arguments):
        raise AssertionError("the images were read again")

    monkeypatch.setattr("survimg.benchmark.runner.image_content", again)
    run_benchmark(models, cohort, cohort.outcome, splits=splits, out=tmp_path)
