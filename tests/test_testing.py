"""The shipped checks pass for survimg's estimators and catch each fault they are meant for."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted
from sksurv.linear_model import CoxPHSurvivalAnalysis

from survimg.datasets import make_phantom_cohort
from survimg.estimators import (
    DLPM,
    MDSN,
    ClinicalVolumeCox,
    CNNSurvival,
    DeepMTS,
    LassoCox,
    SingleTaskSurvival,
)
from survimg.estimators.base import ProportionalHazardsMixin
from survimg.target import check_outcome, make_outcome
from survimg.testing import check_survival_estimator, survival_checks

QUICK: dict = {
    "n_iterations": 1, "batch_size": 4, "batch_norm_batches": 1, "n_threads": 1, "random_state": 0,
}  # fmt: skip


class LinearRisk(ProportionalHazardsMixin, BaseEstimator):
    """Risk is the first column; the smallest estimator that passes."""

    def fit(self, X, y):
        event, time = check_outcome(y, n_patients=len(X), require_event=True)
        self.n_fits_ = getattr(self, "n_fits_", 0) + 1
        self._fit_baseline(self._risk(X), event, time)
        return self

    def predict(self, X):
        check_is_fitted(self, "baseline_")
        return self._risk(X)

    def _risk(self, X):
        return np.array(X[:, 0], dtype=np.float64)


class ForgetsEvents(LinearRisk):
    def fit(self, X, y):
        event, time = y["event"], y["time"]
        self._fit_baseline(self._risk(X), event, time)
        return self


class KeepsState(LinearRisk):
    def _risk(self, X):
        return super()._risk(X) * getattr(self, "n_fits_", 0)


class Float32(LinearRisk):
    def predict(self, X):
        return super().predict(X).astype(np.float32)


class SharedArray(LinearRisk):
    def predict(self, X):
        if len(X) == len(getattr(self, "last_", [])):
            return self.last_
        self.last_ = super().predict(X)
        return self.last_


class DependsOnCompany(LinearRisk):
    def predict(self, X):
        return super().predict(X) - np.mean(X[:, 0])


class NeverChecks(LinearRisk):
    def predict(self, X):
        return self._risk(X)


class WrongSign(LinearRisk):
    def predict_survival_function(self, X, return_array=False):
        return super().predict_survival_function(-X, return_array)

    def predict_cumulative_hazard_function(self, X, return_array=False):
        return super().predict_cumulative_hazard_function(-X, return_array)


class RandomRisk(LinearRisk):
    def fit(self, X, y):
        self.noise_ = np.random.default_rng().normal(size=1000)
        return super().fit(X, y)

    def _risk(self, X):
        return super()._risk(X) * self.noise_[0]


def table(n: int = 30) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 3))
    return X, make_outcome(rng.random(n) < 0.7, rng.exponential(np.exp(-X[:, 0])) + 0.1)


@pytest.mark.parametrize("estimator", [LinearRisk(), CoxPHSurvivalAnalysis()])
def test_sound_estimators_pass_and_so_does_scikit_survival(estimator):
    check_survival_estimator(estimator, *table())


@pytest.mark.parametrize(
    ("estimator", "message"),
    [
        (ForgetsEvents(), "all_censored_is_refused"),
        (KeepsState(), "fitting_again_starts_anew"),
        (Float32(), "predict returns float32"),
        (SharedArray(), "array that it keeps"),
        (DependsOnCompany(), "predictions of a subset differ"),
        (WrongSign(), "higher risk comes with a higher S"),
        (RandomRisk(), "two fits with equal parameters differ"),
        (NeverChecks(), "unfitted_predict_is_refused"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseEstimator) else "",
)
def test_faults_are_caught(estimator, message):
    with pytest.raises(AssertionError, match=message):
        check_survival_estimator(estimator, *table())


@pytest.mark.parametrize("check", survival_checks(), ids=lambda check: check.__name__[7:])
@pytest.mark.parametrize(
    "estimator",
    [
        ClinicalVolumeCox(),
        DeepMTS(**QUICK),
        CNNSurvival(**QUICK),
        DLPM(**QUICK),
        MDSN(**QUICK),
        SingleTaskSurvival(**QUICK),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_estimators_over_cohorts_pass(check, estimator):
    X = make_phantom_cohort(n=8, shape=(16, 18, 18), random_state=0).cohort
    check(estimator, X, X.outcome)


@pytest.mark.parametrize("check", survival_checks(), ids=lambda check: check.__name__[7:])
def test_lasso_cox_passes(check):
    check(LassoCox(random_state=0), *table(60))
