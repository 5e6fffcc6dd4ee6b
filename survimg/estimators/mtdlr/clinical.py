"""Comparator of MTDLR: the clinical columns alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import pandas as pd
from sklearn.model_selection import PredefinedSplit

from survimg.cohort import Cohort
from survimg.estimators.mtdlr.score_cox import ScoreCox

__all__ = ["ClinicalCox"]


class ClinicalCox(ScoreCox):
    """Cox model on clinical columns: what a clinician knows without an image.

    The row "TNM" of the MTDLR study. `ClinicalVolumeCox` adds the size of the tumour.

    Attributes
    ----------
    cox_, training_covariates_, training_risk_, training_flags_, selection_
        As in `MTDLR`. Nothing is learned before the Cox model, so that `training_risk_` equals
        ``predict`` on the training patients.

    References
    ----------
    Gu B, Meng M, Xu M, et al. Eur J Nucl Med Mol Imaging 2023.
    """

    score_names: ClassVar[tuple[str, ...]] = ()

    # What the base class asks of estimators with scores.
    scores = "out-of-fold"
    cv = None
    random_state = None
    n_jobs = None

    def __init__(
        self,
        *,
        clinical_columns: Sequence[str] | None = None,
        significance: float | None = None,
        alpha: float = 0.0,
    ) -> None:
        self.clinical_columns = clinical_columns
        self.significance = significance
        self.alpha = alpha

    def _folds(self, cohort: Cohort, y: Any, seed: int | None) -> PredefinedSplit:  # noqa: ARG002
        return PredefinedSplit([-1] * len(cohort))  # nobody is tested: there is nothing to learn

    def _fit_scores(
        self,
        cohort: Cohort,
        y: Any,  # noqa: ARG002
        folds: PredefinedSplit,  # noqa: ARG002
        seed: int,  # noqa: ARG002
    ) -> pd.DataFrame:
        return self._scores(cohort)

    def _scores(self, cohort: Cohort) -> pd.DataFrame:
        return pd.DataFrame(index=pd.RangeIndex(len(cohort)))
