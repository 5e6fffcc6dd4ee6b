"""Equal values share a rank."""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata

from survimg.report.ranks import midranks


def test_midranks_are_those_of_scipy():
    rng = np.random.default_rng(0)
    for values in (np.zeros(3), rng.random(20), rng.integers(0, 5, 40) / 3, np.zeros(0)):
        np.testing.assert_array_equal(midranks(values), rankdata(values))
