"""The explained number as a function of the network's input for one patient."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from survimg.cohort import Cohort, as_cohort
from survimg.estimators.base import ProportionalHazardsMixin
from survimg.estimators.compose.fold_ensemble import FoldEnsemble
from survimg.estimators.deep.volume_classifier import VolumeClassifier
from survimg.estimators.deep.volume_survival_estimator import VolumeSurvivalEstimator
from survimg.nets.deepmts import DeepMTSNet
from survimg.training.batches import Patients
from survimg.training.objectives import IntervalObjective
from survimg.training.views import AxialSlice, RegionView

__all__ = ["ExplainedScore", "name_of_score", "score_of"]


Link = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class _Member:
    """One network, how its output becomes a number, and its patients."""

    patients: Patients
    number_of: Callable[[Any], Tensor]
    mean: float
    scale: float


class ExplainedScore(nn.Module):
    """The risk, or S(t), of one patient, differentiable in the network's input.

    The networks are copies in evaluation mode without gradients of their weights: nothing that is
    done here reaches the estimator.

    Parameters
    ----------
    networks : sequence of torch.nn.Module
        Fitted networks, one per member.
    members : sequence of _Member
    link : callable
        From the mean of the members' numbers, (b,), to the score, (b,).
    n_threads : int or None
        Threads of torch.
    """

    def __init__(
        self,
        networks: Sequence[nn.Module],
        members: Sequence[_Member],
        link: Link,
        n_threads: int | None,
    ) -> None:
        super().__init__()
        self.networks = nn.ModuleList(_copy_for_explaining(network) for network in networks)
        self.members = tuple(members)
        self.link = link
        self.n_threads = n_threads
        self._patient = 0

    @property
    def cohort(self) -> Cohort:
        """The patients that can be explained."""
        return self.members[0].patients.cohort

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        return next(self.networks.parameters()).device

    def select(self, i: int) -> Tensor:
        """Make patient `i` the one whose score is computed; return the network's input.

        Returns
        -------
        Tensor of shape (1, inputs, z, y, x) or (1, inputs, y, x)
            Requires a gradient.
        """
        self._patient = i
        inputs = self.members[0].patients.inputs(np.array([i]), self.device)["volumes"]
        return inputs.requires_grad_()

    def baseline(self, value: npt.ArrayLike) -> Tensor:
        """Return what the network would see if the selected patient's image were `value`.

        Masks, regions and absent modalities stay those of the patient.

        Parameters
        ----------
        value : array-like, broadcast to (channels, z, y, x)

        Returns
        -------
        Tensor, of the shape of `select`
        """
        cohort, i, view = self.cohort, self._patient, self.members[0].patients.view
        shape = tuple(cohort.shape[1:])
        volume = np.broadcast_to(np.asarray(value, dtype=np.float32), shape)
        other = Cohort(
            volume[np.newaxis].copy(),
            masks=[cohort.mask(i)] if cohort.has_masks[i] else None,
            ids=[str(cohort.ids[i])],
            spacing=None if cohort.spacing is None else cohort.spacing[[i]],
            channel_names=cohort.channel_names,
            present=cohort.present[[i]],
        )
        return torch.from_numpy(view(other, 0)[np.newaxis].copy()).to(self.device)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the score of the selected patient, (b,), for b versions of the image."""
        numbers = []
        for network, member in zip(self.networks, self.members, strict=True):
            values = torch.from_numpy(member.patients.clinical[[self._patient]]).to(inputs.device)
            output = network(inputs, values.expand(len(inputs), -1))
            numbers.append((member.number_of(output).double() - member.mean) / member.scale)
        return self.link(torch.stack(numbers).mean(dim=0))

    def on_volume(self, values: np.ndarray) -> np.ndarray:
        """Put a map over the network's input back onto the selected patient's volume.

        Parameters
        ----------
        values : ndarray of shape (k, z, y, x) or (k, y, x)
            k is the number of the network's input channels, or 1 for a map of all together.

        Returns
        -------
        ndarray of shape (channels or 1, z, y, x)
            Zero off the slice of a 2D network; sums over the regions of a fusion network.

        Raises
        ------
        TypeError
            A network whose view of a patient is not one of survimg's.
        """
        cohort, i, view = self.cohort, self._patient, self.members[0].patients.view
        shape = tuple(cohort.shape[2:])
        if isinstance(view, AxialSlice):
            on_slice = np.zeros((len(values), *shape), dtype=values.dtype)
            on_slice[:, view.position(cohort, i)] = values
            return on_slice
        if isinstance(view, RegionView) and len(values) > 1:
            values = values.reshape(-1, len(cohort.channel_names), *shape).sum(axis=0)
        if values.shape[1:] != shape or len(values) not in (1, len(cohort.channel_names)):
            raise TypeError(
                f"The network sees arrays of shape {values.shape} of volumes of shape {shape}; "
                "saliency maps can be put back for whole or masked volumes, axial slices and the "
                "regions of FusionSurvival."
            )
        return values


