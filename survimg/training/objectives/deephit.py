"""The discrete distribution of event times, with a ranking of patients (DeepHit)."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real
from typing import Any, ClassVar

from sklearn.utils._param_validation import Interval
from torch import Tensor
from torch.nn import functional

from survimg.losses import deephit_ranking_loss, log_survival_of_bins, mtlr_loss
from survimg.training.batches import Targets
from survimg.training.objectives.intervals import IntervalObjective

__all__ = ["DeepHit"]


@dataclass(kw_only=True, eq=False, repr=False)
class DeepHit(IntervalObjective):
    """DeepHit for one kind of event: likelihood of a softmax over bins, and ranking of patients.

    Loss = alpha * likelihood + (1 - alpha) * ranking, as in pycox's ``DeepHitSingleLoss``.

    Parameters
    ----------
    cuts : sequence of float, optional
        Increasing upper bounds of K intervals, in the unit of the outcome; the first starts at 0,
        and a last bin follows the last cut. Default as for `DiscreteTime`.
    horizon : float, optional
        Time t at which patients are ranked: the risk is 1 - S(t). Default: the middle cut.
    alpha : float, default=0.2
        Share of the likelihood, as in pycox. The paper's alpha is the weight of the ranking beside
        a likelihood with weight 1.
    sigma : float, default=0.1
        Scale of the difference of the cumulative incidences of two patients.
    l2 : float, optional
        Weight of the sum of squares of the fully connected kernels; None leaves the term out.

    Notes
    -----
    The ranking is divided by the square of the batch size, as in pycox, not by the number of pairs.
    Patients are compared by their times, not by their bins.

    ``history_`` holds the two terms as they add up to the loss, ``weighted_likelihood`` and
    ``weighted_ranking``.

    References
    ----------
    Lee C, Zame WR, Yoon J, van der Schaar M. DeepHit: a deep learning approach to survival analysis
    with competing risks. AAAI 32, 2018.
    """

    alpha: float = 0.2
    sigma: float = 0.1

    loss_name: ClassVar[str] = "weighted_likelihood"
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **IntervalObjective._parameter_constraints,
        "alpha": [Interval(Real, 0, 1, closed="both")],
        "sigma": [Interval(Real, 0, None, closed="neither")],
    }

    @property
    def term_names(self) -> tuple[str, ...]:
        """Names of the terms: columns of ``history_``."""
        return (self.loss_name, "weighted_ranking", *super().term_names[1:])

    def __call__(self, net: Any, output: Any, targets: Targets) -> dict[str, Tensor]:
        """Compute the terms of a batch; see `survimg.training.Objective`."""
        likelihood, *penalty = super().__call__(net, output, targets).items()
        ranking = deephit_ranking_loss(
            self._with_tail(output.logits), targets.time, targets.event,
            self._cuts_on(targets.time.device), sigma=self.sigma,
            sample_weight=targets.weight,
        )  # fmt: skip
        return dict([likelihood, ("weighted_ranking", (1 - self.alpha) * ranking), *penalty])

    def loss(self, output: Any, targets: Targets) -> Tensor:
        """Return the weighted likelihood of a batch, a scalar."""
        logits, cuts = self._with_tail(output.logits), self._cuts_on(targets.time.device)
        likelihood = mtlr_loss(
            logits, targets.time, targets.event, cuts, sample_weight=targets.weight
        )
        return self.alpha * likelihood

    def cumulative_hazard(self, logits: Tensor) -> Tensor:
        """Return -log S at 0 and at the cuts."""
        return -log_survival_of_bins(self._with_tail(logits))

    @staticmethod
    def _with_tail(logits: Tensor) -> Tensor:
        """Add the bin after the last cut, whose logit is 0."""
        return functional.pad(logits, (0, 1))
