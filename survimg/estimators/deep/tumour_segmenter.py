"""The segmentation backbone of DeepMTS alone: masks, no risk."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from survimg.cohort import Cohort, as_cohort
from survimg.cohort.conversion import Masks, Volumes
from survimg.estimators.deep.volume_estimator import VolumeEstimator, refuse_empty_masks
from survimg.losses import dice_loss
from survimg.nets.deepmts import DeepMTSNet
from survimg.target import check_outcome
from survimg.training.batches import Patients
from survimg.training.failed_fit import unchanged_on_failure
from survimg.training.objective import Objective
from survimg.training.objectives import Dice
from survimg.training.published import DEEPMTS_TRAINING, PublishedRecipe

__all__ = ["TumourSegmenter"]

Self = TypeVar("Self", bound="TumourSegmenter")


def _never(model: TumourSegmenter) -> bool:
    raise AttributeError(
        f"{type(model).__name__} knows masks, not risks: use predict_mask, or a survival estimator "
        "such as DeepMTS."
    )


@dataclass(kw_only=True, eq=False, repr=False)
class TumourSegmenter(PublishedRecipe, VolumeEstimator):
    """Segment the tumour: the backbone of DeepMTS with the Dice loss (its "Seg-Backbone").

    Parameters
    ----------
    backbone : {"residual", "unet"}, default="residual"
        Backbone of the DeepMTS paper, or the plain 3D U-net it compares with.
    squared_dice : bool, default=True
        Square the terms in the denominator of the Dice loss, as the DeepMTS paper does; its
        published code does not.
    balanced : bool, default=True
        Fill each batch with equal numbers of patients with and without the event. Needs an outcome
        in `fit`.

    Attributes
    ----------
    net_, history_, channel_names_in_, n_channels_in_, volume_shape_in_
        See `VolumeEstimator`.

    Notes
    -----
    The validation score is the mean Dice coefficient.

    *Published recipe.* ``TumourSegmenter.published()`` trains as the paper trains DeepMTS:
    `DEEPMTS_TRAINING <survimg.training.DEEPMTS_TRAINING>` (15,000 steps, 1e-4 in its steps) with
    ``squared_dice=True``.

    References
    ----------
    Meng M, Gu B, Bi L, Song S, Feng DD, Kim J. DeepMTS. IEEE J Biomed Health Inform
    26(9):4497-4507, 2022, section III-B.
    """

    # Without metadata routing it changes nothing; with it, it saves users set_fit_request.
    __metadata_request__fit = {"masks": True}  # noqa: RUF012

    backbone: Literal["residual", "unet"] = "residual"
    squared_dice: bool = True

    _net = DeepMTSNet
    _published: ClassVar[Mapping[str, Any]] = {**DEEPMTS_TRAINING, "squared_dice": True}

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "backbone": [StrOptions({"residual", "unet"})],
        "squared_dice": ["boolean"],
        "balanced": ["boolean"],  # the Dice loss needs no weights
    }

    def fit(self: Self, X: Volumes, y: npt.ArrayLike | None = None, *, masks: Masks = None) -> Self:
        """Train the network.

        Parameters
        ----------
        X : Cohort or array-like of shape (n, channels, z, y, x)
            Prepared volumes, at least 16 voxels along each axis. Patients without a mask are
            passed over.
        y : structured array of shape (n,), optional
            (event, time). With it and ``balanced=True`` batches hold as many patients with the
            event as without, as in the DeepMTS paper; it has no other use.
        masks : array-like of shape (n, z, y, x), optional
            For plain arrays only; a cohort brings its own.

        Raises
        ------
        ValueError
            Invalid parameters, fewer than two masks, a raw cohort; NaN voxels or an empty mask
            (the message names the patient).
        """
        self._validate_params()
        cohort = as_cohort(X, masks)
        event = np.zeros(len(cohort), dtype=bool)
        if y is not None:
            event, _ = check_outcome(y, n_patients=len(cohort), ids=cohort.ids.tolist())
        known = np.flatnonzero(cohort.has_masks)
        if len(known) < 2:
            raise ValueError(
                f"A segmentation network needs at least two patients with a tumour mask; "
                f"{len(known)} of the {len(cohort)} given have one."
            )
        refuse_empty_masks(cohort)
        with unchanged_on_failure(self):
            self._train(cohort[known], event[known], np.zeros(len(known)))
        return self

    @available_if(_never)
    def predict(self, X: Volumes) -> np.ndarray:
        """Not available: there is no risk to predict."""
        raise NotImplementedError

    def predict_mask_proba(self, X: Volumes) -> np.ndarray:
        """Predict the probability of each voxel to belong to the tumour.

        Parameters
        ----------
        X : Cohort or array-like of shape (n, channels, z, y, x)

        Returns
        -------
        ndarray of shape (n, z, y, x), float32
        """
        check_is_fitted(self, "net_")
        return self._maps(self._patients(as_cohort(X)))

    def predict_mask(self, X: Volumes, threshold: float = 0.5) -> np.ndarray:
        """Predict the tumour mask: voxels whose probability exceeds `threshold`.

        Parameters
        ----------
        X : Cohort or array-like of shape (n, channels, z, y, x)
        threshold : float, default=0.5
            Between 0 and 1; a higher one gives smaller masks.

        Returns
        -------
        ndarray of shape (n, z, y, x), uint8
        """
        check_is_fitted(self, "net_")
        return self._maps(self._patients(as_cohort(X)), threshold)

    def score(
        self,
        X: Volumes,
        y: npt.ArrayLike | None = None,  # noqa: ARG002
        *,
        masks: Masks = None,
    ) -> float:
        """Return the mean Dice coefficient over the patients that have a mask.

        Parameters
        ----------
        X : Cohort or array-like
        y : ignored
            For scikit-learn's interface.
        masks : array-like of shape (n, z, y, x), optional
            For plain arrays only.

        Raises
        ------
        ValueError
            No patient has a mask.
        """
        check_is_fitted(self, "net_")
        patients = self._patients(as_cohort(X, masks))
        return _mean_dice(patients, self._outputs)

    def _patients(self, cohort: Cohort) -> Patients:
        self._check_channels(cohort)
        n = len(cohort)
        empty = np.zeros((n, 0), dtype=np.float32)
        return Patients(cohort, empty, np.zeros(n), np.zeros(n, dtype=bool), with_masks=True)

    def _validation(self, patients: Patients) -> tuple[str, Callable[[list[Any]], float]]:
        known = np.flatnonzero(patients.cohort.has_masks)
        return (
            "validation_dice",
            lambda outputs: _mean_dice(patients, lambda _: [outputs[i] for i in known]),
        )

    def _net_options(self) -> dict[str, Any]:
        return {**super()._net_options(), "hard_sharing": False, "cascade": False}

    def _make_objective(self, cohort: Cohort) -> Objective:  # noqa: ARG002
        return Dice(self.squared_dice)


def _mean_dice(patients: Patients, outputs: Callable[[Patients], Any]) -> float:
    known = np.flatnonzero(patients.cohort.has_masks)
    if len(known) == 0:
        raise ValueError("None of the patients has a tumour mask to compare with.")
    values = []
    taken = patients.take(known)
    for i, output in enumerate(outputs(taken)):
        predicted: Tensor = (output.segmentation > 0.5).float()
        true = torch.tensor(taken.cohort.mask(i)[np.newaxis]).to(predicted)
        values.append(-dice_loss(predicted, true).item())
    return float(np.mean(values))
