"""Cases for the radiomics tests."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from survimg import Cohort

SPACING = (3.0, 1.2, 0.8)

# Threads cost more than they bring on volumes of this size.
sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)


def blob(shape: tuple[int, int, int], radius: float) -> np.ndarray:
    grid = np.indices(shape) - (np.array(shape)[:, None, None, None] - 1) / 2
    stretched = grid / np.array([0.8, 1.0, 1.2])[:, None, None, None]
    return np.sqrt((stretched**2).sum(axis=0)) <= radius


def regions(shape: tuple[int, int, int]) -> dict[str, np.ndarray]:
    """Masks with the geometries that break engines."""
    rng = np.random.default_rng(5)
    found = {name: np.zeros(shape, dtype=np.uint8) for name in ("border", "slice", "lesions")}
    found["border"][:7, -6:, 3:] = 1
    found["slice"][4, 3:9, 2:11] = 1
    found["lesions"][1:4, 1:4, 1:5] = 1
    found["lesions"][8:11, 9:12, 10:13] = 1
    found["blob"] = blob(shape, 4.5).astype(np.uint8)
    found["scattered"] = (rng.random(shape) < 0.03).astype(np.uint8)
    hollow = blob(shape, 4.5)
    hollow[5:7, 6:8, 6:9] = False
    found["hollow"] = hollow.astype(np.uint8)
    return found


@pytest.fixture
def make_cohort() -> Callable[..., Cohort]:
    """Cohort of one patient per region: smooth "PET" and noisy "CT", odd and even sizes."""

    def build(shape: tuple[int, int, int] = (12, 15, 14), only: str | None = None) -> Cohort:
        rng = np.random.default_rng(7)
        masks = regions(shape)
        if only is not None:
            masks = {only: masks[only]}
        noise = rng.normal(size=(len(masks), 2, *shape))
        noise[:, 0] = np.cumsum(np.cumsum(noise[:, 0], axis=1), axis=2)
        noise[:, 1] = 40 + 30 * noise[:, 1]
        return Cohort(
            noise.astype(np.float32),
            masks=np.stack(list(masks.values())),
            ids=list(masks),
            spacing=SPACING,
            channel_names=("PET", "CT"),
        )

    return build
