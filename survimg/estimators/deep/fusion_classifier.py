"""`FusionClassifier`: tumour and peritumoral fusion for distant metastasis."""

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
from torch.nn import functional

from survimg.cohort import Cohort, as_cohort
from survimg.estimators.deep.fusion_body import FusionBody
from survimg.estimators.deep.volume_estimator import to_float64
from survimg.nets.outputs import RiskOutput
from survimg.training.batches import Patients, Targets
from survimg.training.failed_fit import unchanged_on_failure
from survimg.training.objective import Objective

__all__ = ["FusionClassifier"]

Self = TypeVar("Self", bound="FusionClassifier")


class _CrossEntropy:
    term_names = ("cross_entropy",)
    needs_masks = False

    def __call__(self, _net: Any, output: RiskOutput, targets: Targets) -> dict[str, Any]:
        loss = functional.binary_cross_entropy_with_logits(
            output.risk, targets.event.float(), weight=targets.weight
        )
        return {"cross_entropy": loss}


@dataclass(kw_only=True, eq=False, repr=False)
class FusionClassifier(ClassifierMixin, FusionBody):
    """The fusion network of Tang et al. 2025: a classifier of two labels over a cohort.

    Parameters
    ----------
    balanced : bool or "weighted", default=True
        True fills each batch with equal numbers of patients of both classes; ``"weighted"`` also
        weights them in the loss by their share in the cohort over that in the batches. False draws
        patients without regard to their class.
    batch_norm_batches : int, default=50
        Changes nothing: the network has no batch normalisation.

    Attributes
    ----------
    classes_ : ndarray of shape (2,)
        Sorted labels; the second one is the event.
    prevalence_ : float
        Share of the second class among the training patients.
    net_, history_, channel_names_in_, n_channels_in_, volume_shape_in_
        See `VolumeEstimator`.

    Notes
    -----
    The paper's loss and training are not stated, so that there is no published recipe: here binary
    cross-entropy on balanced batches; the validation score is the AUC. Balanced batches teach the
    odds at equal shares; `decision_function` and `predict_proba` put the training prevalence back
    (King & Zeng, Political Analysis 9:137-163, 2001).

    Missing masks, modalities and clinical values are treated as in `FusionSurvival`.

    References
    ----------
    Tang et al. 2025, arXiv 2508.20469.
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
            Prepared. Plain arrays have no spacing, which a shell needs.
        y : array-like of shape (n,)
            Labels of two classes.
        masks, clinical : optional
            For plain arrays only.

        Raises
        ------
        ValueError
            Not two classes, a structured outcome, mismatched lengths, every branch off, no masks.
        """
        self._validate_params()
        cohort = as_cohort(X, masks, clinical)
        if np.asarray(y).dtype.names is not None:
            raise ValueError(
                "FusionClassifier learns labels; y is an outcome (event, time). Make labels of it "
                "(patients censored before the horizon have none), or use FusionSurvival."
            )
        labels = column_or_1d(y)
        if len(labels) != len(cohort):
            raise ValueError(f"X has {len(cohort)} patients and y {len(labels)} labels.")
        classes = np.unique(labels)
        if len(classes) != 2:
            raise ValueError(
                f"FusionClassifier needs labels of two classes; y holds {len(classes)} class(es): "
                f"{classes[:5].tolist()}."
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

    def _selection_target(self, event: np.ndarray, time: np.ndarray) -> np.ndarray:  # noqa: ARG002
        return event.astype(int)

    def _make_objective(self, cohort: Cohort) -> Objective:  # noqa: ARG002
        return _CrossEntropy()

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
