"""Classifiers: the AUC takes the concordance's place, and thresholds come from other folds."""

from __future__ import annotations

import json

import numpy as np
import pytest
from contestants import StageCox, clinical_table
from scipy.stats import binomtest
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.metrics import recall_score, roc_auc_score, roc_curve
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from survimg.benchmark import read_run, run_benchmark
from survimg.benchmark.classification import classification_scores
from survimg.evaluation import compare_status_auc, status_auc
from survimg.report import render


def logistic(**parameters):
    return make_pipeline(FunctionTransformer(clinical_table), LogisticRegression(**parameters))


class Wavering(LogisticRegression):
    """A classifier of the clinical column and of noise that depends on the seed."""

    def __init__(self, random_state=None):
        super().__init__(random_state=random_state)

    def _columns(self, X):
        noise = np.random.default_rng(self.random_state).normal(size=len(X))
        return np.column_stack([X.clinical.to_numpy(), noise])

    def fit(self, X, y):
        return super().fit(self._columns(X), y)

    def predict_proba(self, X):
        return super().predict_proba(self._columns(X))


@pytest.fixture
def labels(cohort):
    rng = np.random.default_rng(5)
    stage = cohort.clinical["stage"].to_numpy()
    return rng.uniform(size=len(cohort)) < 1 / (1 + np.exp(-(stage - 2.5)))


def run(out, cohort, labels, splits, models=None, **options):
    models = {"logistic": logistic(), "wavering": Wavering()} if models is None else models
    return run_benchmark(models, cohort, labels, splits=splits, out=out, **options)


def test_records_hold_probabilities_and_folds_their_auc(tmp_path, cohort, labels, splits):
    finished = run(tmp_path, cohort, labels, splits, label="metastasis")
    assert (finished.label, finished.index) == ("metastasis", "AUC")
    assert finished.outcome["event"].tolist() == labels.tolist()
    (tmp_path / "again").mkdir()
    for fold, (train, test) in enumerate(splits):
        model = logistic().fit(cohort[train], labels[train])
        probability = model.predict_proba(cohort[test])[:, 1]
        record = finished.records["logistic", fold, 0]
        np.testing.assert_array_equal(record.arrays["test_risk"], probability)
        np.testing.assert_array_equal(record.arrays["survival"][:, 0], 1 - probability)
    table = finished.leaderboard()
    expected = [
        roc_auc_score(labels[test], finished.records["logistic", fold, 0].arrays["test_risk"])
        for fold, (_, test) in enumerate(splits)
    ]
    assert table.loc["logistic", "auc_mean"] == pytest.approx(np.mean(expected))
    assert "c_mean" not in table
    assert "AUC, mean" in str(finished)


def test_0_and_1_are_labels_too_and_a_second_run_computes_nothing(
    tmp_path, cohort, labels, splits
):
    first = run(tmp_path, cohort, labels, splits)
    second = run(tmp_path, cohort, labels.astype(int), splits)
    started = [[r.details["started"] for r in each.records.values()] for each in (first, second)]
    assert started[0] == started[1]
    assert first.label == "label"


def pooled(finished, name, seed=0):
    n = len(finished.ids)
    probability, fold_of = np.full(n, np.nan), np.zeros(n, dtype=int)
    for fold, (_, test) in enumerate(finished.folds):
        probability[test] = finished.records[name, fold, seed].arrays["test_risk"]
        fold_of[test] = fold
    return probability, fold_of


def test_scores_are_those_of_all_folds_at_thresholds_of_the_other_folds(
    tmp_path, cohort, labels, splits
):
    finished = run(tmp_path, cohort, labels, splits, seeds=(0, 1), reference="logistic")
    reference, score = classification_scores(finished)
    y = finished.outcome
    parts, correct = [], []
    for seed in (0, 1):
        probability, fold_of = pooled(finished, "wavering", seed)
        parts.append(status_auc(y, probability))
        for fold in range(len(splits)):
            others, mine = fold_of != fold, fold_of == fold
            fpr, tpr, cuts = roc_curve(labels[others], probability[others])
            best = cuts[np.argmax(tpr - fpr)]  # the lowest probability that is called positive
            below = probability[others][probability[others] < best]
            positive = probability[mine] > (best + below.max()) / 2
            correct.append((labels[mine], positive))
    assert score.auc.value == pytest.approx(np.mean([part.value for part in parts]))
    assert score.auc.standard_error == pytest.approx(np.mean([p.standard_error for p in parts]))
    truth, called = (np.concatenate(part) for part in zip(*correct, strict=True))
    assert score.sensitivity.value == pytest.approx(recall_score(truth, called))
    assert score.specificity.value == pytest.approx(recall_score(~truth, ~called))
    assert score.accuracy.value == pytest.approx((truth == called).mean())
    assert reference.comparison is None
    risks = [[pooled(finished, name, seed)[0] for name in finished.models] for seed in (0, 1)]
    tests = [compare_status_auc(y, wavering, logistic) for logistic, wavering in risks]
    assert score.comparison.difference == pytest.approx(np.mean([t.difference for t in tests]))


