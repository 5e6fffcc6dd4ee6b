"""Multi-task logistic regression."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from torch import Tensor

from survimg.losses import log_survival_of_bins, mtlr_logits, mtlr_loss
from survimg.training.batches import Targets
from survimg.training.objectives.intervals import IntervalObjective, cuts_at_events

__all__ = ["MTLR"]


@dataclass(kw_only=True, eq=False, repr=False)
class MTLR(IntervalObjective):
    """Multi-task logistic regression: a softmax over event times, cumulated over the cuts.

    The network's K outputs are the log-odds of adjacent bins (`survimg.losses.mtlr_logits`).

    Parameters
    ----------
    cuts : sequence of float, optional
        Increasing upper bounds of K intervals, in the unit of the outcome; the first starts at 0,
        and a last bin follows the last cut. Default: the square root of the number of patients,
        rounded up, as quantiles of the training events.
    horizon : float, optional
        Time t at which patients are ranked: the risk is 1 - S(t). Default: the middle cut.
    l2 : float, optional
        Weight of the sum of squares of the fully connected kernels (C1 / 2 in the paper); None
        leaves the term out.

    Notes
    -----
    Deviations from the paper: the loss is a mean over patients, not a sum; the penalty is on the
    kernels of all outputs, as in torchmtlr and pycox. Fotso's network puts a network in front of
    the same loss.

    References
    ----------
    Yu CN, Greiner R, Lin HC, Baracos V. Learning patient-specific cancer survival distributions as
    a sequence of dependent regressors. NeurIPS 24, 2011. Fotso S. Deep neural networks for survival
    analysis based on a multi-task framework. arXiv:1801.05512, 2018.
    """

    loss_name: ClassVar[str] = "likelihood"

    def loss(self, output: Any, targets: Targets) -> Tensor:
        """Return the loss of a batch, a scalar."""
        cuts = self._cuts_on(targets.time.device)
        return mtlr_loss(
            mtlr_logits(output.logits), targets.time, targets.event, cuts,
            sample_weight=targets.weight,
        )  # fmt: skip

    def cumulative_hazard(self, logits: Tensor) -> Tensor:
        """Return -log S at 0 and at the cuts."""
        return -log_survival_of_bins(mtlr_logits(logits))

    def _default_cuts(
        self,
        event: np.ndarray,
        time: np.ndarray,
        time_unit: str | None,  # noqa: ARG002
    ) -> np.ndarray:
        return cuts_at_events(event, time, math.ceil(math.sqrt(len(time))))
