"""Labels instead of times."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real
from typing import Any, ClassVar

import torch
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval
from torch import Tensor
from torch.nn import functional

from survimg.training.batches import Targets
from survimg.training.objective import penalty_of

__all__ = ["Classification"]


@dataclass(kw_only=True, eq=False, repr=False)
class Classification(BaseEstimator):
    """Cross-entropy of labels.

    The network's output is the log-odds of the second of two classes, or one logit for each of more
    than two.

    Parameters
    ----------
    label_smoothing : float, default=0.0
        This share of the target 1 is distributed evenly over all classes.
    l2 : float, optional
        Weight of the network's own penalty (``net.l2_penalty()``), as in the survival objectives;
        None leaves the term out.
    """

    label_smoothing: float = 0.0
    l2: float | None = None

    needs_masks: ClassVar[bool] = False
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "label_smoothing": [Interval(Real, 0, 1, closed="left")],
        "l2": [Interval(Real, 0, None, closed="left"), None],
    }

    @property
    def term_names(self) -> tuple[str, ...]:
        """Names of the terms: columns of ``history_``."""
        return ("cross_entropy",) if self.l2 is None else ("cross_entropy", "l2")

    def __call__(self, net: Any, output: Any, targets: Targets) -> dict[str, Tensor]:
        """Compute the terms of a batch: `targets.event` tells the classes."""
        terms = {"cross_entropy": self._loss(output, targets)}
        if self.l2 is not None:
            terms["l2"] = self.l2 * penalty_of(net)
        return terms

    def _loss(self, output: Any, targets: Targets) -> Tensor:
        if targets.event.dtype == torch.bool:
            target = targets.event.float()
            if self.label_smoothing:
                target = target * (1 - self.label_smoothing) + self.label_smoothing / 2
            return functional.binary_cross_entropy_with_logits(
                output.risk, target, weight=targets.weight
            )
        losses = functional.cross_entropy(
            output.logits, targets.event, reduction="none", label_smoothing=self.label_smoothing
        )
        if targets.weight is not None:
            losses = losses * targets.weight
        return losses.mean()
