"""Rigid and affine registration of one image to a template by mutual information."""

from __future__ import annotations

import contextlib
import hashlib
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk  # noqa: N813  # the name its own documentation uses

from survimg.io.images.image import Image, resample_like, to_sitk
from survimg.preprocessing.alignment import (
    Alignment,
    WorldMap,
    mapped_grid,
    mutual_information,
)
from survimg.preprocessing.steps import resampled_grid

__all__ = ["Template", "image_digest", "make_template", "register"]

#: Registration works on voxels of at least this size (mm), and on at most this many.
_FINEST, _MAX_VOXELS = 2.0, 4e6

#: Voxels that the metric sees per level, drawn with `_SEED`; all of them where there are fewer.
_SAMPLES, _SEED = 60_000, 20260101

#: Values beyond these quantiles (metal, the bladder in PET) do not stretch the histogram.
_QUANTILES = (0.005, 0.995)

#: No level has fewer voxels along an axis.
_FEWEST = 12

#: The recursive Gaussian filter takes no fewer voxels along an axis.
_THINNEST = 4

_BINS, _ITERATIONS, _RESTARTS = 32, 40, 3


@dataclass(frozen=True, eq=False)
class _Working:
    """An image as the registration sees it."""

    image: Image
    body: Image
    centre: np.ndarray


@dataclass(frozen=True, eq=False)
class Template:
    """An image to register to; made by `make_template`.

    Attributes
    ----------
    grid : Image
        Grid of the image; zeros that occupy no memory.
    digest : str
        Hash of its voxels and its place.
    working : object
        What the registration needs of it.
    """

    grid: Image
    digest: str
    working: _Working


def make_template(image: Image) -> Template:
    """Make a template of an image.

    Parameters
    ----------
    image : Image

    Returns
    -------
    Template

    Raises
    ------
    ValueError
        The image holds one value only, or is too thin to be blurred.
    """
    grid = Image(
        np.broadcast_to(np.float32(0), image.shape), image.spacing, image.origin, image.direction
    )
    return Template(grid, image_digest(image), _working(image))


def image_digest(image: Image) -> str:
    """Return a hash of an image's voxels, spacing, origin and direction."""
    place = np.array([*image.shape, *image.spacing, *image.origin, *image.direction])
    digest = hashlib.sha256(place.astype("<f8").tobytes())
    digest.update(np.ascontiguousarray(image.array, dtype="<f4").tobytes())
    return digest.hexdigest()[:32]


def register(template: Template, image: Image, transform: str = "rigid") -> Alignment:
    """Register an image to a template.

    Parameters
    ----------
    template : Template
    image : Image
        Of the same modality; it may lie anywhere and have any grid.
    transform : {"rigid", "affine"}, default="rigid"
        Three rotations and three translations; or a full linear map, begun from the rigid result
        and from the start alone, of which the better is kept.

    Returns
    -------
    Alignment
        Also where the registration failed: see its `error`, and `judge` for the others.

    Notes
    -----
    SimpleITK: Mattes mutual information (32 bins; IEEE TMI 22, 2003, p. 120), linear
    interpolation, conjugate gradients with a line search and scales from physical shifts (a plain
    regular-step descent stopped at two thirds of the rotation of phantoms), levels at 4, 2 and 1
    times the working voxel (2 mm, or the image's own if that is larger). Of three starting
    translations (body on body, middle on middle, none) the one with the highest mutual information,
    weighed by the coverage, is taken. The template itself gets the identity. Random samples have a
    fixed seed and the metric runs in one thread, so that the same images give the same map, bit for
    bit.

    The two images are believed to be equally oriented (head up, patient's left to the left), which
    `survimg.io` ensures where the files' headers are right. Turning the result over along y, z, or
    two or three axes tests that; a mirror image along x alone passes, because bodies are almost
    symmetric.
    """
    nowhere = WorldMap.shift(_middle(image) - _middle(template.grid))
    try:
        moving = _working(image)
    except ValueError as error:
        return Alignment(None, nowhere, str(error))
    fixed = template.working
    starts = [
        WorldMap.shift(moving.centre - fixed.centre), nowhere, WorldMap.shift((0.0, 0.0, 0.0))
    ]
    # weighed by coverage: a few voxels at the edges of both images are easily alike
    likeness = [mi * coverage for mi, _, coverage, _ in
                (_likeness(fixed, moving, start) for start in starts)]
    start = starts[int(np.nanargmax(likeness))]  # middle on middle always overlaps
    if image_digest(image) == template.digest:
        identity = WorldMap.shift((0.0, 0.0, 0.0))
        return _measure(fixed, moving, identity, identity, template.grid)
    try:
        with _one_thread():
            world_map = _optimise(fixed, moving, start, transform)
    except RuntimeError as error:
        return Alignment(None, start, f"the optimiser gave up ({_last_line(error)})")
    return _measure(fixed, moving, start, world_map, template.grid)


