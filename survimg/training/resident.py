"""Volumes that stay on the GPU, because reading them again would take longer than a step."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from survimg.training.batches import Patients, Targets

__all__ = ["ResidentPatients", "resident_if_they_fit"]

#: Largest share of a GPU's free memory that volumes may take; the rest is for the network.
SHARE = 0.25


class ResidentPatients:
    """Patients whose volumes and masks are kept on the device once they have been read.

    Gives what `Patients` gives.

    Parameters
    ----------
    patients : Patients
    device : torch.device
    """

    def __init__(self, patients: Patients, device: torch.device) -> None:
        self._patients = patients
        n, shape = len(patients), patients.view(patients.cohort, 0).shape
        self._there = np.zeros(n, dtype=bool)
        self._volumes = torch.empty((n, *shape), device=device)
        self._masks = None
        if patients.with_masks:
            size = (n, *patients.cohort.shape[2:])
            self._masks = torch.empty(size, dtype=torch.uint8, device=device)

    def __len__(self) -> int:
        return len(self._patients)

    def inputs(self, positions: np.ndarray, device: torch.device) -> dict[str, Tensor]:
        """Return volumes and clinical values, as `Patients.inputs` does."""
        rows = self._read(positions, device)
        clinical = torch.from_numpy(self._patients.clinical[positions]).to(device)
        return {"volumes": self._volumes[rows], "clinical": clinical}

    def targets(self, positions: np.ndarray, device: torch.device) -> Targets:
        """Return outcome and masks, as `Patients.targets` does."""
        rows = self._read(positions, device)
        targets = self._patients.outcomes(positions, device)
        if self._masks is None:
            return targets
        return targets._replace(masks=self._masks[rows].float())

    def _read(self, positions: np.ndarray, device: torch.device) -> Tensor:
        """Bring to the device what is not there yet; return the positions on the device."""
        missing = np.unique(positions[~self._there[positions]])
        if len(missing):
            rows = torch.from_numpy(missing).to(device)
            self._volumes[rows] = self._patients.inputs(missing, device)["volumes"]
            if self._masks is not None:
                masks = self._patients.masks(missing)
                self._masks[rows] = torch.from_numpy(masks).to(device)
            self._there[missing] = True
        return torch.from_numpy(positions).to(device)


def resident_if_they_fit(patients: Patients, device: torch.device) -> Patients | ResidentPatients:
    """Keep the patients on a GPU that has room for them; on the CPU they are read when needed.

    Parameters
    ----------
    patients : Patients
    device : torch.device

    Returns
    -------
    Patients or ResidentPatients
        Batches are the same.
    """
    if device.type != "cuda":
        return patients
    voxels = patients.view(patients.cohort, 0).size
    n_bytes = 4 * voxels * len(patients)
    if patients.with_masks:
        n_bytes += int(np.prod(patients.cohort.shape[2:])) * len(patients)
    free, _ = torch.cuda.mem_get_info(device)
    return ResidentPatients(patients, device) if n_bytes <= SHARE * free else patients
