"""DeepSurv: a multilayer perceptron with a Cox output.

Reference
---------
Katzman JL, Shaham U, Cloninger A, Bates J, Jiang T, Kluger Y. DeepSurv: personalized treatment
recommender system using a Cox proportional hazards deep neural network. BMC Med Res Methodol
18:24, 2018.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from survimg.nets.layers import initialise, linear
from survimg.nets.outputs import RiskOutput

__all__ = ["DeepSurvNet"]

_ACTIVATIONS = {"selu": nn.SELU, "relu": nn.ReLU}


class DeepSurvNet(nn.Module):
    """Hidden layers with activation and dropout, then one linear output.

    Parameters
    ----------
    n_features : int
        Columns of the table; standardise them with the training mean and SD.
    hidden : sequence of int, default=(32, 32)
        Units of the hidden layers; the published models have one to three layers of equal width.
    activation : {"selu", "relu"}, default="selu"
        SELU in all published runs.
    dropout : float, default=0.2
        Plain (not alpha) dropout after each hidden layer.
    generator : torch.Generator, optional
        CPU generator for the initial weights (Glorot uniform, zero biases); torch's global
        generator if None.

    Raises
    ------
    ValueError
        Unknown `activation`, no column, or a hidden layer without units.
    """

    def __init__(
        self,
        n_features: int,
        hidden: Sequence[int] = (32, 32),
        *,
        activation: Literal["selu", "relu"] = "selu",
        dropout: float = 0.2,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if activation not in _ACTIVATIONS:
            raise ValueError(f"activation must be 'selu' or 'relu'; got {activation!r}.")
        if n_features < 1 or any(units < 1 for units in hidden):
            raise ValueError(
                "Every layer needs at least one unit; got "
                f"n_features={n_features}, hidden={tuple(hidden)}."
            )
        self.n_features = n_features
        layers: list[nn.Module] = []
        n_in = n_features
        for units in hidden:
            layers += [linear(n_in, units), _ACTIVATIONS[activation](), nn.Dropout(dropout)]
            n_in = units
        self.hidden = nn.Sequential(*layers)
        self.output = linear(n_in, 1)
        initialise(self, generator)

    def l2_penalty(self) -> Tensor:
        """Sum of squares of the output layer's kernel: all that the published code penalises."""
        return self.output.weight.square().sum()

    def forward(self, table: Tensor) -> RiskOutput:
        """Predict the risk from a table ``(b, n_features)``.

        Raises
        ------
        ValueError
            Another number of columns.
        """
        if table.ndim != 2 or table.shape[1] != self.n_features:
            raise ValueError(
                f"The network takes tables of shape (b, {self.n_features}); got "
                f"{tuple(table.shape)}."
            )
        with torch.autocast(table.device.type, enabled=False):
            features = self.hidden(table)
            return RiskOutput(self.output(features)[:, 0], features)
