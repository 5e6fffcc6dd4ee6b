"""What a network is trained for: named terms of a loss, and the targets that they need."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any, ClassVar, Protocol, TypeVar

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval
from torch import Tensor

from survimg.training.batches import Targets

__all__ = ["Objective", "SurvivalObjective", "penalty_of"]

Self = TypeVar("Self", bound="SurvivalObjective")


class Objective(Protocol):
    """A loss as the sum of named terms.

    A term that is added with a weight of its own is called ``weighted_...``: only terms of one name
    are compared between networks. Any class with these members is an objective, such as a frozen
    dataclass of weights.
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


@dataclass(kw_only=True, eq=False, repr=False)
class SurvivalObjective(BaseEstimator):
    """Base of the objectives of survival networks: a loss, and how outputs become a risk.

    A scikit-learn object: its parameters can be searched as ``objective__ties``.

    Parameters
    ----------
    l2 : float, optional
        Weight of the network's own penalty (``net.l2_penalty()``): the sum of squares of the fully
        connected kernels, or of those that a published network penalises. None leaves the term out.
    """

    l2: float | None = None

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "l2": [Interval(Real, 0, None, closed="left"), None],
    }
    needs_masks: ClassVar[bool] = False
    #: Outputs of a patient; None for a single number, `survimg.nets.RiskOutput`.
    n_outputs: ClassVar[Any] = None
    #: Name of the loss in ``history_``.
    loss_name: ClassVar[str]

    @property
    def term_names(self) -> tuple[str, ...]:
        """Names of the terms: columns of ``history_``."""
        return (self.loss_name,) if self.l2 is None else (self.loss_name, "l2")

    def __call__(self, net: Any, output: Any, targets: Targets) -> dict[str, Tensor]:
        """Compute the terms of a batch; see `Objective`."""
        terms = {self.loss_name: self.loss(output, targets)}
        if self.l2 is not None:
            terms["l2"] = self.l2 * penalty_of(net)
        return terms

    @abstractmethod
    def loss(self, output: Any, targets: Targets) -> Tensor:
        """Return the loss of a batch, a scalar."""

    @abstractmethod
    def risk(self, output: Any) -> Tensor:
        """Return the risk in an output of the network, (b,), higher = earlier event."""

    def learned(
        self: Self,
        event: np.ndarray,  # noqa: ARG002
        time: np.ndarray,  # noqa: ARG002
        train: np.ndarray,  # noqa: ARG002
        time_unit: str | None,  # noqa: ARG002
    ) -> Self:
        """Return the objective with what a fit teaches it; of a Cox loss that is nothing.

        Parameters
        ----------
        event, time : ndarray of shape (n,)
            Outcome of all patients of the fit.
        train : ndarray of shape (n_train,), int
            Positions of those who train the network; the others are held out.
        time_unit : str or None
        """
        return self


def penalty_of(net: Any) -> Tensor:
    """Return the network's own penalty, a scalar.

    Parameters
    ----------
    net : torch.nn.Module

    Raises
    ------
    ValueError
        It has none.
    """
    if not hasattr(net, "l2_penalty"):
        raise ValueError(
            f"{type(net).__name__} has no penalty of its own (a method l2_penalty), which the "
            "objective's l2 asks for. Leave l2 out, or give the optimiser a weight decay: "
            "optimizer=torch.optim.AdamW, optimizer_params={'weight_decay': 1e-2}."
        )
    penalty: Tensor = net.l2_penalty()
    return penalty
