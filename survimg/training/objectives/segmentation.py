"""The tumour mask: alone, or beside survival."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from survimg.losses import dice_loss
from survimg.training.batches import Targets
from survimg.training.objective import Objective

__all__ = ["Dice", "WithDice"]


@dataclass(frozen=True)
class Dice:
    """Dice loss of an output's ``segmentation``, (b, z, y, x), over the patients with a mask.

    Parameters
    ----------
    squared : bool, default=True
        Square the terms in the denominator.
    weight : float, default=1.0
        With another one the term is called ``weighted_dice``.
    """

    squared: bool = True
    weight: float = 1.0

    needs_masks: ClassVar[bool] = True

    @property
    def term_names(self) -> tuple[str]:
        """Name of the one term."""
        return ("dice",) if self.weight == 1 else ("weighted_dice",)

    def __call__(self, _net: Any, output: Any, targets: Targets) -> dict[str, Tensor]:
        """Compute the loss of a batch."""
        assert targets.masks is not None
        loss = dice_loss(
            output.segmentation, targets.masks, has_mask=targets.has_mask, squared=self.squared
        )
        return {self.term_names[0]: self.weight * loss}


@dataclass(frozen=True)
class WithDice:
    """An objective and the Dice loss: multi-task learning.

    Parameters
    ----------
    objective : Objective
    dice : Dice
    """

    objective: Objective
    dice: Dice

    needs_masks: ClassVar[bool] = True

    @property
    def term_names(self) -> tuple[str, ...]:
        """Names of the terms of both."""
        return (*self.objective.term_names, *self.dice.term_names)

    def __call__(self, net: Any, output: Any, targets: Targets) -> Mapping[str, Tensor]:
        """Compute the terms of a batch."""
        terms = self.objective(net, output, targets)
        return {**terms, **self.dice(net, output, targets)}
