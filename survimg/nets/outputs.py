"""What the networks return."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

__all__ = ["DiscreteTimeOutput", "LogitsOutput", "RiskOutput"]


class RiskOutput(NamedTuple):
    """Output of a network with one log-hazard per case."""

    risk: Tensor
    """Predicted log-hazard up to a constant, ``(b,)``, higher = earlier event."""

    features: Tensor
    """Deep features from which the risk is computed, ``(b, n_features)``."""


class DiscreteTimeOutput(NamedTuple):
    """Output of a discrete-time network."""

    logits: Tensor
    """``(b, n_intervals)``: log-odds of surviving each interval given survival up to its start,
    as `survimg.losses.discrete_time_loss` takes them; **higher = longer survival**."""

    features: Tensor
    """Deep features from which the logits are computed, ``(b, n_features)``."""


class LogitsOutput(NamedTuple):
    """Output of a network with several numbers per case."""

    logits: Tensor
    """``(b, n_outputs)``: what they mean is the objective's matter."""

    features: Tensor
    """Deep features from which the logits are computed, ``(b, n_features)``."""
