"""Distributions from finite sums are those of SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special

from survimg.survival.distributions import (
    chi_squared_p_value,
    normal_cdf,
    normal_p_value,
    normal_quantile,
    student_p_value,
    student_quantile,
)

STATISTICS = (0.0, 0.02, 0.7, 1.96, 3.3, 11.0, 30.0)


def test_the_normal_distribution_in_both_tails():
    for z in (-30.0, *STATISTICS):
        np.testing.assert_allclose(normal_cdf(z), special.ndtr(z), rtol=1e-12)
        np.testing.assert_allclose(normal_p_value(z), 2 * special.ndtr(-abs(z)), rtol=1e-12)
    for share in (1e-12, 0.025, 0.5, 0.9, 0.995):
        np.testing.assert_allclose(normal_quantile(share), special.ndtri(share), rtol=1e-12)


@pytest.mark.parametrize("df", [1, 2, 3, 4, 9, 10, 99, 400])
def test_chi_squared_and_student(df):
    for t in STATISTICS:
        chi_squared = 20 * t
        expected = special.chdtrc(df, chi_squared)
        np.testing.assert_allclose(chi_squared_p_value(df, chi_squared), expected, rtol=1e-10)
        for side in (t, -t):
            expected = 2 * special.stdtr(df, -abs(t))
            np.testing.assert_allclose(student_p_value(df, side), expected, rtol=0, atol=1e-13)
    for level in (0.5, 0.9, 0.95, 0.999):
        quantile = student_quantile(df, level)
        np.testing.assert_allclose(2 * special.stdtr(df, -quantile), 1 - level, rtol=1e-10)
        expected = special.stdtrit(df, 0.5 + level / 2)  # SciPy 1.12 has nine digits
        np.testing.assert_allclose(quantile, expected, rtol=1e-8)


@pytest.mark.parametrize("df", [1, 4, 5])
def test_no_statistic_is_significant_or_chance_by_mistake(df):
    assert np.isnan(student_p_value(df, np.nan))
    assert student_p_value(df, 1e200) < 1e-12
