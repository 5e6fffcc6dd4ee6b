"""Estimators over volumes that learn labels."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import softmax
from sklearn.base import ClassifierMixin
from sklearn.metrics import roc_auc_score
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d

from survimg.cohort import Cohort, as_cohort
from survimg.cohort.conversion import Clinical, Masks, Volumes
from survimg.estimators.deep.deep_features import DeepFeaturesMixin
from survimg.estimators.deep.volume_estimator import VolumeEstimator, to_float64
from survimg.training.batches import Patients, sizes_in_batch
from survimg.training.failed_fit import unchanged_on_failure
from survimg.training.objective import Objective
from survimg.training.objectives import Classification

__all__ = ["VolumeClassifier"]

Self = TypeVar("Self", bound="VolumeClassifier")


@dataclass(kw_only=True, eq=False, repr=False)
class VolumeClassifier(ClassifierMixin, DeepFeaturesMixin, VolumeEstimator):
    """Base of the classifiers that train a network on volumes.

    The loss is the cross-entropy; the validation score is the AUC, with more than two classes the
    mean over each class against the others.

    Parameters
    ----------
    objective : Classification, optional
        `survimg.training.Classification`; its `l2`, where it gives none, is that of the estimator,
        if it has one. None is ``Classification()``.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Sorted labels; of two, the second one is the event.
    prevalence_ : float, or ndarray of shape (n_classes,)
        Share of the second class among the training patients; with more than two, of each class.

    Notes
    -----
    Balanced batches teach the odds at equal shares; `decision_function` and `predict_proba` put the
    training prevalence back (King & Zeng, Political Analysis 9:137-163, 2001).
    """

    objective: Classification | None = None

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "objective": [Classification, None],
    }
    # As in `DeepFeaturesMixin`.
    __metadata_request__predict_proba = {"masks": True, "clinical": True}  # noqa: RUF012
    __metadata_request__decision_function = {"masks": True, "clinical": True}  # noqa: RUF012

    def fit(
        self: Self, X: Volumes, y: npt.ArrayLike, *, masks: Masks = None, clinical: Clinical = None
    ) -> Self:
        """Train the network.

        Parameters
        ----------
        X : Cohort or array-like of shape (n, channels, z, y, x)
            Prepared volumes, all of one size.
        y : array-like of shape (n,)
            Labels of two or more classes.
        masks, clinical : optional
            For plain arrays only.

        Raises
        ------
        ValueError
            Invalid parameters, a single class, labels that are missing or continuous, a structured
            outcome, mismatched lengths; NaN voxels (the message names the patient).
        """
        self._validate_params()
        cohort = as_cohort(X, masks, clinical)
        labels = self._checked_labels(y, cohort)
        with unchanged_on_failure(self):
            self.classes_, codes = np.unique(labels, return_inverse=True)
            if len(self.classes_) < 2:
                raise ValueError(
                    f"{type(self).__name__} needs labels of two classes or more; all patients have "
                    f"one class, {self.classes_.tolist()[0]!r}."
                )
            shares = np.bincount(codes) / len(codes)
            binary = len(self.classes_) == 2
            self.prevalence_ = float(shares[1]) if binary else shares
            self._train(cohort, codes == 1 if binary else codes, np.zeros(len(cohort)))
        return self

    def _checked_labels(self, y: npt.ArrayLike, cohort: Cohort) -> np.ndarray:
        if np.asarray(y).dtype.names is not None:
            raise ValueError(
                f"{type(self).__name__} learns labels; y is an outcome (event, time). Make labels "
                "of it (patients censored before the horizon have none), or use a survival "
                "estimator such as FusionSurvival or ImageSurvival."
            )
        labels = column_or_1d(y, warn=True)
        if len(labels) != len(cohort):
            raise ValueError(f"X has {len(cohort)} patients and y {len(labels)} labels.")
        if (missing := pd.isna(labels)).any():
            ids = ", ".join(cohort.ids[missing][:5])
            raise ValueError(f"{missing.sum()} patient(s) have no label: {ids}. Leave them out.")
        check_classification_targets(labels)
        return labels

    def decision_function(
        self, X: Volumes, *, masks: Masks = None, clinical: Clinical = None
    ) -> np.ndarray:
        """Return the log-odds of the second class, (n,), or a logit of each of more, (n, k)."""
        check_is_fitted(self, "net_")
        learned = self._scores(self._outputs(self._patients(X, masks=masks, clinical=clinical)))
        if not self.balanced or self.balanced == "weighted":
            return learned
        sizes = sizes_in_batch(len(self.classes_), self.batch_size)[::-1]
        p: Any = self.prevalence_
        shift = np.log(p if np.ndim(p) else [1 - p, p]) - np.log(np.divide(sizes, self.batch_size))
        return learned + (shift if np.ndim(p) else shift[1] - shift[0])

    def predict_proba(
        self, X: Volumes, *, masks: Masks = None, clinical: Clinical = None
    ) -> np.ndarray:
        """Return the probability of each class, (n, n_classes), in the order of `classes_`."""
        return probabilities(self.decision_function(X, masks=masks, clinical=clinical))

    def predict(self, X: Volumes, *, masks: Masks = None, clinical: Clinical = None) -> np.ndarray:
        """Return the most probable label of each patient."""
        proba = self.predict_proba(X, masks=masks, clinical=clinical)
        return self.classes_[proba.argmax(axis=1)]

    @property
    def _n_outputs(self) -> int | None:
        return None if len(self.classes_) == 2 else len(self.classes_)

    def _scores(self, outputs: Iterable[Any]) -> np.ndarray:
        """Return what the network says of each patient, float64 (n,) or (n, n_classes)."""
        binary = self._n_outputs is None
        return to_float64([output.risk if binary else output.logits for output in outputs])

    def _make_objective(self, cohort: Cohort) -> Objective:  # noqa: ARG002
        objective: Objective = self._checked_objective(self.objective or Classification())
        return objective

    def _validation(self, patients: Patients) -> tuple[str, Callable[[list[Any]], float]]:
        if len(np.unique(patients.event)) < len(self.classes_):
            raise ValueError(
                f"validation_fraction={self.validation_fraction} holds out {len(patients)} "
                f"patients, not of all {len(self.classes_)} classes. Increase it."
            )

        def score(outputs: list[Any]) -> float:
            proba = probabilities(self._scores(outputs))
            several = len(self.classes_) > 2
            return float(
                roc_auc_score(
                    patients.event, proba if several else proba[:, 1], multi_class="ovr"
                )
            )

        return "validation_auc", score


def probabilities(scores: np.ndarray) -> np.ndarray:
    """Return probabilities of log-odds of the second class, (n,), or of logits, (n, n_classes)."""
    if scores.ndim == 1:
        scores = np.column_stack([np.zeros(len(scores)), scores])
    return np.asarray(softmax(scores, axis=1))
