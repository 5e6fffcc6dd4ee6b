"""Cox regression with an L1 penalty whose strength is chosen by inner cross-validation."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted, validate_data

from survimg.estimators.base import ProportionalHazardsMixin
from survimg.estimators.tabular.coxnet_path import CoxnetPath
from survimg.model_selection import EventStratifiedKFold
from survimg.model_selection.inner_cv import make_inner_splitter
from survimg.survival.risk_sets import RiskSets
from survimg.target import as_outcome, check_outcome, make_outcome

__all__ = ["LassoCox"]

# The path ends where the cross-validated deviance exceeds that without penalised features by more
# than this many of its standard errors.
_STANDARD_ERRORS = 1.0


class LassoCox(ProportionalHazardsMixin, BaseEstimator):
    r"""Lasso-penalised Cox regression; the penalty minimises the cross-validated deviance.

    The path of coefficients

    .. math:: \hat\beta(\lambda) = \arg\max_\beta \; \tfrac{1}{n}\,\ell(\beta)
        - \lambda \sum_j f_j \big(\rho\,|\beta_j| + \tfrac{1-\rho}{2}\,\beta_j^2\big)

    (:math:`\ell`: log partial likelihood with Breslow ties, :math:`f`: penalty factors,
    :math:`\rho`: `l1_ratio`) is computed on standardised columns, as Coxnet [1]_ defines it,
    and :math:`\lambda` is chosen as R's ``cv.glmnet`` chooses it: a fold's loss is the deviance of
    all patients minus that of its training patients, both under the coefficients of the training
    patients [2]_, which works even for folds with very few events. `predict` returns the
    log-hazard ratio to the average training patient: **higher = earlier event**.

    Parameters
    ----------
    rule : {"lambda_min", "lambda_1se"}, default="lambda_min"
        The penalty with the smallest cross-validated deviance, or the largest penalty whose
        deviance is within one standard error of it (a sparser model).
    cv : int or splitter, default=10
        Inner event-stratified folds. Fewer events than folds is an error.
    l1_ratio : float, default=1.0
        1 is the lasso; below, an elastic net. In (0, 1].
    n_alphas : int, default=100
        Length of the path of penalties, which can end early where the deviance stops falling.
    alpha_min_ratio : float or "auto", default="auto"
        Smallest penalty as a fraction of the smallest one at which all coefficients are zero.
        ``"auto"``: 0.001, or 0.05 when there are no more events than features, where smaller
        penalties fit the training patients perfectly. A warning says if the best penalty is the
        smallest one tried.
    alphas : array-like of shape (n_alphas,), optional
        Penalties to use instead of a path chosen from the data.
    penalty_factor : array-like of shape (n_features,) or dict, optional
        Multiplies the penalty of each feature; 0 leaves it unpenalised. A dict maps column names,
        or shell-style patterns of them, to factors (others: 1), for example
        ``{"clinical__*": 0.0}``. Factors are rescaled to sum to the number of features.
    tol : float, default=1e-9
        The last step of the solver moves no log-hazard ratio per standard deviation by more than
        its square root. The folds are fitted to a hundred times that, which their deviance does not
        notice.
    max_iter : int, default=10000
        Most sweeps over the coefficients at one penalty; the path ends, as in glmnet, where a
        penalty needs more.
    random_state : int, RandomState or None, default=None
        Seed that shuffles the patients before they are dealt to the inner folds. None deals them
        in the given order, so that a fit is reproducible either way.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,)
        Log-hazard ratio per unit of each feature, on the scale of the input.
    selected_features_ : ndarray of shape (n_selected,), str
        Names of the features with a non-zero coefficient (``x0``, ``x1``, ... for an array).
    alpha_ : float
        The chosen penalty (glmnet's lambda).
    alpha_min_, alpha_1se_ : float
        The penalties of the two rules.
    alphas_ : ndarray of shape (n_path,)
        The penalties, decreasing.
    coef_path_ : ndarray of shape (n_features, n_path)
        Coefficients of all patients at each penalty, on the scale of the input.
    cv_deviance_, cv_deviance_se_ : ndarray of shape (n_path,)
        Cross-validated partial-likelihood deviance per event and its standard error.
    penalty_factor_ : ndarray of shape (n_features,)
    mean_, scale_ : ndarray of shape (n_features,)
        Mean and standard deviation (divisor n) of the training features.
    unique_times_ : ndarray of shape (n_times,)
    n_features_in_, feature_names_in_ : int, ndarray of shape (n_features,)

    Warns
    -----
    UserWarning
        No feature is selected. The model is fitted nevertheless: every risk is zero, which is what
        the data support.

    Notes
    -----
    Deviations from ``cv.glmnet``: folds are stratified by event, and fitted at the penalties of
    the full path rather than interpolated to them; the default path ends earlier (glmnet: 1e-4, or
    1e-2 with fewer patients than features), since its tail costs most of the time: also where the
    cross-validated deviance exceeds that without any penalised feature by more than its standard
    error, which no weaker penalty makes good. Constant columns get the coefficient zero.

    References
    ----------
    .. [1] Simon N, Friedman J, Hastie T, Tibshirani R. Regularization paths for Cox's proportional
       hazards model via coordinate descent. J Stat Softw 2011;39(5):1-13.
    .. [2] Verweij PJM, Van Houwelingen HC. Cross-validation in survival analysis. Stat Med
       1993;12:2305-2314.
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "rule": [StrOptions({"lambda_min", "lambda_1se"})],
        "cv": "no_validation",  # checked where the splitter is made
        "l1_ratio": [Interval(Real, 0, 1, closed="right")],
        "n_alphas": [Interval(Integral, 2, None, closed="left")],
        "alpha_min_ratio": [Interval(Real, 0, 1, closed="neither"), StrOptions({"auto"})],
        "alphas": ["array-like", None],
        "penalty_factor": ["array-like", dict, None],
        "tol": [Interval(Real, 0, None, closed="neither")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        *,
        rule: str = "lambda_min",
        cv: int | Any = 10,
        l1_ratio: float = 1.0,
        n_alphas: int = 100,
        alpha_min_ratio: float | str = "auto",
        alphas: npt.ArrayLike | None = None,
        penalty_factor: npt.ArrayLike | Mapping[str, float] | None = None,
        tol: float = 1e-9,
        max_iter: int = 10_000,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.rule = rule
        self.cv = cv
        self.l1_ratio = l1_ratio
        self.n_alphas = n_alphas
        self.alpha_min_ratio = alpha_min_ratio
        self.alphas = alphas
        self.penalty_factor = penalty_factor
        self.tol = tol
        self.max_iter = max_iter
        self.random_state = random_state

    def fit(self, X: npt.ArrayLike, y: np.ndarray) -> LassoCox:
        """Fit the path, choose the penalty, and estimate the baseline hazard.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n, n_features)
        y : structured array of shape (n,)
            (event, time).

        Raises
        ------
        ValueError
            Invalid parameters, missing values, no events, fewer events than inner folds, or every
            feature constant.
        """
        self._validate_params()
        features = validate_data(self, X, dtype=np.float64, ensure_min_samples=2)
        event, time = check_outcome(
            as_outcome(y, X), n_patients=features.shape[0], require_event=True
        )
        self.penalty_factor_ = self._resolve_penalty_factor()
        path = CoxnetPath(self.penalty_factor_, self.l1_ratio, self.tol, int(self.max_iter))
        self.mean_, self.scale_ = features.mean(axis=0), features.std(axis=0)
        may_stop = self.alphas is None
        if self.alphas is None:
            alphas = self._choose_alphas(path, features, event, time)
        else:
            alphas = _check_alphas(self.alphas)
        self._fit_path(path, features, event, time, alphas, may_stop)
        self._choose_penalty(whole_path=may_stop and self.alphas_.size == alphas.size)
        self._fit_baseline(self._linear_predictor(features), event, time)
        return self

    def predict(self, X: npt.ArrayLike) -> np.ndarray:
        """Predict the log-hazard ratio to the average training patient.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n, n_features)

        Returns
        -------
        ndarray of shape (n,)
            Higher = earlier event.
        """
        check_is_fitted(self)
        return self._linear_predictor(validate_data(self, X, dtype=np.float64, reset=False))

    @property
    def selected_features_(self) -> np.ndarray:
        """Names of the features with a non-zero coefficient."""
        check_is_fitted(self)
        return self._feature_names()[self.coef_ != 0]

    def coef_table(self) -> pd.DataFrame:
        """Return the selected features, strongest first.

        Returns
        -------
        DataFrame indexed by feature name
            ``coef``: log-hazard ratio per unit; ``hazard_ratio``: its exponential;
            ``hazard_ratio_per_sd``: hazard ratio per standard deviation of the feature. No standard
            errors: those of a lasso are not those of a Cox model on the selected features.
        """
        check_is_fitted(self)
        per_sd = self.coef_ * self.scale_
        table = pd.DataFrame(
            {
                "coef": self.coef_,
                "hazard_ratio": np.exp(self.coef_),
                "hazard_ratio_per_sd": np.exp(per_sd),
            },
            index=pd.Index(self._feature_names(), name="feature"),
        )
        strongest_first = np.argsort(-np.abs(per_sd), kind="stable")
        return table.iloc[strongest_first[self.coef_[strongest_first] != 0]]

    def _linear_predictor(self, features: np.ndarray) -> np.ndarray:
        return (features - self.mean_) @ self.coef_

    def _feature_names(self) -> np.ndarray:
        if hasattr(self, "feature_names_in_"):
            return self.feature_names_in_
        return np.array([f"x{j}" for j in range(self.n_features_in_)], dtype=object)

    def _resolve_penalty_factor(self) -> np.ndarray:
        penalty_factor, n_features = self.penalty_factor, self.n_features_in_
        if penalty_factor is None:
            return np.ones(n_features)
        if isinstance(penalty_factor, Mapping):
            names = self._feature_names()
            factors = np.ones(n_features)
            for pattern, factor in penalty_factor.items():
                matched = [name == pattern or fnmatchcase(name, pattern) for name in names]
                if not any(matched):
                    raise ValueError(
                        f"penalty_factor names {pattern!r}, which matches none of the "
                        f"{n_features} features (first: {', '.join(map(str, names[:3]))})."
                    )
                factors[matched] = factor
        else:
            factors = np.asarray(penalty_factor, dtype=np.float64)
        if factors.shape != (n_features,) or not (np.isfinite(factors) & (factors >= 0)).all():
            raise ValueError(
                f"penalty_factor must be {n_features} finite, non-negative numbers, one per "
                f"feature; got shape {factors.shape}."
            )
        if not factors.any():
            raise ValueError(
                "penalty_factor leaves every feature unpenalised; fit an ordinary Cox model, such "
                "as sksurv.linear_model.CoxPHSurvivalAnalysis."
            )
        return factors * (n_features / factors.sum())

    def _choose_alphas(
        self, path: CoxnetPath, features: np.ndarray, event: np.ndarray, time: np.ndarray
    ) -> np.ndarray:
        ratio = self.alpha_min_ratio
        if ratio == "auto":
            ratio = 1e-3 if np.count_nonzero(event) > features.shape[1] else 0.05
        largest = path.largest_alpha(features, event, time)
        return largest * np.logspace(0, np.log10(float(ratio)), int(self.n_alphas))

    def _fit_path(
        self,
        path: CoxnetPath,
        features: np.ndarray,
        event: np.ndarray,
        time: np.ndarray,
        alphas: np.ndarray,
        may_stop: bool,
    ) -> None:
        """Fit all patients and the folds at one penalty after the other, from the largest on."""
        # The deviance of a fold needs less precision than coefficients that are reported.
        rough = replace(path, tol=100 * path.tol)
        splits = self._inner_splits(features, event, time)
        folds = [_Fold(rough, features, event, time, alphas, train) for train, _ in splits]
        n_events = np.array([np.count_nonzero(event[test]) for _, test in splits])
        whole = path.coefficients(features, event, time, alphas, may_stop)
        coefs, means, errors = [], [], []
        for coef in whole:
            coefs.append(coef)
            loss = np.array([fold.next_loss() for fold in folds]) / n_events
            means.append(np.average(loss, weights=n_events))
            variance = np.average((loss - means[-1]) ** 2, weights=n_events)
            errors.append(np.sqrt(variance / (len(folds) - 1)))
            # Far beyond the best penalty, models are much worse than one without any feature.
            if may_stop and means[-1] > means[0] + _STANDARD_ERRORS * errors[-1]:
                break
        self.coef_path_, self.alphas_ = np.transpose(coefs), alphas[: len(coefs)]
        self.cv_deviance_, self.cv_deviance_se_ = np.array(means), np.array(errors)

    def _inner_splits(
        self, features: np.ndarray, event: np.ndarray, time: np.ndarray
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        splitter = make_inner_splitter(self.cv, self.random_state)
        if isinstance(splitter, EventStratifiedKFold):
            _require_events(int(np.count_nonzero(event)), splitter.n_splits)
        splits = list(splitter.split(features, make_outcome(event, time)))
        if not all(event[train].any() and event[test].any() for train, test in splits):
            raise ValueError(
                "An inner fold has no event to train on or to test on; use fewer folds or an "
                "event-stratified splitter."
            )
        if len(splits) < 2:
            raise ValueError("Choosing the penalty needs at least two inner folds; cv gives one.")
        return splits

    def _choose_penalty(self, whole_path: bool) -> None:
        best = int(np.argmin(self.cv_deviance_))
        within = self.cv_deviance_ <= self.cv_deviance_[best] + self.cv_deviance_se_[best]
        sparsest = int(np.argmax(within))
        position = best if self.rule == "lambda_min" else sparsest
        self.alpha_min_, self.alpha_1se_ = float(self.alphas_[best]), float(self.alphas_[sparsest])
        self.alpha_, self.coef_ = float(self.alphas_[position]), self.coef_path_[:, position].copy()
        if whole_path and position == self.alphas_.size - 1:
            warnings.warn(
                f"The best penalty, {self.alpha_:.3g}, is the smallest that was tried; a smaller "
                "alpha_min_ratio may fit better.",
                UserWarning,
                stacklevel=3,
            )
        if not self.coef_.any():
            warnings.warn(
                f"LassoCox selected none of the {self.n_features_in_} features: no penalty on the "
                "path predicts better than no feature at all. All predicted risks are zero.",
                UserWarning,
                stacklevel=3,
            )


class _Fold:
    """The path of one inner fold, and what the patients it leaves out think of it."""

    def __init__(
        self,
        path: CoxnetPath,
        features: np.ndarray,
        event: np.ndarray,
        time: np.ndarray,
        alphas: np.ndarray,
        train: np.ndarray,
    ) -> None:
        self._features, self._train = features, train
        self._steps = path.coefficients(features[train], event[train], time[train], alphas)
        self._all = RiskSets(event, time, ties="breslow")
        self._own = RiskSets(event[train], time[train], ties="breslow")
        self._coef: np.ndarray | None = None

    def next_loss(self) -> float:
        """Return the deviance of all patients less that of those in training."""
        # Beyond the end of a fold's path its last coefficients stand, as in glmnet.
        self._coef = next(self._steps, self._coef)
        risk = self._features @ self._coef
        return _deviance(self._all, risk) - _deviance(self._own, risk[self._train])


def _deviance(sets: RiskSets, risk: np.ndarray) -> float:
    """Twice the log-likelihood that is missing from the saturated model's."""
    missing = sets.saturated_log_likelihood() - sets.log_likelihood(risk[:, np.newaxis])
    return 2.0 * float(missing[0])


def _require_events(available: int, needed: int) -> None:
    """Refuse too few events here: the splitter cannot say whose folds these are."""
    if available < needed:
        there, remedy = f"there are {available}", "Give a smaller cv (in a pipeline model__cv)"
        if available == 1:  # no cross-validation has fewer than two folds
            there, remedy = "there is 1", "More events are needed"
        raise ValueError(
            f"LassoCox chooses its penalty by cross-validation (cv={needed}), which needs {needed} "
            f"events among the training patients; {there}. {remedy}."
        )


def _check_alphas(alphas: npt.ArrayLike) -> np.ndarray:
    values = np.sort(np.asarray(alphas, dtype=np.float64).ravel())[::-1]
    if values.size == 0 or not (np.isfinite(values) & (values > 0)).all():
        raise ValueError("alphas must hold one or more positive, finite penalties.")
    return values
