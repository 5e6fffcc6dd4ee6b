"""A fitted network as a plain torch module that returns the risk: for ONNX and `torch.export`."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from survimg.estimators.deep.volume_survival_estimator import VolumeSurvivalEstimator
from survimg.training.views import whole_volume

__all__ = ["RiskModule", "risk_module"]


class RiskModule(nn.Module):
    """A network with the standardisation of its clinical columns.

    Parameters
    ----------
    network : nn.Module
    objective : Objective
        Turns the network's output into the risk.
    mean, scale : ndarray of shape (k,)
        Of the encoded clinical columns of the training patients.
    """

    def __init__(self, network: nn.Module, objective: Any, mean: np.ndarray, scale: np.ndarray):
        super().__init__()
        self.network = network
        self.objective = objective
        self.mean = nn.Buffer(torch.tensor(mean, dtype=torch.float32))
        self.scale = nn.Buffer(torch.tensor(scale, dtype=torch.float32))

    def forward(self, volumes: Tensor, clinical: Tensor) -> Tensor:
        """Predict the risk, (b,), of volumes (b, channels, z, y, x) and encoded columns (b, k)."""
        return self.objective.risk(self.network(volumes, (clinical - self.mean) / self.scale))


def risk_module(estimator: VolumeSurvivalEstimator) -> RiskModule:
    """Return a fitted network as a torch module of its own.

    Parameters
    ----------
    estimator : fitted survival network over volumes
        Such as `DeepMTS` or `ImageSurvival`.

    Returns
    -------
    RiskModule
        In evaluation mode, on the CPU, sharing no memory with the estimator. Its inputs are
        volumes prepared as the training cohort was (``model.preparation_in_``), and clinical
        columns as ``model.clinical_encoder_`` encodes them (shape (1, 0) without any). Predict
        one patient at a time, as the estimator does, and export with one patient.

    Raises
    ------
    ValueError
        The network is given the mask or a slice instead of the whole volume.
    sklearn.exceptions.NotFittedError
    """
    check_is_fitted(estimator, "net_")
    if estimator._view() is not whole_volume:
        raise ValueError(
            f"This {type(estimator).__name__} is given a part of the volume by its mask (a slice, "
            "or masked_input=True), which a module without masks cannot do. Export a network over "
            "whole volumes."
        )
    n_columns = len(estimator.clinical_names_in_)
    learned = (estimator._clinical_mean, estimator._clinical_scale) if n_columns else ((), ())
    module = RiskModule(
        copy.deepcopy(estimator.net_.module_), estimator._objective, *map(np.asarray, learned)
    )
    # Plain memory: torch.export.save takes weights in the channels-last layout for parts of others.
    module = module.cpu().eval().requires_grad_(False)
    for weights in module.parameters():
        weights.data = weights.data.contiguous()
    return module
