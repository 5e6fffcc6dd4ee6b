"""Saliency maps: where in the image a network's risk, or S(t), comes from."""

from __future__ import annotations

import warnings
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

from survimg.cohort import Cohort
from survimg.compute.devices import isolated_torch
from survimg.explain.methods import GradCAM, IntegratedGradients, Occlusion, SaliencyMethod
from survimg.explain.score import ExplainedScore, score_of

__all__ = ["PathAttribution", "integrated_gradients", "saliency"]

_BY_NAME: dict[str, type[Any]] = {
    "integrated_gradients": IntegratedGradients,
    "occlusion": Occlusion,
    "grad_cam": GradCAM,
}
#: Error of integrated gradients, as a part of the map's mass, above which it warns.
_TOLERANCE = 0.05


class PathAttribution(NamedTuple):
    """Maps of integrated gradients, and how far they are complete."""

    maps: np.ndarray
    """(n, z, y, x), or (n, channels, z, y, x), float32."""

    score: np.ndarray
    """Risk or S(t) of each patient, (n,); with noise the mean over the noisy images."""

    baseline_score: np.ndarray
    """That of the baseline image with the patient's masks and clinical values, (n,)."""

    completeness_error: np.ndarray
    """``|sum of the map - (score - baseline_score)|`` of each patient, (n,)."""


def saliency(
    estimator: Any,
    X: Cohort | npt.ArrayLike,
    *,
    method: str | SaliencyMethod = "integrated_gradients",
    horizon: float | None = None,
    channels: Literal["together", "separate"] = "together",
    n_samples: int = 1,
    noise: float = 0.15,
    blur: float = 0.0,
    batch_size: int = 8,
    random_state: int | None = None,
    masks: npt.ArrayLike | None = None,
    clinical: Any = None,
) -> np.ndarray:
    """Map what each voxel contributes to the risk, or to S(t) at a horizon.

    The estimator is not touched: networks are copied and put into evaluation mode, and no random
    stream but the map's own is drawn from.

    Parameters
    ----------
    estimator : estimator
        Fitted DeepMTS (any variant), SingleTaskSurvival, MDSN, DLPM, CNNSurvival, FusionSurvival,
        a subclass of `VolumeSurvivalEstimator` of your own, or a FoldEnsemble of these, whose map
        is that of its averaged risk: the mean of its members' maps, each over the scale of that
        member's risk. Of a classifier of two labels over volumes (`FusionClassifier`,
        `ImageClassifier`, `DeepMTSClassifier`) the map is of the log-odds of the second.
    X : Cohort or array-like of shape (n, channels, z, y, x)
        Patients, prepared as for `fit`.
    method : str or object, default="integrated_gradients"
        Or ``"occlusion"``, ``"grad_cam"``; `IntegratedGradients`, `Occlusion` and `GradCAM` take
        parameters of their own.
    horizon : float, optional
        Explain S(horizon), in the unit of the outcome's time. By default the risk: the log-hazard
        of a Cox model, the probability of the event by `risk_horizon_` of a discrete-time one.
    channels : {"together", "separate"}, default="together"
        One map per patient (integrated gradients: the sum over channels; occlusion: all channels
        are replaced at once), or one per channel. Grad-CAM has no separate maps.
    n_samples : int, default=1
        Above 1: SmoothGrad, the mean map over so many copies of the image with noise.
    noise : float, default=0.15
        Standard deviation of that noise, in the unit of the image (z-scored: its standard
        deviations). Drawn only where the network sees an image.
    blur : float, default=0
        Standard deviation in voxels of a Gaussian that smooths the finished map; sums are kept.
    batch_size : int, default=8
        Versions of one image that pass through the network at once.
    random_state : int or None, default=None
        Seed of the noise; None draws another one at each call.
    masks, clinical
        For plain arrays, as in ``estimator.predict``.

    Returns
    -------
    ndarray of shape (n, z, y, x), or (n, channels, z, y, x), float32
        **Of the risk: positive where the image raises the risk.** Of S(t): positive where it
        raises survival. Zero off the slice of a 2D network and in absent modalities.

    Raises
    ------
    TypeError
        An estimator without a network over volumes.
    ValueError
        Unknown method, parameters outside their range, or a horizon outside the times that the
        model describes.
    ImportError
        Captum is not installed (``pip install captum``).

    Warns
    -----
    UserWarning
        The map of integrated gradients misses its sum by more than 5 % of its mass.

    References
    ----------
    Smilkov D, Thorat N, Kim B, Viegas F, Wattenberg M. SmoothGrad: removing noise by adding noise.
    arXiv:1706.03825, 2017. Adebayo J, Gilmer J, Muelly M, et al. Sanity checks for saliency maps.
    NeurIPS 2018.

    Examples
    --------
    >>> from survimg.datasets import make_phantom_cohort
    >>> from survimg.estimators import DeepMTS
    >>> from survimg.explain import saliency
    >>> X = make_phantom_cohort(n=12, shape=(16, 16, 16), random_state=0).cohort
    >>> model = DeepMTS(n_iterations=2, batch_size=4, random_state=0).fit(X, X.outcome)
    >>> saliency(model, X[:2], method="grad_cam").shape
    (2, 16, 16, 16)
    """
    computation = _method(method)
    if isinstance(computation, IntegratedGradients):
        attribution = integrated_gradients(
            estimator,
            X,
            n_steps=computation.n_steps,
            baseline=computation.baseline,
            horizon=horizon,
            channels=channels,
            n_samples=n_samples,
            noise=noise,
            blur=blur,
            batch_size=batch_size,
            random_state=random_state,
            masks=masks,
            clinical=clinical,
        )
        _check_complete(attribution)
        return attribution.maps
    settings = _Settings(computation, channels == "separate", n_samples, noise, blur, batch_size)
    _check(settings, channels)
    score = score_of(estimator, X, horizon, masks, clinical)
    streams = np.random.SeedSequence(random_state).spawn(len(score.cohort))
    with isolated_torch(score.device, score.n_threads), torch.enable_grad():
        return np.stack(
            [_map_of(score, score.select(i), settings, seed) for i, seed in enumerate(streams)]
        )


