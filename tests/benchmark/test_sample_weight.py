"""Weights of patients: which models take them, and that the AUC counts them."""

from __future__ import annotations

import numpy as np
import pytest
from contestants import stage_classifier, stage_neighbours
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import accuracy_score, roc_auc_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline

from survimg.benchmark import run_benchmark
from survimg.benchmark.classification import classification_scores
from survimg.benchmark.sample_weight import weight_name
from survimg.report import render


@pytest.mark.parametrize(
    ("model", "name"),
    [
        (RandomForestClassifier(), "sample_weight"),
        (stage_classifier(), "logisticregression__sample_weight"),
        (Pipeline([("outer", stage_classifier())]), "outer__logisticregression__sample_weight"),
        (GridSearchCV(stage_classifier(), {}), "logisticregression__sample_weight"),
        (stage_neighbours(), None),
    ],
)
def test_the_name_of_weights_leads_to_the_last_step(model, name):
    assert weight_name(model) == name


def test_a_run_is_weighted_throughout(tmp_path, cohort, splits):
    rng = np.random.default_rng(3)
    stage = cohort.clinical["stage"].to_numpy()
    labels = rng.uniform(size=len(cohort)) < stage / 5
    weights = rng.uniform(1, 4, len(cohort))
    models = {"stage": stage_classifier(), "neighbours": stage_neighbours()}

    def run(**options):
        return run_benchmark(models, cohort, labels, splits=splits, out=tmp_path, **options)

    finished = run(sample_weight=weights, reference="neighbours")
    for fold, (train, test) in enumerate(splits):
        record = finished.records["stage", fold, 0]
        model = stage_classifier().fit(
            cohort[train], labels[train], logisticregression__sample_weight=weights[train]
        )
        probability = model.predict_proba(cohort[test])[:, 1]
        np.testing.assert_allclose(record.arrays["test_risk"], probability, rtol=1e-12)
        assert record.details["sample_weight"]
        assert not finished.records["neighbours", fold, 0].details["sample_weight"]
    expected = [
        roc_auc_score(
            labels[test], finished.records["stage", fold, 0].arrays["test_risk"],
            sample_weight=weights[test],
        )
        for fold, (_, test) in enumerate(splits)
    ]  # fmt: skip
    assert finished.leaderboard().loc["stage", "auc_mean"] == pytest.approx(np.mean(expected))
    score, _ = classification_scores(finished)
    tested = np.concatenate([test for _, test in splits])
    probability = np.concatenate(
        [finished.records["stage", fold, 0].arrays["test_risk"] for fold in range(len(splits))]
    )
    pooled = roc_auc_score(labels[tested], probability, sample_weight=weights[tested])
    assert score.auc.value == pytest.approx(pooled)
    constant = accuracy_score(labels, np.ones(len(labels)), sample_weight=weights)
    assert score.accuracy.value != pytest.approx(constant)
    assert "Trained without weights: neighbours." in render(tmp_path).read_text("utf-8")
    equal = run()
    assert equal.sample_weight is None
    assert (
        equal.records["stage", 0, 0].arrays["test_risk"]
        != finished.records["stage", 0, 0].arrays["test_risk"]
    ).any()


def test_weights_that_mean_nothing_are_refused(tmp_path, cohort, splits):
    labels = np.arange(len(cohort)) % 2 == 0
    models = {"stage": stage_classifier()}
    weights = np.ones(len(cohort))
    with pytest.raises(ValueError, match="y holds events and times"):
        run_benchmark(
            models, cohort, cohort.outcome, splits=splits, out=tmp_path, sample_weight=weights
        )
    weights[:2] = 0
    with pytest.raises(ValueError, match="is 0 for 2 patients"):
        run_benchmark(models, cohort, labels, splits=splits, out=tmp_path, sample_weight=weights)
