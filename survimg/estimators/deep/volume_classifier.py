"""Estimators over volumes that learn labels of two classes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import expit, logit
from sklearn.base import ClassifierMixin
from sklearn.metrics import roc_auc_score
from sklearn.utils.validation import check_is_fitted, column_or_1d
from torch import nn

from survimg.cohort import Cohort, as_cohort
from survimg.estimators.deep.volume_estimator import VolumeEstimator, to_float64
from survimg.training.batches import Patients
from survimg.training.failed_fit import unchanged_on_failure
from survimg.training.objective import Objective
from survimg.training.objectives import Classification

__all__ = ["VolumeClassifier"]

Self = TypeVar("Self", bound="VolumeClassifier")


@dataclass(kw_only=True, eq=False, repr=False)
class VolumeClassifier(ClassifierMixin, VolumeEstimator):
    """Base of the classifiers of two labels that train a network on volumes.

    The loss is the binary cross-entropy; the validation score is the AUC.

    Attributes
    ----------
    classes_ : ndarray of shape (2,)
        Sorted labels; the second one is the event.
    prevalence_ : float
        Share of the second class among the training patients.

    Notes
    -----
    Balanced batches teach the odds at equal shares; `decision_function` and `predict_proba` put the
    training prevalence back (King & Zeng, Political Analysis 9:137-163, 2001).
    """

    # Without metadata routing these change nothing; with it, they save users set_fit_request.
    __metadata_request__fit = {"masks": True, "clinical": True}  # noqa: RUF012
    __metadata_request__predict = {"masks": True, "clinical": True}  # noqa: RUF012
    __metadata_request__predict_proba = {"masks": True, "clinical": True}  # noqa: RUF012
    __metadata_request__decision_function = {"masks": True, "clinical": True}  # noqa: RUF012

    def fit(
        self: Self,
        X: Cohort | npt.ArrayLike,
        y: npt.ArrayLike,
        *,
        masks: npt.ArrayLike | None = None,
        clinical: pd.DataFrame | npt.ArrayLike | None = None,
    ) -> Self:
        """Train the network.

        Parameters
        ----------
        X : Cohort or array-like of shape (n, channels, z, y, x)
            Prepared volumes, all of one size.
        y : array-like of shape (n,)
            Labels of two classes.
        masks, clinical : optional
            For plain arrays only.

        Raises
        ------
        ValueError
            Invalid parameters, not two classes, a structured outcome, mismatched lengths; NaN
            voxels (the message names the patient).
        """
        self._validate_params()
        cohort = as_cohort(X, masks, clinical)
        if np.asarray(y).dtype.names is not None:
            raise ValueError(
                f"{type(self).__name__} learns labels; y is an outcome (event, time). Make labels "
                "of it (patients censored before the horizon have none), or use a survival "
                "estimator such as FusionSurvival or ImageSurvival."
            )
        labels = column_or_1d(y)
        if len(labels) != len(cohort):
            raise ValueError(f"X has {len(cohort)} patients and y {len(labels)} labels.")
        classes = np.unique(labels)
        if len(classes) != 2:
            raise ValueError(
                f"{type(self).__name__} needs labels of two classes; y holds {len(classes)} "
                f"class(es): {classes[:5].tolist()}."
            )
        event = labels == classes[1]
        with unchanged_on_failure(self):
            self.classes_ = classes
            self.prevalence_ = float(event.mean())
            self._train(cohort, event, np.zeros(len(cohort)))
        return self

    def decision_function(
        self,
        X: Cohort | npt.ArrayLike,
        *,
        masks: npt.ArrayLike | None = None,
        clinical: pd.DataFrame | npt.ArrayLike | None = None,
    ) -> np.ndarray:
        """Return the log-odds of the second class, float64 (n,)."""
        check_is_fitted(self, "net_")
        patients = self._patients(X, masks=masks, clinical=clinical)
        learned = to_float64([output.risk for output in self._outputs(patients)])
        if not self.balanced or self.balanced == "weighted":
            return learned
        share = ((self.batch_size + 1) // 2) / self.batch_size
        return learned + float(logit(self.prevalence_) - logit(share))

    def predict_proba(
        self,
        X: Cohort | npt.ArrayLike,
        *,
        masks: npt.ArrayLike | None = None,
        clinical: pd.DataFrame | npt.ArrayLike | None = None,
    ) -> np.ndarray:
        """Return the probability of each class, (n, 2), in the order of `classes_`."""
        second = expit(self.decision_function(X, masks=masks, clinical=clinical))
        return np.column_stack([1 - second, second])

    def predict(
        self,
        X: Cohort | npt.ArrayLike,
        *,
        masks: npt.ArrayLike | None = None,
        clinical: pd.DataFrame | npt.ArrayLike | None = None,
    ) -> np.ndarray:
        """Return the more probable label of each patient."""
        positive = self.decision_function(X, masks=masks, clinical=clinical) > 0
        return self.classes_[positive.astype(int)]

    def _make_objective(self, cohort: Cohort) -> Objective:  # noqa: ARG002
        return Classification()

    def _validation(self, patients: Patients) -> tuple[str, Callable[[nn.Module], float]]:
        if patients.event.all() or not patients.event.any():
            raise ValueError(
                f"validation_fraction={self.validation_fraction} holds out patients of one class."
            )

        def score(module: nn.Module) -> float:
            risks = to_float64([output.risk for output in self._forward(module, patients)])
            return float(roc_auc_score(patients.event, risks))

        return "validation_auc", score

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        return tags