def _working(image: Image) -> _Working:
    low, high = np.quantile(image.array, _QUANTILES)
    if low == high:
        low, high = float(image.array.min()), float(image.array.max())
    if low == high:
        raise ValueError(f"the image holds one value only ({low:g})")
    values = np.clip(image.array, low, high).astype(np.float32)
    clipped = Image(values, image.spacing, image.origin, image.direction)
    extent = np.asarray(image.shape) * np.asarray(image.spacing)
    step = max(_FINEST, min(image.spacing), float(np.prod(extent) / _MAX_VOXELS) ** (1 / 3))
    small = resample_like(_blurred(clipped, step), resampled_grid(image, step))
    threshold = sitk.OtsuThresholdImageFilter()
    threshold.SetInsideValue(0)
    threshold.SetOutsideValue(1)
    marked = sitk.GetArrayFromImage(threshold.Execute(to_sitk(small)))
    body = Image(marked.astype(np.float32), small.spacing, small.origin, small.direction)
    return _Working(small, body, small.world(np.argwhere(marked).mean(axis=0)))


def _blurred(image: Image, step: float) -> Image:
    """Blur along the axes that become coarser, so that what is left out does not alias."""
    converted = to_sitk(image)
    for axis, spacing in enumerate(image.spacing[::-1]):
        if spacing < step:
            if converted.GetSize()[axis] < _THINNEST:
                raise ValueError(
                    f"the image has {converted.GetSize()[axis]} voxels along {'xyz'[axis]}, and "
                    f"registration needs {_THINNEST} or more"
                )
            sigma = 0.5 * math.sqrt(step**2 - spacing**2)
            converted = sitk.RecursiveGaussian(converted, sigma, False, 0, axis)
    array = sitk.GetArrayFromImage(converted)
    return Image(array, image.spacing, image.origin, image.direction)


def _optimise(fixed: _Working, moving: _Working, start: WorldMap, transform: str) -> WorldMap:
    images = to_sitk(fixed.image), to_sitk(moving.image)
    factors = [f for f in (4, 2, 1) if f == 1 or min(fixed.image.shape) // f >= _FEWEST]
    rigid = sitk.Euler3DTransform()
    rigid.SetCenter(fixed.centre.tolist())
    rigid.SetTranslation(start.translation.tolist())
    _settle(images, rigid, factors)
    if transform == "rigid":
        return _world_map(rigid)
    # the best rotation without scaling can be a trap, and so can no rotation at all
    rivals = []
    for matrix, translation in (
        (rigid.GetMatrix(), rigid.GetTranslation()), (np.eye(3).ravel().tolist(), start.translation)
    ):
        affine = sitk.AffineTransform(3)
        affine.SetCenter(fixed.centre.tolist())
        affine.SetMatrix(matrix)
        affine.SetTranslation([float(part) for part in translation])
        rivals.append((_settle(images, affine, factors), affine))
    return _world_map(min(rivals, key=lambda rival: rival[0])[1])


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Let ITK sum in one order: the registration's own setting does not reach all of its parts."""
    threads = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)


def _settle(
    images: tuple[sitk.Image, sitk.Image], transform: sitk.Transform, factors: list[int]
) -> float:
    """Move a transform, in place, to a maximum; return the negative mutual information there.

    The descent is begun again where it stopped for as long as that gains 0.3 %: conjugate
    directions that have gone stale end it early.
    """
    value = _descend(images, transform, factors)
    for _ in range(_RESTARTS):
        before, value = value, _descend(images, transform, factors[-1:])
        if value > 1.003 * before:
            break
    return value