def integrated_gradients(
    estimator: Any,
    X: Cohort | npt.ArrayLike,
    *,
    n_steps: int = 50,
    baseline: npt.ArrayLike = 0.0,
    horizon: float | None = None,
    channels: Literal["together", "separate"] = "together",
    n_samples: int = 1,
    noise: float = 0.15,
    blur: float = 0.0,
    batch_size: int = 8,
    random_state: int | None = None,
    masks: npt.ArrayLike | None = None,
    clinical: Any = None,
) -> PathAttribution:
    """Integrated gradients with the scores that they lead from and to.

    Parameters
    ----------
    estimator, X, horizon, channels, n_samples, noise, ..., clinical
        See `saliency`.
    n_steps, baseline
        See `IntegratedGradients`.

    Returns
    -------
    PathAttribution
        Maps of shape (n, z, y, x) or (n, channels, z, y, x), the score and the baseline's score,
        and by how much each map misses their difference: the check of completeness.

    Notes
    -----
    The baseline's score is the limit along the path, which is the score of the baseline unless
    the network jumps there (FusionSurvival takes an image of zeros for an absent region).
    """
    method = IntegratedGradients(n_steps, baseline)
    settings = _Settings(method, channels == "separate", n_samples, noise, blur, batch_size)
    _check(settings, channels)
    score = score_of(estimator, X, horizon, masks, clinical)
    streams = np.random.SeedSequence(random_state).spawn(len(score.cohort))
    maps, end_scores, start_scores = [], [], []
    with isolated_torch(score.device, score.n_threads), torch.enable_grad():
        for i, seed in enumerate(streams):
            inputs = score.select(i)
            maps.append(_map_of(score, inputs, settings, seed))
            start = score.baseline(baseline)
            with torch.no_grad():
                versions = list(_versions(score, inputs, settings, seed))
                end_scores.append(np.mean([float(score(version)) for version in versions]))
                first_step = start + 1e-6 * (versions[0] - start)
                start_scores.append(float(score(first_step)))
    sums = np.array([values.sum(dtype=np.float64) for values in maps])
    difference = np.array(end_scores) - np.array(start_scores)
    return PathAttribution(
        np.stack(maps), np.array(end_scores), np.array(start_scores), np.abs(sums - difference)
    )


