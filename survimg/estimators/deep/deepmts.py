"""DeepMTS: joint prediction of risk and tumour mask from volumes, and its ablations."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any, ClassVar, Literal

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from survimg.cohort import Cohort
from survimg.cohort.conversion import Clinical, Masks, Volumes
from survimg.estimators.deep.volume_estimator import refuse_empty_masks
from survimg.estimators.deep.volume_survival_estimator import CoxVolumeEstimator
from survimg.nets.deepmts import DeepMTSNet
from survimg.training.objective import Objective
from survimg.training.objectives import Cox, Dice, WithDice
from survimg.training.published import DEEPMTS_TRAINING, PublishedRecipe
from survimg.training.views import View, masked_volume, whole_volume

__all__ = ["DeepMTS", "Variant"]

Variant = Literal["deepmts", "sur-hs", "sur-casnet", "mt-hs", "mt-hs-baseline", "mt-casnet"]

_NET_OPTIONS: dict[str, dict[str, bool]] = {
    "deepmts": {},
    "sur-hs": {"segmentation": False, "cascade": False},
    "sur-casnet": {"segmentation": False, "hard_sharing": False},
    "mt-hs": {"cascade": False},
    "mt-hs-baseline": {"cascade": False, "head_convolutions": False},
    "mt-casnet": {"hard_sharing": False},
}


def _knows_masks(model: DeepMTS) -> bool:
    """Tell scikit-learn's `available_if` whether the model was trained to segment."""
    if model.variant.startswith("sur-"):
        raise AttributeError(
            f"The variant {model.variant!r} has no segmentation branch; use a variant that starts "
            "with 'mt-', or 'deepmts'."
        )
    if not getattr(model, "trained_with_masks_", True):
        raise AttributeError(
            "This DeepMTS was trained without tumour masks (or with segmentation_weight=0), so it "
            "cannot segment; fit it on a cohort with masks."
        )
    return True


