"""DeepSurv: a multilayer perceptron with a Cox loss, on tables of features."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted, validate_data

from survimg.compute.devices import MAX_THREADS, RandomStreams, isolated_torch
from survimg.estimators.base import ProportionalHazardsMixin
from survimg.losses import cox_loss
from survimg.nets.deepsurv import DeepSurvNet
from survimg.survival.standardisation import column_scale
from survimg.target import as_outcome, check_outcome
from survimg.training.failed_fit import unchanged_on_failure

__all__ = ["DeepSurv"]


class DeepSurv(ProportionalHazardsMixin, BaseEstimator):
    r"""Multilayer perceptron that predicts a log-hazard ratio from a table.

    The loss is the negative Cox partial likelihood of the whole training set (one step per epoch)
    plus :math:`\lambda \sum w^2` over the weights of the output layer. Columns are standardised
    with the training mean and standard deviation.

    Parameters
    ----------
    hidden : sequence of int, default=(32, 32)
        Units of the hidden layers.
    activation : {"selu", "relu"}, default="selu"
        SELU in all published runs.
    dropout : float, default=0.2
        After each hidden layer.
    learning_rate : float, default=1e-3
        Learning rate of Adam; constant, as in the published code, which never applies its decay.
    l2 : float, default=0.1
        Weight of the penalty on the output layer, as in the published code.
    n_iterations : int, default=500
        Full-batch steps (500 to 1500 in the published runs).
    n_threads : int, default=1
        Threads of torch; more do not speed up such small networks.
    random_state : int, RandomState instance or None, default=None
        Fixes initial weights and dropout; torch's global random state is not changed.

    Attributes
    ----------
    net_ : survimg.nets.deepsurv.DeepSurvNet
    history_ : DataFrame
        One row per epoch: ``epoch``, ``loss``, ``cox``, ``l2``.
    baseline_ : BreslowBaseline
    n_features_in_, feature_names_in_ : int, ndarray of shape (n_features,)

    Notes
    -----
    Deviation from the published code: its loss ignores ties (a tied patient who happens to be
    sorted first is missing from the risk set); here risk sets include ties, as in Breslow's
    equation. The DeepMTS paper does not state its hyper-parameters; the defaults are ours, to be
    tuned by an inner search.

    References
    ----------
    Katzman JL, Shaham U, Cloninger A, Bates J, Jiang T, Kluger Y. DeepSurv: personalized treatment
    recommender system using a Cox proportional hazards deep neural network. BMC Med Res Methodol
    18:24, 2018, eq. 4.
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "hidden": ["array-like"],
        "activation": [StrOptions({"selu", "relu"})],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "l2": [Interval(Real, 0, None, closed="left")],
        "n_iterations": [Interval(Integral, 1, None, closed="left")],
        "n_threads": [Interval(Integral, 1, MAX_THREADS, closed="both")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        *,
        hidden: Sequence[int] = (32, 32),
        activation: Literal["selu", "relu"] = "selu",
        dropout: float = 0.2,
        learning_rate: float = 1e-3,
        l2: float = 0.1,
        n_iterations: int = 500,
        n_threads: int = 1,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.hidden = hidden
        self.activation = activation
        self.dropout = dropout
        self.learning_rate = learning_rate
        self.l2 = l2
        self.n_iterations = n_iterations
        self.n_threads = n_threads
        self.random_state = random_state

    def fit(self, X: npt.ArrayLike, y: npt.ArrayLike) -> DeepSurv:
        """Train the network; a fit that fails leaves the estimator as it was.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n, n_features)
            Finite numbers.
        y : structured array of shape (n,)
            (event, time).

        Raises
        ------
        ValueError
            Invalid parameters, features or outcome, or no event.
        FloatingPointError
            Training diverged.
        """
        self._validate_params()
        with unchanged_on_failure(self):
            table = validate_data(self, X, dtype=np.float64, ensure_min_samples=2)
            event, time = check_outcome(
                as_outcome(y, X), n_patients=len(table), require_event=True
            )
            self._fit(table, event, time)
        return self

    def _fit(self, table: np.ndarray, event: np.ndarray, time: np.ndarray) -> None:
        self._mean = table.mean(axis=0)
        self._scale = column_scale(table)
        seed = check_random_state(self.random_state).randint(np.iinfo(np.int32).max)
        streams = RandomStreams.from_seed(seed)
        with isolated_torch(torch.device("cpu"), self.n_threads, streams.dropout_seed):
            self._train(self._standardised(table), event, time, streams.weights)
        self._fit_baseline(self._risk(table), event, time)

    def predict(self, X: npt.ArrayLike) -> np.ndarray:
        """Predict the risk, a log-hazard ratio up to a constant; **higher = earlier event**.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n, n_features)

        Returns
        -------
        ndarray of shape (n,), float64
        """
        check_is_fitted(self, "net_")
        return self._risk(validate_data(self, X, dtype=np.float64, reset=False))

    def _train(
        self, table: torch.Tensor, event: np.ndarray, time: np.ndarray, weights: torch.Generator
    ) -> None:
        net = self._make_module(weights)
        optimiser = torch.optim.Adam(net.parameters(), lr=self.learning_rate)
        times, events = torch.from_numpy(time), torch.from_numpy(event)
        rows = []
        for epoch in range(1, self.n_iterations + 1):
            cox = cox_loss(net(table).risk, times, events)
            l2 = self.l2 * net.l2_penalty()
            loss = cox + l2
            if not torch.isfinite(loss):
                raise FloatingPointError(
                    f"Training diverged in epoch {epoch}: Cox loss {cox.item()}, penalty "
                    f"{l2.item()}. Lower learning_rate."
                )
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            rows.append((epoch, loss.item(), cox.item(), l2.item()))
        self.history_ = pd.DataFrame(rows, columns=["epoch", "loss", "cox", "l2"])
        self.net_ = net.eval()

    def _make_module(self, weights: torch.Generator) -> DeepSurvNet:
        return DeepSurvNet(
            self.n_features_in_,
            tuple(self.hidden),
            activation=self.activation,
            dropout=self.dropout,
            generator=weights,
        ).double()

    def _build_network(self) -> None:
        """Make `net_` without its trained weights, which are then loaded from a model file."""
        self.net_ = self._make_module(torch.Generator()).eval()

    def _standardised(self, table: np.ndarray) -> torch.Tensor:
        return torch.from_numpy((table - self._mean) / self._scale)

    def _risk(self, table: np.ndarray) -> np.ndarray:
        with isolated_torch(torch.device("cpu"), self.n_threads), torch.inference_mode():
            risk: np.ndarray = self.net_(self._standardised(table)).risk.numpy().copy()
        return risk
