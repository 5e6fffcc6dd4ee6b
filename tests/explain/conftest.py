"""Patients, and networks whose risk is known."""

from __future__ import annotations

import numpy as np
import pytest
from known_networks import CORNER, SHAPE, CornerCox

from survimg import Cohort
from survimg.target import make_outcome


@pytest.fixture(scope="session")
def corners() -> Cohort:
    rng = np.random.default_rng(0)
    volumes = rng.normal(size=(8, 2, *SHAPE)).astype(np.float32)
    volumes[::2, 0][(slice(None), *CORNER)] += 1.0
    masks = np.zeros((8, *SHAPE), np.uint8)
    masks[:, 1:5, 2:6, 3:7] = 1
    outcome = make_outcome([1, 0, 1, 1, 1, 0, 1, 1], [2, 9, 3, 7, 1, 8, 4, 6])
    return Cohort(volumes, masks=masks, outcome=outcome, spacing=(4.0, 2.0, 2.0))


@pytest.fixture(scope="session")
def linear(corners: Cohort) -> CornerCox:
    return CornerCox().fit(corners, corners.outcome)


@pytest.fixture(scope="session")
def rectified(corners: Cohort) -> CornerCox:
    return CornerCox(rectified=True).fit(corners, corners.outcome)
