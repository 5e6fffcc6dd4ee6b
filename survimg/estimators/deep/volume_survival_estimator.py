"""Survival estimators over volumes: clinical columns, risk, deep features; the Cox family."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import TransformerMixin
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from survimg.cohort import Cohort, as_cohort
from survimg.estimators.base import VolumeHazardsMixin, cohort_and_outcome
from survimg.estimators.deep.volume_estimator import VolumeEstimator, to_float64
from survimg.evaluation.concordance import concordance_index
from survimg.features.clinical import ClinicalFeatures
from survimg.losses.cox import Ties
from survimg.survival.standardisation import is_constant
from survimg.target import make_outcome
from survimg.training.batches import Patients, Targets
from survimg.training.cox_term import cox_term
from survimg.training.failed_fit import unchanged_on_failure
from survimg.training.objective import Objective
from survimg.training.parameters import TrainingParameters

__all__ = ["CoxVolumeEstimator", "VolumeSurvivalEstimator"]

Self = TypeVar("Self", bound="VolumeSurvivalEstimator")


@dataclass(kw_only=True, eq=False, repr=False)
class VolumeSurvivalEstimator(TransformerMixin, VolumeEstimator):
    """Base of the survival estimators that train a network on volumes.

    A subclass defines the risk of an output of its network, and what is learned for survival
    curves.

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
    training_outcome_ : structured array of shape (n,)
        The outcome that the model was fitted on.
    """

    # Without metadata routing these change nothing; with it, they save users set_fit_request.
    __metadata_request__fit = {"masks": True, "clinical": True}  # noqa: RUF012
    __metadata_request__predict = {"masks": True, "clinical": True}  # noqa: RUF012
    __metadata_request__transform = {"masks": True, "clinical": True}  # noqa: RUF012

    clinical_columns: Any = None

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **TrainingParameters._parameter_constraints,
        "clinical_columns": ["array-like", None],
    }

    @abstractmethod
    def _risk_of(self, output: Any) -> Tensor:
        """Risk in an output of the network, (b,), higher = earlier event."""

    @abstractmethod
    def _after_training(self, cohort: Cohort, event: np.ndarray, time: np.ndarray) -> None:
        """Learn what survival curves need."""

    def fit(
        self: Self,
        X: Cohort | npt.ArrayLike,
        y: npt.ArrayLike,
        *,
        masks: npt.ArrayLike | None = None,
        clinical: pd.DataFrame | npt.ArrayLike | None = None,
    ) -> Self:
        """Train the network; a fit that fails leaves the estimator as it was.

        Parameters
        ----------
        X : Cohort or array-like of shape (n, channels, z, y, x)
            Prepared volumes, all of one size.
        y : structured array of shape (n,)
            (event, time).
        masks : array-like of shape (n, z, y, x), optional
        clinical : DataFrame or array-like of shape (n, k), optional
            Both for plain arrays only; a cohort contains its own.

        Returns
        -------
        self
            The fitted estimator.

        Raises
        ------
        ValueError
            Invalid parameters or outcome, no event, a raw cohort; NaN voxels or an empty mask (the
            message names the patient).
        FloatingPointError
            Training diverged.
        """
        self._validate_params()
        cohort, event, time = cohort_and_outcome(X, y, masks, clinical)
        with unchanged_on_failure(self):
            self._train(cohort, event, time)
            self._after_training(cohort, event, time)
        return self

    def predict(
        self,
        X: Cohort | npt.ArrayLike,
        *,
        masks: npt.ArrayLike | None = None,
        clinical: pd.DataFrame | npt.ArrayLike | None = None,
    ) -> np.ndarray:
        """Predict the risk; **higher = earlier event**.

        Parameters
        ----------
        X : Cohort or array-like of shape (n, channels, z, y, x)
        masks : array-like of shape (n, z, y, x), optional
            For plain arrays, if the network uses masked images.
        clinical : DataFrame or array-like of shape (n, k), optional
            For plain arrays, if clinical columns were given to `fit`.

        Returns
        -------
        ndarray of shape (n,), float64
            For a Cox model a log-hazard ratio up to a constant; for a discrete-time model the
            probability of the event by `risk_horizon_`.
        """
        check_is_fitted(self, "net_")
        return self._predict_risk(self._patients(X, masks=masks, clinical=clinical))

    def fit_transform(
        self,
        X: Cohort | npt.ArrayLike,
        y: npt.ArrayLike,
        *,
        masks: npt.ArrayLike | None = None,
        clinical: pd.DataFrame | npt.ArrayLike | None = None,
    ) -> np.ndarray:
        """Train the network, and return the deep features of its training patients.

        Parameters
        ----------
        X, y, masks, clinical
            As in `fit`.

        Returns
        -------
        ndarray of shape (n, n_features), float64
            As `transform` does.
        """
        beside = {"masks": masks, "clinical": clinical}
        beside = {name: value for name, value in beside.items() if value is not None}
        return self.fit(X, y, **beside).transform(X, **beside)

    def transform(
        self,
        X: Cohort | npt.ArrayLike,
        *,
        masks: npt.ArrayLike | None = None,
        clinical: pd.DataFrame | npt.ArrayLike | None = None,
    ) -> np.ndarray:
        """Return the deep features, from which the network's last layers compute the risk.

        Features of training patients predict better than those of new patients; train a
        second model on out-of-fold features (`survimg.estimators.OutOfFold`).

        Parameters
        ----------
        X, masks, clinical
            As in `predict`.

        Returns
        -------
        ndarray of shape (n, n_features), float64
            A DataFrame with ``set_output(transform="pandas")``.
        """
        check_is_fitted(self, "net_")
        patients = self._patients(X, masks=masks, clinical=clinical)
        return to_float64([output.features for output in self._outputs(patients)])

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:  # noqa: ARG002
        """Names of the deep features, such as ``dlpm_07``.

        Parameters
        ----------
        input_features : ignored
            For scikit-learn's interface.
        """
        check_is_fitted(self, "net_")
        module = self.net_.module_
        names = getattr(module, "feature_names", None)
        if names is None:
            names = [f"{k:02d}" for k in range(module.n_features)]
        prefix = type(self).__name__.lower()
        return np.array([f"{prefix}_{name}" for name in names], dtype=object)

    def _predict_risk(self, patients: Patients) -> np.ndarray:
        return to_float64([self._risk_of(output) for output in self._outputs(patients)])

    def _validation(self, patients: Patients) -> tuple[str, Callable[[nn.Module], float]]:
        outcome = make_outcome(patients.event, patients.time)
        try:
            concordance_index(outcome, np.zeros(len(patients)))
        except ValueError as error:
            raise ValueError(
                f"validation_fraction={self.validation_fraction} holds out {len(patients)} "
                f"patients, no two of which can be compared. {error}"
            ) from error

        def score(module: nn.Module) -> float:
            risks = [self._risk_of(output) for output in self._forward(module, patients)]
            return concordance_index(outcome, to_float64(risks))

        return "validation_c_index", score

    def _encode_training(
        self,
        cohort: Cohort,
        event: np.ndarray,  # noqa: ARG002
        time: np.ndarray,  # noqa: ARG002
        train: np.ndarray,
        seed: int,  # noqa: ARG002
    ) -> np.ndarray:
        before = self.clinical_names_in_ if self._goes_on else None
        encoded = self._encode_clinical(cohort, train)
        if before not in (None, self.clinical_names_in_):
            raise ValueError(
                f"warm_start=True, but the encoded clinical columns are {self.clinical_names_in_} "
                f"now and were {before} in the previous fit, whose weights do not fit them. Fit "
                "with warm_start=False."
            )
        return encoded

    def _encode_clinical(self, cohort: Cohort, train: np.ndarray) -> np.ndarray:
        columns = self.clinical_columns
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

    def _patients(
        self,
        X: Cohort | npt.ArrayLike,
        *,
        masks: npt.ArrayLike | None = None,
        clinical: pd.DataFrame | npt.ArrayLike | None = None,
    ) -> Patients:
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


@dataclass(frozen=True)
class _CoxTerm:
    """Cox loss of a batch, for networks whose output has ``risk`` of shape (b,)."""

    ties: Ties
    term_names = ("cox",)
    needs_masks = False

    def __call__(self, _net: Any, output: Any, targets: Targets) -> dict[str, Tensor]:
        return {"cox": cox_term(output.risk, targets, self.ties)}


@dataclass(kw_only=True, eq=False, repr=False)
class CoxVolumeEstimator(VolumeHazardsMixin, VolumeSurvivalEstimator):
    """Base of the networks with one log-hazard ratio and a Cox loss.

    Parameters
    ----------
    ties : {"breslow", "efron", "sorted"}, default="breslow"
        Risk sets of tied times; ``"sorted"`` as in the published DeepMTS code (see
        `survimg.losses.cox_loss`).
    """

    ties: Ties = "breslow"

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **VolumeSurvivalEstimator._parameter_constraints,
        "ties": [StrOptions({"breslow", "efron", "sorted"})],
    }

    def _make_objective(self, cohort: Cohort) -> Objective:  # noqa: ARG002
        return _CoxTerm(self.ties)

    def _risk_of(self, output: Any) -> Tensor:
        return output.risk

    def _after_training(self, cohort: Cohort, event: np.ndarray, time: np.ndarray) -> None:
        self._fit_baseline(self._predict_risk(self._patients(cohort)), event, time)