def _descend(
    images: tuple[sitk.Image, sitk.Image], transform: sitk.Transform, factors: list[int]
) -> float:
    step, voxels = images[0].GetSpacing()[0], images[0].GetNumberOfPixels()
    method = sitk.ImageRegistrationMethod()
    method.SetNumberOfThreads(1)
    method.SetMetricAsMattesMutualInformation(_BINS)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetShrinkFactorsPerLevel(factors)
    method.SetSmoothingSigmasPerLevel([step * f / 2 if f > 1 else 0 for f in factors])
    method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()
    shares = [min(1.0, _SAMPLES * factor**3 / voxels) for factor in factors]
    if min(shares) < 1:
        method.SetMetricSamplingStrategy(method.RANDOM)
        method.SetMetricSamplingPercentagePerLevel(shares, _SEED)
    method.SetOptimizerAsConjugateGradientLineSearch(
        learningRate=1.0, numberOfIterations=_ITERATIONS, convergenceMinimumValue=1e-4,
        convergenceWindowSize=6, lineSearchEpsilon=0.05, lineSearchMaximumIterations=10,
        lineSearchUpperLimit=2.0, estimateLearningRate=method.EachIteration,
        maximumStepSizeInPhysicalUnits=2 * step,
    )
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetInitialTransform(transform, inPlace=True)
    method.Execute(*images)
    return float(method.GetMetricValue())


def _measure(
    fixed: _Working, moving: _Working, start: WorldMap, result: WorldMap, grid: Image
) -> Alignment:
    mi_before, overlap_before, _, _ = _likeness(fixed, moving, start)
    mi_after, overlap_after, coverage, mi_template = _likeness(fixed, moving, result)
    corners = grid.corners()
    scale_min, scale_max = result.scales
    return Alignment(
        result=result,
        start=start,
        mi_before=mi_before,
        mi_after=mi_after,
        mi_share=mi_after / mi_template if mi_template > 0 else math.nan,
        overlap_before=overlap_before,
        overlap_after=overlap_after,
        coverage=coverage,
        flipped=_better_flipped(fixed, moving, result, mi_after),
        rotation_deg=result.rotation_deg,
        shear_deg=result.shear_deg,
        scale_min=scale_min,
        scale_max=scale_max,
        volume_factor=result.volume_factor,
        shift_mm=float(np.linalg.norm(result(fixed.centre) - start(fixed.centre))),
        corner_shift_mm=float(np.linalg.norm(result(corners) - start(corners), axis=1).max()),
    )


def _likeness(
    fixed: _Working, moving: _Working, world_map: WorldMap
) -> tuple[float, float, float, float]:
    """Mutual information, overlap of the bodies, coverage, and the template's own information."""
    grid = mapped_grid(fixed.image, world_map)
    inside = _inside(moving.image, grid)
    values = resample_like(moving.image, grid).array[inside]
    body = resample_like(moving.body, grid, interpolation="nearest", padding=0.0).array[inside] > 0
    reference, reference_body = fixed.image.array[inside], fixed.body.array[inside] > 0
    total = int(body.sum() + reference_body.sum())
    overlap = 2.0 * int((body & reference_body).sum()) / total if total else math.nan
    coverage = float(reference_body.sum() / fixed.body.array.sum())
    entropy = mutual_information(reference, reference)
    return mutual_information(reference, values), overlap, coverage, entropy


def _inside(image: Image, grid: Image) -> np.ndarray:
    """Tell which voxels of a grid lie inside an image."""
    ones = Image(np.ones(image.shape, np.float32), image.spacing, image.origin, image.direction)
    return resample_like(ones, grid, interpolation="nearest", padding=0.0).array > 0


def _better_flipped(fixed: _Working, moving: _Working, result: WorldMap, mi: float) -> str:
    """Return the axes along which the patient, turned over about its body, fits better."""
    best, axes = mi, ""
    for flips in ((0, 1, 0), (0, 0, 1), (0, 1, 1), (1, 1, 0), (1, 0, 1), (1, 1, 1)):
        mirror = np.diag(1.0 - 2.0 * np.array(flips))
        turned = WorldMap(result.matrix @ mirror, result(fixed.centre - mirror @ fixed.centre))
        likeness = _likeness(fixed, moving, turned)[0]
        if likeness > best:
            best, axes = likeness, "".join(n for n, f in zip("xyz", flips, strict=True) if f)
    return axes


def _middle(image: Image) -> np.ndarray:
    return image.world((np.asarray(image.shape) - 1) / 2)


def _world_map(transform: sitk.Euler3DTransform | sitk.AffineTransform) -> WorldMap:
    matrix = np.array(transform.GetMatrix()).reshape(3, 3)
    centre, shift = np.array(transform.GetCenter()), np.array(transform.GetTranslation())
    return WorldMap(matrix, centre + shift - matrix @ centre)


def _last_line(error: Exception) -> str:
    """Return what ITK says, without the address of the object that says it."""
    return re.sub(r"^.*\(0x[0-9a-f]+\): ", "", str(error).strip().splitlines()[-1].strip())
