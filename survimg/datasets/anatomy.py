"""Pictures of one phantom patient: a map of tissues, and the PET and CT images made from it.

All geometry is stated in mm in a fixed field of view, so that the same patient can be drawn on any
grid. x points to the patient's left, y to the back, z to the head; arrays are ordered (z, y, x).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree

__all__ = [
    "FIELD_OF_VIEW",
    "MAX_STRAND_GAP",
    "SHELL_WIDTH",
    "Lesion",
    "Scanner",
    "Tissue",
    "draw_patient",
]

FIELD_OF_VIEW = 128.0
"""Edge of the cubic field of view in mm."""

SHELL_WIDTH = 12.0
"""Width in mm of the layer of fat around the tumour that holds the infiltration."""

MAX_STRAND_GAP = 24.0
"""Largest distance in mm between tumour and strands at which every patient has room for them."""

_REACH = 45.0  # no infiltration is further (mm) from the tumour's centre, but for the strand gap


class Tissue(IntEnum):
    """Labels of the tissue map."""

    AIR = 0
    SOFT_TISSUE = 1
    FAT = 2
    BONE = 3
    AIRWAY = 4
    BRAIN = 5
    BLADDER = 6
    GLAND = 7
    TUMOUR = 8
    INFILTRATION = 9


# By tissue label. The tumour's uptake is the lesion's; its entry is never used.
_SUV = np.array([0.0, 1.0, 0.4, 1.5, 0.1, 8.0, 10.0, 4.0, np.nan, 3.0])
_HU = np.array([-1000.0, 50.0, -95.0, 350.0, -1000.0, 38.0, 8.0, 45.0, 55.0, 130.0])
_ORGANS = [Tissue.SOFT_TISSUE, Tissue.FAT, Tissue.BONE, Tissue.BRAIN, Tissue.BLADDER, Tissue.GLAND]


@dataclass(frozen=True)
class Lesion:
    """What the images show of one patient's disease.

    Attributes
    ----------
    volume_ml : float
        Tumour volume in ml.
    suv_mean : float
        Mean uptake in the tumour, g/ml.
    heterogeneity : float
        Coefficient of variation of the uptake in the tumour.
    infiltration_ml : float
        Volume in ml of infiltrated fat around the tumour, outside the tumour mask.
    strand_gap : float
        Distance in mm from the tumour's surface at which infiltration begins; healthy fat fills it.
    """

    volume_ml: float
    suv_mean: float
    heterogeneity: float
    infiltration_ml: float
    strand_gap: float = 0.0


@dataclass(frozen=True)
class Scanner:
    """How the scanner of a centre renders the tissues.

    Attributes
    ----------
    suv_scale : float
        Factor on every SUV.
    blur : float
        Standard deviation of the PET point spread function in mm.
    pet_noise : float
        Standard deviation of the PET noise at SUV 1; it grows with the square root of SUV.
    hu_offset, ct_noise : float
        Offset and noise (standard deviation) of the CT in HU.
    """

    suv_scale: float = 1.0
    blur: float = 1.5
    pet_noise: float = 0.12
    hu_offset: float = 0.0
    ct_noise: float = 12.0

    def shifted(self, shift: float) -> Scanner:
        """Return the scanner of another centre; 0 leaves it as it is."""
        return Scanner(
            suv_scale=self.suv_scale * (1 + 0.2 * shift),
            blur=self.blur * (1 + 0.5 * shift),
            pet_noise=self.pet_noise * (1 + shift),
            hu_offset=self.hu_offset + 15 * shift,
            ct_noise=self.ct_noise * (1 + shift),
        )


@dataclass(frozen=True)
class _Grid:
    """Voxel centres in mm, one open axis per direction, and the voxel size."""

    z: np.ndarray
    y: np.ndarray
    x: np.ndarray
    spacing: np.ndarray

    @classmethod
    def over_field_of_view(cls, shape: tuple[int, int, int]) -> _Grid:
        z, y, x = np.ix_(*(FIELD_OF_VIEW * ((np.arange(n) + 0.5) / n - 0.5) for n in shape))
        return cls(z, y, x, FIELD_OF_VIEW / np.asarray(shape, dtype=np.float64))

    def ellipsoid(self, centre: np.ndarray, semi_axes: np.ndarray) -> np.ndarray:
        """Squared distance from the centre in units of the semi-axes."""
        return (
            ((self.z - centre[0]) / semi_axes[0]) ** 2
            + ((self.y - centre[1]) / semi_axes[1]) ** 2
            + ((self.x - centre[2]) / semi_axes[2]) ** 2
        )

    def points(self, index: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """Coordinates (m, 3) of voxels given by flat index."""
        where = np.unravel_index(index, shape)
        axes = (self.z, self.y, self.x)
        return np.stack([axis.ravel()[i] for axis, i in zip(axes, where, strict=True)], axis=1)


def draw_patient(
    lesion: Lesion,
    shape: tuple[int, int, int],
    *,
    scanner: Scanner,
    anatomy_seed: np.random.SeedSequence,
    noise_seed: np.random.SeedSequence,
) -> tuple[np.ndarray, np.ndarray]:
    """Draw one patient.

    Parameters
    ----------
    lesion : Lesion
    shape : tuple (z, y, x)
        Grid over the field of view; the voxel size follows from it.
    scanner : Scanner
    anatomy_seed, noise_seed : SeedSequence
        The first fixes body, organs and the shape of the lesion, the second the noise.

    Returns
    -------
    images : ndarray of shape (2, z, y, x), float32
        PET in SUV (g/ml) and CT in HU.
    tissue : ndarray of shape (z, y, x), uint8
        Labels of `Tissue`.
    """
    rng = np.random.default_rng(anatomy_seed)
    grid = _Grid.over_field_of_view(shape)
    tissue, free = _draw_body(grid, rng)
    organ_suv = _SUV.copy()
    organ_suv[_ORGANS] *= np.exp(0.08 * rng.uniform(-1.7, 1.7, len(_ORGANS)))
    tumour, texture = _draw_lesion(lesion, grid, tissue, free, rng)
    suv, hu = organ_suv[tissue], _HU[tissue]
    suv.flat[tumour] = lesion.suv_mean * (1 + lesion.heterogeneity * texture)
    # Cold parts are necrotic, and necrosis is darker than living tumour.
    hu.flat[tumour] -= 60 * lesion.heterogeneity * (texture.max() - texture)
    images = _acquire(suv, hu, grid.spacing, scanner, np.random.default_rng(noise_seed))
    return images, tissue


def _draw_body(grid: _Grid, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Tissue map without the lesion, and the voxels in which a lesion may grow."""

    def jitter(*values: float, by: float = 0.05) -> np.ndarray:
        return np.array(values) * rng.uniform(1 - by, 1 + by, len(values))

    def near(*values: float, by: float = 2.0) -> np.ndarray:
        return np.array(values) + rng.uniform(-by, by, len(values))

    half_y, half_x = jitter(47, 56)
    middle = near(0, 0, 0)
    taper = 1 - 0.12 * ((grid.z - 10) / 64) ** 2
    body = ((grid.y - middle[1]) / (half_y * taper)) ** 2 + (
        (grid.x - middle[2]) / (half_x * taper)
    ) ** 2
    tissue = np.full(body.shape, Tissue.AIR, dtype=np.uint8)
    tissue[body < 1] = Tissue.FAT
    tissue[body < 0.80] = Tissue.SOFT_TISSUE

    brain = grid.ellipsoid(middle + near(62, -2, 0), jitter(28, 34, 37))
    below_skull = brain > 1.35
    spine = ((grid.y - middle[1] - 27) / 10) ** 2 + ((grid.x - middle[2]) / 10) ** 2
    tissue[(spine < 1) & below_skull] = Tissue.BONE
    airway = ((grid.y - middle[1] + 26) / 7) ** 2 + ((grid.x - middle[2]) / 8) ** 2
    tissue[(airway < 1) & below_skull & (grid.z > -26)] = Tissue.AIRWAY
    tissue[(brain < 1.35) & (body < 0.95)] = Tissue.BONE
    tissue[brain < 1] = Tissue.BRAIN
    bladder = grid.ellipsoid(middle + near(-52, -14, 0), jitter(20, 19, 23, by=0.1))
    tissue[bladder < 1] = Tissue.BLADDER
    for side in (-1, 1):
        gland = grid.ellipsoid(middle + near(21, -8, 36 * side), jitter(11, 9, 8, by=0.1))
        tissue[gland < 1] = Tissue.GLAND
    free = ((tissue == Tissue.SOFT_TISSUE) | (tissue == Tissue.FAT)) & (body < 0.88)
    return tissue, free


