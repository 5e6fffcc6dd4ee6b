"""The known truth behind a phantom: disease components, log-hazard, event times, censoring."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType

import numpy as np
import pandas as pd
from scipy.optimize import brentq
from scipy.stats import qmc

__all__ = [
    "COMPONENTS",
    "PHANTOM_TRUTHS",
    "check_effects",
    "draw_components",
    "draw_event_and_time",
    "end_of_accrual",
    "log_hazard",
]

COMPONENTS = ("volume", "uptake", "heterogeneity", "infiltration", "stage")

#: Named sets of effects: prognosis that the mask and the stage hold for the greater part, and
#: prognosis that lies outside the mask.
PHANTOM_TRUTHS: Mapping[str, Mapping[str, float]] = MappingProxyType(
    {
        "mask": MappingProxyType(dict.fromkeys(COMPONENTS, 0.8)),
        "outside": MappingProxyType(
            {"volume": 0.3, "uptake": 0.3, "heterogeneity": 0.3, "infiltration": 1.5, "stage": 0.4}
        ),
    }
)

_WEIBULL_SHAPE = 1.2
_WEIBULL_SCALE = 30.0  # months
_ROOT_3 = float(np.sqrt(3))


def check_effects(
    effects: Mapping[str, float] | None, truth: str | None = None
) -> tuple[float, ...]:
    """Coefficients in the order of `COMPONENTS`.

    Parameters
    ----------
    effects : mapping from component to float, or None
        Components that are not named get 0.
    truth : str, optional
        Name of a set in `PHANTOM_TRUTHS` instead. With neither, ``"mask"``.

    Raises
    ------
    ValueError
        Both are given, an unknown truth or component, or a coefficient that is not finite.
    """
    if effects is None:
        name = "mask" if truth is None else truth
        if name not in PHANTOM_TRUTHS:
            raise ValueError(f"truth must be one of {list(PHANTOM_TRUTHS)}; got {name!r}.")
        effects = PHANTOM_TRUTHS[name]
    elif truth is not None:
        raise ValueError(
            f"truth={truth!r} and effects both say what the hazard is; give one of them."
        )
    unknown = sorted(set(effects) - set(COMPONENTS))
    if unknown:
        raise ValueError(f"effects names {unknown}; the components are {list(COMPONENTS)}.")
    values = tuple(float(effects.get(name, 0.0)) for name in COMPONENTS)
    if not np.isfinite(values).all():
        raise ValueError(f"effects must be finite; got {dict(effects)}.")
    return values


def draw_components(seeds: list[np.random.SeedSequence]) -> pd.DataFrame:
    """Draw the disease of each patient; the components are independent.

    Parameters
    ----------
    seeds : list of SeedSequence
        One per patient.

    Returns
    -------
    DataFrame with columns ``volume_ml``, ``suv_mean``, ``heterogeneity``, ``infiltration_ml`` and
    ``stage``
    """
    scores = np.empty((len(seeds), 4))
    stage = np.empty(len(seeds), dtype=np.int64)
    for i, seed in enumerate(seeds):
        rng = np.random.default_rng(seed)
        scores[i] = rng.uniform(-_ROOT_3, _ROOT_3, 4)
        stage[i] = rng.integers(1, 5)
    return pd.DataFrame(
        {
            "volume_ml": 8.5 * np.exp(0.6 * scores[:, 0]),
            "suv_mean": 5.0 * np.exp(0.3 * scores[:, 1]),
            "heterogeneity": 0.25 + 0.115 * scores[:, 2],
            "infiltration_ml": 6.0 + 2 * _ROOT_3 * scores[:, 3],
            "stage": stage,
        }
    )


def log_hazard(components: pd.DataFrame, effects: tuple[float, ...]) -> np.ndarray:
    """Log-hazard of each patient; see `survimg.datasets.make_phantom_cohort` for the equation.

    Parameters
    ----------
    components : DataFrame
        As returned by `draw_components`.
    effects : tuple of float
        Coefficients in the order of `COMPONENTS`.

    Returns
    -------
    ndarray of shape (n,)
    """
    scores = np.stack(
        [
            np.log(components["volume_ml"] / 8.5) / 0.6,
            np.log(components["suv_mean"] / 5.0) / 0.3,
            (components["heterogeneity"] - 0.25) / 0.115,
            (components["infiltration_ml"] - 6.0) / (2 * _ROOT_3),
            (components["stage"] - 2.5) / np.sqrt(1.25),
        ],
        axis=1,
    )
    return scores @ np.asarray(effects)


def draw_event_and_time(
    risk: np.ndarray, end: float, seeds: list[np.random.SeedSequence]
) -> tuple[np.ndarray, np.ndarray]:
    """Weibull event times, censored at uniform times between 0 and `end`.

    Parameters
    ----------
    risk : ndarray of shape (n,)
        Log-hazard.
    end : float
        Longest possible follow-up in months; infinite for no censoring.
    seeds : list of SeedSequence
        One per patient.

    Returns
    -------
    event : ndarray of shape (n,), bool
    time : ndarray of shape (n,), float64
        In months.
    """
    draws = np.empty((len(seeds), 2))
    for i, seed in enumerate(seeds):
        rng = np.random.default_rng(seed)
        draws[i] = rng.standard_exponential(), rng.uniform(0, 1)
    event_time = _event_time(draws[:, 0], risk)
    censoring_time = np.full(len(risk), np.inf) if np.isinf(end) else end * draws[:, 1]
    return event_time <= censoring_time, np.minimum(event_time, censoring_time)


@lru_cache
def end_of_accrual(effects: tuple[float, ...], censoring: float) -> float:
    """Longest follow-up at which the expected fraction of censored patients is `censoring`.

    With follow-up uniform on (0, E) a patient with event time T is censored with probability
    min(T, E) / E; its mean over the population is solved for E.

    Parameters
    ----------
    effects : tuple of float
    censoring : float
        In [0, 1).

    Returns
    -------
    float
        Months; infinite when `censoring` is 0.

    Raises
    ------
    ValueError
        `censoring` is outside [0, 1).
    """
    if not 0 <= censoring < 1:
        raise ValueError(f"censoring is an expected fraction in [0, 1); got {censoring}.")
    if censoring == 0:
        return float("inf")
    # Fixed quasi-random points: the answer belongs to the population, not to one sample of it.
    points = qmc.Halton(len(COMPONENTS) + 1, scramble=False).random(2**14)
    scores = _ROOT_3 * (2 * points[:, :5] - 1)
    scores[:, 4] = (np.floor(4 * points[:, 4]) - 1.5) / np.sqrt(1.25)
    event_time = _event_time(-np.log1p(-points[:, 5]), scores @ np.asarray(effects))

    def excess(log_end: float) -> float:
        return float(np.minimum(event_time / np.exp(log_end), 1).mean()) - censoring

    return float(np.exp(brentq(excess, -40, 40)))


def _event_time(exponential: np.ndarray, risk: np.ndarray) -> np.ndarray:
    return _WEIBULL_SCALE * (exponential * np.exp(-risk)) ** (1 / _WEIBULL_SHAPE)
