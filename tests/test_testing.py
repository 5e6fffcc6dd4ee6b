"""The shipped checks pass for survimg's estimators and catch each fault they are meant for."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted
from sksurv.ensemble import RandomSurvivalForest as ReferenceForest
from sksurv.linear_model import CoxPHSurvivalAnalysis

from survimg.datasets import make_phantom_cohort
from survimg.estimators import (
    DLPM,
    MDSN,
    ClinicalVolumeCox,
    CNNSurvival,
    DeepMTS,
    FitOnce,
    LassoCox,
    RandomSurvivalForest,
    SingleTaskSurvival,
    SurvivalStacking,
)
from survimg.estimators.base import ProportionalHazardsMixin
from survimg.survival import step_functions
from survimg.target import check_outcome, make_outcome
from survimg.testing import check_survival_estimator, survival_checks

QUICK: dict = {
    "n_iterations": 1, "batch_size": 4, "batch_norm_batches": 1, "n_threads": 1, "random_state": 0,
    "precision": "float32",
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
        self._fit_baseline(self._risk(X), event | ~event.any(), time)
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


class ChangesParameters(LinearRisk):
    def __init__(self, alpha=1.0):
        self.alpha = alpha

    def fit(self, X, y):
        self.alpha = 2.0
        return super().fit(X, y)


class FitsItsParameter(LinearRisk):
    def __init__(self, inner=None):
        self.inner = inner

    def fit(self, X, y):
        self.inner.fit(X, y)
        return super().fit(X, y)


class PicklesHalf(LinearRisk):
    def __getstate__(self):
        return {**super().__getstate__(), "forgotten_": True}

    def _risk(self, X):
        return super()._risk(X) + hasattr(self, "forgotten_")


class TimeScale(LinearRisk):
    def score(self, X, y, sample_weight=None):
        return 1 - super().score(X, y, sample_weight)


class DropsTheRest(LinearRisk):
    def fit(self, X, y):
        return super().fit(X[: len(y)], y)


class Curves(LinearRisk):
    """Curves are changed on their way out, arrays and functions alike."""

    def predict_survival_function(self, X, return_array=False):
        survival = self.survival(X, super().predict_survival_function(X, True))
        return survival if return_array else step_functions(self.unique_times_, survival)

    def predict_cumulative_hazard_function(self, X, return_array=False):
        hazard = self.hazard(super().predict_cumulative_hazard_function(X, True))
        return hazard if return_array else step_functions(self.unique_times_, hazard)

    def survival(self, X, values):
        return values

    def hazard(self, values):
        return values


class Rising(Curves):
    def survival(self, X, values):
        return values[:, ::-1]


class Float32Curves(Curves):
    def hazard(self, values):
        return values.astype(np.float32)


class NoHazard(Curves):
    def hazard(self, values):
        return 0 * values


class OtherFunctions(LinearRisk):
    def predict_cumulative_hazard_function(self, X, return_array=False):
        if return_array:
            return super().predict_cumulative_hazard_function(X, return_array)
        return self.predict_survival_function(X)


class CrossesAtTheHorizon(Curves):
    """Ranks patients by their hazard, but not by S at the horizon that it names."""

    @property
    def risk_horizon_(self):
        return float(self.unique_times_[-1])

    def survival(self, X, values):
        low = X[:, 0] < np.median(X[:, 0])
        return np.column_stack([values[:, :-1], np.where(low, 0.0, values[:, -2])])


class Transforms(LinearRisk):
    features = np.zeros((30, 2))

    def transform(self, X):
        check_is_fitted(self, "baseline_")
        return self.features

    def get_feature_names_out(self):
        return np.array(["first", "second"], dtype=object)


class TransformsToo(Transforms):
    features = np.zeros((30, 3))


class TransformsBefore(Transforms):
    def transform(self, X):
        return self.features


class BooleanMasks(LinearRisk):
    def predict_mask(self, X):
        return X > 0


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


@pytest.mark.parametrize(
    "estimator",
    [
        LinearRisk(),
        Transforms(),
        CoxPHSurvivalAnalysis(),
        ReferenceForest(n_estimators=5, random_state=0),
        RandomSurvivalForest(n_estimators=5, random_state=0),
        SurvivalStacking([("cox", CoxPHSurvivalAnalysis(alpha=0.1))], cv=3),
    ],
    ids=lambda estimator: type(estimator).__module__.split(".")[0] + type(estimator).__name__,
)
def test_sound_estimators_pass_and_so_do_scikit_survivals(estimator):
    check_survival_estimator(estimator, *table())


def test_data_frames_are_indexed_by_row():
    X, y = table()
    frame = pd.DataFrame(X, columns=list("abc"), index=np.arange(len(X)) + 100)
    check_survival_estimator(CoxPHSurvivalAnalysis(), frame, y)


@pytest.mark.parametrize(
    ("estimator", "message"),
    [
        (ForgetsEvents(), "all_censored_is_refused"),
        (KeepsState(), "fitting_again_starts_anew"),
        (Float32(), "predict returns float32"),
        (SharedArray(), "array that it keeps"),
        (DependsOnCompany(), "predictions of a subset differ"),
        (WrongSign(), r"in 435 of 435 pairs a higher H\(t\)"),
        (RandomRisk(), "two fits with equal parameters differ"),
        (NeverChecks(), "unfitted_predict_is_refused"),
        (ChangesParameters(), r"fit changed the parameters \['alpha'\]"),
        (FitsItsParameter(LinearRisk()), r"fit changed the parameters \['inner'\]"),
        (PicklesHalf(), "a pickled copy differs"),
        (TimeScale(), "score is .* has the wrong sign"),
        (DropsTheRest(), "fit with a shorter y raises nothing"),
        (Rising(), r"S\(t\) rises"),
        (Float32Curves(), r"H\(t\) is float32"),
        (NoHazard(), r"S\(t\) has fallen where H\(t\) is 0"),
        (OtherFunctions(), "predict_cumulative_hazard_function differ"),
        (CrossesAtTheHorizon(), "higher S at the horizon"),
        (TransformsToo(), r"transform returns shape \(30, 3\)"),
        (TransformsBefore(), "transform before fit raises nothing"),
        (BooleanMasks(), "masks"),
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
        FitOnce(CNNSurvival(**QUICK)),
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
