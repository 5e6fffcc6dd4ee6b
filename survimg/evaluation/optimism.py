"""Optimism of the apparent concordance, by the bootstrap."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from survimg.evaluation.bootstrap import RandomState
from survimg.evaluation.concordance import concordance_index
from survimg.survival import risk_of
from survimg.target import as_outcome, check_outcome

__all__ = ["OptimismCorrection", "optimism_corrected_concordance"]


@dataclass(frozen=True)
class OptimismCorrection:
    """Apparent and optimism-corrected concordance.

    Attributes
    ----------
    apparent : float
        Concordance of the model on the patients that trained it.
    optimism : float
        Mean excess of a resample's model on its own resample over all patients.
    corrected : float
        ``apparent - optimism``.
    resampled_optimism : ndarray of shape (n_resamples,)
    """

    apparent: float
    optimism: float
    corrected: float
    resampled_optimism: np.ndarray


def optimism_corrected_concordance(
    estimator: Any,
    X: Any,
    y: npt.ArrayLike,
    *,
    n_resamples: int = 200,
    random_state: RandomState = None,
) -> OptimismCorrection:
    r"""Harrell's C of a model on its own training patients, corrected for optimism.

    .. math:: \hat C_{corrected} = \hat C(\hat f, D) -
              \frac1B \sum_b \{ \hat C(\hat f_b, D_b) - \hat C(\hat f_b, D) \}

    where :math:`\hat f_b` is the whole modelling procedure repeated on the resample :math:`D_b`.
    Everything that learns from the outcome (selection, tuning) must be inside `estimator`.

    Parameters
    ----------
    estimator : scikit-learn survival estimator
        Cloned for each resample; its risk is `survimg.survival.risk_of`.
    X : Cohort, array or frame of n patients
    y : structured array of shape (n,)
    n_resamples : int, default=200
    random_state : int, Generator or None, default=None

    Returns
    -------
    OptimismCorrection

    Raises
    ------
    ValueError
        Fewer than two resamples, or a resample without a comparable pair.

    Notes
    -----
    Resamples repeat patients. A network that memorises them, or a radiomics selection with more
    features than patients, is corrected too little (the .632+ problem); judge those by nested
    cross-validation.

    References
    ----------
    .. [1] Harrell FE, Lee KL, Mark DB. Stat Med 1996;15:361-387, section 5.
    """
    from sklearn.base import clone  # scikit-learn takes a second to load; arrays do not need it
    from sklearn.utils import _safe_indexing

    if n_resamples < 2:
        raise ValueError(f"n_resamples must be at least 2; got {n_resamples}.")
    event, _ = check_outcome(y, require_event=True)
    outcome = as_outcome(y)
    apparent = concordance_index(outcome, risk_of(clone(estimator).fit(X, outcome), X))
    rng = np.random.default_rng(random_state)
    excess = np.empty(n_resamples)
    for b in range(n_resamples):
        rows = rng.integers(0, event.size, size=event.size)
        resample = _safe_indexing(X, rows)
        model = clone(estimator).fit(resample, outcome[rows])
        on_resample = concordance_index(outcome[rows], risk_of(model, resample))
        excess[b] = on_resample - concordance_index(outcome, risk_of(model, X))
    optimism = float(excess.mean())
    return OptimismCorrection(apparent, optimism, apparent - optimism, excess)