@dataclass(kw_only=True, eq=False, repr=False)
class DeepMTS(PublishedRecipe, CoxVolumeEstimator):
    """Deep multi-task survival model: one network predicts the risk and the tumour mask.

    A U-shaped backbone segments the tumour; a densely connected network reads the images together
    with the soft tumour map; features of both and the clinical columns give one log-hazard ratio.
    The loss is the negative Cox partial likelihood of each batch, plus the Dice loss, plus an L2
    term on the fully connected layers.

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
    squared_dice : bool, default=True
        Square the terms in the denominator of the Dice loss, as the DeepMTS paper does; its
        published code does not.
    l2 : float, default=0.01
        Weight of the sum of squares of the fully connected kernels (no factor 1/2).
    dropout : float, default=0.2
        Dropout on the inputs of the fully connected layers, clinical columns included.
    map_gradient : bool, default=False
        Let the gradient of the Cox loss flow through the tumour map into the segmentation, as in
        the paper. In the first steps it is tens of times larger than the gradient of the Dice loss,
        so that short trainings with a large learning rate may never learn to segment. With False
        only the Dice loss trains the segmentation.

    Attributes
    ----------
    net_ : skorch.NeuralNet
        The trained `survimg.nets.deepmts.DeepMTSNet` is ``net_.module_``.
    history_ : DataFrame
        One row per epoch: ``epoch``, ``iteration``, ``loss``, ``cox``, ``l2``, ``dice``,
        ``seconds``, ``validation_c_index`` if patients were held out, and the columns of
        `VolumeEstimator`.
    baseline_ : BreslowBaseline
        Baseline hazard on the training set.
    trained_with_masks_ : bool
        Whether the Dice loss was used in training.
    clinical_encoder_, clinical_names_in_, channel_names_in_, n_channels_in_, volume_shape_in_
        See `VolumeEstimator` and `VolumeSurvivalEstimator`.

    Notes
    -----
    *Defaults* train in minutes. On 160 phantoms of 32 voxels along each axis (tested on 80 others,
    C of the true risk 0.80) 300 steps reached C 0.72, and 0.60 with the paper's dropout. With a
    learning rate of 5e-4 it had not learned to segment after 500 steps (Dice 0.10); 1e-2 ranked
    poorly (C 0.55). With `map_gradient` one of three seeds did not learn to segment (Dice 0.01).

    *Published recipe.* ``DeepMTS.published()`` is that of the paper (section III-D):
    `DEEPMTS_TRAINING <survimg.training.DEEPMTS_TRAINING>` (15,000 steps, 1e-4 in its steps),
    ``l2=0.1``, ``dropout=0.5``, ``map_gradient=True``, ``segmentation_weight=1.0``,
    ``squared_dice=True``.

    *Deviations* from the paper and its code. Batch normalisation is recalibrated after training
    (`batch_norm_batches`). With the default `ties` the Cox risk set includes tied patients, as in
    the paper's equation (the code omits some). Translation, rotation and flip are combined into
    one resampling. The paper does not say how it encodes TNM stage. All features enter the head of
    the ablations (in the published code only those of the last stage, by mistake).

    Patients without a mask contribute to the survival terms only. If no training patient has a
    mask, a warning is given and there is no segmentation loss: the tumour map is then an
    unsupervised attention map, and `predict_mask` raises.

    References
    ----------
    Meng M, Gu B, Bi L, Song S, Feng DD, Kim J. DeepMTS: Deep multi-task learning for survival
    prediction in patients with advanced nasopharyngeal carcinoma using pretreatment PET/CT. IEEE J
    Biomed Health Inform 26(9):4497-4507, 2022. arXiv:2109.07711.

    Examples
    --------
    >>> from survimg.datasets import make_phantom_cohort
    >>> from survimg.estimators import DeepMTS
    >>> X = make_phantom_cohort(n=12, shape=(16, 16, 16), random_state=0).cohort
    >>> model = DeepMTS(n_iterations=2, batch_size=4, random_state=0).fit(X, X.outcome)
    >>> model.predict(X).shape
    (12,)
    """

    variant: Variant = "deepmts"
    backbone: Literal["residual", "unet"] = "residual"
    masked_input: bool = False
    segmentation_weight: float = 1.0
    squared_dice: bool = True
    l2: float = 0.01
    dropout: float = 0.2
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
        "squared_dice": ["boolean"],
        "l2": [Interval(Real, 0, None, closed="left")],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "map_gradient": ["boolean"],
    }

    @available_if(_knows_masks)
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

    @available_if(_knows_masks)
    def predict_mask(
        self, X: Volumes, threshold: float = 0.5, *, masks: Masks = None, clinical: Clinical = None
    ) -> np.ndarray:
        """Predict the tumour mask: voxels whose probability exceeds `threshold`.

        Parameters
        ----------
        X, masks, clinical
            As in `predict`.
        threshold : float, default=0.5

        Returns
        -------
        ndarray of shape (n, z, y, x), uint8
        """
        check_is_fitted(self, "net_")
        return self._maps(self._patients(X, masks=masks, clinical=clinical), threshold)

    @available_if(_knows_masks)
    def predict_risk_and_mask(
        self, X: Volumes, threshold: float = 0.5, *, masks: Masks = None, clinical: Clinical = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Predict what `predict` and `predict_mask` do, in half the time of the two.

        Parameters
        ----------
        X, masks, clinical
            As in `predict`.
        threshold : float, default=0.5
            As in `predict_mask`.

        Returns
        -------
        risk : ndarray of shape (n,), float64
        mask : ndarray of shape (n, z, y, x), uint8
        """
        check_is_fitted(self, "net_")
        patients = self._patients(X, masks=masks, clinical=clinical)
        risk = np.empty(len(patients))
        mask = np.empty((len(patients), *patients.cohort.shape[2:]), dtype=np.uint8)
        for i, output in enumerate(self._outputs(patients)):
            risk[i] = self._risk_of(output).item()
            mask[i] = (output.segmentation[0] > threshold).cpu().numpy()
        return risk, mask

    def _view(self) -> View:
        return masked_volume if self.masked_input else whole_volume

    def _net_options(self) -> dict[str, Any]:
        return {**super()._net_options(), **_NET_OPTIONS[self.variant]}

    def _make_objective(self, cohort: Cohort) -> Objective:
        weight = 0.0 if self.variant.startswith("sur-") else self.segmentation_weight
        if weight > 0 and not cohort.has_masks.any():
            warnings.warn(
                "No patient of the training set has a tumour mask: DeepMTS trains for survival "
                "only and cannot predict masks.",
                UserWarning,
                stacklevel=5,
            )
            weight = 0.0
        if weight > 0:
            refuse_empty_masks(cohort)
        self.trained_with_masks_ = weight > 0
        # L = L_sur + w * L_seg + lambda * L_reg (eq. 1)
        survival = self._objective
        return WithDice(survival, Dice(self.squared_dice, weight)) if weight > 0 else survival

    @property
    def _objective(self) -> Cox:
        return Cox(ties=self.ties, l2=self.l2)
