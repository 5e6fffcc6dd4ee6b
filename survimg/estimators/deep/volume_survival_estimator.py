"""Survival estimators over volumes: clinical columns, risk, deep features; the Cox family."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, ClassVar, TypeVar

import numpy as np
import numpy.typing as npt
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from survimg.cohort import Cohort
from survimg.cohort.conversion import Clinical, Masks, Volumes
from survimg.estimators.base import VolumeSurvivalMixin, cohort_and_outcome, diverged
from survimg.estimators.deep.clinical_volume_estimator import ClinicalVolumeEstimator
from survimg.estimators.deep.deep_features import DeepFeaturesMixin
from survimg.estimators.deep.volume_estimator import to_float64
from survimg.evaluation.concordance import concordance_index
from survimg.features.univariate import clinical_p_values
from survimg.losses.cox import Ties
from survimg.survival import BreslowBaseline, InterpolatedSurvival, step_functions
from survimg.survival.slope import cautious_slope
from survimg.target import make_outcome
from survimg.training.batches import Patients
from survimg.training.failed_fit import unchanged_on_failure
from survimg.training.objective import Objective, SurvivalObjective
from survimg.training.objectives import Cox, DiscreteTime, IntervalObjective

__all__ = ["CoxVolumeEstimator", "DiscreteTimeEstimator", "VolumeSurvivalEstimator"]

Self = TypeVar("Self", bound="VolumeSurvivalEstimator")


@dataclass(kw_only=True, eq=False, repr=False)
class VolumeSurvivalEstimator(VolumeSurvivalMixin, DeepFeaturesMixin, ClinicalVolumeEstimator):
    """Base of the survival estimators that train a network on volumes.

    A subclass names its loss (`_default_objective`); any other objective can take its place.

    Parameters
    ----------
    objective : SurvivalObjective, optional
        What the network is trained for: `Cox`, `DiscreteTime`, `MTLR` or `DeepHit` of
        `survimg.training`, whose outputs its last layer then has. None is the loss that the class
        is described with. Where the objective gives no `l2`, that of the estimator holds.

    significance : float, optional
        Give the network only the clinical columns whose p value in a Cox model of their own (Wald)
        lies below it, such as 0.05; learned from the patients who train the network, without the
        held-out ones. If none does, the network goes without (a warning). The DeepMTS paper chose
        TNM stage in this way (P = 0.047), once for all its folds. None (default) takes all
        `clinical_columns`.

    Attributes
    ----------
    clinical_p_values_ : dict of str to float
        Of each clinical column, with `significance`; NaN for one that is constant.
    baseline_ : BreslowBaseline
        Baseline hazard on the training set; not of an objective with intervals.
    slope_ : float
        Log-hazard ratio per unit of `predict`, from which survival curves are computed; not of an
        objective with intervals. A network that has not converged, or is overfitted, predicts too
        small, or too large, differences. With `validation_fraction` it is the Cox coefficient of
        the risk of the held-out patients (who also choose the epoch), which is drawn towards 1 the
        more the fewer events they have: by about half with 25 events (normal prior with standard
        deviation 0.3). Else it is 1: for calibrated curves of a network that trains on all
        patients, use `survimg.estimators.FoldEnsemble`, or a Cox model on
        `survimg.estimators.OutOfFold` risks.
    training_outcome_ : structured array of shape (n,)
        The outcome that the model was fitted on.
    objective_ : SurvivalObjective
        With the cuts and the horizon that the fit has chosen.
    time_cuts_, risk_horizon_ : ndarray of shape (n_intervals,), float
        Of an objective with intervals.
    """

    objective: SurvivalObjective | None = None
    significance: float | None = None

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "objective": [SurvivalObjective, None],
        "significance": [Interval(Real, 0, 1, closed="right"), None],
    }

    slope_ = 1.0  # of model files from before it was estimated

    @abstractmethod
    def _default_objective(self) -> SurvivalObjective:
        """Return the objective that None stands for."""

    def _check_objective(self, objective: SurvivalObjective) -> None:
        """Refuse an objective that the network cannot be trained for."""

    def _columns_to_encode(
        self, cohort: Cohort, event: np.ndarray, time: np.ndarray, train: np.ndarray
    ) -> Any:
        """Return the clinical columns, or those that are significant alone."""
        self.__dict__.pop("clinical_p_values_", None)
        columns = self.clinical_columns
        none = cohort.clinical is None or (columns is not None and len(columns) == 0)
        if self.significance is None or none:
            return columns
        p_values = clinical_p_values(cohort[train], columns, event[train], time[train])
        self.clinical_p_values_ = p_values
        significant = [name for name, p in p_values.items() if p < self.significance]
        if not significant:
            told = ", ".join(f"{name}: {p:.3g}" for name, p in p_values.items())
            warnings.warn(
                f"No clinical column has a univariate p value below {self.significance:g} ({told}):"
                f" this {type(self).__name__} goes without clinical columns.",
                UserWarning,
                stacklevel=2,
            )
        return significant

    def _learn_objective(
        self, cohort: Cohort, event: np.ndarray, time: np.ndarray, train: np.ndarray
    ) -> None:
        given = self._default_objective() if self.objective is None else self.objective
        objective = self._checked_objective(given)
        self._check_objective(objective)
        for name in ("time_cuts_", "risk_horizon_"):
            self.__dict__.pop(name, None)
        self.objective_ = objective.learned(event, time, train, cohort.time_unit)
        if isinstance(self.objective_, IntervalObjective):
            self.time_cuts_ = self.objective_.bounds[1:]
            self.risk_horizon_ = self.objective_.horizon

    @property
    def _objective(self) -> SurvivalObjective:
        """What the network is trained for, with the intervals that the fit has chosen."""
        objective = getattr(self, "objective_", None)
        if objective is None:  # before the fit, and of model files from before there was a choice
            objective = self._checked_objective(self._default_objective())
            if hasattr(self, "time_cuts_"):
                cuts = tuple(self.time_cuts_.tolist())
                objective.set_params(cuts=cuts, horizon=self.risk_horizon_)
        return objective

    @property
    def _n_outputs(self) -> int | None:
        return self._objective.n_outputs

    def _make_objective(self, cohort: Cohort) -> Objective:  # noqa: ARG002
        return self._objective

    def _risk_of(self, output: Any) -> Tensor:
        """Risk in an output of the network, (b,), higher = earlier event."""
        return self._objective.risk(output)

    def _after_training(
        self, cohort: Cohort, event: np.ndarray, time: np.ndarray, held_out: Patients
    ) -> None:
        """Learn what survival curves need; `held_out` did not train, and may be nobody."""
        # For survimg.evaluation's scorers: censoring weights come from the training fold.
        self.training_outcome_ = make_outcome(event, time)
        if isinstance(self._objective, IntervalObjective):
            return
        risk = self._predict_risk(self._patients(cohort))
        if not np.isfinite(risk).all():
            raise FloatingPointError(diverged(self))
        self.slope_ = 1.0
        if len(held_out):
            others = self._predict_risk(held_out)
            self.slope_ = cautious_slope(others, held_out.event, held_out.time)
        self.baseline_ = BreslowBaseline(self.slope_ * risk, event, time)

    def fit(
        self: Self, X: Volumes, y: npt.ArrayLike, *, masks: Masks = None, clinical: Clinical = None
    ) -> Self:
        """Train the network; a fit that fails leaves the estimator as it was.

        Parameters
        ----------
        X : Cohort or array-like of shape (n, channels, z, y, x)
            Prepared volumes, all of one size.
        y : structured array of shape (n,)
            (event, time).
        masks : array-like of shape (n, z, y, x), optional
            Tumour masks, for plain arrays only; a cohort contains its own.
        clinical : DataFrame or array-like of shape (n, k), optional
            Clinical columns, likewise.

        Returns
        -------
        self
            The fitted estimator.

        Raises
        ------
        ValueError
            Invalid parameters or outcome, no event, a raw cohort; NaN voxels or an empty mask (the
            message names the patient).
        FloatingPointError
            Training diverged.
        """
        self._validate_params()
        cohort, event, time = cohort_and_outcome(X, y, masks, clinical)
        with unchanged_on_failure(self):
            held_out = self._train(cohort, event, time)
            self._after_training(cohort, event, time, held_out)
        return self

    def predict(self, X: Volumes, *, masks: Masks = None, clinical: Clinical = None) -> np.ndarray:
        """Predict the risk; **higher = earlier event**.

        Parameters
        ----------
        X : Cohort or array-like of shape (n, channels, z, y, x)
            Volumes prepared as those of `fit`.
        masks : array-like of shape (n, z, y, x), optional
            For plain arrays, if the network uses masked images.
        clinical : DataFrame or array-like of shape (n, k), optional
            For plain arrays, if clinical columns were given to `fit`.

        Returns
        -------
        ndarray of shape (n,), float64
            For a Cox model, times `slope_` a log-hazard ratio up to a constant; for a discrete-time
            model the probability of the event by `risk_horizon_`.
        """
        check_is_fitted(self, "net_")
        return self._predict_risk(self._patients(X, masks=masks, clinical=clinical))

    @property
    def unique_times_(self) -> np.ndarray:
        """0, where survival is 1, and the distinct training times, or the cuts of intervals."""
        check_is_fitted(self, "net_")
        objective = self._objective
        if isinstance(objective, IntervalObjective):
            return objective.bounds
        return self.baseline_.times

    def predict_survival_function(
        self,
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
        ndarray of shape (n,) of functions, or (n, n_times) of float
            S(0) = 1. `survimg.survival.StepFunction` of a Cox loss;
            `survimg.survival.InterpolatedSurvival` of intervals: linear in time between the cuts,
            unknown beyond the last.
        """
        check_is_fitted(self, "net_")
        survival = np.exp(-self._hazard(self._patients(X, masks=masks, clinical=clinical)))
        return survival if return_array else self._functions(survival, survival)

    def predict_cumulative_hazard_function(
        self,
        X: Volumes,
        return_array: bool = False,
        *,
        masks: Masks = None,
        clinical: Clinical = None,
    ) -> np.ndarray:
        """Predict the cumulative hazard, -log S(t), at each time.

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
        ndarray of shape (n,) of functions, or (n, n_times) of float
            As `predict_survival_function`.
        """
        check_is_fitted(self, "net_")
        hazard = self._hazard(self._patients(X, masks=masks, clinical=clinical))
        return hazard if return_array else self._functions(hazard, np.exp(-hazard))

    def _hazard(self, patients: Patients) -> np.ndarray:
        """Cumulative hazard at `unique_times_`, (n, n_times)."""
        objective = self._objective
        if not isinstance(objective, IntervalObjective):
            return self.baseline_.cumulative_hazard(self.slope_ * self._predict_risk(patients))
        return to_float64(
            [objective.cumulative_hazard(out.logits.double()) for out in self._outputs(patients)]
        )

    def _functions(self, values: np.ndarray, survival: np.ndarray) -> np.ndarray:
        """One function per row: of values that are survival itself, or its negative logarithm."""
        if not isinstance(self._objective, IntervalObjective):
            return step_functions(self.unique_times_, values)
        functions = np.empty(len(survival), dtype=object)
        for i, row in enumerate(survival):
            functions[i] = InterpolatedSurvival(
                self.unique_times_, row, cumulative_hazard=values is not survival
            )
        return functions

    def _predict_risk(self, patients: Patients) -> np.ndarray:
        return to_float64([self._risk_of(output) for output in self._outputs(patients)])

    def _validation(self, patients: Patients) -> tuple[str, Callable[[list[Any]], float]]:
        outcome = make_outcome(patients.event, patients.time)
        try:
            concordance_index(outcome, np.zeros(len(patients)))
        except ValueError as error:
            raise ValueError(
                f"validation_fraction={self.validation_fraction} holds out {len(patients)} "
                f"patients, no two of which can be compared. {error}"
            ) from error

        def score(outputs: list[Any]) -> float:
            risks = [self._risk_of(output) for output in outputs]
            return concordance_index(outcome, to_float64(risks))

        return "validation_c_index", score


