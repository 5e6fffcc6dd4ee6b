"""Check of the proportional hazards assumption."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import chdtrc

from survimg.evaluation.cox_regression import design
from survimg.evaluation.kaplan_meier import kaplan_meier
from survimg.survival.cox import maximise_partial_likelihood
from survimg.survival.risk_sets import Ties
from survimg.target import check_outcome

__all__ = ["proportional_hazards_test"]

Transform = Literal["km", "rank", "identity", "log"]


def proportional_hazards_test(
    y: npt.ArrayLike,
    covariates: npt.ArrayLike | pd.DataFrame,
    *,
    transform: Transform = "km",
    names: Sequence[str] | None = None,
    ties: Ties = "efron",
) -> pd.DataFrame:
    r"""Score test of coefficients that change with time.

    The model :math:`\beta(t) = \beta + \theta g(t)` is tested for :math:`\theta = 0` by Rao's score
    test at the fitted Cox model, for each covariate and for all together; :math:`\theta = 0` is
    proportional hazards (Grambsch & Therneau 1994, in the exact form of R's ``cox.zph`` from
    survival 3.0 on, without their approximation of a constant variance).

    Parameters
    ----------
    y : structured array of shape (n,)
    covariates : array-like or DataFrame of shape (n, p)
    transform : {"km", "rank", "identity", "log"}, default="km"
        g(t): 1 - S(t-) by Kaplan-Meier, the rank of t among all observed times, t, or log t.
    names : sequence of str, optional
    ties : {"efron", "breslow"}, default="efron"

    Returns
    -------
    DataFrame
        One row per covariate and "GLOBAL"; columns ``chi2``, ``df``, ``p``.

    Raises
    ------
    ValueError
        As `fit_cox`; events at a single time, or too few for a change with time to be seen;
        ``transform="log"`` with an event at time 0.

    References
    ----------
    .. [1] Grambsch PM, Therneau TM. Biometrika 1994;81:515-526.
    """
    event, time = check_outcome(y, require_event=True)
    X, columns = design(covariates, names)
    fit = maximise_partial_likelihood(X, event, time, names=columns, ties=ties)
    sums = fit.sums
    g = _transformed(y, fit.sets.event_times, transform)[fit.sets.block]
    if np.ptp(g) == 0:
        raise ValueError("All events happened at one time; nothing can change with time.")
    g = g - g.mean()
    score = sums.score(g)
    i11, i12, i22 = sums.information(), sums.information(g), sums.information(g**2)
    variance = i22 - i12.T @ np.linalg.solve(i11, i12)
    if not np.linalg.eigvalsh(variance)[0] > 1e-10 * np.trace(i22):
        raise ValueError(
            "Too few events happened at different times to tell whether the coefficients of "
            f"{list(columns)} change with time: the risk sets hold no information on it."
        )
    single = score**2 / np.diag(variance)
    together = float(score @ np.linalg.solve(variance, score))
    chi2 = np.append(single, together)
    df = np.append(np.ones(len(columns), dtype=int), len(columns))
    return pd.DataFrame(
        {"chi2": chi2, "df": df, "p": chdtrc(df, chi2)}, index=[*columns, "GLOBAL"]
    )


def _transformed(y: npt.ArrayLike, times: np.ndarray, transform: Transform) -> np.ndarray:
    """Transform of the distinct event times."""
    if transform == "identity":
        return times
    if transform == "log":
        if times[0] <= 0:
            raise ValueError("transform='log' needs events after time 0.")
        return np.log(times)
    if transform == "rank":
        observed = np.sort(check_outcome(y)[1])
        before, until = (np.searchsorted(observed, times, side=side) for side in ("left", "right"))
        return (before + 1 + until) / 2  # the mean rank of those observed at the time
    if transform == "km":
        curve = kaplan_meier(y)
        position = np.searchsorted(curve.time, times, side="left")
        return 1 - np.concatenate(([1.0], curve.survival))[position]
    raise ValueError(
        f"transform must be 'km', 'rank', 'identity' or 'log'; got {transform!r}."
    )
