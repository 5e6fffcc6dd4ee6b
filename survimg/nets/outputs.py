"""What the networks return."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

__all__ = ["LogitsOutput", "RiskOutput", "output_of"]


class RiskOutput(NamedTuple):
    """Output of a network with one log-hazard per case."""

    risk: Tensor
    """Predicted log-hazard up to a constant, ``(b,)``, higher = earlier event."""

    features: Tensor
    """Deep features from which the risk is computed, ``(b, n_features)``."""


class LogitsOutput(NamedTuple):
    """Output of a network with several numbers per case."""

    logits: Tensor
    """``(b, n_outputs)``: what they mean is the objective's matter; of `DiscreteTime`, log-odds of
    surviving each interval given survival up to its start."""

    features: Tensor
    """Deep features from which the logits are computed, ``(b, n_features)``."""


def output_of(values: Tensor, features: Tensor, n_outputs: int | None) -> RiskOutput | LogitsOutput:
    """Return what a network's last layer has computed.

    Parameters
    ----------
    values : Tensor of shape (b, 1) or (b, n_outputs)
    features : Tensor of shape (b, n_features)
    n_outputs : int or None
        None for one number per case.
    """
    if n_outputs is None:
        return RiskOutput(values[:, 0], features)
    return LogitsOutput(values, features)
