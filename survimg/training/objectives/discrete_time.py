"""Conditional survival of each interval (Nnet-survival)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor
from torch.nn import functional

from survimg.losses import discrete_time_loss
from survimg.training.batches import Targets
from survimg.training.objectives.intervals import IntervalObjective

__all__ = ["DiscreteTime"]


@dataclass(kw_only=True, eq=False, repr=False)
class DiscreteTime(IntervalObjective):
    """Likelihood of the conditional survival of each interval.

    The loss is `survimg.losses.discrete_time_loss`.

    Parameters
    ----------
    cuts : sequence of float, optional
        Increasing upper bounds of the intervals, in the unit of the outcome; the first starts at 0.
        Default: 12, 24, 36, 60, 84 and 120 if the cohort's `time_unit` is months; otherwise six
        quantiles of the training events. Default cuts beyond the follow-up are left out.
    horizon : float, optional
        Time t at which patients are ranked: the risk is 1 - S(t). Default: the middle cut.
    l2 : float, optional
        Weight of the sum of squares of the fully connected kernels; None leaves the term out.

    References
    ----------
    Gensheimer MF, Narasimhan B. A scalable discrete-time survival model for neural networks.
    PeerJ 7:e6257, 2019.
    """

    loss_name: ClassVar[str] = "likelihood"

    def loss(self, output: Any, targets: Targets) -> Tensor:
        """Return the loss of a batch, a scalar."""
        cuts = self._cuts_on(targets.time.device)
        return discrete_time_loss(
            output.logits, targets.time, targets.event, cuts, sample_weight=targets.weight
        )

    def cumulative_hazard(self, logits: Tensor) -> Tensor:
        """Return -log S at 0 and at the cuts; the logits are those of surviving each interval."""
        return functional.pad(-functional.logsigmoid(logits).cumsum(dim=1), (1, 0))
