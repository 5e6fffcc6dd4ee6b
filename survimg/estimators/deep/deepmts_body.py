"""What `DeepMTS` and `DeepMTSClassifier` share: the network, its masks, the Dice loss."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from numbers import Real
from typing import Any, ClassVar, Literal

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from survimg.cohort import Cohort
from survimg.cohort.conversion import Clinical, Masks, Volumes
from survimg.estimators.deep.clinical_volume_estimator import ClinicalVolumeEstimator
from survimg.estimators.deep.volume_estimator import refuse_empty_masks
from survimg.nets.deepmts import DeepMTSNet
from survimg.training.objective import Objective
from survimg.training.objectives import Dice, WithDice
from survimg.training.published import DEEPMTS_TRAINING, PublishedRecipe
from survimg.training.stages import TwoStages
from survimg.training.views import View, masked_volume, whole_volume

__all__ = ["DeepMTSBody", "Variant", "knows_masks"]

Variant = Literal["deepmts", "sur-hs", "sur-casnet", "mt-hs", "mt-hs-baseline", "mt-casnet"]

_NET_OPTIONS: dict[str, dict[str, bool]] = {
    "deepmts": {},
    "sur-hs": {"segmentation": False, "cascade": False},
    "sur-casnet": {"segmentation": False, "hard_sharing": False},
    "mt-hs": {"cascade": False},
    "mt-hs-baseline": {"cascade": False, "head_convolutions": False},
    "mt-casnet": {"hard_sharing": False},
}


def knows_masks(model: DeepMTSBody) -> bool:
    """Tell scikit-learn's `available_if` whether the model was trained to segment."""
    if model.variant.startswith("sur-"):
        raise AttributeError(
            f"The variant {model.variant!r} has no segmentation branch; use a variant that starts "
            "with 'mt-', or 'deepmts'."
        )
    if not getattr(model, "trained_with_masks_", True):
        raise AttributeError(
            f"This {type(model).__name__} was trained without tumour masks (or with "
            "segmentation_weight=0), so it cannot segment; fit it on a cohort with masks."
        )
    return True


