"""Survival in intervals of time: their bounds, the horizon of the risk, curves at the bounds."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch
from sklearn.base import clone
from sklearn.utils._param_validation import Interval
from torch import Tensor

from survimg.losses import discrete_time_labels, interpolated_curve
from survimg.target import event_quantiles
from survimg.training.objective import SurvivalObjective

__all__ = ["PAPER_CUTS_MONTHS", "IntervalObjective"]

Self = TypeVar("Self", bound="IntervalObjective")

PAPER_CUTS_MONTHS = (12.0, 24.0, 36.0, 60.0, 84.0, 120.0)
"""Upper bounds of the intervals in the DeepMTS paper's comparison, months."""

_MONTHS = frozenset({"month", "months", "mo"})


@dataclass(kw_only=True, eq=False, repr=False)
class IntervalObjective(SurvivalObjective):
    """Base of the objectives that divide time into intervals.

    Parameters
    ----------
    cuts : sequence of float, optional
        Increasing upper bounds of the intervals, in the unit of the outcome; the first interval
        starts at 0. None chooses them from the training events; bounds of intervals that no
        training patient informs are left out then, and refused when you give them.
    horizon : float, optional
        Time t at which patients are ranked: the risk is 1 - S(t). None takes the middle cut.
    l2 : float, optional
        Weight of the sum of squares of the fully connected kernels; None leaves the term out.
    """

    cuts: Sequence[float] | None = None
    horizon: float | None = None

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "cuts": ["array-like", None],
        "horizon": [Interval(Real, 0, None, closed="neither"), None],
        "l2": [Interval(Real, 0, None, closed="left"), None],
    }

    @property
    def n_outputs(self) -> int:
        """Outputs of a patient: one per interval."""
        assert self.cuts is not None
        return len(self.cuts)

    @property
    def bounds(self) -> np.ndarray:
        """0 and the cuts, float64."""
        assert self.cuts is not None
        return np.array([0.0, *self.cuts])

    @abstractmethod
    def cumulative_hazard(self, logits: Tensor) -> Tensor:
        """Return -log S at 0 and at the cuts, (b, n_intervals) to (b, n_intervals + 1)."""

    def risk(self, output: Any) -> Tensor:
        """Return 1 - S(horizon), (b,)."""
        assert self.horizon is not None
        return 1.0 - self.survival_at(output, self.horizon)

    def survival_at(self, output: Any, time: float) -> Tensor:
        """Return S at a time up to the last cut, (b,), linear between the cuts.

        Parameters
        ----------
        output : named tuple with ``logits`` of shape (b, n_intervals)
        time : float
        """
        survival = torch.exp(-self.cumulative_hazard(output.logits.double()))
        bounds = torch.as_tensor(self.bounds, device=survival.device)
        return interpolated_curve(survival, bounds, bounds.new_tensor([time]))[:, 0]

    def learned(
        self: Self,
        event: np.ndarray,
        time: np.ndarray,
        train: np.ndarray,
        time_unit: str | None,
    ) -> Self:
        """Return the objective with cuts and a horizon.

        Parameters
        ----------
        event, time : ndarray of shape (n,)
            Outcome of all patients of the fit.
        train : ndarray of shape (n_train,), int
            Positions of those who train the network: only they inform an interval.
        time_unit : str or None

        Raises
        ------
        ValueError
            Cuts that do not increase from above 0 or are not finite; cuts or a horizon beyond the
            follow-up of the patients `train`.
        """
        if self.cuts is None:
            cuts = self._default_cuts(event, time, time_unit)
        else:
            cuts = _checked_cuts(self.cuts)
        n_informed = _count_informed(cuts, event[train], time[train])
        follow_up = _follow_up(time[train], len(time), time_unit)
        if self.cuts is not None and n_informed < len(cuts):
            beyond = ", ".join(f"{cut:g}" for cut in cuts[n_informed:])
            raise ValueError(
                f"Cuts {list(self.cuts)}: nobody failed in, or was followed to the middle of, the "
                f"interval(s) that end at {beyond}, so that nothing can be learned about them. "
                f"{follow_up} Leave these cuts out, or give None, which ends at the last interval "
                "that somebody reached."
            )
        informed = cuts[:n_informed]
        horizon = self._choose_horizon(cuts, float(informed[-1]), follow_up)
        return clone(self).set_params(cuts=tuple(informed.tolist()), horizon=horizon)

    def check_learned(self) -> None:
        """Demand cuts and a horizon such as `learned` gives.

        Raises
        ------
        ValueError
            They are others, or there are none.
        """
        self._validate_params()
        cuts = _checked_cuts(() if self.cuts is None else self.cuts)
        if self.horizon is None or self.horizon > cuts[-1]:
            raise ValueError(f"horizon must be from 0 to {cuts[-1]:g}; got {self.horizon!r}.")

    def _choose_horizon(self, cuts: np.ndarray, last: float, follow_up: str) -> float:
        if self.horizon is None:
            return min(float(cuts[(len(cuts) - 1) // 2]), last)
        if self.horizon > last:
            raise ValueError(
                f"risk_horizon={self.horizon:g} lies beyond the last cut, {last:g}: the model says "
                f"nothing about it. {follow_up} Choose an earlier one, or, within the follow-up, "
                "later cuts. (DiscreteTime calls it horizon.)"
            )
        return float(self.horizon)

    def _default_cuts(
        self, event: np.ndarray, time: np.ndarray, time_unit: str | None
    ) -> np.ndarray:
        """Return the paper's cuts if time is in months, else quantiles of the event times."""
        if time_unit is not None and time_unit.lower() in _MONTHS:
            return np.array(PAPER_CUTS_MONTHS)
        return cuts_at_events(event, time, len(PAPER_CUTS_MONTHS))

    def _cuts_on(self, device: torch.device) -> Tensor:
        # Times are float32 on the device; cuts rounded alike keep a time at a cut at the cut.
        return torch.tensor(self.cuts, dtype=torch.float32, device=device)


def cuts_at_events(event: np.ndarray, time: np.ndarray, n: int) -> np.ndarray:
    """Return cuts that distribute the events evenly; the last lies just after the largest time.

    Parameters
    ----------
    event, time : ndarray of shape (n_patients,)
    n : int
        Intervals, fewer where events are tied.
    """
    cuts = event_quantiles(event, time, n)
    # An interval does not hold its upper bound: an event at the last cut would not count.
    cuts[-1] = np.nextafter(np.float32(cuts[-1]), np.float32(np.inf))
    return cuts


def _count_informed(cuts: np.ndarray, event: np.ndarray, time: np.ndarray) -> int:
    """Return how many intervals have a term in the likelihood: the first ones, without gaps."""
    survived, failed = discrete_time_labels(
        torch.as_tensor(time, dtype=torch.float32),  # as the loss sees them
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


def _checked_cuts(given: Sequence[float]) -> np.ndarray:
    cuts = np.asarray(given, dtype=np.float64)
    rises = cuts.ndim == 1 and len(cuts) > 0 and (np.diff(cuts, prepend=0.0) > 0).all()
    if not rises or np.isinf(cuts[-1]):
        raise ValueError(
            "Cuts are the upper bounds of intervals, the first of which starts at 0: they must "
            f"increase from above 0 and be finite; got {list(given)}."
        )
    return cuts
