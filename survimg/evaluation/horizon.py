"""Classification at a horizon: has the event happened by then? With weights for the censored.

Patients with the event by the horizon are cases, patients followed beyond it are controls; those
censored earlier are neither, and the others are weighted up by the inverse probability of not being
censored (IPCW), so that the weighted patients stand for the whole cohort.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from survimg.evaluation.kaplan_meier import CensoringDistribution, Limit
from survimg.evaluation.predictions import check_horizon, check_risk
from survimg.target import check_outcome

__all__ = [
    "HorizonClassification", "classification_at_horizon", "horizon_weights", "status_weights",
]


def horizon_weights(
    y_train: npt.ArrayLike,
    y: npt.ArrayLike,
    horizon: float,
    *,
    censoring_limit: Limit = "left",
) -> tuple[np.ndarray, np.ndarray]:
    r"""Inverse-probability-of-censoring weights of cases and controls at a horizon.

    .. math:: w_i^{case} = \frac{1(t_i \le h, \delta_i = 1)}{\hat G(t_i-)}, \qquad
              w_i^{control} = \frac{1(t_i > h)}{\hat G(h)}

    Parameters
    ----------
    y_train : structured array of shape (m,)
        Cohort that estimates the censoring distribution G.
    y : structured array of shape (n,)
        Patients to be weighted.
    horizon : float
        Time point h, in the unit of `y`.
    censoring_limit : {"left", "right"}, default="left"
        See `CensoringDistribution`.

    Returns
    -------
    cases, controls : ndarray of shape (n,)

    Raises
    ------
    ValueError
        The censoring distribution does not reach the horizon.

    References
    ----------
    .. [1] Graf E, Schmoor C, Sauerbrei W, Schumacher M. Stat Med 1999;18:2529-2545.
    .. [2] Uno H, Cai T, Tian L, Wei LJ. J Am Stat Assoc 2007;102:527-537.
    """
    event, time = check_outcome(y)
    return weights_at(CensoringDistribution(y_train, censoring_limit), event, time, horizon)


def status_weights(y: npt.ArrayLike, horizon: float) -> np.ndarray:
    r"""Weights with which the patients of known status at a horizon stand for all patients.

    .. math:: w_i = \frac{1(t_i \le h, \delta_i = 1)}{\hat G(t_i-)}
                  + \frac{1(t_i \ge h)\,\{1 - 1(t_i \le h, \delta_i = 1)\}}{\hat G(h-)}

    Their sum is the number of patients, and the weighted share of those with the event is 1 less
    the Kaplan-Meier estimate at the horizon. Unlike in `horizon_weights`, a patient who was last
    seen at the horizon itself counts as event-free, as in `survimg.survival.status_at`.

    Parameters
    ----------
    y : structured array of shape (n,)
        Of all patients: those censored before the horizon tell how likely that was.
    horizon : float
        Time point h, in the unit of `y`.

    Returns
    -------
    ndarray of shape (n,)
        0 for patients censored before the horizon.

    Raises
    ------
    ValueError
        A horizon beyond the last follow-up: nobody is known to be event-free there.

    References
    ----------
    .. [1] Robins JM, Rotnitzky A, Zhao LP. J Am Stat Assoc 1994;89:846-866.
    .. [2] Uno H, Cai T, Tian L, Wei LJ. J Am Stat Assoc 2007;102:527-537.
    """
    event, time = check_outcome(y)
    horizon = check_horizon(horizon)
    censoring = CensoringDistribution(y)
    positive = event & (time <= horizon)
    weights = censoring.event_weights(positive, time)
    negative = ~positive & (time >= horizon)
    if not negative.any():
        raise ValueError(
            f"No patient was followed event-free to the horizon {horizon:g}, so that nobody stands "
            f"for those censored before it; choose one up to {time.max():g}."
        )
    weights[negative] = 1 / censoring.before(horizon)[0]
    return weights


def weights_at(
    censoring: CensoringDistribution, event: np.ndarray, time: np.ndarray, horizon: float
) -> tuple[np.ndarray, np.ndarray]:
    """Compute `horizon_weights` from a censoring distribution that is already estimated."""
    horizon = check_horizon(horizon)
    beyond = time > horizon
    cases = censoring.event_weights(event & ~beyond, time)
    controls = np.zeros(time.size)
    if beyond.any():
        remaining = float(censoring.at(horizon)[0])
        if remaining <= 0:
            raise ValueError(
                f"No patient of the training cohort was followed beyond the horizon {horizon:g}; "
                f"choose one before {censoring.positive_until:g}."
            )
        controls[beyond] = 1 / remaining
    return cases, controls


@dataclass(frozen=True)
class HorizonClassification:
    """Performance of a risk threshold at a horizon.

    Attributes
    ----------
    sensitivity, specificity, ppv, npv : float
        Never NaN: `classification_at_horizon` raises where one is undefined.
    horizon, threshold : float
    n_cases, n_controls, n_censored : int
        Patients with the event by the horizon, followed beyond it, and censored by it.
    """

    sensitivity: float
    specificity: float
    ppv: float
    npv: float
    horizon: float
    threshold: float
    n_cases: int
    n_controls: int
    n_censored: int


def classification_at_horizon(
    y_train: npt.ArrayLike,
    y: npt.ArrayLike,
    risk: npt.ArrayLike,
    horizon: float,
    threshold: float,
    *,
    censoring_limit: Limit = "left",
) -> HorizonClassification:
    r"""Sensitivity, specificity, PPV and NPV of ``risk > threshold`` for the event by a horizon.

    With the weights of `horizon_weights`:

    .. math:: Se = \frac{\sum w^{case} 1(r > c)}{\sum w^{case}}, \quad
              PPV = \frac{\sum w^{case} 1(r > c)}{\sum (w^{case} + w^{control}) 1(r > c)}

    and accordingly for specificity and NPV.

    Parameters
    ----------
    y_train : structured array of shape (m,)
        Cohort that estimates the censoring distribution; often the training fold.
    y : structured array of shape (n,)
    risk : array-like of shape (n,)
        Higher = earlier event.
    horizon : float
    threshold : float
        Learned elsewhere, see `learn_cutoff`.
    censoring_limit : {"left", "right"}, default="left"
        See `CensoringDistribution`.

    Returns
    -------
    HorizonClassification

    Raises
    ------
    ValueError
        No case, no control, or nobody with a known status on one side of the threshold (PPV or NPV
        is then 0/0).

    References
    ----------
    .. [1] Uno H, Cai T, Tian L, Wei LJ. J Am Stat Assoc 2007;102:527-537.
    .. [2] Blanche P, Dartigues JF, Jacqmin-Gadda H. Biom J 2013;55:687-704.
    """
    event, time = check_outcome(y)
    risk = check_risk(risk, event.size, y=y)
    cases, controls = horizon_weights(y_train, y, horizon, censoring_limit=censoring_limit)
    require_both_classes(cases, controls, horizon)
    high = risk > threshold
    weights = cases + controls
    for side, name in ((high, "above"), (~high, "at or below")):
        if not weights[side].any():
            raise ValueError(
                f"No patient of known status at time {horizon:g} has a risk {name} the threshold "
                f"{threshold:g}, so {'PPV' if name == 'above' else 'NPV'} is undefined."
            )
    return HorizonClassification(
        sensitivity=float(cases[high].sum() / cases.sum()),
        specificity=float(controls[~high].sum() / controls.sum()),
        ppv=float(cases[high].sum() / weights[high].sum()),
        npv=float(controls[~high].sum() / weights[~high].sum()),
        horizon=float(horizon),
        threshold=float(threshold),
        n_cases=int(np.count_nonzero(cases)),
        n_controls=int(np.count_nonzero(controls)),
        n_censored=int(np.count_nonzero(~event & (time <= horizon))),
    )


def require_both_classes(cases: np.ndarray, controls: np.ndarray, horizon: float) -> None:
    """Refuse a horizon without cases or without controls.

    Raises
    ------
    ValueError
        Says which class is missing.
    """
    if not cases.any():
        raise ValueError(
            f"No patient had the event by time {horizon:g}; choose a later horizon."
        )
    if not controls.any():
        raise ValueError(
            f"No patient was followed beyond time {horizon:g}; choose an earlier horizon."
        )