class _Settings(NamedTuple):
    """What maps are made of; see `saliency`."""

    method: SaliencyMethod
    separate: bool
    n_samples: int
    noise: float
    blur: float
    batch_size: int


def _method(method: str | SaliencyMethod) -> SaliencyMethod:
    if not isinstance(method, str):
        return method
    if method not in _BY_NAME:
        raise ValueError(f"method must be one of {sorted(_BY_NAME)}; got {method!r}.")
    instance: SaliencyMethod = _BY_NAME[method]()
    return instance


def _check(settings: _Settings, channels: str) -> None:
    if channels not in ("together", "separate"):
        raise ValueError(f"channels must be 'together' or 'separate'; got {channels!r}.")
    if settings.separate and not settings.method.by_channel:
        raise ValueError(
            f"{type(settings.method).__name__} has no maps of single channels; use "
            "channels='together', or integrated gradients or occlusion."
        )
    if settings.n_samples < 1 or settings.batch_size < 1:
        raise ValueError(
            "n_samples and batch_size must be at least 1; got "
            f"{settings.n_samples} and {settings.batch_size}."
        )
    if not (settings.noise >= 0 and settings.blur >= 0):
        raise ValueError(
            f"noise and blur must not be negative; got {settings.noise} and {settings.blur}."
        )


def _map_of(
    score: ExplainedScore, inputs: Tensor, settings: _Settings, seed: np.random.SeedSequence
) -> np.ndarray:
    """Map of the selected patient on the patient's volume."""
    total: Tensor | None = None
    for version in _versions(score, inputs, settings, seed):
        part = settings.method.attribute(score, version, settings.batch_size, settings.separate)
        total = part.detach() if total is None else total + part.detach()
    assert total is not None  # n_samples is at least 1
    values = (total / settings.n_samples).cpu().numpy().astype(np.float32)
    if settings.blur > 0:
        widths = (0.0, *[settings.blur] * (values.ndim - 1))
        values = gaussian_filter(values, sigma=widths, mode="reflect")  # reflection keeps the sum
    on_volume = score.on_volume(values)
    return on_volume if settings.separate else on_volume.sum(axis=0)


def _versions(
    score: ExplainedScore, inputs: Tensor, settings: _Settings, seed: np.random.SeedSequence
) -> Any:
    """Yield the image, or copies of it with noise; the same ones for the same seed.

    Captum's NoiseTunnel would draw from torch's global stream.
    """
    if settings.n_samples == 1:
        yield inputs
        return
    visible = score.baseline(1.0) != 0
    generator = np.random.default_rng(seed)
    for _ in range(settings.n_samples):
        standard_noise = generator.standard_normal(tuple(inputs.shape), dtype=np.float32)
        noise = settings.noise * torch.from_numpy(standard_noise).to(inputs.device) * visible
        yield (inputs.detach() + noise).requires_grad_()


def _check_complete(paths: PathAttribution) -> None:
    mass = np.abs(paths.maps).reshape(len(paths.maps), -1).sum(axis=1, dtype=np.float64)
    worst = float(np.max(paths.completeness_error / np.maximum(mass, np.finfo(float).tiny)))
    if worst > _TOLERANCE:
        warnings.warn(
            f"A map of integrated gradients misses its sum by {worst:.0%} of its mass; raise "
            "IntegratedGradients(n_steps=...).",
            UserWarning,
            stacklevel=3,
        )
