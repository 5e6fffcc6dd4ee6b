"""A body without symmetry, drawn wherever an affine map puts it."""

from __future__ import annotations

import math

import numpy as np

from survimg.io import Image, write_image
from survimg.preprocessing import WorldMap

NOWHERE = WorldMap(np.eye(3), np.zeros(3))
TUMOUR, RADIUS = np.array([-14.0, 4.0, 12.0]), 13.0


def rotation(axis, degrees):
    """Rodrigues' formula."""
    x, y, z = np.asarray(axis, dtype=float) / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    angle = math.radians(degrees)
    return np.eye(3) + math.sin(angle) * cross + (1 - math.cos(angle)) * cross @ cross


def draw(where=NOWHERE, kind="CT", shape=(24, 24, 24), spacing=(5.0, 5.0, 5.0), seed=0):
    """Image of the patient whose point ``where(p)`` is the template's point ``p``."""
    size, step = np.array(shape[::-1]), np.array(spacing[::-1])
    first = where.translation - (size - 1) / 2 * step
    grid = Image(np.zeros(shape, np.float32), spacing, tuple(first.tolist()))
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    back = where.inverse()
    shifts = np.stack(np.meshgrid(*[(-0.25, 0.25)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    values = np.mean([_value(back(grid.world(index + s)), kind) for s in shifts], axis=0)
    if kind == "mask":
        return Image((values >= 0.5).astype(np.uint8), spacing, grid.origin)
    noise = {"CT": 20.0, "PET": 0.1}[kind] * np.random.default_rng(seed).normal(size=shape)
    return Image((values + noise).astype(np.float32), spacing, grid.origin)


def _value(p, kind):
    def ellipsoid(centre, radii):
        return (((p - centre) / radii) ** 2).sum(axis=-1) < 1

    body = ellipsoid((0, 0, 0), (46, 36, 50))
    tumour = ellipsoid(TUMOUR, RADIUS)
    if kind == "mask":
        return tumour.astype(float)
    if kind == "PET":
        return body * 1.0 + tumour * 7.0
    rng = np.random.default_rng(5)
    waves = rng.standard_normal((12, 3))
    waves *= 2 * np.pi / rng.uniform(30, 60, (12, 1)) / np.linalg.norm(waves, axis=1, keepdims=True)
    hu = np.where(body, -90.0, -1000.0)
    hu[ellipsoid((-6, 2, -4), (34, 26, 38))] = 50
    hu[(((p[..., :2] - (3, 20)) / 8) ** 2).sum(axis=-1) + (p[..., 2] / 44) ** 2 < 1] = 400
    hu[ellipsoid((18, -8, 22), (10, 9, 12))] = -800
    return hu + body * 60 * np.cos(p @ waves.T + rng.uniform(0, 6.28, 12)).sum(axis=-1)


def write_cohort(folder, where, **replaced):
    """Write a manifest of PET, CT and mask; `replaced` gives a patient another CT."""
    folder.mkdir(parents=True)
    rows = ["patient_id,PET,CT,mask,time,event"]
    for i, (patient, at) in enumerate(where.items()):
        for kind in ("PET", "CT", "mask"):
            image = draw(at, kind, seed=i)
            if kind == "CT" and patient in replaced:
                image = replaced[patient](image)
            write_image(folder / f"{patient}_{kind}.nii.gz", image.array, image)
        files = ",".join(f"{patient}_{kind}.nii.gz" for kind in ("PET", "CT", "mask"))
        rows.append(f"{patient},{files},{10 + i},{(i + 1) % 2}")
    (folder / "manifest.csv").write_text("\n".join(rows))
    return folder / "manifest.csv"


def noise(image):
    """Another image of the same grid that shows nothing."""
    values = np.random.default_rng(0).normal(size=image.shape).astype(np.float32)
    return Image(values, image.spacing, image.origin)


def upside_down(image):
    """The image with its slices in the wrong order."""
    return Image(image.array[::-1].copy(), image.spacing, image.origin)


def dice(first, second):
    """Overlap of two masks."""
    first, second = np.asarray(first) > 0, np.asarray(second) > 0
    return 2 * (first & second).sum() / (first.sum() + second.sum())
