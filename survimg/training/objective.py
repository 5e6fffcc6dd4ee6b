"""What a network is trained for: named terms of a loss, and the targets that they need."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from torch import Tensor

from survimg.training.batches import Targets

__all__ = ["Objective"]


class Objective(Protocol):
    """A loss as the sum of named terms.

    Any class with these members is one, such as a frozen dataclass of weights.
    """

    @property
    def term_names(self) -> tuple[str, ...]:
        """Names of the terms that a call returns: columns of ``history_``."""
        ...

    @property
    def needs_masks(self) -> bool:
        """Whether a term compares with tumour masks; else none are read, and ``masks`` is None."""
        ...

    def __call__(self, net: Any, output: Any, targets: Targets, /) -> Mapping[str, Tensor]:
        """Compute the terms of a batch, each a scalar.

        Parameters
        ----------
        net : torch.nn.Module
            For penalties on its parameters.
        output : object
            What the network has returned for the batch.
        targets : Targets
        """
        ...
