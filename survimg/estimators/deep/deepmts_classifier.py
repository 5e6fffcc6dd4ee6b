"""`DeepMTSClassifier`: DeepMTS with labels instead of times."""

from __future__ import annotations

from dataclasses import dataclass

from survimg.estimators.deep.deepmts_body import DeepMTSBody
from survimg.estimators.deep.volume_classifier import VolumeClassifier

__all__ = ["DeepMTSClassifier"]


@dataclass(kw_only=True, eq=False, repr=False)
class DeepMTSClassifier(DeepMTSBody, VolumeClassifier):
    """One network predicts the label and the tumour mask.

    The network of `DeepMTS`, with the cross-entropy in the place of the Cox loss; the Dice loss and
    the L2 term are the same. The paper has no such model.

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
