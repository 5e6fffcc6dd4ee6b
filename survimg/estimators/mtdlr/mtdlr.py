"""MTDLR: multi-task deep learning, radiomics of the predicted mask, and a clinical Cox model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.model_selection import PredefinedSplit
from sklearn.utils._param_validation import HasMethods
from sklearn.utils.validation import check_is_fitted

from survimg.cohort import Cohort, as_cohort
from survimg.estimators.deep.deepmts import DeepMTS
from survimg.estimators.mtdlr.region import NetworkScoreAndRadiomics, RegionSource
from survimg.estimators.mtdlr.score_cox import ScoreCox, default_radiomics_model
from survimg.radiomics import RadiomicsFeatures

__all__ = ["MTDLR"]

_REGION_TEXT = {
    RegionSource.PREDICTED: "predicted",
    RegionSource.MOST_PROBABLE: "most probable voxels",
    RegionSource.NONE: "none: features imputed",
}


class MTDLR(ScoreCox):
    """Multi-task deep-learning radiomic model of Gu, Meng et al., one estimator over a cohort.

    1. A multi-task network gives each patient a risk (DeepMTS-Score) and a tumour mask.
    2. Radiomic features of the *predicted* mask enter a Lasso-Cox model (AutoRadio-Score).
    3. A Cox model joins clinical columns with both scores. It is what a nomogram draws.

    The paper does not say which scores its final model was fitted on. Networks and lasso models
    score their own training patients too well, so that a final model of in-sample scores gives them
    too much weight.
    Here the final model is fitted on *out-of-fold* scores: the network and its mask come from
    training without the patient's fold, and so does the Lasso-Cox model; for new patients all are
    fitted on everybody. The network is trained `cv` + 1 times.

    Parameters
    ----------
    estimator : estimator, optional
        The network: has ``predict`` and ``predict_mask_proba``. By default ``DeepMTS()`` without
        clinical columns, which enter the last step. Give it an integer
        ``random_state``; networks that start from different weights give scores that differ more.
    extractor : transformer, optional
        Cohort to features, with a parameter ``mask_from``. By default
        ``RadiomicsFeatures(on_empty_mask="nan")``.
    radiomics_model : survival estimator, optional
        Table of features (NaN where there is no region or no modality) to risk. By default median
        imputation and ``LassoCox()``.

    Attributes
    ----------
    cox_ : FewCovariatesCox
        The final model; ``cox_.summary()`` is its table, and
        `survimg.evaluation.nomogram.Nomogram` takes it.
    training_scores_, training_covariates_ : DataFrame of n rows
        What the final model was fitted on.
    training_risk_ : ndarray of shape (n,)
        Its risk of the training patients. Use it for figures on the training cohort: ``predict``
        would score these patients with models that were fitted on them.
    training_flags_ : DataFrame indexed by patient
        See `flags`.
    selection_ : DataFrame or None
        p values behind `significance`.
    estimator_, radiomics_model_ : estimator
        Fitted on all training patients; they serve new ones.
    clinical_encoder_ : ClinicalFeatures or None
    unique_times_ : ndarray of shape (n_times,)

    Notes
    -----
    The Lasso-Cox model of a fold learns from masks of patients outside the fold, each predicted by
    a network that had not seen that patient, but may have seen patients of the fold. Removing that
    trace would take cv (cv - 1) / 2 more networks.

    The features of a predicted mask are measured on the cohort's own grid, where it is predicted,
    and not on `Cohort.finer`, which lies around the mask drawn by hand.

    A missing clinical value is imputed as learned on the training patients; a modality that a
    patient lacks is zero for the network, and its features are imputed; an empty predicted mask is
    replaced by the most probable voxels (`NetworkScoreAndRadiomics`), with a warning. `flags` lists
    all three.

    References
    ----------
    Gu B, Meng M, Xu M, et al. Multi-task deep learning-based radiomic nomogram for prognostic
    prediction in locoregionally advanced nasopharyngeal carcinoma. Eur J Nucl Med Mol Imaging 2023.

    Examples
    --------
    >>> from survimg.datasets import make_phantom_cohort
    >>> from survimg.estimators import MTDLR, DeepMTS
    >>> MTDLR(DeepMTS(random_state=0), clinical_columns=["stage"]).cv
    5
    """

    score_names: ClassVar[tuple[str, ...]] = ("AutoRadio-Score", "DeepMTS-Score")

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **ScoreCox._parameter_constraints,
        "estimator": [HasMethods(["fit", "predict", "predict_mask_proba"]), None],
        "extractor": [HasMethods(["fit", "transform", "set_params"]), None],
        "radiomics_model": [HasMethods(["fit", "predict"]), None],
    }

    def __init__(
        self,
        estimator: Any = None,
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
        self.estimator = estimator
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
    def estimator_(self) -> Any:
        """The network that serves new patients."""
        return self._deep.estimator_.estimator_

    @property
    def radiomics_model_(self) -> Any:
        """The model of radiomic features that serves new patients."""
        return self._radio.estimator_

    def predict_mask(self, X: Cohort | npt.ArrayLike) -> np.ndarray:
        """Return the regions that the radiomics are measured in.

        Parameters
        ----------
        X : Cohort or array-like of shape (n, channels, z, y, x)

        Returns
        -------
        ndarray of shape (n, z, y, x), uint8
            All zero without a predicted tumour.
        """
        check_is_fitted(self, "cox_")
        cohort, model = as_cohort(X), self._deep.estimator_
        return np.stack([model.region(cohort, i)[0] for i in range(len(cohort))])

    def _fit_scores(
        self, cohort: Cohort, y: np.ndarray, folds: PredefinedSplit, seed: int
    ) -> pd.DataFrame:
        estimator, extractor, model = self.estimator, self.extractor, self.radiomics_model
        if estimator is None:
            estimator = DeepMTS(clinical_columns=[], random_state=seed)
        if extractor is None:
            extractor = RadiomicsFeatures(on_empty_mask="nan")
        if model is None:
            model = default_radiomics_model()
        deep = NetworkScoreAndRadiomics(estimator, extractor)
        self._deep, table = self._features_for_training(deep, "transform", cohort, y, folds)
        if (table["source"] == RegionSource.NONE).all():
            raise ValueError(
                f"{type(estimator).__name__} predicts no region for any of the {len(cohort)} "
                "training patients, so that there is nothing to measure radiomics in. Train it "
                "longer, or give the training patients tumour masks."
            )
        features = table.drop(columns=["risk", "source"])
        self._radio, risk = self._features_for_training(model, "predict", features, y, folds)
        return self._score_table(table, risk["risk"])

    def _scores(self, cohort: Cohort) -> pd.DataFrame:
        table = self._deep.transform(cohort)
        risk = self._radio.transform(table.drop(columns=["risk", "source"]))
        return self._score_table(table, risk["risk"])

    def _score_table(self, table: pd.DataFrame, radio: pd.Series) -> pd.DataFrame:
        columns = (radio.to_numpy(), table["risk"].to_numpy(), table["source"].to_numpy())
        return pd.DataFrame(dict(zip((*self.score_names, "source"), columns, strict=True)))

    def _flag_table(self, cohort: Cohort, scores: pd.DataFrame) -> pd.DataFrame:
        flags = super()._flag_table(cohort, scores)
        return flags.assign(region=[_REGION_TEXT[RegionSource(int(s))] for s in scores["source"]])
