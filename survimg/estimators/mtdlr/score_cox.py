"""What MTDLR and its comparators share: out-of-fold scores, clinical columns, a final Cox model."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any, ClassVar, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.impute import SimpleImputer
from sklearn.model_selection import PredefinedSplit
from sklearn.pipeline import Pipeline
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from survimg.cohort import Cohort, as_cohort
from survimg.estimators.base import VolumeHazardsMixin, cohort_and_outcome
from survimg.estimators.compose.out_of_fold import OutOfFold
from survimg.estimators.mtdlr.few_covariates import fit_few_covariates, select_covariates
from survimg.estimators.tabular.lasso_cox import LassoCox
from survimg.features.clinical import ClinicalFeatures
from survimg.model_selection.inner_cv import make_inner_splitter
from survimg.preprocessing.agreement import preparation_of
from survimg.survival.standardisation import is_constant
from survimg.target import make_outcome
from survimg.training.inherited_docs import document_inherited_parameters

__all__ = ["ScoreCox", "default_radiomics_model"]

Self = TypeVar("Self", bound="ScoreCox")

_MISSING_MARK = "missingindicator_"


class ScoreCox(VolumeHazardsMixin, TransformerMixin, BaseEstimator):
    """Base class: a Cox model on clinical columns and on scores that other models give.

    A subclass says which scores there are, how they are learned, and what had to be replaced.

    Parameters
    ----------
    clinical_columns : sequence of str, optional
        Clinical columns of the final model, encoded by `survimg.features.ClinicalFeatures`; the
        MTDLR paper has the TNM stage. None (default) takes all of the cohort, which must then have
        some; an empty sequence none.
    scores : {"out-of-fold", "in-sample"}, default="out-of-fold"
        What the final model is fitted on. ``"in-sample"`` trains each model once and warns.
    cv : int or splitter, default=5
        Event-stratified folds, the same for all models behind the scores.
    significance : float, optional
        Keep the variables whose Wald p value is below it, alone and in the joint model of those, as
        the MTDLR paper does with 0.05. None (default) keeps all: selection makes the remaining
        coefficients too large.
    alpha : float, default=0.0
        Ridge penalty of the final model, for cohorts too small for an ordinary Cox model.
    random_state : int, RandomState or None, default=None
        Deals the patients to the folds, and starts the default network.
    n_jobs : int, optional
        Models trained at a time, of the ``cv`` + 1; None means 1 unless in a
        `joblib.parallel_config` context. Results do not depend on it (see `OutOfFold`).
    """

    # Without metadata routing these change nothing; with it, they save users set_fit_request.
    __metadata_request__fit = {"masks": True, "clinical": True}  # noqa: RUF012
    __metadata_request__predict = {"masks": True, "clinical": True}  # noqa: RUF012
    __metadata_request__transform = {"masks": True, "clinical": True}  # noqa: RUF012

    clinical_columns: Sequence[str] | None
    scores: str
    cv: Any
    significance: float | None
    alpha: float
    random_state: int | np.random.RandomState | None
    n_jobs: int | None

    #: Names of the scores, in the order of the final model.
    score_names: ClassVar[tuple[str, ...]]

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "clinical_columns": ["array-like", None],
        "scores": [StrOptions({"out-of-fold", "in-sample"})],
        "cv": "no_validation",  # checked where the splitter is made
        "significance": [Interval(Real, 0, 1, closed="right"), None],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "random_state": ["random_state"],
        "n_jobs": [Integral, None],
    }

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        document_inherited_parameters(cls)

    @abstractmethod
    def _fit_scores(
        self, cohort: Cohort, y: np.ndarray, folds: PredefinedSplit, seed: int
    ) -> pd.DataFrame:
        """Learn the models behind the scores; return the scores of the training patients."""

    @abstractmethod
    def _scores(self, cohort: Cohort) -> pd.DataFrame:
        """Scores of new patients, with columns `score_names` and perhaps others."""

    def fit(
        self: Self,
        X: Cohort | npt.ArrayLike,
        y: np.ndarray,
        *,
        masks: npt.ArrayLike | None = None,
        clinical: pd.DataFrame | npt.ArrayLike | None = None,
    ) -> Self:
        """Learn the scores, and the Cox model on them.

        Parameters
        ----------
        X : Cohort or array-like of shape (n, channels, z, y, x)
        y : structured array of shape (n,)
            (event, time).
        masks, clinical : optional
            With an array `X` only; a Cohort brings its own.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            Invalid parameters or outcome, fewer events than folds, no clinical columns where they
            are asked for, or a final Cox model without a maximum.

        Warns
        -----
        UserWarning
            ``scores="in-sample"``; patients whose region or score had to be replaced; a constant
            score.
        """
        self._validate_params()
        cohort, event, time = cohort_and_outcome(X, y, masks, clinical)
        y = make_outcome(event, time)
        if self.scores == "in-sample":
            warnings.warn(
                f"{type(self).__name__}(scores='in-sample') trains the final Cox model on scores "
                "of patients that the scoring models have seen: its weights and its training "
                "figures are inflated. Use scores='out-of-fold'.",
                UserWarning,
                stacklevel=2,
            )
        random = check_random_state(self.random_state)
        seed, network_seed = random.randint(np.iinfo(np.int32).max, size=2).tolist()
        folds = self._folds(cohort, y, None if self.random_state is None else seed)
        self.clinical_encoder_ = None
        if self.clinical_columns is None or len(self.clinical_columns) > 0:
            encoder = ClinicalFeatures(clinical_columns=self.clinical_columns)
            self.clinical_encoder_ = encoder.fit(cohort)
        # For the preparation of new patients; what measures images compares it by itself.
        self.channel_names_in_ = cohort.channel_names
        self.preparation_in_ = preparation_of(cohort)
        scores = self._fit_scores(cohort, y, folds, network_seed)
        self.training_scores_ = scores[list(self.score_names)]
        self.training_flags_ = self._flag(cohort, scores, stacklevel=3)
        self.training_covariates_ = self._covariates(cohort, self.training_scores_)
        self._fit_final(event, time)
        return self

    def predict(
        self,
        X: Cohort | npt.ArrayLike,
        *,
        masks: npt.ArrayLike | None = None,
        clinical: pd.DataFrame | npt.ArrayLike | None = None,
    ) -> np.ndarray:
        """Predict the log-hazard ratio to the mean covariates of the training patients.

        Parameters
        ----------
        X : Cohort or array-like of shape (n, channels, z, y, x)
        masks, clinical : optional
            With an array `X` only.

        Returns
        -------
        ndarray of shape (n,), float64
            Higher = earlier event.
        """
        check_is_fitted(self, "cox_")
        return self.cox_.log_hazard_ratio(self.covariates(X, masks=masks, clinical=clinical))

    def predict_survival_at(
        self,
        X: Cohort | npt.ArrayLike,
        times: npt.ArrayLike,
        *,
        masks: npt.ArrayLike | None = None,
        clinical: pd.DataFrame | npt.ArrayLike | None = None,
    ) -> np.ndarray:
        """Predict the probability of being free of the event beyond given horizons.

        Parameters
        ----------
        X : Cohort or array-like of shape (n, channels, z, y, x)
        times : float or array-like of shape (n_times,)
            Such as 36 and 60 months.
        masks, clinical : optional
            With an array `X` only.

        Returns
        -------
        ndarray of shape (n, n_times)

        Raises
        ------
        ValueError
            A horizon that is negative or beyond the last training event: nothing is known there.
        """
        check_is_fitted(self, "cox_")
        table = self.covariates(X, masks=masks, clinical=clinical)
        return self.cox_.survival(self.cox_.values(table), times)

    def transform(
        self,
        X: Cohort | npt.ArrayLike,
        *,
        masks: npt.ArrayLike | None = None,
        clinical: pd.DataFrame | npt.ArrayLike | None = None,
    ) -> pd.DataFrame:
        """Return the scores of new patients.

        Scores of the training patients look better here than they are; honest ones are in
        `training_scores_`.

        Parameters
        ----------
        X : Cohort or array-like of shape (n, channels, z, y, x)
        masks, clinical : optional
            With an array `X` only.

        Returns
        -------
        DataFrame of shape (n, n_scores)
            Higher = earlier event; columns as in `get_feature_names_out`.
        """
        check_is_fitted(self, "cox_")
        return self._new_scores(as_cohort(X, masks, clinical))

    def fit_transform(self, X: Cohort | npt.ArrayLike, y: np.ndarray) -> pd.DataFrame:
        """Fit, and return `training_scores_`: out-of-fold scores, unless asked otherwise.

        Parameters
        ----------
        X : Cohort or array-like
        y : structured array of shape (n,)

        Returns
        -------
        DataFrame of shape (n, n_scores)
        """
        return self.fit(X, y).training_scores_

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return the names of the scores; `input_features` is ignored."""
        del input_features
        return np.array(self.score_names, dtype=object)

    def covariates(
        self,
        X: Cohort | npt.ArrayLike,
        *,
        masks: npt.ArrayLike | None = None,
        clinical: pd.DataFrame | npt.ArrayLike | None = None,
    ) -> pd.DataFrame:
        """Return what the final Cox model is given: clinical columns and scores.

        Parameters
        ----------
        X, masks, clinical
            As in `predict`.

        Returns
        -------
        DataFrame of shape (n, n_covariates)
            A nomogram takes these values. Covariates that the final model left out are included.
        """
        check_is_fitted(self, "cox_")
        cohort = as_cohort(X, masks, clinical)
        return self._covariates(cohort, self._new_scores(cohort))

    def flags(
        self,
        X: Cohort | npt.ArrayLike,
        *,
        masks: npt.ArrayLike | None = None,
        clinical: pd.DataFrame | npt.ArrayLike | None = None,
    ) -> pd.DataFrame:
        """Say, patient by patient, what was missing and had to be replaced.

        Parameters
        ----------
        X, masks, clinical
            As in `predict`.

        Returns
        -------
        DataFrame indexed by patient
            ``imputed_clinical`` and ``absent_modalities`` (names, or ""), and ``region`` where a
            model measures one.
        """
        check_is_fitted(self, "cox_")
        cohort = as_cohort(X, masks, clinical)
        return self._flag_table(cohort, self._scores(cohort))

    # ------------------------------------------------------------------ fitting

    def _folds(self, cohort: Cohort, y: np.ndarray, seed: int | None) -> PredefinedSplit:
        """Folds as labels, so that all scores and clones use the same."""
        label = np.full(len(cohort), -1)
        for k, (_, test) in enumerate(make_inner_splitter(self.cv, seed).split(cohort, y)):
            if np.any(label[test] >= 0):
                raise ValueError("The folds of cv must test every patient exactly once.")
            label[test] = k
        if np.any(label < 0):
            raise ValueError("The folds of cv must test every patient exactly once.")
        return PredefinedSplit(label)

    def _features_for_training(
        self, model: Any, method: str, X: Any, y: np.ndarray, folds: PredefinedSplit
    ) -> tuple[OutOfFold, pd.DataFrame]:
        """Fit one source of scores; return it with the training patients' values."""
        source = OutOfFold(model, method=method, cv=folds, n_jobs=self.n_jobs)
        if self.scores == "out-of-fold":
            return source, source.fit_transform(X, y)
        return source, source.fit(X, y).transform(X)

    def _fit_final(self, event: np.ndarray, time: np.ndarray) -> None:
        table = self.training_covariates_
        constant = list(table.columns[is_constant(table.to_numpy())])
        if constant:
            warnings.warn(
                f"{', '.join(constant)}: constant over the {len(table)} training patients and left "
                "out of the final Cox model.",
                UserWarning,
                stacklevel=3,
            )
        table = table.drop(columns=constant)
        if table.shape[1] == 0:
            raise ValueError(
                "Every score and clinical column is constant over the training patients; there is "
                "nothing to fit a Cox model on."
            )
        self.selection_ = None
        if self.significance is not None:
            variables = self._variables(list(table.columns))
            self.selection_ = select_covariates(
                table, variables, event, time, self.significance, self.alpha
            )
            names = self.selection_.index[self.selection_["selected"]]
            table = table[[column for name in names for column in variables[name]]]
        self.cox_ = fit_few_covariates(table, event, time, self.alpha)
        self.training_risk_ = self.cox_.log_hazard_ratio(table)
        self._fit_baseline(self.training_risk_, event, time)

    def _variables(self, columns: list[str]) -> dict[str, list[str]]:
        """Columns of each variable; the levels of a categorical one belong together."""
        encoder = self.clinical_encoder_
        categorical = [] if encoder is None else list(encoder.references_)
        numeric = set() if encoder is None else set(encoder.columns_) - set(categorical)
        variables: dict[str, list[str]] = {}
        for column in columns:
            levels = [name for name in categorical if column.startswith(f"{name}_")]
            owners = [] if column in numeric else levels
            owner = max(owners, key=len) if owners else column
            variables.setdefault(owner, []).append(column)
        return variables

    def _covariates(self, cohort: Cohort, scores: pd.DataFrame) -> pd.DataFrame:
        if self.clinical_encoder_ is None:
            return scores
        encoded = self.clinical_encoder_.transform(cohort)
        # The flags name patients without a value. A covariate for missing values would become an
        # axis of the nomogram that depends on how a hospital keeps its records.
        marks = [name for name in encoded.columns if str(name).startswith(_MISSING_MARK)]
        return pd.concat([encoded.drop(columns=marks), scores], axis=1)

    def _new_scores(self, cohort: Cohort) -> pd.DataFrame:
        scores = self._scores(cohort)
        self._flag(cohort, scores, stacklevel=4)
        return scores[list(self.score_names)]

    # ------------------------------------------------------------------ what was replaced

    def _flag_table(self, cohort: Cohort, scores: pd.DataFrame) -> pd.DataFrame:  # noqa: ARG002
        imputed = [""] * len(cohort)
        if self.clinical_encoder_ is not None and cohort.clinical is not None:
            absent = cohort.clinical[self.clinical_encoder_.columns_].isna()
            imputed = [", ".join(map(str, absent.columns[row])) for row in absent.to_numpy()]
        names = np.array(cohort.channel_names)
        return pd.DataFrame(
            {
                "imputed_clinical": imputed,
                "absent_modalities": [", ".join(names[~row]) for row in cohort.present],
            },
            index=pd.Index(cohort.ids, name="patient"),
        )

    def _flag(self, cohort: Cohort, scores: pd.DataFrame, stacklevel: int) -> pd.DataFrame:
        """Make the flags and warn of regions that were replaced."""
        flags = self._flag_table(cohort, scores)
        if "region" in flags:
            replaced = flags.index[flags["region"] != "predicted"]
            if len(replaced):
                warnings.warn(
                    f"{len(replaced)} of {len(flags)} predicted masks are empty or too small to "
                    f"measure (patients {', '.join(replaced[:5])}"
                    f"{', ...' if len(replaced) > 5 else ''}); `flags` says what replaced each.",
                    UserWarning,
                    stacklevel=stacklevel,
                )
        return flags


def default_radiomics_model() -> Pipeline:
    """Median imputation, then Lasso-Cox with the penalty of the smallest deviance in 10 folds."""
    # A feature that is missing for all becomes constant, and the lasso leaves it out.
    return Pipeline(
        [
            ("impute", SimpleImputer(strategy="median", keep_empty_features=True)),
            ("model", LassoCox()),
        ]
    ).set_output(transform="pandas")
