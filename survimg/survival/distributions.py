"""p values and quantiles of the normal, the chi-squared and Student's distribution.

scipy.special has them as well, but takes longer to load than a run takes to be read and scored. The
degrees of freedom of our tests are whole numbers, for which finite sums are exact.
"""

from __future__ import annotations

from math import atan, erfc, exp, hypot, lgamma, log, pi, sqrt
from statistics import NormalDist

__all__ = [
    "chi_squared_p_value",
    "normal_cdf",
    "normal_p_value",
    "normal_quantile",
    "student_p_value",
    "student_quantile",
]


def normal_cdf(z: float) -> float:
    """Probability that a standard normal variable is below `z`, exact in both tails."""
    return erfc(-z / sqrt(2)) / 2


def normal_p_value(z: float) -> float:
    """Two-sided p value of a standard normal statistic."""
    return erfc(abs(z) / sqrt(2))


def normal_quantile(probability: float) -> float:
    """Quantile of the standard normal distribution; `probability` is between 0 and 1."""
    return NormalDist().inv_cdf(probability)


def chi_squared_p_value(df: int, statistic: float) -> float:
    r"""Probability of a larger chi-squared statistic.

    The upper incomplete gamma function, from :math:`Q(1, x) = e^{-x}` or
    :math:`Q(1/2, x) = \operatorname{erfc} \sqrt x` upwards by

    .. math:: Q(a + 1, x) = Q(a, x) + \frac{x^a e^{-x}}{\Gamma(a + 1)}, \quad x = \chi^2 / 2

    Parameters
    ----------
    df : int
        Degrees of freedom, at least 1.
    statistic : float

    References
    ----------
    Abramowitz M, Stegun IA. Handbook of Mathematical Functions, 26.4.4 and 26.4.5.
    """
    x = statistic / 2
    if x <= 0:
        return 1.0
    a, value = (0.5, erfc(sqrt(x))) if df % 2 else (1.0, exp(-x))
    while a < df / 2:
        value += exp(a * log(x) - x - lgamma(a + 1))
        a += 1
    return value


def student_p_value(df: int, t: float) -> float:
    """Two-sided p value of Student's t, with an absolute error of about 1e-16.

    Parameters
    ----------
    df : int
        Degrees of freedom, at least 1.
    t : float

    References
    ----------
    Abramowitz M, Stegun IA. Handbook of Mathematical Functions, 26.7.3 and 26.7.4.
    """
    length = hypot(sqrt(df), t)
    cosine, sine = sqrt(df) / length, abs(t) / length
    odd = df % 2
    term = total = (cosine if df > 1 else 0.0) if odd else 1.0
    for j in range(2 + odd, df, 2):
        term *= cosine**2 * (j - 1) / j
        total += term
    inside = 2 / pi * (atan(abs(t) / sqrt(df)) + sine * total) if odd else sine * total
    return max(1 - inside, 0.0)  # in this order, in which NaN stays NaN


def student_quantile(df: int, level: float) -> float:
    """Half width of the central interval of Student's t that holds a share `level`.

    Parameters
    ----------
    df : int
        Degrees of freedom, at least 1.
    level : float
        Such as 0.95: the quantile of 0.975.
    """
    low, high = 0.0, 1.0
    while student_p_value(df, high) > 1 - level:
        low, high = high, 2 * high
    for _ in range(60):  # by then the ends are neighbouring numbers
        middle = (low + high) / 2
        low, high = (middle, high) if student_p_value(df, middle) > 1 - level else (low, middle)
    return high
