"""Comparator of MTDLR: radiomics of the manual mask, with clinical columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.model_selection import PredefinedSplit
from sklearn.utils._param_validation import HasMethods

from survimg.cohort import Cohort
from survimg.estimators.mtdlr.score_cox import ScoreCox, default_radiomics_model
from survimg.radiomics import RadiomicsFeatures

__all__ = ["ManualRadiomicsCox"]


class ManualRadiomicsCox(ScoreCox):
    """Cox model on clinical columns and a radiomics score of the cohort's own tumour masks.

    The comparator "ManualRadio + TNM" of the MTDLR study: what MTDLR does without a network, with
    a mask drawn for every patient, the new ones included.

    Parameters
    ----------
    extractor : transformer, optional
        Cohort to features; by default ``RadiomicsFeatures()``, which refuses patients without a
        mask. It must learn nothing from the patients.
    radiomics_model : survival estimator, optional
        By default median imputation and ``LassoCox()``.

    Attributes
    ----------
    cox_, training_scores_, training_covariates_, training_risk_, training_flags_, selection_
        As in `MTDLR`.
    radiomics_model_ : estimator
        Fitted on all training patients.
    measured_on_ : {"finer voxels", "cohort's voxels"}
        Which voxels the extractor measured: `Cohort.finer` where the cohort has one.

    References
    ----------
    Gu B, Meng M, Xu M, et al. Eur J Nucl Med Mol Imaging 2023.
    """

    score_names: ClassVar[tuple[str, ...]] = ("ManualRadio-Score",)

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **ScoreCox._parameter_constraints,
        "extractor": [HasMethods(["fit", "transform"]), None],
        "radiomics_model": [HasMethods(["fit", "predict"]), None],
    }

    def __init__(
        self,
        *,
        extractor: Any = None,
        radiomics_model: Any = None,
        clinical_columns: Sequence[str] | None = None,
        scores: str = "out-of-fold",
        cv: int | Any = 5,
        significance: float | None = None,
        alpha: float = 0.0,
        random_state: int | np.random.RandomState | None = None,
        n_jobs: int | None = None,
    ) -> None:
        self.extractor = extractor
        self.radiomics_model = radiomics_model
        self.clinical_columns = clinical_columns
        self.scores = scores
        self.cv = cv
        self.significance = significance
        self.alpha = alpha
        self.random_state = random_state
        self.n_jobs = n_jobs

    @property
    def radiomics_model_(self) -> Any:
        """The model of radiomic features that serves new patients."""
        return self._radio.estimator_

    @property
    def measured_on_(self) -> str:
        """Which voxels the extractor measured."""
        return str(self._extractor.measured_on_)

    def _fit_scores(
        self,
        cohort: Cohort,
        y: np.ndarray,
        folds: PredefinedSplit,
        seed: int,  # noqa: ARG002
    ) -> pd.DataFrame:
        extractor = RadiomicsFeatures() if self.extractor is None else clone(self.extractor)
        self._extractor = extractor.fit(cohort)
        features = self._extractor.transform(cohort)
        model = self.radiomics_model
        if model is None:
            model = default_radiomics_model()
        self._radio, risk = self._features_for_training(model, "predict", features, y, folds)
        return risk.set_axis(list(self.score_names), axis=1)

    def _scores(self, cohort: Cohort) -> pd.DataFrame:
        risk = self._radio.transform(self._extractor.transform(cohort))
        return risk.set_axis(list(self.score_names), axis=1)
