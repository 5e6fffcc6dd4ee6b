"""Clinical columns beside the volumes: encoded and standardised on the training patients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from survimg.cohort import Cohort, as_cohort
from survimg.cohort.conversion import Clinical, Masks, Volumes
from survimg.estimators.deep.volume_estimator import VolumeEstimator
from survimg.features.clinical import ClinicalFeatures
from survimg.survival.standardisation import is_constant
from survimg.training.batches import Patients

__all__ = ["ClinicalVolumeEstimator"]


@dataclass(kw_only=True, eq=False, repr=False)
class ClinicalVolumeEstimator(VolumeEstimator):
    """Base of the estimators whose network takes clinical columns beside the volume.

    Parameters
    ----------
    clinical_columns : sequence of str, optional
        Clinical columns of the cohort that enter the network; None uses all, an empty list none.
        Encoded by `survimg.features.ClinicalFeatures` and standardised; learned from the training
        set.

    Attributes
    ----------
    clinical_encoder_ : ClinicalFeatures or None
        Encoding of the clinical columns, learned on the training set.
    clinical_names_in_ : tuple of str
        Encoded clinical columns, in the order in which the network takes them.
    """

    clinical_columns: Any = None

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "clinical_columns": ["array-like", None],
    }

    def _encode_training(
        self,
        cohort: Cohort,
        event: np.ndarray,
        time: np.ndarray,
        train: np.ndarray,
        seed: int,  # noqa: ARG002
    ) -> np.ndarray:
        before = self.clinical_names_in_ if self._goes_on else None
        columns = self._columns_to_encode(cohort, event, time, train)
        encoded = self._encode_clinical(cohort, train, columns)
        if before not in (None, self.clinical_names_in_):
            raise ValueError(
                f"warm_start=True, but the encoded clinical columns are {self.clinical_names_in_} "
                f"now and were {before} in the previous fit, whose weights do not fit them. Fit "
                "with warm_start=False."
            )
        return encoded

    def _columns_to_encode(
        self,
        cohort: Cohort,  # noqa: ARG002
        event: np.ndarray,  # noqa: ARG002
        time: np.ndarray,  # noqa: ARG002
        train: np.ndarray,  # noqa: ARG002
    ) -> Any:
        """Return the clinical columns of the network; None for all."""
        return self.clinical_columns

    def _encode_clinical(self, cohort: Cohort, train: np.ndarray, columns: Any) -> np.ndarray:
        if cohort.clinical is None or (columns is not None and len(columns) == 0):
            if columns is not None and len(columns) > 0:
                raise ValueError(
                    f"clinical_columns={list(columns)}, but the cohort has no clinical columns; "
                    "give Cohort(clinical=...), or clinical_columns=[]."
                )
            self.clinical_encoder_ = None
            self.clinical_names_in_: tuple[str, ...] = ()
            return np.zeros((len(cohort), 0), dtype=np.float32)
        self.clinical_encoder_ = ClinicalFeatures(clinical_columns=columns).fit(cohort[train])
        encoded = self.clinical_encoder_.transform(cohort)
        self.clinical_names_in_ = tuple(encoded.columns)
        learned = encoded.iloc[train]
        self._clinical_mean = learned.mean(axis=0)
        # A scale of 1 keeps columns finite that are constant in the training set.
        constant = is_constant(learned.to_numpy())
        self._clinical_scale = learned.std(axis=0, ddof=0).mask(constant, 1.0)
        return self._standardise(encoded)

    @property
    def _n_encoded(self) -> int:
        return len(self.clinical_names_in_)

    def _standardise(self, encoded: pd.DataFrame) -> np.ndarray:
        return ((encoded - self._clinical_mean) / self._clinical_scale).to_numpy(np.float32)

    def _patients(self, X: Volumes, *, masks: Masks = None, clinical: Clinical = None) -> Patients:
        """Check and encode the patients of a prediction."""
        cohort = as_cohort(X, masks, clinical)
        self._check_channels(cohort)
        if self.clinical_encoder_ is None:
            encoded = np.zeros((len(cohort), 0), dtype=np.float32)
        elif cohort.clinical is None:
            raise ValueError(
                f"This {type(self).__name__} was fitted with the clinical columns "
                f"{list(self.clinical_encoder_.columns_)}; X has none. Give "
                "Cohort(X, clinical=...), or with an array the keyword clinical=... ."
            )
        else:
            encoded = self._standardise(self.clinical_encoder_.transform(cohort))
        n = len(cohort)
        return Patients(cohort, encoded, np.zeros(n), np.zeros(n, dtype=bool), self._view())
