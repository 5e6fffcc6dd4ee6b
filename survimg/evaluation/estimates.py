"""What a statistic returns when it comes with its uncertainty."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from survimg.survival.distributions import normal_quantile

__all__ = [
    "LEAST_EVENTS",
    "Comparison",
    "Estimate",
    "check_level",
    "logit_interval",
    "normal_interval",
    "require_enough_events",
    "too_few",
]

LEAST_EVENTS = 10
"""Below it, intervals and tests that hold for many events are not given."""



@dataclass(frozen=True)
class Estimate:
    """A statistic with its confidence interval.

    Attributes
    ----------
    value : float
    lower, upper : float
        Limits of the interval.
    standard_error : float
        On the scale of `value` (on the log scale for ratios; `method` says so).
    level : float
        Confidence level, such as 0.95.
    method : str
        How the interval was made.
    p_value : float or None
        Two-sided test of the null value where the statistic has one.
    """

    value: float
    lower: float
    upper: float
    standard_error: float
    level: float
    method: str
    p_value: float | None = None

    def __float__(self) -> float:
        return self.value

    def __str__(self) -> str:
        return f"{self.value:.3f} ({100 * self.level:g} % CI {self.lower:.3f} to {self.upper:.3f})"


@dataclass(frozen=True)
class Comparison:
    """The paired difference of two models' statistics on the same patients.

    Attributes
    ----------
    first, second : float
        The statistic of either model.
    difference : float
        ``first - second``.
    lower, upper : float
        Confidence limits of the difference.
    standard_error : float
    p_value : float
        Two-sided test of no difference.
    level : float
    method : str
    """

    first: float
    second: float
    difference: float
    lower: float
    upper: float
    standard_error: float
    p_value: float
    level: float
    method: str

    def __str__(self) -> str:
        return (
            f"{self.difference:+.3f} ({100 * self.level:g} % CI {self.lower:+.3f} to "
            f"{self.upper:+.3f}), p = {self.p_value:.3g}"
        )


def check_level(level: float) -> float:
    """Check a confidence level and return the matching two-sided normal quantile.

    Raises
    ------
    ValueError
        `level` is not strictly between 0 and 1.
    """
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, such as 0.95; got {level}.")
    return normal_quantile(0.5 + level / 2)


def require_enough_events(event: np.ndarray, *, what: str = "events") -> None:
    """Refuse an interval or a test that holds for many events where there are few.

    Parameters
    ----------
    event : ndarray of shape (n,), bool
        Whether the event of a patient counts.
    what : str, default="events"
        Name of what is counted, in the message.

    Raises
    ------
    ValueError
        Fewer than `LEAST_EVENTS` events.
    """
    n_events = int(np.count_nonzero(event))
    if n_events < LEAST_EVENTS:
        raise ValueError(
            f"With {n_events} {what} there is no interval and no test: these hold for many {what}, "
            f"{LEAST_EVENTS} at the least. Give the estimate alone, or evaluate more patients."
        )


def too_few(event: np.ndarray, label: str | None = None) -> str | None:
    """Say which patients are too few for intervals and tests that hold for many.

    Parameters
    ----------
    event : ndarray of shape (n,), bool
        Whether a patient had the event, or has the label.
    label : str, optional
        What labels say of a patient. Patients without it count like those with it: the variance of
        an AUC depends on the rarer of the two.

    Returns
    -------
    str or None
        Such as "fewer than 10 events"; None if there are enough.
    """
    counted = {"events": event}
    if label is not None:
        counted = {f"patients with {label}": event, f"patients without {label}": ~event}
    rare = [name for name, having in counted.items() if np.count_nonzero(having) < LEAST_EVENTS]
    return f"fewer than {LEAST_EVENTS} {' and '.join(rare)}" if rare else None


def normal_interval(value: float, standard_error: float, level: float) -> tuple[float, float]:
    """Symmetric normal interval ``value ± z * standard_error``."""
    margin = check_level(level) * standard_error
    return value - margin, value + margin


def logit_interval(value: float, standard_error: float, level: float) -> tuple[float, float]:
    """Form a normal interval on the logit scale, carried back to (0, 1).

    By the delta method the standard error of ``logit(p)`` is ``se / (p (1 - p))``. The interval
    stays inside (0, 1) and is asymmetric near its ends, where a symmetric one undercovers.

    Raises
    ------
    ValueError
        `value` is exactly 0 or 1, or its standard error is 0: the variance cannot be estimated
        from data without any variation.
    """
    z = check_level(level)
    if not 0 < value < 1 or standard_error <= 0:
        raise ValueError(
            f"An interval needs a value strictly between 0 and 1 with a positive standard error; "
            f"got {value} with standard error {standard_error}. The data show no variation to "
            "estimate an error from."
        )
    centre = np.log(value / (1 - value))
    margin = z * standard_error / (value * (1 - value))
    lower, upper = 1 / (1 + np.exp(-(centre - margin))), 1 / (1 + np.exp(-(centre + margin)))
    return float(lower), float(upper)
