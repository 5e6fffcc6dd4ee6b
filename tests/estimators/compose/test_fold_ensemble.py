"""FoldEnsemble: z-scored risks of the fold models, their average, its curves, its masks."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError
from sksurv.linear_model import CoxPHSurvivalAnalysis

from survimg.datasets import make_phantom_cohort
from survimg.estimators import DeepMTS, FoldEnsemble
from survimg.model_selection import EventStratifiedKFold
from survimg.target import make_outcome
from survimg.testing import survival_checks


def table(n: int = 60) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 3))
    return X, make_outcome(rng.random(n) < 0.7, rng.exponential(np.exp(-X[:, 0])) + 0.1)


@pytest.fixture(scope="module")
def fitted() -> FoldEnsemble:
    return FoldEnsemble(CoxPHSurvivalAnalysis(), cv=3).fit(*table())


@pytest.mark.parametrize("check", survival_checks(), ids=lambda check: check.__name__[7:])
def test_the_shipped_checks_pass(check):
    check(FoldEnsemble(CoxPHSurvivalAnalysis(), cv=3, random_state=0), *table())


def test_risk_is_the_mean_z_score_over_models_of_the_folds(fitted):
    X, y = table()
    new = np.random.default_rng(1).normal(size=(7, 3))
    expected = []
    for train, _ in EventStratifiedKFold(3).split(X, y):
        model = CoxPHSurvivalAnalysis().fit(X[train], y[train])
        known = model.predict(X[train])
        expected.append((model.predict(new) - known.mean()) / known.std())
    np.testing.assert_allclose(fitted.predict(new), np.mean(expected, axis=0), rtol=1e-10)


def test_the_cohort_as_reference_is_transductive():
    X, y = table()
    new = np.random.default_rng(1).normal(size=(7, 3))
    model = FoldEnsemble(CoxPHSurvivalAnalysis(), cv=3, reference="cohort").fit(X, y)
    expected = [member.predict(new) for member in model.members_]
    expected = np.mean([(risk - risk.mean()) / risk.std() for risk in expected], axis=0)
    np.testing.assert_allclose(model.predict(new), expected)
    assert model.predict(new).mean() == pytest.approx(0)
    assert not np.allclose(model.predict(new[:4]), expected[:4])
    with pytest.raises(ValueError, match=r"patients to predict \(n = 1\)"):
        model.predict(new[:1])


def test_folds_and_their_order_change_the_ensemble(fitted):
    X, y = table()
    for changes in ({"cv": 4}, {"random_state": 1}, {"cv": EventStratifiedKFold(2)}):
        arguments = {"cv": 3, **changes}
        other = FoldEnsemble(CoxPHSurvivalAnalysis(), **arguments).fit(X, y)
        assert not np.allclose(other.predict(X), fitted.predict(X))
    other = FoldEnsemble(CoxPHSurvivalAnalysis(alpha=100.0), cv=3).fit(X, y)
    assert not np.allclose(other.predict(X), fitted.predict(X))


def test_an_uninformative_ensemble_predicts_one_curve_for_all():
    class Inverted(BaseEstimator):
        def fit(self, X, y):
            self.fitted_ = True
            return self

        def predict(self, X):
            return -X[:, 0].astype(np.float64)

    X, y = table()
    model = FoldEnsemble(Inverted(), cv=3).fit(X, y)
    assert model.slope_ == 0
    survival = model.predict_survival_function(X, return_array=True)
    assert (np.ptp(survival, axis=0) == 0).all()


def test_equal_risks_have_no_z_score():
    class Constant(BaseEstimator):
        def fit(self, X, y):
            return self

        def predict(self, X):
            return np.ones(len(X))

    with pytest.raises(ValueError, match="training patients of fold 1"):
        FoldEnsemble(Constant(), cv=3).fit(*table())


def test_masks_of_networks_are_averaged():
    X = make_phantom_cohort(n=8, shape=(16, 16, 16), random_state=0).cohort
    network = DeepMTS(
        n_iterations=1, batch_size=4, batch_norm_batches=1, n_threads=1, random_state=0,
        precision="float32"
    )
    model = FoldEnsemble(network, cv=2)
    with pytest.raises(NotFittedError):
        model.predict_mask(X)
    model.fit(X, X.outcome)
    maps = [member.predict_mask_proba(X[:2]) for member in model.members_]
    found = model.predict_mask_proba(X[:2])
    np.testing.assert_allclose(found, np.mean(maps, axis=0), rtol=1e-6)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(model.predict_mask(X[:2], threshold=0.4), found > 0.4)
    arrays = FoldEnsemble(network, cv=2)
    masks = np.stack([X.mask(i) for i in range(len(X))])
    arrays.fit(X.to_numpy(), X.outcome, masks=masks, clinical=X.clinical)
    new = {"X": X[:2].to_numpy(), "clinical": X[:2].clinical}
    np.testing.assert_array_equal(arrays.predict_mask_proba(**new), found)
    np.testing.assert_array_equal(arrays.predict_mask(**new, threshold=0.4), found > 0.4)


def test_there_are_no_masks_without_networks(fitted):
    assert not hasattr(fitted, "predict_mask")
    assert not hasattr(fitted, "predict_mask_proba")