@dataclass(kw_only=True, eq=False, repr=False)
class DeepMTSBody(PublishedRecipe, ClinicalVolumeEstimator):
    """Base of the estimators that train a `survimg.nets.deepmts.DeepMTSNet`.

    Parameters
    ----------
    variant : str, default="deepmts"
        The full model, or one of the paper's ablations. ``"sur-hs"``: encoder
        and its 124 features only, no segmentation. ``"sur-casnet"``: densely connected network
        on the images only. ``"mt-hs"``: backbone and its features. ``"mt-hs-baseline"``: the same
        without the 1x1x1 convolutions (248 features). ``"mt-casnet"``: backbone and densely
        connected network, without the backbone's features. See also `deepmts_variant`.
    backbone : {"residual", "unet"}, default="residual"
        Backbone of the paper, or the plain 3D U-net of its comparison (360 deep features, not 236).
    masked_input : bool, default=False
        Multiply the images by the tumour mask, as the paper does for ``"sur-hs"`` and
        ``"sur-casnet"`` "using segmentation". Predictions then need masks too.
    segmentation_weight : float, default=1.0
        Weight of the Dice loss; 0 trains for survival only.
    segmentation_first : float, default=0.0
        Share of the steps, at the start, in which only the Dice loss is minimised: the network
        learns to segment, then to predict; see the Notes of `DeepMTS`.
    drop_segmentation : bool, default=False
        After these steps, leave the Dice loss out, as AdaMSS does.
    squared_dice : bool, default=True
        Square the terms in the denominator of the Dice loss, as the DeepMTS paper does; its
        published code does not.
    l2 : float, default=0.01
        Weight of the sum of squares of the fully connected kernels (no factor 1/2).
    dropout : float, default=0.0
        Dropout on the inputs of the fully connected layers, clinical columns included. Averaged
        features differ so little between patients that dropout hides the differences in short
        trainings (``docs/decisions/0011``); the paper has 0.5.
    map_gradient : bool, default=False
        Let the gradient of the Cox loss flow through the tumour map into the segmentation, as in
        the paper. In the first steps it is tens of times larger than the gradient of the Dice loss,
        so that short trainings with a large learning rate may never learn to segment. With False
        only the Dice loss trains the segmentation.

    Attributes
    ----------
    trained_with_masks_ : bool
        Whether the Dice loss was used in training.
    """

    variant: Variant = "deepmts"
    backbone: Literal["residual", "unet"] = "residual"
    masked_input: bool = False
    segmentation_weight: float = 1.0
    segmentation_first: float = 0.0
    drop_segmentation: bool = False
    squared_dice: bool = True
    l2: float = 0.01
    dropout: float = 0.0
    map_gradient: bool = False

    _net = DeepMTSNet
    _published: ClassVar[Mapping[str, Any]] = {
        **DEEPMTS_TRAINING, "l2": 0.1, "dropout": 0.5, "map_gradient": True,
        "segmentation_weight": 1.0, "squared_dice": True,
    }  # fmt: skip

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "variant": [StrOptions(set(_NET_OPTIONS))],
        "backbone": [StrOptions({"residual", "unet"})],
        "masked_input": ["boolean"],
        "segmentation_weight": [Interval(Real, 0, None, closed="left")],
        "segmentation_first": [Interval(Real, 0, 1, closed="left")],
        "drop_segmentation": ["boolean"],
        "squared_dice": ["boolean"],
        "l2": [Interval(Real, 0, None, closed="left")],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "map_gradient": ["boolean"],
    }

    @available_if(knows_masks)
    def predict_mask_proba(
        self, X: Volumes, *, masks: Masks = None, clinical: Clinical = None
    ) -> np.ndarray:
        """Predict the probability of each voxel to belong to the tumour.

        Parameters
        ----------
        X, masks, clinical
            As in `predict`.

        Returns
        -------
        ndarray of shape (n, z, y, x), float32

        Raises
        ------
        AttributeError
            The model was trained without any mask (``hasattr`` is False then).
        """
        check_is_fitted(self, "net_")
        return self._maps(self._patients(X, masks=masks, clinical=clinical))

    @available_if(knows_masks)
    def predict_mask(
        self, X: Volumes, threshold: float = 0.5, *, masks: Masks = None, clinical: Clinical = None
    ) -> np.ndarray:
        """Predict the tumour mask: voxels whose probability exceeds `threshold`.

        Parameters
        ----------
        X, masks, clinical
            As in `predict`.
        threshold : float, default=0.5
            Between 0 and 1; a higher one gives smaller masks.

        Returns
        -------
        ndarray of shape (n, z, y, x), uint8
        """
        check_is_fitted(self, "net_")
        return self._maps(self._patients(X, masks=masks, clinical=clinical), threshold)

    def _view(self) -> View:
        return masked_volume if self.masked_input else whole_volume

    def _stages(self, objective: Objective) -> TwoStages | None:
        if self.drop_segmentation and not self.segmentation_first:
            raise ValueError(
                "drop_segmentation=True leaves the Dice loss out after the first stage, and there "
                "is none: give segmentation_first, such as 0.5, or segmentation_weight=0 to train "
                "without the Dice loss."
            )
        if not self.segmentation_first:
            return None
        if not self.trained_with_masks_:
            raise ValueError(
                f"segmentation_first={self.segmentation_first:g} trains the segmentation first, "
                "and there is none: it needs tumour masks, segmentation_weight above 0 and a "
                f"variant that segments; the variant is {self.variant!r}."
            )
        n_first = min(ceil(self.segmentation_first * self.n_iterations), self.n_iterations - 1)
        assert isinstance(objective, WithDice)
        first, second = set(objective.dice.term_names), set(objective.term_names)
        return TwoStages(first, second - first if self.drop_segmentation else second, n_first)

    def _net_options(self) -> dict[str, Any]:
        return {**super()._net_options(), **_NET_OPTIONS[self.variant]}

    def _make_objective(self, cohort: Cohort) -> Objective:
        """Add the Dice loss to the objective, where there are masks of those who train."""
        objective: Objective = super()._make_objective(cohort)  # type: ignore[safe-super]
        weight = 0.0 if self.variant.startswith("sur-") else self.segmentation_weight
        if weight > 0 and not cohort.has_masks.any():
            warnings.warn(
                f"No patient of the training set has a tumour mask: {type(self).__name__} trains "
                "without the Dice loss and cannot predict masks.",
                UserWarning,
                stacklevel=6,
            )
            weight = 0.0
        if weight > 0:
            refuse_empty_masks(cohort)
        self.trained_with_masks_ = weight > 0
        # L = L_sur + w * L_seg + lambda * L_reg (eq. 1)
        return WithDice(objective, Dice(self.squared_dice, weight)) if weight > 0 else objective
