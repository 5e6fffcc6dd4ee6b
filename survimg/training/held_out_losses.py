"""The terms of the loss on held-out patients, beside those of training."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from skorch import NeuralNet
from skorch.callbacks import Callback
from torch import nn

from survimg.training.batches import BatchSampler, Patients
from survimg.training.objective import Objective

__all__ = ["HeldOutLosses"]

_EACH_PATIENT = 4  # times that a patient is drawn, on average


class HeldOutLosses(Callback):
    """Terms of an objective on held-out patients, in batches drawn as those of training.

    Columns ``validation_<term>`` of the history, unless the score is named so. These are the curves
    of the DeepMTS paper's Fig. 5 to 7.

    The Cox loss of a batch grows with its risk sets, so that a loss of all held-out patients at
    once could not be compared with that of training. The batches are drawn once and are the same in
    every epoch.

    Parameters
    ----------
    patients : Patients
    objective : Objective
    batch_size : int
    balanced : bool or "weighted"
    seed : int
    score : str
        Column of the score of these patients, which stays the score's.
    """

    def __init__(
        self,
        patients: Patients,
        objective: Objective,
        batch_size: int,
        balanced: bool | Literal["weighted"],
        seed: int,
        score: str,
    ) -> None:
        self._patients = patients
        # One that counts its calls must not count these.
        self._objective = copy.deepcopy(objective)
        sampler = BatchSampler(
            patients.event, batch_size, balanced, np.random.default_rng(seed)
        )
        self._weights, self._n_events = sampler.weights, sampler.n_events
        n = max(1, math.ceil(_EACH_PATIENT * len(patients) / batch_size))
        self._batches = [sampler.draw() for _ in range(n)]
        self._score = score
        self._measured: dict[str, float] = {}

    def on_epoch_end(self, net: NeuralNet, **_: Any) -> None:
        """Write what was measured last into the history."""
        for name, value in self._measured.items():
            net.history.record(name, value)

    def measure(self, net: nn.Module, outputs: Sequence[Any]) -> None:
        """Measure the mean of each term over the batches.

        Parameters
        ----------
        net : torch.nn.Module
        outputs : sequence of named tuple
            What it gives of each patient alone, in evaluation mode.
        """
        sums = dict.fromkeys(self._objective.term_names, 0.0)
        with torch.no_grad():
            for drawn in self._batches:
                terms = self._objective(net, _joined(outputs, drawn), self._targets(drawn, outputs))
                for name in sums:
                    sums[name] += float(terms[name])
        means = {f"validation_{name}": total / len(self._batches) for name, total in sums.items()}
        means.pop(self._score, None)
        self._measured = means

    def _targets(self, drawn: np.ndarray, outputs: Sequence[Any]) -> Any:
        device = next(part.device for part in outputs[0] if part is not None)
        targets = self._patients.targets(drawn, device)._replace(n_events=self._n_events)
        if self._weights is None:
            return targets
        return targets._replace(weight=torch.from_numpy(self._weights[drawn]).to(device))


def _joined(outputs: Sequence[Any], drawn: np.ndarray) -> Any:
    """Put outputs of single patients together, as the network would give them of a batch."""
    parts = zip(*(outputs[i] for i in drawn), strict=True)
    return type(outputs[0])(*(None if part[0] is None else torch.cat(part) for part in parts))
