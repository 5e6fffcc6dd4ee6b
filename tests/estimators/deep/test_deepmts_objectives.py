"""DeepMTS towards other objectives than the Cox loss: intervals of time, and labels."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression

import survimg
from survimg.datasets import make_phantom_cohort
from survimg.estimators import DeepMTS, DeepMTSClassifier, deep_features_pipeline
from survimg.training import MTLR, Classification, Cox, DeepHit, DiscreteTime

QUICK = {
    "n_iterations": 2, "batch_size": 4, "batch_norm_batches": 1, "n_threads": 1, "random_state": 0,
    "precision": "float32",
}  # fmt: skip


@pytest.fixture(scope="module")
def cohort():
    return make_phantom_cohort(n=12, shape=(16, 16, 16), random_state=0).cohort


@pytest.mark.parametrize("objective", [MTLR(), DeepHit(alpha=0.5), DiscreteTime()], ids=str)
def test_heads_of_intervals_give_curves_risks_and_masks(cohort, objective, tmp_path):
    model = DeepMTS(**QUICK, objective=objective).fit(cohort, cohort.outcome)
    n = len(model.time_cuts_)
    assert model.net_.module_.fc_risk.out_features == n
    curves = model.predict_survival_function(cohort, return_array=True)
    assert curves.shape == (12, n + 1)
    assert (curves[:, 0] == 1).all()
    assert (np.diff(curves) <= 0).all()
    risk, masks = model.predict_risk_and_mask(cohort)
    functions = model.predict_survival_function(cohort)
    np.testing.assert_allclose(risk, [1 - f(model.risk_horizon_) for f in functions], atol=1e-6)
    np.testing.assert_array_equal(masks, model.predict_mask(cohort))
    terms = set(model.history_) & {"likelihood", "weighted_likelihood", "weighted_ranking"}
    weighted = {"weighted_likelihood", "weighted_ranking"}
    assert terms == (weighted if isinstance(objective, DeepHit) else {"likelihood"})
    total = model.history_[[*terms, "dice", "l2"]].sum(axis=1)
    np.testing.assert_allclose(model.history_["loss"], total, rtol=1e-5)
    survimg.save(model, tmp_path / "model")
    np.testing.assert_array_equal(survimg.load(tmp_path / "model").predict(cohort), risk)


def test_the_cox_objective_is_the_default_to_the_bit(cohort):
    default = DeepMTS(**QUICK, l2=0.03).fit(cohort, cohort.outcome).predict(cohort)
    for objective in (Cox(), Cox(l2=0.03)):
        model = DeepMTS(**QUICK, l2=0.03, objective=objective).fit(cohort, cohort.outcome)
        np.testing.assert_array_equal(model.predict(cohort), default)
    other = DeepMTS(**QUICK, l2=0.03, objective=Cox(l2=1.0)).fit(cohort, cohort.outcome)
    assert not np.array_equal(other.predict(cohort), default)


@pytest.mark.parametrize("variant", ["deepmts", "mt-hs", "sur-hs"])
def test_the_classifier_predicts_labels_and_masks(cohort, variant, tmp_path):
    labels = np.where(cohort.outcome["event"], "yes", "no")
    model = DeepMTSClassifier(**QUICK, variant=variant).fit(cohort, labels)
    proba = model.predict_proba(cohort)
    assert model.classes_.tolist() == ["no", "yes"]
    assert hasattr(model, "predict_mask") == (variant != "sur-hs")
    expected = {"cross_entropy", "l2"} | ({"dice"} if variant != "sur-hs" else set())
    assert expected <= set(model.history_)
    assert model.transform(cohort).shape == (12, len(model.get_feature_names_out()))
    survimg.save(model, tmp_path / "model")
    np.testing.assert_array_equal(survimg.load(tmp_path / "model").predict_proba(cohort), proba)


def test_more_than_two_labels_get_an_output_each(cohort):
    labels = np.arange(12) % 3
    model = DeepMTSClassifier(**{**QUICK, "batch_size": 6}).fit(cohort, labels)
    assert model.predict_proba(cohort).shape == (12, 3)


def test_the_penalty_of_the_objective_comes_first(cohort):
    labels = cohort.outcome["event"]
    base = DeepMTSClassifier(**QUICK, l2=0.03)
    penalty = [
        clone(base).set_params(objective=objective).fit(cohort, labels).history_["l2"].iloc[0]
        for objective in (None, Classification(l2=0.06))
    ]
    assert penalty[1] == pytest.approx(2 * penalty[0], rel=1e-3)


def test_deep_features_of_a_classifier_are_out_of_fold(cohort):
    labels = cohort.outcome["event"]
    pipeline = deep_features_pipeline(
        LogisticRegression(C=1e-3, max_iter=5000),
        estimator=DeepMTSClassifier(**QUICK), cv=2, clinical_columns=[],
    ).fit(cohort, labels)
    assert pipeline.predict_proba(cohort).shape == (12, 2)
    maker = clone(pipeline.named_steps["features"].transformer_list[0][1].named_steps["extract"])
    in_sample = maker.fit(cohort, labels).transform(cohort)
    assert not np.allclose(maker.fit_transform(cohort, labels), in_sample)
    with pytest.raises(ValueError, match="gives labels, not risks"):
        maker.set_params(method="predict").fit(cohort, labels)
