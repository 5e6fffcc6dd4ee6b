"""A small cohort, made once."""

from __future__ import annotations

import pytest

from survimg import Cohort
from survimg.datasets import make_phantom_cohort


@pytest.fixture(scope="session")
def cohort() -> Cohort:
    return make_phantom_cohort(n=12, shape=(16, 20, 20), random_state=0).cohort