@dataclass(kw_only=True, eq=False, repr=False)
class CoxVolumeEstimator(VolumeSurvivalEstimator):
    """Base of the networks with one log-hazard ratio and a Cox loss.

    Parameters
    ----------
    ties : {"breslow", "efron", "sorted"}, default="breslow"
        Risk sets of tied times; ``"sorted"`` as in the published DeepMTS code (see
        `survimg.losses.cox_loss`).
    """

    ties: Ties = "breslow"

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "ties": Cox._parameter_constraints["ties"],
    }

    def _default_objective(self) -> SurvivalObjective:
        return Cox(ties=self.ties)

    def _check_objective(self, objective: SurvivalObjective) -> None:
        if self.objective is not None and self.ties != type(self).ties:
            raise ValueError(
                f"ties={self.ties!r} is of the default objective, and {objective!r} is given. Give "
                f"it to the objective, Cox(ties={self.ties!r}), or leave it out."
            )


@dataclass(kw_only=True, eq=False, repr=False)
class DiscreteTimeEstimator(VolumeSurvivalEstimator):
    """Base of the networks that predict the conditional survival of each of several intervals.

    Parameters
    ----------
    time_cuts : sequence of float, optional
        Increasing upper bounds of the intervals, in the unit of the outcome; the first interval
        starts at 0. Default: 12, 24, 36, 60, 84 and 120 if the cohort's `time_unit` is months, as
        in the DeepMTS paper; otherwise cuts that distribute the training events evenly over
        six intervals, the last of which ends just after the largest training time. Default cuts
        beyond the last interval with data are left out; cuts that you give are refused then (see
        Notes).
    risk_horizon : float, optional
        Time t at which patients are ranked: the risk is 1 - S(t). Default: the middle cut (36
        months for the paper's cuts), or the last cut if that one was left out.

    Attributes
    ----------
    time_cuts_ : ndarray of shape (n_intervals,)
    risk_horizon_ : float
    unique_times_ : ndarray of shape (n_intervals + 1,)
        0, where survival is 1, and the cuts.

    Notes
    -----
    An interval is informed if a patient who trains the network, and is not held out by
    `validation_fraction`, failed in it or is credited with surviving it: by a later failure, or by
    censoring in its second half or later. The likelihood has no term, hence no gradient, for other
    intervals: what a network says of them is its initial weights, not an estimate.
    """

    time_cuts: Sequence[float] | None = None
    risk_horizon: float | None = None

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "time_cuts": IntervalObjective._parameter_constraints["cuts"],
        "risk_horizon": IntervalObjective._parameter_constraints["horizon"],
    }

    def _default_objective(self) -> SurvivalObjective:
        return DiscreteTime(cuts=self.time_cuts, horizon=self.risk_horizon)

    def _check_objective(self, objective: SurvivalObjective) -> None:
        given = self.time_cuts is not None or self.risk_horizon is not None
        if self.objective is not None and given:
            raise ValueError(
                f"time_cuts and risk_horizon are of the default objective, and {objective!r} is "
                "given. Give them to the objective, as its cuts and horizon."
            )
