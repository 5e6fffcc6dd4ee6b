"""The regularisation path of Cox regression, on scikit-survival's Coxnet."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sksurv.linear_model import CoxnetSurvivalAnalysis

from survimg.survival.risk_sets import RiskSets
from survimg.survival.standardisation import column_scale, is_constant
from survimg.target import make_outcome

__all__ = ["CoxnetPath", "deviance"]


@dataclass(frozen=True)
class CoxnetPath:
    """Coefficients along a sequence of penalties; standardises and keeps constant columns out.

    Parameters
    ----------
    penalty_factor : ndarray of shape (n_features,)
        Multiplies the penalty of each feature.
    l1_ratio, tol, max_iter
        As in `LassoCox`.
    """

    penalty_factor: np.ndarray
    l1_ratio: float
    tol: float
    max_iter: int

    def largest_alpha(self, features: np.ndarray, event: np.ndarray, time: np.ndarray) -> float:
        """Return the smallest penalty at which every penalised coefficient is zero."""
        standardised, _, varies = _standardise(features)
        factor = self.penalty_factor[varies]
        if not factor.any():
            raise ValueError(
                f"All penalised features are constant over the {features.shape[0]} training "
                "patients; there is nothing to select from."
            )
        solver = self._solver(factor, n_alphas=2, alpha_min_ratio=0.5)
        try:
            alphas = _quietly_fit(solver, standardised, event, time).alphas_
        except (ArithmeticError, ConvergenceWarning) as error:
            raise ValueError(
                "The Cox model on the unpenalised features alone could not be fitted; they must "
                "not predict the events perfectly, and max_iter must suffice."
            ) from error
        return float(alphas[0]) * varies.sum() / factor.sum()

    def fit(
        self,
        features: np.ndarray,
        event: np.ndarray,
        time: np.ndarray,
        alphas: np.ndarray,
        may_stop: bool = False,
    ) -> np.ndarray:
        """Return coefficients on the scale of the input, shape (n_features, <= n_alphas).

        The path ends early, as in glmnet, where the solver overflows or does not converge (the
        likelihood of separated patients has no maximum), and, with `may_stop`, where the deviance
        has stopped falling.

        Raises
        ------
        ValueError
            The solver fails at the largest penalty already.
        """
        standardised, scale, varies = _standardise(features)
        factor = self.penalty_factor[varies]
        # Coxnet rescales the factors it is given; undo that where constant columns are left out.
        own_alphas = alphas * (factor.sum() / factor.size) if factor.any() else alphas
        coef = np.zeros((factor.size, 0))
        # Coxnet's own stopping rule miscounts tied times (its null deviance ignores ties) and ends
        # the path far too early, so go on from where it ended until ours says stop.
        while coef.shape[1] < alphas.size:
            rest = self._fit_rest(standardised, event, time, factor, own_alphas[coef.shape[1] :])
            coef = np.hstack([coef, rest])
            if may_stop:
                end = _end_of_path(deviance(event, time, standardised @ coef))
                if end < coef.shape[1]:
                    coef = coef[:, :end]
                    break
            if rest.shape[1] == 0:
                break
        if coef.shape[1] == 0:
            raise ValueError(
                f"Coxnet did not converge at the largest penalty, {alphas[0]:.3g}, within "
                f"max_iter={self.max_iter} iterations. Raise max_iter or the penalties; "
                "unpenalised features must not predict the events perfectly."
            )
        path = np.zeros((features.shape[1], coef.shape[1]))
        path[varies] = coef / scale[:, np.newaxis]
        return path

    def _fit_rest(
        self,
        standardised: np.ndarray,
        event: np.ndarray,
        time: np.ndarray,
        factor: np.ndarray,
        alphas: np.ndarray,
    ) -> np.ndarray:
        """Run Coxnet; where it overflows or does not converge, keep only the larger penalties."""
        while alphas.size:
            try:
                solver = self._solver(factor, alphas=alphas)
                return _quietly_fit(solver, standardised, event, time).coef_
            except (ArithmeticError, ConvergenceWarning):
                alphas = alphas[: alphas.size // 2]
        return np.zeros((factor.size, 0))

    def _solver(self, factor: np.ndarray, **path: Any) -> CoxnetSurvivalAnalysis:
        return CoxnetSurvivalAnalysis(
            l1_ratio=self.l1_ratio,
            penalty_factor=factor,
            tol=self.tol,
            max_iter=self.max_iter,
            **path,
        )


def _quietly_fit(
    solver: CoxnetSurvivalAnalysis, X: np.ndarray, event: np.ndarray, time: np.ndarray
) -> CoxnetSurvivalAnalysis:
    with warnings.catch_warnings():
        # Part of a path may well be all zero; LassoCox warns if the chosen model is.
        warnings.filterwarnings("ignore", message="all coefficients are zero")
        warnings.simplefilter("error", ConvergenceWarning)
        return solver.fit(X, make_outcome(event, time))


def _standardise(features: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return centred columns over their SD (divisor n), the SDs, and which columns vary."""
    varies = ~is_constant(features)
    varying = features[:, varies]
    scale = column_scale(varying)
    return (varying - varying.mean(axis=0)) / scale, scale, varies


def deviance(event: np.ndarray, time: np.ndarray, risk: np.ndarray) -> np.ndarray:
    """Return the deviance of Cox models: twice the log-likelihood missing from the saturated one.

    Parameters
    ----------
    event : ndarray of shape (n,), bool
    time : ndarray of shape (n,)
    risk : ndarray of shape (n, k)
        Log-hazard ratios of k models.

    Returns
    -------
    ndarray of shape (k,)
    """
    sets = RiskSets(event, time, ties="breslow")
    return 2.0 * (sets.saturated_log_likelihood() - sets.log_likelihood(risk))


def _end_of_path(values: np.ndarray) -> int:
    """Return the number of penalties after which the deviance has stopped falling.

    As in glmnet: less than a thousandth of the fall so far came with the last four penalties, or
    999 thousandths of the null deviance (that of the first penalty) are explained.
    """
    fall = 1.0 - values / values[0]
    for k in range(5, fall.size):
        if fall[k] - fall[k - 4] < 1e-3 * fall[k] or fall[k] > 0.999:
            return k + 1
    return fall.size
