"""Bootstrap over patients: resampling counts, intervals, tests.

A resample is described by how often it draws each patient. Concordance then needs no resampled
copies: with the pair matrix P (is the pair comparable?) and the score matrix S (1 concordant, 0.5
tied), the sums of resample m are ``m' S m`` and ``m' P m``: two matrix products serve all
resamples.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from survimg.evaluation.estimates import Estimate, check_level
from survimg.evaluation.pairs import orders, pair_sums
from survimg.evaluation.predictions import as_array
from survimg.survival.distributions import normal_cdf, normal_quantile
from survimg.target import as_outcome, check_outcome, in_order_of

__all__ = [
    "bca_interval",
    "bootstrap_concordance",
    "bootstrap_interval",
    "bootstrap_p_value",
    "percentile_interval",
    "resampling_counts",
]

RandomState = int | np.random.Generator | None

# Above this many patients the n x n pair matrices outgrow the processor's caches and then the
# memory; pairs are counted anew for each resample instead, in O(n) memory and O(n log n) time.
MATRIX_LIMIT = 1000
# Resamples on which a statistic is undefined are left out with a warning up to this share.
UNDEFINED_LIMIT = 0.05


def resampling_counts(n_patients: int, n_resamples: int, rng: np.random.Generator) -> np.ndarray:
    """Draw patients with replacement; count how often each is drawn.

    Returns
    -------
    ndarray of shape (n_resamples, n_patients), float32
        Rows sum to `n_patients`.

    Raises
    ------
    ValueError
        Fewer than 100 resamples: the tails of an interval cannot be read from them.
    """
    if n_resamples < 100:
        raise ValueError(f"n_resamples must be at least 100; got {n_resamples}.")
    rows = rng.integers(0, n_patients, size=(n_resamples, n_patients))
    rows += n_patients * np.arange(n_resamples)[:, np.newaxis]
    counts = np.bincount(rows.ravel(), minlength=n_resamples * n_patients)
    return counts.reshape(n_resamples, n_patients).astype(np.float32)


def bootstrap_concordance(
    event: np.ndarray,
    time: np.ndarray,
    risks: Sequence[np.ndarray],
    counts: np.ndarray,
    tied_tol: float,
    event_weight: np.ndarray | None = None,
) -> np.ndarray:
    """Compute the concordance index of one or more models on each resample.

    Parameters
    ----------
    event, time : ndarray of shape (n,)
    risks : sequence of ndarray of shape (n,)
    counts : ndarray of shape (n_resamples, n), float32
        From `resampling_counts`.
    tied_tol : float
    event_weight : ndarray of shape (n,), optional
        Weight of a patient's pairs as the earlier event (Uno); 1 by default (Harrell).

    Returns
    -------
    ndarray of shape (n_models, <= n_resamples)
        Equal to the value computed on the resampled patients. Resamples without a comparable pair
        are left out.

    Raises
    ------
    ValueError
        More than 5 % of the resamples have no comparable pair.
    """
    summed = _sums_by_counting if event.size > MATRIX_LIMIT else _sums_by_matrix
    comparable, scores = summed(event, time, risks, counts, tied_tol, event_weight)
    defined = comparable > 0
    _report_undefined(int(np.count_nonzero(~defined)), defined.size, "no comparable pair")
    return scores[:, defined] / comparable[defined]


def _sums_by_matrix(
    event: np.ndarray,
    time: np.ndarray,
    risks: Sequence[np.ndarray],
    counts: np.ndarray,
    tied_tol: float,
    event_weight: np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray]:
    longer = time > time[event, np.newaxis]
    pairs = longer | ((time == time[event, np.newaxis]) & ~event)
    event_counts = counts[:, event]

    def totals(matrix: np.ndarray) -> np.ndarray:
        # All entries are whole numbers below 2**24: exact in float32, then summed in float64.
        products = counts @ matrix.T
        products *= event_counts
        if event_weight is None:
            return products.sum(axis=1, dtype=np.float64)
        return products.astype(np.float64) @ event_weight[event]

    scores = []
    for risk in risks:
        gap = risk[event, np.newaxis] - risk
        # (gap > tol) + (gap >= -tol) is 2, 1 or 0 for concordant, tied and discordant pairs.
        score = ((gap > tied_tol).view(np.int8) + (gap >= -tied_tol).view(np.int8)) * pairs
        scores.append(totals(score.astype(np.float32)) / 2)
    return totals(pairs.astype(np.float32)), np.array(scores)


def _sums_by_counting(
    event: np.ndarray,
    time: np.ndarray,
    risks: Sequence[np.ndarray],
    counts: np.ndarray,
    tied_tol: float,
    event_weight: np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray]:
    comparable = np.empty(counts.shape[0])
    scores = np.empty((len(risks), counts.shape[0]))
    whole = counts.astype(np.int64)
    for model, risk in enumerate(risks):
        in_order = orders(time, risk, whole)
        for row, times_drawn in enumerate(whole):
            earlier = times_drawn if event_weight is None else times_drawn * event_weight
            sums = pair_sums(event, time, risk, times_drawn, tied_tol, in_order)
            scores[model, row] = earlier @ sums.score
            comparable[row] = earlier @ sums.comparable
    return comparable, scores


def bootstrap_interval(
    statistic: Callable[..., float],
    y: npt.ArrayLike,
    *predictions: npt.ArrayLike,
    method: str = "percentile",
    level: float = 0.95,
    n_resamples: int = 1000,
    random_state: RandomState = None,
) -> Estimate:
    """Bootstrap interval of any statistic of patients, by resampling them.

    Parameters
    ----------
    statistic : callable
        ``statistic(y, *predictions) -> float``; bind further arguments with ``functools.partial``.
    y : structured array of shape (n,)
    *predictions : array-like of shape (n, ...)
        Resampled along the first axis together with `y`.
    method : {"percentile", "bca"}, default="percentile"
        "bca" costs n further evaluations (leave-one-out) for its acceleration.
    level : float, default=0.95
    n_resamples : int, default=1000
    random_state : int, Generator or None, default=None

    Returns
    -------
    Estimate

    Raises
    ------
    ValueError
        `statistic` raises ValueError (is undefined) on more than 5 % of the resamples; on fewer,
        these are left out with a warning.

    See Also
    --------
    concordance_index : its own bootstrap, hundreds of times faster than this loop.
    """
    check_level(level)
    if method not in ("percentile", "bca"):
        raise ValueError(f"method must be 'percentile' or 'bca'; got {method!r}.")
    event, _ = check_outcome(y)
    named = (in_order_of(y, values, "y", "predictions") for values in predictions)
    data = [as_outcome(y), *map(as_array, named)]
    for values in data[1:]:
        if values.shape[:1] != event.shape:
            raise ValueError(
                f"Predictions must have one row per patient ({event.size}); got {values.shape}."
            )
    value = float(statistic(*data))
    rng = np.random.default_rng(random_state)
    counts = resampling_counts(event.size, n_resamples, rng).astype(np.intp)
    index = np.arange(event.size)
    draws = _evaluate(statistic, data, (np.repeat(index, row) for row in counts), n_resamples)
    if method == "percentile":
        lower, upper = percentile_interval(draws, level)
    else:
        left_out = _evaluate(
            statistic, data, (np.delete(index, i) for i in index), event.size
        )
        lower, upper = bca_interval(draws, value, left_out, level)
    return Estimate(
        value, lower, upper, float(draws.std(ddof=1)), level, f"{method} bootstrap"
    )


def _evaluate(
    statistic: Callable[..., float], data: list[np.ndarray], samples: object, n_expected: int
) -> np.ndarray:
    values: list[float] = []
    reason = ""
    for rows in samples:  # type: ignore[attr-defined]
        try:
            values.append(float(statistic(*(column[rows] for column in data))))
        except ValueError as error:
            reason = str(error)
    _report_undefined(n_expected - len(values), n_expected, reason)
    return np.array(values)


def _report_undefined(n_undefined: int, n_resamples: int, reason: str) -> None:
    if n_undefined > UNDEFINED_LIMIT * n_resamples:
        raise ValueError(
            f"The statistic is undefined on {n_undefined} of {n_resamples} resamples ({reason}); "
            "too many for an interval. The cohort has too few events for it."
        )
    if n_undefined:
        warnings.warn(
            f"{n_undefined} of {n_resamples} resamples left out: {reason}",
            UserWarning,
            stacklevel=3,
        )


def percentile_interval(draws: np.ndarray, level: float) -> tuple[float, float]:
    """Quantiles of the bootstrap distribution.

    Raises
    ------
    ValueError
        All draws are equal.
    """
    check_level(level)
    _require_variation(draws)
    lower, upper = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return float(lower), float(upper)


def bca_interval(
    draws: np.ndarray, value: float, left_out: np.ndarray, level: float
) -> tuple[float, float]:
    """Bias-corrected and accelerated interval (Efron, J Am Stat Assoc 1987;82:171-185).

    Parameters
    ----------
    draws : ndarray of shape (n_resamples,)
        Bootstrap values.
    value : float
        Value on the data.
    left_out : ndarray of shape (n,)
        Leave-one-out values, for the acceleration.
    level : float

    Raises
    ------
    ValueError
        All draws are equal or lie on one side of `value`, or a leave-one-out value is undefined.
    """
    z = check_level(level)
    _require_variation(draws)
    if not np.all(np.isfinite(left_out)):
        raise ValueError("A leave-one-out value is undefined; use the percentile interval.")
    # Ties with the value count by half, which matters for discrete statistics.
    below = (np.count_nonzero(draws < value) + np.count_nonzero(draws <= value)) / (2 * draws.size)
    if not 0 < below < 1:
        raise ValueError(
            "All bootstrap values lie on one side of the estimate, so the bias correction is "
            "undefined; use the percentile interval."
        )
    bias = normal_quantile(below)
    gap = left_out.mean() - left_out
    spread = np.sum(gap**2)
    acceleration = float(np.sum(gap**3) / (6 * spread**1.5)) if spread > 0 else 0.0
    limits = []
    for quantile in (-z, z):
        shifted = bias + (bias + quantile) / (1 - acceleration * (bias + quantile))
        limits.append(float(np.quantile(draws, normal_cdf(shifted))))
    return limits[0], limits[1]


def bootstrap_p_value(differences: np.ndarray) -> float:
    """Two-sided bootstrap p value of "no difference".

    Twice the smaller tail share at zero, with one added to count and total (Davison & Hinkley,
    Bootstrap Methods and their Application, 1997, section 4.4); never exactly 0.
    """
    n = differences.size
    tail = min(np.count_nonzero(differences <= 0), np.count_nonzero(differences >= 0))
    return float(min(1.0, 2 * (tail + 1) / (n + 1)))


def _require_variation(draws: np.ndarray) -> None:
    if np.ptp(draws) == 0:
        raise ValueError(
            f"All bootstrap values equal {draws[0]}: the data hold no variation to estimate an "
            "interval from."
        )
