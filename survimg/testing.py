"""Checks that any survival estimator over cohorts should pass, for survimg's and for your own.

scikit-learn's `check_estimator` feeds float matrices and float targets, so that it says nothing
about an estimator of volumes and (event, time). `check_survival_estimator` says what is missing.
Nothing in the library imports this module.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sksurv.metrics import concordance_index_censored

from survimg.target import check_outcome, make_outcome

__all__ = ["check_survival_estimator", "survival_checks"]

Check = Callable[[Any, Any, np.ndarray], None]


def check_survival_estimator(estimator: Any, X: Any, y: np.ndarray) -> None:
    """Run all checks on an unfitted estimator.

    Parameters
    ----------
    estimator : estimator
        Unfitted, with `random_state` set if it has one, and settings that make it quick to fit.
    X : Cohort or array-like
        At least six patients that it can be fitted on.
    y : structured array of shape (n,)
        Their outcome, with at least two events.

    Raises
    ------
    AssertionError
        A check failed; the message names the check and what was found.

    Notes
    -----
    Whether the risk has the right sign is checked against the estimator's own survival curves. An
    estimator that is consistently wrong passes: look at its concordance on data you know.

    Examples
    --------
    >>> from survimg.datasets import make_phantom_cohort
    >>> from survimg.estimators import ClinicalVolumeCox
    >>> from survimg.testing import check_survival_estimator
    >>> X = make_phantom_cohort(n=20, shape=(16, 16, 16), random_state=0).cohort
    >>> check_survival_estimator(ClinicalVolumeCox(), X, X.outcome)
    """
    for check in survival_checks():
        try:
            check(estimator, X, y)
        except AssertionError as error:
            name = check.__name__.removeprefix("_check_")
            raise AssertionError(f"{type(estimator).__name__} fails {name}: {error}") from error


def survival_checks() -> list[Check]:
    """Return the checks; each is called as ``check(estimator, X, y)``.

    With pytest: ``@pytest.mark.parametrize("check", survival_checks())``.
    """
    return [
        _check_unfitted_predict_is_refused,
        _check_fit_returns_self_and_leaves_parameters_alone,
        _check_clone_and_same_seed_predict_the_same,
        _check_fitting_again_starts_anew,
        _check_risk_is_a_fresh_float64_vector,
        _check_prediction_does_not_depend_on_company_or_order,
        _check_pickle_predicts_the_same,
        _check_survival_curves,
        _check_risk_orders_patients_as_survival_does,
        _check_score_is_harrells_c,
        _check_all_censored_is_refused,
        _check_mismatched_lengths_are_refused,
    ]


def _fitted(estimator: Any, X: Any, y: np.ndarray) -> Any:
    return clone(estimator).fit(X, y)


def _check_unfitted_predict_is_refused(estimator: Any, X: Any, y: np.ndarray) -> None:  # noqa: ARG001
    for method in ("predict", "predict_survival_function", "predict_cumulative_hazard_function"):
        _must_raise(
            (NotFittedError,), f"{method} before fit", getattr(clone(estimator), method), X
        )


def _check_fit_returns_self_and_leaves_parameters_alone(
    estimator: Any, X: Any, y: np.ndarray
) -> None:
    model = clone(estimator)
    before = {name: repr(value) for name, value in model.get_params().items()}
    outcome = y.copy()
    _require(model.fit(X, y) is model, "fit does not return self")
    after = {name: repr(value) for name, value in model.get_params().items()}
    changed = [name for name in before if before[name] != after[name]]
    _require(not changed, f"fit changed the parameters {changed}")
    _require(bool((y == outcome).all()), "fit changed y")


def _check_clone_and_same_seed_predict_the_same(estimator: Any, X: Any, y: np.ndarray) -> None:
    first, second = _fitted(estimator, X, y).predict(X), _fitted(estimator, X, y).predict(X)
    _require(
        np.array_equal(first, second),
        f"two fits with equal parameters differ by up to {np.abs(first - second).max():.3g}",
    )


def _check_fitting_again_starts_anew(estimator: Any, X: Any, y: np.ndarray) -> None:
    model = _fitted(estimator, X, y)
    first = model.predict(X)
    second = model.fit(X, y).predict(X)
    _require(
        np.array_equal(first, second),
        f"a second fit changes predictions by up to {np.abs(first - second).max():.3g}",
    )


def _check_risk_is_a_fresh_float64_vector(estimator: Any, X: Any, y: np.ndarray) -> None:
    model = _fitted(estimator, X, y)
    risk = model.predict(X)
    _require(isinstance(risk, np.ndarray), f"predict returns {type(risk).__name__}")
    _require(risk.shape == (len(y),), f"predict returns shape {risk.shape} for {len(y)} patients")
    _require(risk.dtype == np.float64, f"predict returns {risk.dtype}")
    _require(bool(np.isfinite(risk).all()), "predict returns values that are not finite")
    kept = risk.copy()
    risk *= -1  # as scikit-survival's score does for models on the time scale
    _require(np.array_equal(model.predict(X), kept), "predict hands out an array that it keeps")


def _check_prediction_does_not_depend_on_company_or_order(
    estimator: Any, X: Any, y: np.ndarray
) -> None:
    model = _fitted(estimator, X, y)
    risk = model.predict(X)
    backwards = np.arange(len(y))[::-1]
    pairs = {
        "in reversed order": (model.predict(X[backwards]), risk[backwards]),
        "of a subset": (model.predict(X[[3, 1]]), risk[[3, 1]]),
        "of one patient": (model.predict(X[[2]]), risk[[2]]),
    }
    for what, (found, expected) in pairs.items():
        _require(
            np.allclose(found, expected, rtol=1e-6, atol=1e-9),
            f"predictions {what} differ by up to {np.abs(found - expected).max():.3g}",
        )


def _check_pickle_predicts_the_same(estimator: Any, X: Any, y: np.ndarray) -> None:
    model = _fitted(estimator, X, y)
    copied = pickle.loads(pickle.dumps(model))  # noqa: S301 (bytes made in this line)
    _require(np.array_equal(copied.predict(X), model.predict(X)), "a pickled copy differs")


def _check_survival_curves(estimator: Any, X: Any, y: np.ndarray) -> None:
    model = _fitted(estimator, X, y)
    times = model.unique_times_
    _require(bool((np.diff(times) > 0).all()), "unique_times_ does not increase")
    survival = model.predict_survival_function(X, return_array=True)
    hazard = model.predict_cumulative_hazard_function(X, return_array=True)
    expected = (len(y), len(times))
    _require(survival.shape == expected, f"survival has shape {survival.shape}, not {expected}")
    _require(hazard.shape == expected, f"hazard has shape {hazard.shape}, not {expected}")
    _require(bool(((survival >= 0) & (survival <= 1)).all()), "S(t) leaves [0, 1]")
    _require(bool((np.diff(survival, axis=1) <= 1e-12).all()), "S(t) rises")
    _require(bool((np.diff(hazard, axis=1) >= -1e-12).all()), "H(t) falls")
    _require(np.allclose(survival, np.exp(-hazard), atol=1e-8), "S(t) is not exp(-H(t))")
    curves = model.predict_survival_function(X)
    values = np.stack([curve(times) for curve in curves])
    _require(np.allclose(values, survival), "functions and arrays differ")


def _check_risk_orders_patients_as_survival_does(estimator: Any, X: Any, y: np.ndarray) -> None:
    model = _fitted(estimator, X, y)
    risk = model.predict(X)
    times = model.unique_times_
    time = getattr(model, "risk_horizon_", times[len(times) // 2])
    survival = np.array([curve(time) for curve in model.predict_survival_function(X)])
    rises = np.diff(survival[np.argsort(risk, kind="stable")])
    _require(
        bool((rises <= 1e-9).all()),
        f"a higher risk comes with a higher S(t = {time:g}): risk must be higher where the event "
        "is earlier",
    )


def _check_score_is_harrells_c(estimator: Any, X: Any, y: np.ndarray) -> None:
    model = _fitted(estimator, X, y)
    event, time = check_outcome(y)
    expected = concordance_index_censored(event, time, model.predict(X))[0]
    found = model.score(X, y)
    _require(np.isclose(found, expected), f"score is {found}, Harrell's C is {expected}")


def _check_all_censored_is_refused(estimator: Any, X: Any, y: np.ndarray) -> None:
    _, time = check_outcome(y)
    censored = make_outcome(np.zeros(len(y), dtype=bool), time)
    _must_raise((ValueError,), "fit without any event", clone(estimator).fit, X, censored)


def _check_mismatched_lengths_are_refused(estimator: Any, X: Any, y: np.ndarray) -> None:
    _must_raise((ValueError,), "fit with a shorter y", clone(estimator).fit, X, y[:-1])


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise AssertionError(message)


def _must_raise(
    errors: tuple[type[Exception], ...], what: str, call: Callable[..., Any], *arguments: Any
) -> None:
    names = " or ".join(error.__name__ for error in errors)
    try:
        call(*arguments)
    except errors:
        return
    except Exception as error:
        raise AssertionError(f"{what} raises {type(error).__name__}, not {names}") from error
    raise AssertionError(f"{what} raises nothing; it should raise {names}")