def test_proportions_have_wilsons_interval(tmp_path, cohort, labels, splits):
    (score,) = classification_scores(run(tmp_path, cohort, labels, splits, {"a": logistic()}))
    hits = round(score.sensitivity.value * labels.sum())
    expected = binomtest(hits, int(labels.sum())).proportion_ci(method="wilson")
    limits = (score.sensitivity.lower, score.sensitivity.upper)
    assert limits == pytest.approx(tuple(expected), abs=1e-6)


def test_what_is_undefined_says_why(tmp_path, cohort, labels, splits):
    ridge = make_pipeline(FunctionTransformer(clinical_table), RidgeClassifier())
    models = {"ridge": ridge, "logistic": logistic()}
    finished = run(tmp_path / "folds", cohort, labels, splits, models)
    assert np.isfinite(finished.leaderboard().loc["ridge", "auc_mean"])
    scores = {score.model: score for score in classification_scores(finished)}
    assert scores["ridge"].auc is None
    assert "gives no probabilities" in scores["ridge"].reasons[0]
    alone = run(tmp_path / "one", cohort, labels, splits[:1], {"logistic": logistic()})
    (score,) = classification_scores(alone)
    assert score.auc is not None
    assert score.accuracy is None
    assert "With 5 events there is no interval" in score.reasons[0]
    assert "there is one fold" in score.reasons[1]


def test_the_report_is_about_labels(tmp_path, cohort, labels, splits):
    run(tmp_path, cohort, labels, splits, label="metastasis", reference="logistic")
    page = render(tmp_path).read_text("utf-8")
    assert "Comparison of 2 classifiers" in page
    assert "Classification of metastasis" in page
    assert "Probability of metastasis" in page
    assert "ROC curves" in page
    for absent in ("Harrell", "follow-up", "Risk groups", "C-index"):
        assert absent not in page
    assert (tmp_path / "tables" / "classification.md").is_file()
    assert json.loads((tmp_path / "run.json").read_text())["label"] == "metastasis"
    assert read_run(tmp_path).label == "metastasis"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (lambda n: np.zeros(n, dtype=bool), "All 36 patients have the label False"),
        (np.arange, "True and False, or 1 and 0"),
        (lambda n: np.arange(n - 1) % 2, "36 patients and y 35 labels"),
    ],
    ids=["one class", "many values", "too few"],
)
def test_labels_that_are_none_are_refused(tmp_path, cohort, splits, values, message):
    with pytest.raises(ValueError, match=message):
        run(tmp_path, cohort, values(len(cohort)), splits)
    assert not (tmp_path / "run.json").exists()


def test_a_model_of_times_is_refused_for_labels_and_labels_for_times(
    tmp_path, cohort, labels, splits
):
    with pytest.raises(ValueError, match="'cox' .StageCox. is no classifier"):
        run(tmp_path, cohort, labels, splits, {"cox": StageCox()})
    with pytest.raises(ValueError, match="events and times, not labels"):
        run(tmp_path, cohort, cohort.outcome, splits, {"cox": StageCox()}, label="metastasis")


def test_a_scaled_classifier_of_other_parameters_has_other_records(
    tmp_path, cohort, labels, splits
):
    run(tmp_path, cohort, labels, splits, {"a": logistic()})
    scaled = make_pipeline(
        FunctionTransformer(clinical_table), StandardScaler(), LogisticRegression(C=0.01)
    )
    run(tmp_path, cohort, labels, splits, {"a": scaled})
    assert len(list((tmp_path / "records" / "a").glob("*.json"))) == 2 * len(splits)
