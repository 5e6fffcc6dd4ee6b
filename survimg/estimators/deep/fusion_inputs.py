"""What the fusion network is given beside images: a table of numbers."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline

from survimg.cohort import Cohort
from survimg.features.clinical import ClinicalFeatures
from survimg.features.selection import ForestSelector, SpearmanFilter
from survimg.survival.standardisation import is_constant

__all__ = [
    "ClinicalEncoding",
    "Standardised",
    "selection_pipeline",
    "warn_of_missing_regions",
]


def selection_pipeline(
    extractor: Any, threshold: float, n_selected: int, n_trees: int, seed: int
) -> tuple[Any, Pipeline]:
    """Return the unfitted extractor, and imputing, correlation filter and forest selection."""
    select = Pipeline(
        [
            # Where a region or modality is missing; indicators take part in the selection.
            (
                "impute",
                SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True),
            ),
            ("filter", SpearmanFilter(threshold)),
            ("forest", ForestSelector(k=n_selected, n_estimators=n_trees, random_state=seed)),
        ]
    ).set_output(transform="pandas")
    return clone(extractor), select


class ClinicalEncoding:
    """`ClinicalFeatures`, and an indicator for missing levels of categorical columns too.

    Parameters
    ----------
    clinical_columns : sequence of str or None
    """

    def __init__(self, clinical_columns: Sequence[str] | None) -> None:
        self.features = ClinicalFeatures(clinical_columns=clinical_columns)

    def fit(self, cohort: Cohort) -> ClinicalEncoding:
        """Learn levels, medians and which columns have missing values."""
        self.features.fit(cohort)
        table = self._table(cohort)
        marked = {f"missingindicator_{name}" for name in table.columns[table.isna().any()]}
        marked -= set(self.features.get_feature_names_out())
        self.marked = [n for n in table.columns if f"missingindicator_{n}" in marked]
        return self

    def transform(self, cohort: Cohort) -> pd.DataFrame:
        """Encode; missing values are imputed as learned from the training patients."""
        encoded = self.features.transform(cohort)
        table = self._table(cohort)
        for name in self.marked:
            encoded[f"missingindicator_{name}"] = table[name].isna().to_numpy(float)
        return encoded

    def _table(self, cohort: Cohort) -> pd.DataFrame:
        assert cohort.clinical is not None  # `ClinicalFeatures` has refused it
        return cohort.clinical[self.features.columns_]


@dataclass(frozen=True)
class Standardised:
    """Mean and scale of a table's columns over the training patients."""

    mean: pd.Series
    scale: pd.Series

    @classmethod
    def learn(cls, table: pd.DataFrame) -> Standardised:
        """Learn both; a constant column keeps scale 1."""
        scale = table.std(axis=0, ddof=0).mask(is_constant(table.to_numpy()), 1.0)
        return cls(table.mean(axis=0), scale)

    def __call__(self, table: pd.DataFrame) -> np.ndarray:
        """Return the standardised table, float32."""
        return ((table - self.mean) / self.scale).to_numpy(np.float32)


def warn_of_missing_regions(cohort: Cohort, *, refuse: bool = True) -> None:
    """Warn of patients without a tumour mask, or with an empty one; refuse if all are (in `fit`).

    Raises
    ------
    ValueError
        Nobody has a tumour mask.
    """
    masked = cohort.has_masks
    missing = [
        str(cohort.ids[i]) for i in range(len(cohort)) if not (masked[i] and cohort.mask(i).any())
    ]
    if refuse and len(missing) == len(cohort):
        raise ValueError(
            "None of the patients has a tumour mask; the image and radiomics branches need one. "
            "Give Cohort(masks=...), or branches=[\"clinical\"]."
        )
    if missing:
        warnings.warn(
            f"{len(missing)} patient(s) have no tumour mask or an empty one: "
            f"{', '.join(missing[:5])}. Their image features are zero, and their radiomic features "
            "the training medians.",
            UserWarning,
            stacklevel=4,
        )