def name_of_score(estimator: Any, horizon: float | None = None) -> str:
    """Say what maps of an estimator explain, such as for the label of `plot_saliency`.

    Parameters
    ----------
    estimator : VolumeSurvivalEstimator or FoldEnsemble of such, or VolumeClassifier
        Fitted.
    horizon : float, optional
        As in `saliency`.

    Returns
    -------
    str
        ``"risk"``, ``"survival at 24"``, or for a classifier ``"log-odds of yes"``.
    """
    if isinstance(estimator, VolumeClassifier):
        return f"log-odds of {estimator.classes_[-1]}"
    return "risk" if horizon is None else f"survival at {horizon:g}"


def score_of(
    estimator: Any,
    X: Cohort | npt.ArrayLike,
    horizon: float | None,
    masks: npt.ArrayLike | None = None,
    clinical: Any = None,
) -> ExplainedScore:
    """Build the score of an estimator over volumes.

    Parameters
    ----------
    estimator : VolumeSurvivalEstimator or FoldEnsemble of such, or VolumeClassifier
        Fitted. The score of a classifier of two classes is the log-odds of the second.
    X : Cohort or array-like of shape (n, channels, z, y, x)
    horizon : float or None
        Explain S(horizon); None explains the risk.
    masks, clinical
        For plain arrays, as in ``estimator.predict``.

    Raises
    ------
    TypeError
        Another kind of estimator.
    ValueError
        A network that sees no image; a horizon outside the times that the model describes; an
        ensemble whose z-scores depend on the patients that are predicted together.
    """
    cohort = as_cohort(X, masks, clinical)
    if isinstance(estimator, FoldEnsemble):
        return _ensemble_score(estimator, cohort, horizon)
    _check_kind(estimator)
    link: Link = _identity
    number_of: Callable[[Any], Tensor]
    if isinstance(estimator, VolumeClassifier):
        number_of = _log_odds
        _check_classifier(estimator, horizon)
    elif horizon is not None and isinstance(estimator._objective, IntervalObjective):
        survival_at = estimator._objective.survival_at
        number_of = partial(survival_at, time=_within(estimator, horizon))
    else:
        number_of = estimator._risk_of
    if horizon is not None and not isinstance(estimator._objective, IntervalObjective):
        link = _cox_link(estimator, horizon)
    member = _Member(estimator._patients(cohort), number_of, 0.0, 1.0)
    _check_sees_image(member.patients, estimator)
    return ExplainedScore([estimator.net_.module_], [member], link, estimator.n_threads)


