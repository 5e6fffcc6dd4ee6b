"""Scores: equal to a recomputation from the records, with intervals that mean what they say."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest
from contestants import Clairvoyant, Failing, Reversed, Segmenter, StageCox
from sksurv.metrics import concordance_index_censored

from survimg.benchmark import fold_table, run_benchmark, score_run, score_table, write_tables
from survimg.benchmark.follow_up import median_follow_up
from survimg.benchmark.risk_groups import risk_groups
from survimg.benchmark.scores import holm
from survimg.benchmark.within_fold import compare_within_folds, within_fold_concordance
from survimg.evaluation import compare_concordance, concordance_counts, concordance_index
from survimg.model_selection import EventStratifiedKFold
from survimg.report import render
from survimg.target import make_outcome


@pytest.fixture(scope="module")
def run(tmp_path_factory, patients, splits):
    cohort, log_hazard = patients
    models = {"segmenter": Segmenter(), "cox": StageCox(), "wrong": Reversed(), "bad": Failing()}
    return run_benchmark(
        models, cohort, cohort.outcome, splits=splits, out=tmp_path_factory.mktemp("run"),
        reference="cox", oracle_risk=log_hazard, seeds=(0, 1),
    )


def simulated(n, seed=0):
    rng = np.random.default_rng(seed)
    risk = rng.normal(size=n)
    time, end = rng.exponential(np.exp(-risk)), rng.exponential(1.5, n)
    return time <= end, np.minimum(time, end), risk + rng.normal(size=n)


def direct_sums(event, time, risk):
    """Concordant (half of tied) and comparable pairs, counted one by one."""
    concordant = comparable = 0.0
    for i in np.flatnonzero(event):
        for j in range(event.size):
            if time[j] > time[i] or (time[j] == time[i] and not event[j]):
                comparable += 1
                concordant += float(risk[i] > risk[j]) + 0.5 * float(risk[i] == risk[j])
    return concordant, comparable


def test_one_fold_is_the_ordinary_concordance_with_its_error():
    event, time, risk = simulated(60)
    pooled = within_fold_concordance(event, time, [(np.arange(60), risk)])
    estimate = concordance_index(
        make_outcome(event, time), risk, confidence_interval="analytic"
    )
    assert pooled.value == estimate.value
    assert pooled.standard_error == pytest.approx(estimate.standard_error, rel=1e-12)
    assert pooled.interval().lower == pytest.approx(estimate.lower, rel=1e-12)


def test_pairs_count_within_folds_only():
    event, time, risk = simulated(61)
    folds = [np.arange(0, 20), np.arange(20, 45), np.arange(45, 61)]
    units = [(fold, np.round(risk[fold], 1) + 100 * k) for k, fold in enumerate(folds)]
    sums = np.sum([direct_sums(event[f], time[f], r) for f, r in units], axis=0)
    assert within_fold_concordance(event, time, units).value == pytest.approx(sums[0] / sums[1])


def test_the_order_between_folds_does_not_matter():
    event, time, risk = simulated(50)
    first, second = np.arange(25), np.arange(25, 50)
    a = within_fold_concordance(event, time, [(first, risk[first]), (second, risk[second])])
    b = within_fold_concordance(event, time, [(first, risk[first] - 9), (second, 3 * risk[second])])
    assert a.value == b.value
    np.testing.assert_array_equal(a.influence, b.influence)


def test_the_standard_error_agrees_with_a_bootstrap_of_patients():
    event, time, risk = simulated(150, seed=1)
    folds = np.array_split(np.random.default_rng(0).permutation(150), 5)
    pooled = within_fold_concordance(event, time, [(fold, risk[fold]) for fold in folds])
    rng = np.random.default_rng(2)
    draws = []
    for _ in range(400):
        sums = np.zeros(2)
        for fold in folds:
            drawn = rng.choice(fold, fold.size)
            y = make_outcome(event[drawn], time[drawn])
            counts = concordance_counts(y, risk[drawn])
            sums += counts.concordant + counts.tied_risk / 2, counts.comparable
        draws.append(sums[0] / sums[1])
    assert np.std(draws) == pytest.approx(pooled.standard_error, rel=0.15)


def test_the_interval_covers_the_truth():
    """Coverage of the 95 % interval over simulated cohorts, five folds of one fixed risk."""
    event, time, risk = simulated(40000, seed=3)
    truth = concordance_index(make_outcome(event, time), risk)
    rng = np.random.default_rng(4)
    inside = 0
    for _ in range(200):
        drawn = rng.choice(40000, 60, replace=False)
        units = [(fold, risk[drawn][fold]) for fold in np.array_split(np.arange(60), 5)]
        interval = within_fold_concordance(event[drawn], time[drawn], units).interval()
        inside += interval.lower <= truth <= interval.upper
    assert 0.88 <= inside / 200 <= 0.99


def test_a_comparison_over_one_fold_is_the_ordinary_one():
    event, time, risk = simulated(60)
    other = risk + np.random.default_rng(5).normal(size=60)
    a, b = (within_fold_concordance(event, time, [(np.arange(60), r)]) for r in (risk, other))
    expected = compare_concordance(make_outcome(event, time), risk, other)
    result = compare_within_folds(a, b)
    assert result.difference == pytest.approx(expected.difference)
    assert result.p_value == pytest.approx(expected.p_value, rel=1e-9)
    assert compare_within_folds(a, a) is None


def test_fold_scores_equal_scikit_survival(run, cohort, splits):
    scores = {score.model: score for score in score_run(run)}
    event, time = cohort.outcome["event"], cohort.outcome["time"]
    for (fold, seed), value in scores["segmenter"].fold_c.items():
        test = splits[fold][1]
        risk = run.records["segmenter", fold, seed].arrays["test_risk"]
        assert value == concordance_index_censored(event[test], time[test], risk)[0]
    by_fold = [
        np.mean([scores["segmenter"].fold_c[fold, seed] for seed in (0, 1)]) for fold in range(3)
    ]
    assert scores["segmenter"].c_mean == pytest.approx(np.mean(by_fold))
    assert scores["segmenter"].c_sd == pytest.approx(np.std(by_fold, ddof=1))


def test_the_oracle_stands_last_and_is_scored_on_the_same_folds(run, patients, splits):
    oracle = score_run(run)[-1]
    assert oracle.model == "oracle"
    cohort, log_hazard = patients
    expected = [concordance_index(cohort.outcome[t], log_hazard[t]) for _, t in splits]
    assert list(oracle.fold_c.values()) == expected


def test_a_model_below_the_reference_is_called_so(run):
    verdict = {score.model: score.verdict for score in score_run(run)}
    assert verdict["cox"] == "reference"
    assert verdict["wrong"].startswith("BELOW cox")
    assert "chance" in verdict["wrong"]
    assert verdict["bad"].startswith("FAILED in 6 of 6 fits (RuntimeError")
    failed = next(score for score in score_run(run) if score.model == "bad")
    assert failed.c_mean is None
    assert failed.within_folds is None


@pytest.mark.parametrize(("sign", "words"), [(1, "rightly"), (-1, "WRONGLY")])
def test_a_perfect_order_has_no_interval_and_no_verdict_on_chance(
    tmp_path, cohort, splits, sign, words
):
    times = list(zip(cohort.ids.tolist(), cohort.outcome["time"].tolist(), strict=True))
    models = {"clairvoyant": Clairvoyant(times, sign)}
    run = run_benchmark(models, cohort, cohort.outcome, splits=splits, out=tmp_path)
    score = score_run(run)[0]
    assert np.isnan(score.within_folds.lower)
    assert score.verdict == f"no interval: every pair is ordered {words}"


def test_median_follow_up_is_that_of_the_censoring_distribution():
    y = make_outcome([1, 1, 1, 1, 0, 0, 0], [1.0, 2, 3, 4, 10, 20, 30])
    # Three patients are left when the first is censored: 2/3, then 1/3 at 20.
    assert median_follow_up(y) == 20
    assert np.median(y["time"]) == 4
    assert median_follow_up(make_outcome([1, 1, 1], [1.0, 2, 3])) is None


def test_tables_on_disk_are_the_tables_in_memory(run):
    write_tables(run)
    scores = pd.read_csv(run.folder / "scores.csv")
    expected = io.StringIO(score_table(score_run(run)).to_csv(index=False))
    pd.testing.assert_frame_equal(scores, pd.read_csv(expected), check_exact=True)
    assert {"c_mean", "c_sd", "c_lower95", "c_fold1_seed0", "c_fold3_seed1"} <= set(scores.columns)
    folds = pd.read_csv(run.folder / "folds.csv")
    assert len(folds) == 4 * 3 * 2
    assert (folds.loc[folds["model"] == "bad", "status"] == "failed").all()
    assert folds.loc[folds["model"] == "bad", "c_index"].isna().all()
    assert fold_table(run)["fit_seconds"].notna().sum() == 18


def test_holm_corrects_as_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_risk_groups_use_the_training_cut_off_of_their_fold(run, splits):
    groups = risk_groups(run, "segmenter")
    start = 0
    for fold, (_, test) in enumerate(splits):
        arrays = run.records["segmenter", fold, 0].arrays
        expected = arrays["test_risk"] > np.median(arrays["train_risk"])
        part = slice(start, start + test.size)
        np.testing.assert_array_equal(groups.high[part], expected)
        np.testing.assert_array_equal(groups.position[part], test)
        start += test.size
    assert 0 <= groups.p_value <= 1


def test_risk_groups_that_cannot_be_formed_say_why(run, tmp_path, cohort, splits):
    with pytest.raises(ValueError, match="0 of 3 folds"):
        risk_groups(run, "bad")
    twice = run_benchmark(
        {"cox": StageCox()}, cohort, cohort.outcome, splits=[*splits, splits[0]], out=tmp_path
    )
    with pytest.raises(ValueError, match="several folds"):
        risk_groups(twice, "cox")


def test_few_events_give_no_interval_no_test_and_the_page_says_so(tmp_path, cohort):
    event = cohort.outcome["event"]
    few = cohort[np.concatenate([np.flatnonzero(event)[-9:], np.flatnonzero(~event)[-7:]])]
    splits = list(EventStratifiedKFold(2, shuffle=True, random_state=1).split(few, few.outcome))
    models = {"cox": StageCox(), "wrong": Reversed()}
    run = run_benchmark(
        models, few, few.outcome, splits=splits, out=tmp_path, reference="cox", progress=False
    )
    for score in score_run(run):
        assert np.isnan(score.within_folds.lower)
        assert score.comparison is None
        assert score.p_adjusted is None
        assert "WORSE" not in score.verdict
        assert "significant" not in score.verdict
    assert "not compared with cox: fewer than 10 events" in score_run(run)[1].verdict
    assert risk_groups(run, "cox").p_value is None
    page = render(tmp_path).read_text(encoding="utf-8")
    assert "There is no test: there are fewer than 10 events." in page
    assert "Diamond: estimate, without an interval; dots" in page
    assert "No intervals and no tests: there are fewer than 10 events." in page
    for absent in ("Diamond and bar", "rejects too often", "infinitesimal jackknife", "Log-rank"):
        assert absent not in page
    assert "but there are fewer than 10 events, no interval" in page
