"""A cohort as a dataset of torch, which is imported when a patient is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from pandas.api import types

from survimg.cohort.voxels import PatientVoxels

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["TorchCohort"]


class TorchCohort:
    """Patients as dicts of tensors; see `survimg.Cohort.to_torch_dataset`.

    Parameters
    ----------
    cohort : Cohort
    clinical : DataFrame or array-like of shape (n, k), optional
        Encoded clinical columns.

    Raises
    ------
    ValueError
        Clinical columns that are no numbers, or of another length.
    """

    def __init__(
        self, cohort: PatientVoxels, clinical: pd.DataFrame | npt.ArrayLike | None = None
    ) -> None:
        self._cohort = cohort
        if clinical is None and cohort.clinical is not None:
            text = [n for n, d in cohort.clinical.dtypes.items() if not types.is_numeric_dtype(d)]
            if text:
                raise ValueError(
                    f"The clinical columns {text} are no numbers; give them encoded "
                    "(clinical=ClinicalFeatures().fit(train).transform(cohort))."
                )
            clinical = cohort.clinical.astype("Float64").astype(np.float64)
        self._clinical = None if clinical is None else np.asarray(clinical, dtype=np.float32)
        if self._clinical is not None and self._clinical.shape[:1] != (len(cohort),):
            raise ValueError(
                f"clinical has shape {self._clinical.shape}; there are {len(cohort)} patients."
            )

    def __len__(self) -> int:
        return len(self._cohort)

    def __getitem__(self, i: int) -> dict[str, Tensor]:
        """Read one patient."""
        import torch  # `import survimg` must not load it

        if not 0 <= i < len(self):  # what ends a loop over a dataset
            raise IndexError(f"Patient {i} is out of range for {len(self)} patients.")
        cohort = self._cohort
        volume = np.array(cohort.volume(i))
        item: dict[str, Any] = {"volume": torch.from_numpy(volume)}
        if cohort.has_masks.any():
            there = bool(cohort.has_masks[i])
            mask = np.array(cohort.mask(i)) if there else np.zeros(volume.shape[1:], np.uint8)
            item["mask"] = torch.from_numpy(mask[np.newaxis])
            item["has_mask"] = torch.tensor(there)
        if self._clinical is not None:
            item["clinical"] = torch.from_numpy(self._clinical[i].copy())
        if cohort.outcome is not None:
            item["time"] = torch.tensor(float(cohort.outcome["time"][i]), dtype=torch.float32)
            item["event"] = torch.tensor(bool(cohort.outcome["event"][i]))
        return item