def _ensemble_score(
    ensemble: FoldEnsemble, cohort: Cohort, horizon: float | None
) -> ExplainedScore:
    check_is_fitted(ensemble, "members_")
    if ensemble.reference != "training":
        raise ValueError(
            "This FoldEnsemble has reference='cohort': the risk of a patient depends on the other "
            "patients, so it cannot be explained by a map of one patient. Fit it with "
            "reference='training'."
        )
    members = []
    for model, mean, scale in zip(
        ensemble.members_, ensemble.means_, ensemble.scales_, strict=True
    ):
        _check_kind(model)
        patients = model._patients(cohort)
        _check_sees_image(patients, model)
        members.append(_Member(patients, model._risk_of, float(mean), float(scale)))
    link: Link = _identity
    if horizon is not None:
        link = _cox_link(ensemble, horizon)
    networks = [model.net_.module_ for model in ensemble.members_]
    return ExplainedScore(networks, members, link, ensemble.members_[0].n_threads)


def _check_kind(estimator: Any) -> None:
    if not isinstance(estimator, VolumeSurvivalEstimator | VolumeClassifier):
        raise TypeError(
            f"{type(estimator).__name__} is no survival network over volumes. Saliency maps are "
            "for DeepMTS, SingleTaskSurvival, MDSN, DLPM, CNNSurvival, FusionSurvival, "
            "ImageSurvival, your own subclasses of VolumeSurvivalEstimator, FoldEnsemble of these, "
            "and classifiers of two labels over volumes. For tables use family_importance or "
            "shapley_values."
        )
    check_is_fitted(estimator, "net_")
    if estimator.test_time_flip:
        raise ValueError(
            f"This {type(estimator).__name__} predicts the mean of a volume and its mirror image; "
            "a map explains one pass of the network. Use set_params(test_time_flip=False)."
        )


def _check_sees_image(patients: Patients, estimator: Any) -> None:
    view = patients.view
    if isinstance(view, RegionView) and not view.tumour and view.shell_width is None:
        raise ValueError(
            f"This {type(estimator).__name__} has neither a tumour nor a peritumoral branch: it "
            "sees no image that a map could explain."
        )


def _copy_for_explaining(network: nn.Module) -> nn.Module:
    network_copy = copy.deepcopy(network).eval().requires_grad_(False)
    for part in network_copy.modules():
        if isinstance(part, DeepMTSNet):
            # A choice of training; a map would miss what the risk owes to the tumour map.
            part.map_gradient = True
    return network_copy


def _within(estimator: VolumeSurvivalEstimator, horizon: float) -> float:
    last = float(estimator.unique_times_[-1])
    if not 0 < horizon <= last:
        raise ValueError(
            f"horizon={horizon:g} is outside the times that this {type(estimator).__name__} "
            f"describes, above 0 up to {last:g}."
        )
    return float(horizon)


def _log_odds(output: Any) -> Tensor:
    log_odds: Tensor = output.risk
    return log_odds


def _check_classifier(estimator: VolumeClassifier, horizon: float | None) -> None:
    name = type(estimator).__name__
    if horizon is not None:
        raise ValueError(f"{name} predicts labels, no survival; leave horizon=None.")
    if len(estimator.classes_) > 2:
        raise TypeError(
            f"This {name} has {len(estimator.classes_)} classes; maps show what speaks for the "
            "second of two."
        )


def _identity(values: Tensor) -> Tensor:
    return values


def _cox_link(estimator: ProportionalHazardsMixin, horizon: float) -> Link:
    """S(t) of a log-hazard: exp(-H0(t) exp(slope r))."""
    baseline, slope = estimator.baseline_, estimator.slope_
    times = baseline.unique_times_
    log_hazard = -np.inf
    if times[0] <= horizon <= times[-1]:
        position = int(np.searchsorted(times, horizon, side="right")) - 1
        log_hazard = float(baseline.log_cumulative_hazard_[position])
    if not np.isfinite(log_hazard):
        first = times[np.isfinite(baseline.log_cumulative_hazard_)][0]
        raise ValueError(
            f"horizon={horizon:g}: survival curves of this {type(estimator).__name__} differ "
            f"between patients from {first:g}, the first event of its training set, to "
            f"{times[-1]:g}, the last time. Choose a horizon in between."
        )

    def survival(risk: Tensor) -> Tensor:
        return torch.exp(-torch.exp(log_hazard + slope * risk))

    return survival
