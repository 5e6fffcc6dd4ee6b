"""Discrete-time survival: cuts, horizon, curves; the base of networks with interval outputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted
from torch import Tensor
from torch.nn import functional

from survimg.cohort import Cohort
from survimg.estimators.base import VolumeSurvivalMixin
from survimg.estimators.deep.volume_survival_estimator import VolumeSurvivalEstimator
from survimg.losses import discrete_survival_curve, discrete_time_labels, discrete_time_loss
from survimg.nets.outputs import DiscreteTimeOutput
from survimg.survival import StepFunction
from survimg.target import event_quantiles, make_outcome
from survimg.training.batches import Patients, Targets
from survimg.training.objective import Objective

__all__ = ["PAPER_CUTS_MONTHS", "DiscreteTimeEstimator", "InterpolatedSurvival"]

PAPER_CUTS_MONTHS = (12.0, 24.0, 36.0, 60.0, 84.0, 120.0)
"""Upper bounds of the intervals in the DeepMTS paper's comparison, months."""

_MONTHS = frozenset({"month", "months", "mo"})


class InterpolatedSurvival(StepFunction):
    """Survival, or cumulative hazard, of one patient between the cuts of a discrete-time model.

    Survival is linear in time between its values, as in the figures of Gensheimer & Narasimhan
    (PeerJ 7:e6257, 2019). Defined from 0 to the last cut.

    Parameters
    ----------
    x : ndarray of shape (n_times,)
        0 and the cuts.
    y : ndarray of shape (n_times,)
        Survival at `x`.
    cumulative_hazard : bool, default=False
        Return -log S(t) instead.
    """

    def __init__(self, x: np.ndarray, y: np.ndarray, *, cumulative_hazard: bool = False) -> None:
        super().__init__(x, y)
        self.cumulative_hazard = cumulative_hazard

    def _values(self, times: np.ndarray) -> Any:
        survival = np.interp(times, self.x, self.y)
        if not self.cumulative_hazard:
            return survival
        with np.errstate(divide="ignore"):
            return -np.log(survival)


@dataclass(frozen=True)
class _IntervalLoss:
    """Discrete-time likelihood, plus l2 times the network's own penalty if there is one."""

    cuts: Tensor
    l2: float
    needs_masks = False

    @property
    def term_names(self) -> tuple[str, ...]:
        return ("likelihood",) if self.l2 == 0 else ("likelihood", "l2")

    def __call__(
        self, net: Any, output: DiscreteTimeOutput, targets: Targets
    ) -> dict[str, Tensor]:
        likelihood = discrete_time_loss(
            output.logits, targets.time, targets.event, self.cuts, sample_weight=targets.weight
        )
        if self.l2 == 0:
            return {"likelihood": likelihood}
        return {"likelihood": likelihood, "l2": self.l2 * net.l2_penalty()}