def _draw_lesion(
    lesion: Lesion, grid: _Grid, tissue: np.ndarray, free: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Paint tumour, fat plane and infiltration into `tissue`.

    Returns the flat index of the tumour voxels and the standardised texture in them.
    """
    side = rng.choice((-1, 1))
    centre = np.array([-15.0, 0.0, 27.0 * side]) + rng.uniform(-5, 5, 3) * (1.2, 1.2, 0.8)
    voxel_ml = float(np.prod(grid.spacing)) / 1000
    near = free & (grid.ellipsoid(centre, np.full(3, _REACH + lesion.strand_gap)) < 1)
    candidates = np.flatnonzero(near)
    points = grid.points(candidates, tissue.shape) - centre

    radius = _tumour_radius(points, rng)
    order = np.argsort(radius, kind="stable")
    n_tumour = max(2, round(lesion.volume_ml / voxel_ml))
    tumour, others = order[:n_tumour], order[n_tumour:]

    # The surface is half a voxel outside the centres of the outermost tumour voxels.
    distance = cKDTree(points[tumour]).query(points[others])[0] - grid.spacing.mean() / 2
    fat = distance <= lesion.strand_gap + SHELL_WIDTH
    layer = fat & (np.maximum(distance, 0) >= lesion.strand_gap)
    shell = others[layer]
    depth = (distance[layer] - lesion.strand_gap) / SHELL_WIDTH
    strands = np.argsort(depth + _away_from_strands(points[shell], rng), kind="stable")
    n_infiltrated = round(lesion.infiltration_ml / voxel_ml)

    flat = tissue.reshape(-1)
    flat[candidates[others[fat]]] = Tissue.FAT
    flat[candidates[shell[strands[:n_infiltrated]]]] = Tissue.INFILTRATION
    flat[candidates[tumour]] = Tissue.TUMOUR
    return candidates[tumour], _texture(points[tumour], rng)


def _tumour_radius(points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Distance from the centre measured by the tumour's own, lobed shape (star-shaped)."""
    axes, _ = np.linalg.qr(rng.standard_normal((3, 3)))
    stretched = points @ (axes * np.exp(rng.uniform(-0.2, 0.2, 3)))
    radius = np.linalg.norm(stretched, axis=1)
    return radius * (1 + 0.15 * _lobes(points, rng, n_lobes=6))


def _lobes(points: np.ndarray, rng: np.random.Generator, n_lobes: int) -> np.ndarray:
    directions = rng.standard_normal((n_lobes, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return np.mean((_unit(points) @ directions.T) ** 3, axis=1) * np.sqrt(n_lobes)


def _away_from_strands(points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """0 along twelve random directions, rising between them."""
    directions = _unit(rng.standard_normal((12, 3)))
    return 6 * (1 - np.max(_unit(points) @ directions.T, axis=1))


def _texture(points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Smooth random pattern with mean 0 and standard deviation 1 over the tumour.

    Random waves of 12 to 24 mm, evened out to a uniform distribution: the uptake stays positive
    for coefficients of variation up to 0.57.
    """
    waves = _unit(rng.standard_normal((24, 3))) * (2 * np.pi / rng.uniform(12, 24, (24, 1)))
    pattern = np.cos(points @ waves.T + rng.uniform(0, 2 * np.pi, 24)).sum(axis=1)
    ranks = np.argsort(np.argsort(pattern, kind="stable"), kind="stable")
    even = ranks - (len(ranks) - 1) / 2
    return even / even.std()


def _unit(vectors: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.maximum(length, np.finfo(float).tiny)


def _acquire(
    suv: np.ndarray,
    hu: np.ndarray,
    spacing: np.ndarray,
    scanner: Scanner,
    rng: np.random.Generator,
) -> np.ndarray:
    pet = gaussian_filter(suv, sigma=scanner.blur / spacing)
    pet += scanner.pet_noise * np.sqrt(pet + 0.02) * rng.standard_normal(pet.shape)
    ct = hu + scanner.hu_offset + scanner.ct_noise * rng.standard_normal(hu.shape)
    pet = scanner.suv_scale * np.maximum(pet, 0)
    return np.stack([pet, np.maximum(ct, -1024)]).astype(np.float32)
