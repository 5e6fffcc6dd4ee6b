"""Mixins of the survival estimators: score, tags, and curves of Cox-type models."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from sklearn.utils.validation import check_is_fitted

from survimg.cohort import Cohort, as_cohort
from survimg.cohort.conversion import Clinical, Masks, Volumes
from survimg.evaluation.concordance import concordance_index
from survimg.survival import BreslowBaseline, risk_of, step_functions
from survimg.target import as_outcome, check_outcome, make_outcome

__all__ = [
    "ProportionalHazardsMixin",
    "SurvivalMixin",
    "VolumeHazardsMixin",
    "VolumeSurvivalMixin",
    "cohort_and_outcome",
    "diverged",
    "joined",
    "mean_and_scale",
]


class _Predicts(Protocol):
    def predict(self, X: Any) -> np.ndarray: ...


class SurvivalMixin:
    """`score` and tags of a survival estimator.

    A class that uses it defines `predict(X)`: one risk per patient, float64, **higher = earlier
    event**, in a new array at every call.
    """

    # scikit-survival asks this of wrapped estimators: True says that predict is on the risk scale.
    _predict_risk_score = True

    def score(
        self: _Predicts, X: Any, y: np.ndarray, sample_weight: npt.ArrayLike | None = None
    ) -> float:
        """Return Harrell's concordance index of the predicted risk.

        Parameters
        ----------
        X : Cohort or array-like
            Patients, as in `fit`.
        y : structured array of shape (n,)
            (event, time).
        sample_weight : array-like of shape (n,), optional
            Weight of each patient; the weight of a pair is the product of both.

        Returns
        -------
        float
            1 is a perfect order, 0.5 is chance.

        Raises
        ------
        ValueError
            No pair of patients can be compared.
        """
        return concordance_index(as_outcome(y, X), risk_of(self, X), sample_weight=sample_weight)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()  # type: ignore[misc]
        tags.target_tags.required = True
        tags.target_tags.one_d_labels = False
        return tags


class ProportionalHazardsMixin(SurvivalMixin):
    """Survival and cumulative hazard curves of a model whose risk is a log-hazard ratio.

    S(t | x) = S0(t)^exp(slope risk(x)), with Breslow's baseline S0 estimated on the training set.
    The slope is 1 where the model estimates none.
    """

    slope_: float = 1.0
    baseline_: BreslowBaseline
    training_outcome_: np.ndarray

    def _fit_baseline(
        self, risk: np.ndarray, event: np.ndarray, time: np.ndarray, slope: float = 1.0
    ) -> None:
        if not np.isfinite(risk).all():
            raise FloatingPointError(diverged(self))
        self.slope_ = slope
        self.baseline_ = BreslowBaseline(slope * risk, event, time)
        # For survimg.evaluation's scorers: censoring weights come from the training fold.
        self.training_outcome_ = make_outcome(event, time)

    def _log_hazard_ratio(self: Any, X: Any) -> np.ndarray:
        return self.slope_ * self.predict(X)

    @property
    def unique_times_(self) -> np.ndarray:
        """0, where survival is 1, and the distinct observed times of the training set."""
        check_is_fitted(self, "baseline_")
        return self.baseline_.times

    def predict_survival_function(self: Any, X: Any, return_array: bool = False) -> np.ndarray:
        """Predict the probability of being free of the event beyond each time.

        Parameters
        ----------
        X : Cohort or array-like
            Patients, as in `fit`.
        return_array : bool, default=False
            Return values at `unique_times_` instead of functions.

        Returns
        -------
        ndarray of shape (n,) of `survimg.survival.StepFunction`, or (n, n_times) of float
        """
        check_is_fitted(self, "baseline_")
        survival = self.baseline_.survival(self._log_hazard_ratio(X))
        return survival if return_array else step_functions(self.unique_times_, survival)

    def predict_cumulative_hazard_function(
        self: Any, X: Any, return_array: bool = False
    ) -> np.ndarray:
        """Predict the cumulative hazard at each time.

        Parameters
        ----------
        X : Cohort or array-like
            Patients, as in `fit`.
        return_array : bool, default=False
            Return values at `unique_times_` instead of functions.

        Returns
        -------
        ndarray of shape (n,) of `survimg.survival.StepFunction`, or (n, n_times) of float
        """
        check_is_fitted(self, "baseline_")
        hazard = self.baseline_.cumulative_hazard(self._log_hazard_ratio(X))
        return hazard if return_array else step_functions(self.unique_times_, hazard)


class VolumeSurvivalMixin(SurvivalMixin):
    """`score` of an estimator over volumes, with masks and clinical columns of plain arrays.

    A class that uses it defines `predict(X, *, masks=None, clinical=None)`.
    """

    # Without metadata routing it changes nothing; with it, it saves users set_score_request.
    __metadata_request__score = {"masks": True, "clinical": True}  # noqa: RUF012

    def score(
        self: Any,
        X: Volumes,
        y: np.ndarray,
        sample_weight: npt.ArrayLike | None = None,
        *,
        masks: Masks = None,
        clinical: Clinical = None,
    ) -> float:
        """Return Harrell's concordance index of the predicted risk.

        Parameters
        ----------
        X : Cohort or array-like
            Patients, as in `fit`.
        y : structured array of shape (n,)
            (event, time).
        sample_weight : array-like of shape (n,), optional
            Weight of each patient; the weight of a pair is the product of both.
        masks, clinical
            For plain arrays, as in `predict`.

        Returns
        -------
        float
            1 is a perfect order, 0.5 is chance.

        Raises
        ------
        ValueError
            No pair of patients can be compared.
        """
        return SurvivalMixin.score(self, joined(X, masks, clinical), y, sample_weight)


class VolumeHazardsMixin(VolumeSurvivalMixin, ProportionalHazardsMixin):
    """Curves of a Cox-type model over volumes, with masks and clinical columns of plain arrays."""

    def predict_survival_function(
        self: Any,
        X: Volumes,
        return_array: bool = False,
        *,
        masks: Masks = None,
        clinical: Clinical = None,
    ) -> np.ndarray:
        """Predict the probability of being free of the event beyond each time.

        Parameters
        ----------
        X : Cohort or array-like
            Patients, as in `fit`.
        return_array : bool, default=False
            Return values at `unique_times_` instead of functions.
        masks, clinical
            For plain arrays, as in `predict`.

        Returns
        -------
        ndarray of shape (n,) of `survimg.survival.StepFunction`, or (n, n_times) of float
        """
        check_is_fitted(self, "baseline_")
        return ProportionalHazardsMixin.predict_survival_function(
            self, joined(X, masks, clinical), return_array
        )

    def predict_cumulative_hazard_function(
        self: Any,
        X: Volumes,
        return_array: bool = False,
        *,
        masks: Masks = None,
        clinical: Clinical = None,
    ) -> np.ndarray:
        """Predict the cumulative hazard at each time.

        Parameters
        ----------
        X : Cohort or array-like
            Patients, as in `fit`.
        return_array : bool, default=False
            Return values at `unique_times_` instead of functions.
        masks, clinical
            For plain arrays, as in `predict`.

        Returns
        -------
        ndarray of shape (n,) of `survimg.survival.StepFunction`, or (n, n_times) of float
        """
        check_is_fitted(self, "baseline_")
        return ProportionalHazardsMixin.predict_cumulative_hazard_function(
            self, joined(X, masks, clinical), return_array
        )


def diverged(model: Any) -> str:
    """Say that a model predicts risks that are not finite."""
    return (
        f"Fitting diverged: the fitted {type(model).__name__} predicts risks that are not finite "
        "for its training patients. Use a lower learning rate or a larger penalty."
    )


def mean_and_scale(risk: np.ndarray) -> tuple[float, float]:
    """Return mean and standard deviation of risks; the latter is 0 if all are equal."""
    mean, scale = float(np.mean(risk)), float(np.std(risk))
    return mean, scale if scale > 1e-12 * max(1.0, abs(mean)) else 0.0


def joined(X: Any, masks: Any, clinical: Any) -> Any:
    """Return a cohort of plain arrays; `X` itself without masks and clinical columns."""
    return X if masks is None and clinical is None else as_cohort(X, masks, clinical)


def cohort_and_outcome(
    X: Volumes, y: npt.ArrayLike, masks: Masks, clinical: Clinical
) -> tuple[Cohort, np.ndarray, np.ndarray]:
    """Check the arguments of `fit`.

    Returns
    -------
    cohort : Cohort
    event : ndarray of shape (n,), bool
    time : ndarray of shape (n,), float64

    Raises
    ------
    ValueError
        Mismatched lengths, an invalid outcome, no event, or fewer than two patients.
    """
    cohort = as_cohort(X, masks, clinical)
    event, time = check_outcome(
        y, n_patients=len(cohort), ids=cohort.ids.tolist(), require_event=True
    )
    if len(cohort) < 2:
        raise ValueError(
            f"A survival model needs at least two patients to fit; got {len(cohort)} "
            f"({', '.join(cohort.ids)})."
        )
    return cohort, event, time