@dataclass(kw_only=True, eq=False, repr=False)
class DiscreteTimeEstimator(VolumeSurvivalMixin, VolumeSurvivalEstimator):
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
        **VolumeSurvivalEstimator._parameter_constraints,
        "time_cuts": ["array-like", None],
        "risk_horizon": [Interval(Real, 0, None, closed="neither"), None],
    }

    def _encode_training(
        self, cohort: Cohort, event: np.ndarray, time: np.ndarray, train: np.ndarray, seed: int
    ) -> np.ndarray:
        """Choose the intervals, which only the patients `train` inform; encode as in the base."""
        cuts = _choose_cuts(self.time_cuts, cohort.time_unit, event, time)
        n_informed = _count_informed(cuts, event[train], time[train])
        follow_up = _follow_up(time[train], len(time), cohort.time_unit)
        if self.time_cuts is not None and n_informed < len(cuts):
            beyond = ", ".join(f"{cut:g}" for cut in cuts[n_informed:])
            raise ValueError(
                f"time_cuts={list(self.time_cuts)}: nobody failed in, or was followed to the "
                f"middle of, the interval(s) that end at {beyond}, so that nothing can be learned "
                f"about them. {follow_up} Leave these cuts out, or give time_cuts=None, which "
                "ends at the last interval that somebody reached."
            )
        kept = cuts[:n_informed]
        self.risk_horizon_ = self._choose_horizon(cuts, float(kept[-1]), follow_up)
        self.time_cuts_ = kept
        return super()._encode_training(cohort, event, time, train, seed)

    def _choose_horizon(self, cuts: np.ndarray, last: float, follow_up: str) -> float:
        if self.risk_horizon is None:
            return min(float(cuts[(len(cuts) - 1) // 2]), last)
        if self.risk_horizon > last:
            raise ValueError(
                f"risk_horizon={self.risk_horizon} lies beyond the last cut, {last:g}: the model "
                f"says nothing about it. {follow_up} Choose an earlier one, or, within the "
                "follow-up, later time_cuts."
            )
        return float(self.risk_horizon)

    def _interval_loss(self, l2: float = 0.0) -> Objective:
        """Return the likelihood, and an L2 term with a weight above 0."""
        # Times are float32 on the device; cuts rounded alike keep a time at a cut at the cut.
        cuts = torch.as_tensor(self.time_cuts_, dtype=torch.float32)
        return _IntervalLoss(cuts, l2)

    def _after_training(self, cohort: Cohort, event: np.ndarray, time: np.ndarray) -> None:  # noqa: ARG002
        # For survimg.evaluation's scorers: censoring weights come from the training fold.
        self.training_outcome_ = make_outcome(event, time)

    def _risk_of(self, output: Any) -> Tensor:
        cuts, horizon = torch.as_tensor(self.time_cuts_), torch.tensor([self.risk_horizon_])
        return 1.0 - discrete_survival_curve(output.logits.double(), cuts, horizon.double())[:, 0]

    @property
    def unique_times_(self) -> np.ndarray:
        """Zero and the upper bounds of the intervals."""
        check_is_fitted(self, "net_")
        return np.concatenate([[0.0], self.time_cuts_])

    def predict_survival_function(
        self,
        X: Cohort | npt.ArrayLike,
        return_array: bool = False,
        *,
        masks: npt.ArrayLike | None = None,
        clinical: pd.DataFrame | npt.ArrayLike | None = None,
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
        ndarray of shape (n,) of `InterpolatedSurvival`, or (n, n_intervals + 1) of float
            S(0) = 1; linear in time between the cuts, unknown beyond the last.
        """
        check_is_fitted(self, "net_")
        patients = self._patients(X, masks=masks, clinical=clinical)
        survival = np.exp(-self._hazard_at_cuts(patients))
        return survival if return_array else self._functions(survival, cumulative_hazard=False)

    def predict_cumulative_hazard_function(
        self,
        X: Cohort | npt.ArrayLike,
        return_array: bool = False,
        *,
        masks: npt.ArrayLike | None = None,
        clinical: pd.DataFrame | npt.ArrayLike | None = None,
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
        ndarray of shape (n,) of `InterpolatedSurvival`, or (n, n_intervals + 1) of float
        """
        check_is_fitted(self, "net_")
        hazard = self._hazard_at_cuts(self._patients(X, masks=masks, clinical=clinical))
        return hazard if return_array else self._functions(np.exp(-hazard), cumulative_hazard=True)

    def _hazard_at_cuts(self, patients: Patients) -> np.ndarray:
        rows = [
            -functional.logsigmoid(output.logits.double()).cumsum(dim=1)
            for output in self._outputs(patients)
        ]
        hazard = torch.cat(rows).cpu().numpy()
        return np.pad(hazard, ((0, 0), (1, 0)))

    def _functions(self, survival: np.ndarray, *, cumulative_hazard: bool) -> np.ndarray:
        functions = np.empty(len(survival), dtype=object)
        for i, row in enumerate(survival):
            functions[i] = InterpolatedSurvival(
                self.unique_times_, row, cumulative_hazard=cumulative_hazard
            )
        return functions


def _count_informed(cuts: np.ndarray, event: np.ndarray, time: np.ndarray) -> int:
    """Return how many intervals have a term in the likelihood: the first ones, without gaps."""
    survived, failed = discrete_time_labels(
        torch.as_tensor(time, dtype=torch.float32),  # as _IntervalLoss sees them
        torch.as_tensor(event),
        torch.as_tensor(cuts, dtype=torch.float32),
    )
    return int((survived | failed).any(dim=0).sum())


def _follow_up(time: np.ndarray, n_patients: int, time_unit: str | None) -> str:
    """Say how long the patients who train the network were followed."""
    held_out = n_patients - len(time)
    whom = f"the {len(time)} patients who train the network"
    if held_out:
        whom += f" ({held_out} more are held out)"
    return f"The last follow-up of {whom} is {time.max():g}{f' {time_unit}' if time_unit else ''}."


def _choose_cuts(
    time_cuts: Sequence[float] | None, time_unit: str | None, event: np.ndarray, time: np.ndarray
) -> np.ndarray:
    if time_cuts is None:
        if time_unit is not None and time_unit.lower() in _MONTHS:
            return np.array(PAPER_CUTS_MONTHS)
        found = event_quantiles(event, time, len(PAPER_CUTS_MONTHS))
        # An interval does not hold its upper bound: an event at the last cut would not count.
        found[-1] = np.nextafter(np.float32(found[-1]), np.float32(np.inf))
        return found
    cuts = np.asarray(time_cuts, dtype=np.float64)
    rises = cuts.ndim == 1 and len(cuts) > 0 and (np.diff(cuts, prepend=0.0) > 0).all()
    if not rises or np.isinf(cuts[-1]):
        raise ValueError(
            "time_cuts are the upper bounds of intervals, the first of which starts at 0: they "
            f"must increase from above 0 and be finite; got {list(time_cuts)}."
        )
    return cuts
