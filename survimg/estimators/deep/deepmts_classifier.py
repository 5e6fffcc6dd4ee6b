"""`DeepMTSClassifier`: DeepMTS with labels instead of times."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from sklearn.base import clone

from survimg.cohort import Cohort
from survimg.estimators.deep.deepmts_body import DeepMTSBody
from survimg.estimators.deep.volume_classifier import VolumeClassifier
from survimg.training.objective import Objective
from survimg.training.objectives import Classification
from survimg.training.published import DEEPMTS_TRAINING, PublishedRecipe

__all__ = ["DeepMTSClassifier"]


@dataclass(kw_only=True, eq=False, repr=False)
class DeepMTSClassifier(PublishedRecipe, VolumeClassifier, DeepMTSBody):
    """One network predicts the label and the tumour mask.

    The network of `DeepMTS`, with the cross-entropy in the place of the Cox loss; the Dice loss and
    the L2 term are the same. The paper has no such model.

    Parameters
    ----------
    objective : Classification, optional
        `survimg.training.Classification`; its `l2`, where it gives none, is that of the estimator.
        None is ``Classification()``.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Sorted labels; of two, the second one is the event.
    prevalence_ : float, or ndarray of shape (n_classes,)
        See `VolumeClassifier`.
    net_, history_, clinical_encoder_, channel_names_in_, volume_shape_in_
        See `VolumeEstimator`.
    trained_with_masks_ : bool
        Whether the Dice loss was used in training.

    Notes
    -----
    ``DeepMTSClassifier.published()`` trains as `DeepMTS.published` does.

    Examples
    --------
    >>> from survimg.datasets import make_phantom_cohort
    >>> from survimg.estimators import DeepMTSClassifier
    >>> X = make_phantom_cohort(n=12, shape=(16, 16, 16), random_state=0).cohort
    >>> model = DeepMTSClassifier(n_iterations=2, batch_size=4, random_state=0)
    >>> model.fit(X, X.outcome["event"]).predict_proba(X).shape
    (12, 2)
    """

    objective: Classification | None = None

    _published: ClassVar[Mapping[str, Any]] = {
        **DEEPMTS_TRAINING, "l2": 0.1, "dropout": 0.5, "map_gradient": True,
        "segmentation_weight": 1.0, "squared_dice": True,
    }  # fmt: skip

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "objective": [Classification, None],
    }

    def _make_objective(self, cohort: Cohort) -> Objective:
        objective = Classification() if self.objective is None else clone(self.objective)
        objective._validate_params()
        if objective.l2 is None:
            objective.set_params(l2=self.l2)
        return self._with_dice(objective, cohort)
