"""Cox's partial likelihood on arrays: values along a path, and the information matrix."""

from __future__ import annotations

import numpy as np

__all__ = ["breslow_log_likelihood", "efron_information", "saturated_log_likelihood"]


def breslow_log_likelihood(event: np.ndarray, time: np.ndarray, risk: np.ndarray) -> np.ndarray:
    """Log partial likelihood with Breslow's treatment of tied event times.

    Parameters
    ----------
    event : ndarray of shape (n,), bool
    time : ndarray of shape (n,)
    risk : ndarray of shape (n, k)
        Log-hazard ratios of k models.

    Returns
    -------
    ndarray of shape (k,)

    References
    ----------
    Breslow N. Covariance analysis of censored survival data. Biometrics 1974;30:89-99.
    """
    latest_first = np.argsort(-time, kind="stable")
    event, time, risk = event[latest_first], time[latest_first], risk[latest_first]
    at_risk = np.logaddexp.accumulate(risk, axis=0)
    # The risk set of a time holds everyone followed at least as long, all its ties included.
    last_tie = np.searchsorted(-time, -time, side="right") - 1
    return (risk - at_risk[last_tie])[event].sum(axis=0)


def saturated_log_likelihood(event: np.ndarray, time: np.ndarray) -> float:
    """Log partial likelihood of the model with one parameter per patient (zero without ties)."""
    _, deaths = np.unique(time[event], return_counts=True)
    return -float((deaths * np.log(deaths)).sum())


def efron_information(
    X: np.ndarray, event: np.ndarray, time: np.ndarray, coef: np.ndarray
) -> np.ndarray:
    """Observed information of the log partial likelihood with Efron's treatment of ties.

    Parameters
    ----------
    X : ndarray of shape (n, p)
    event : ndarray of shape (n,), bool
    time : ndarray of shape (n,)
    coef : ndarray of shape (p,)

    Returns
    -------
    ndarray of shape (p, p)

    References
    ----------
    Efron B. The efficiency of Cox's likelihood function for censored data. J Am Stat Assoc
    1977;72:557-565.
    """
    linear = X @ coef
    hazard = np.exp(linear - linear.max())
    information = np.zeros((X.shape[1], X.shape[1]))
    for t in np.unique(time[event]):
        at_risk = time >= t
        dying = (event & (time == t))[at_risk]
        n_dying = int(dying.sum())
        for k in range(n_dying):
            weights = hazard[at_risk] * (1.0 - dying * (k / n_dying))
            weights /= weights.sum()
            centred = X[at_risk] - weights @ X[at_risk]
            information += centred.T @ (centred * weights[:, np.newaxis])
    return information
