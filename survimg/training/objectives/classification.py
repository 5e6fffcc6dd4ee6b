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
    """

    label_smoothing: float = 0.0

    needs_masks: ClassVar[bool] = False
    term_names: ClassVar[tuple[str, ...]] = ("cross_entropy",)
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "label_smoothing": [Interval(Real, 0, 1, closed="left")],
    }

    def __call__(self, _net: Any, output: Any, targets: Targets) -> dict[str, Tensor]:
        """Compute the loss of a batch: `targets.event` tells the classes."""
        if targets.event.dtype == torch.bool:
            target = targets.event.float()
            if self.label_smoothing:
                target = target * (1 - self.label_smoothing) + self.label_smoothing / 2
            loss = functional.binary_cross_entropy_with_logits(
                output.risk, target, weight=targets.weight
            )
            return {"cross_entropy": loss}
        losses = functional.cross_entropy(
            output.logits, targets.event, reduction="none", label_smoothing=self.label_smoothing
        )
        if targets.weight is not None:
            losses = losses * targets.weight
        return {"cross_entropy": losses.mean()}
