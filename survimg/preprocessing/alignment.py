"""A linear map between two patients' worlds, how well it fits, and whether to believe it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from survimg.io.images.image import Image
from survimg.preprocessing.registration import RegistrationLimits

__all__ = ["Alignment", "WorldMap", "judge", "mapped_grid", "mutual_information", "voxels_of"]

_BINS = 32


@dataclass(frozen=True, eq=False)
class WorldMap:
    """An affine map of world coordinates, from the template to the patient.

    A point ``p`` of the template, ``(x, y, z)`` in mm (LPS), lies at ``matrix @ p + translation``
    in the patient. This is the direction in which an image is resampled; `inverse` carries points
    of the patient to the template.

    Attributes
    ----------
    matrix : ndarray of shape (3, 3)
    translation : ndarray of shape (3,)
        mm.
    """

    matrix: np.ndarray
    translation: np.ndarray

    def __call__(self, points: npt.ArrayLike) -> np.ndarray:
        """Map points ``(..., 3)``."""
        return np.asarray(points, dtype=np.float64) @ self.matrix.T + self.translation

    def inverse(self) -> WorldMap:
        """Return the map from the patient to the template."""
        back = np.linalg.inv(self.matrix)
        return WorldMap(back, -back @ self.translation)

    @classmethod
    def shift(cls, translation: npt.ArrayLike) -> WorldMap:
        """Return the map that adds a vector in mm."""
        return cls(np.eye(3), np.asarray(translation, dtype=np.float64))

    @property
    def rotation_deg(self) -> float:
        """Angle in degrees of the rotation that is nearest to the matrix (polar decomposition)."""
        left, _, right = np.linalg.svd(self.matrix)
        cosine = (np.trace(left @ right) - 1) / 2
        return math.degrees(math.acos(float(np.clip(cosine, -1.0, 1.0))))

    @property
    def scales(self) -> tuple[float, float]:
        """Smallest and largest factor by which a length changes (singular values)."""
        values = np.linalg.svd(self.matrix, compute_uv=False)
        return float(values.min()), float(values.max())

    @property
    def volume_factor(self) -> float:
        """Volume in the patient of 1 ml of the template; negative for a mirror image."""
        return float(np.linalg.det(self.matrix))

    @property
    def shear_deg(self) -> float:
        """Largest deviation in degrees from a right angle between the images of x, y and z."""
        axes = self.matrix / np.linalg.norm(self.matrix, axis=0)
        cosines = np.abs((axes.T @ axes)[np.triu_indices(3, k=1)])
        return math.degrees(math.asin(float(np.clip(cosines.max(), 0.0, 1.0))))

    def to_dict(self) -> dict[str, list[float]]:
        """Return 9 numbers (row-major) and 3 numbers, from which `from_dict` restores the map."""
        return {"matrix": self.matrix.ravel().tolist(), "translation": self.translation.tolist()}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> WorldMap:
        """Restore a map from `to_dict`."""
        matrix = np.asarray(content["matrix"], dtype=np.float64).reshape(3, 3)
        return cls(matrix, np.asarray(content["translation"], dtype=np.float64))


@dataclass(frozen=True, eq=False)
class Alignment:
    """A patient's registration to the template, with its figures of quality.

    Attributes
    ----------
    result : WorldMap or None
        What the optimiser came to; None where there was nothing to optimise or it gave up.
    start : WorldMap
        The translation it began with.
    error : str or None
        Why there is no result.
    mi_before, mi_after : float
        Mutual information in nats of the two images where both have voxels, at `start` and at
        `result`; NaN where there is none, as in all figures.
    mi_share : float
        `mi_after` as part of the template's own information there (0 to 1).
    overlap_before, overlap_after : float
        Dice coefficient of the two bodies (what Otsu's threshold separates from the background)
        where both images have voxels.
    coverage : float
        Part of the template's body that lies inside the patient's image.
    flipped : str
        The axes along which the patient's image, turned over, would fit better; "" if none.
    rotation_deg, shear_deg, scale_min, scale_max, volume_factor : float
        Of the map; see `WorldMap`.
    shift_mm : float
        Distance by which the optimiser moved the centre of the template's body from `start`.
    corner_shift_mm : float
        Largest distance by which it moved a corner of the template's field of view.
    """

    result: WorldMap | None
    start: WorldMap
    error: str | None = None
    mi_before: float = math.nan
    mi_after: float = math.nan
    mi_share: float = math.nan
    overlap_before: float = math.nan
    overlap_after: float = math.nan
    coverage: float = math.nan
    flipped: str = ""
    rotation_deg: float = math.nan
    shear_deg: float = math.nan
    scale_min: float = math.nan
    scale_max: float = math.nan
    volume_factor: float = math.nan
    shift_mm: float = math.nan
    corner_shift_mm: float = math.nan

    def figures(self) -> dict[str, float | str]:
        """Return the figures of quality by name."""
        names = {field.name for field in fields(self)} - {"result", "start", "error"}
        return {name: value for name, value in asdict(self).items() if name in names}

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-serialisable values, from which `from_dict` restores the alignment."""
        figures = {
            name: None if isinstance(value, float) and math.isnan(value) else value
            for name, value in self.figures().items()
        }
        return {
            "found": None if self.result is None else self.result.to_dict(),
            "start": self.start.to_dict(), "error": self.error, **figures,
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Alignment:
        """Restore an alignment from `to_dict`."""
        figures: dict[str, Any] = {
            name: math.nan if value is None else value
            for name, value in content.items() if name not in ("found", "start", "error")
        }
        world_map = content["found"]
        return cls(
            result=None if world_map is None else WorldMap.from_dict(world_map),
            start=WorldMap.from_dict(content["start"]),
            error=content["error"],
            **figures,
        )


def judge(alignment: Alignment, limits: RegistrationLimits) -> list[str]:
    """Return the reasons not to believe a registration; none if it passes.

    Parameters
    ----------
    alignment : Alignment
    limits : RegistrationLimits

    Returns
    -------
    list of str
    """
    if alignment.error is not None:
        return [alignment.error]
    a = alignment
    tests = {
        # where the grids of two scans coincide, any interpolation costs some information
        f"mutual information fell from {a.mi_before:.3f} to {a.mi_after:.3f} nats":
            a.mi_after < 0.95 * a.mi_before,
        f"turned over along {a.flipped} the image would fit better": a.flipped != "",
        f"similarity {a.mi_share:.3f} is not {limits.similarity:g} or more":
            not a.mi_share >= limits.similarity,
        f"overlap of the bodies {a.overlap_after:.2f} is not {limits.overlap:g} or more":
            not a.overlap_after >= limits.overlap,
        f"{a.coverage:.0%} of the template's body is in the image, below {limits.coverage:.0%}":
            not a.coverage >= limits.coverage,
        f"rotation {a.rotation_deg:.0f} exceeds {limits.rotation_deg:g} degrees":
            a.rotation_deg > limits.rotation_deg,
        f"shift {a.shift_mm:.0f} exceeds {limits.shift_mm:g} mm": a.shift_mm > limits.shift_mm,
        f"shear {a.shear_deg:.0f} exceeds {limits.shear_deg:g} degrees":
            a.shear_deg > limits.shear_deg,
        f"scale {a.scale_min:.2f} to {a.scale_max:.2f} is not within 1/{limits.scale:g} and "
        f"{limits.scale:g}":
            a.scale_min < 1 / limits.scale or a.scale_max > limits.scale or a.volume_factor <= 0,
    }
    return [reason for reason, failed in tests.items() if failed]


def mutual_information(first: npt.ArrayLike, second: npt.ArrayLike) -> float:
    """Mutual information in nats of two arrays of values, from 32 x 32 bins of equal width.

    Parameters
    ----------
    first, second : array-like of one shape

    Returns
    -------
    float
        NaN without a value; 0 where one of them is constant.
    """
    joint, _, _ = np.histogram2d(np.ravel(first), np.ravel(second), bins=_BINS)
    if joint.sum() == 0:
        return math.nan
    p = joint / joint.sum()
    outer = p.sum(axis=1, keepdims=True) * p.sum(axis=0, keepdims=True)
    some = p > 0
    return float((p[some] * np.log(p[some] / outer[some])).sum())


def mapped_grid(grid: Image, world_map: WorldMap) -> Image:
    """Return where the voxels of a grid in the template's world lie in the patient's.

    Resampling to this grid is registration, change of spacing and crop in one interpolation.

    Parameters
    ----------
    grid : Image
    world_map : WorldMap

    Returns
    -------
    Image
        Of the same spacing. Under an affine map the columns of `direction` are neither of unit
        length nor orthogonal: `Image.world` and `resample_like` are right for it, `Image.index`
        is not; see `voxels_of`.
    """
    axes = world_map.matrix @ np.asarray(grid.direction).reshape(3, 3)
    x, y, z = world_map(grid.origin).tolist()
    return Image(grid.array, grid.spacing, (x, y, z), tuple(axes.ravel().tolist()))


def voxels_of(grid: Image, world: npt.ArrayLike) -> np.ndarray:
    """Return positions ``(z, y, x)`` in voxels, also on a grid made by `mapped_grid`.

    Parameters
    ----------
    grid : Image
    world : array-like of shape (n, 3)
        ``(x, y, z)`` in mm.

    Returns
    -------
    ndarray of shape (n, 3)
    """
    away = np.asarray(world, dtype=np.float64) - np.asarray(grid.origin)
    steps = np.linalg.solve(np.asarray(grid.direction).reshape(3, 3), away.T).T
    return steps[:, ::-1] / np.asarray(grid.spacing)
