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
from sklearn.utils import _safe_indexing
from sksurv.metrics import concordance_index_censored

from survimg.survival import risk_of
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
    Whether the risk has the right sign is checked against the estimator's own curves: who has the
    higher cumulative hazard at every time must have the higher risk, and with a `risk_horizon_`,
    who has the lower S there, and against its own ``score``. An estimator that is consistently
    wrong passes: look at its concordance on data you know. One that predicts a time passes with
    ``_predict_risk_score = False`` (see `survimg.survival.risk_of`).

    S(t) need not be exp(-H(t)): a forest averages Kaplan-Meier and Nelson-Aalen curves.

    A `sklearn.pipeline.Pipeline` does not pass, for it fits its steps in place and has no
    `unique_times_`; check its last step.

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
        _check_score_is_harrells_c,
        _check_survival_curves,
        _check_features_and_masks,
        _check_risk_orders_patients_as_survival_does,
        _check_all_censored_is_refused,
        _check_mismatched_lengths_are_refused,
    ]


def _fitted(estimator: Any, X: Any, y: np.ndarray) -> Any:
    return clone(estimator).fit(X, y)


def _check_unfitted_predict_is_refused(estimator: Any, X: Any, y: np.ndarray) -> None:  # noqa: ARG001
    curves = ("predict_survival_function", "predict_cumulative_hazard_function", "transform")
    for method in ["predict", *(name for name in curves if hasattr(estimator, name))]:
        _must_raise(
            (NotFittedError,), f"{method} before fit", getattr(clone(estimator), method), X
        )


def _check_fit_returns_self_and_leaves_parameters_alone(
    estimator: Any, X: Any, y: np.ndarray
) -> None:
    model = clone(estimator)
    before = {name: _described(value) for name, value in model.get_params().items()}
    outcome = y.copy()
    _require(model.fit(X, y) is model, "fit does not return self")
    after = {name: _described(value) for name, value in model.get_params().items()}
    changed = [name for name in before if before[name] != after[name]]
    _require(not changed, f"fit changed the parameters {changed}")
    _require(bool((y == outcome).all()), "fit changed y")


def _described(value: Any) -> tuple[str, list[str]]:
    # The text of an estimator does not tell whether it has been fitted.
    return repr(value), sorted(getattr(value, "__dict__", {}))


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
    original = risk.copy()
    risk *= -1  # as scikit-survival's score does for models on the time scale
    _require(np.array_equal(model.predict(X), original), "predict hands out an array that it keeps")


def _check_prediction_does_not_depend_on_company_or_order(
    estimator: Any, X: Any, y: np.ndarray
) -> None:
    model = _fitted(estimator, X, y)
    risk = model.predict(X)
    backwards = np.arange(len(y))[::-1]
    pairs = {
        "in reversed order": backwards,
        "of a subset": np.array([3, 1]),
        "of one patient": np.array([2]),
    }
    for what, patients in pairs.items():
        prediction, expected = model.predict(_safe_indexing(X, patients)), risk[patients]
        _require(
            np.allclose(prediction, expected, rtol=1e-6, atol=1e-9),
            f"predictions {what} differ by up to {np.abs(prediction - expected).max():.3g}",
        )


def _check_pickle_predicts_the_same(estimator: Any, X: Any, y: np.ndarray) -> None:
    model = _fitted(estimator, X, y)
    copied = pickle.loads(pickle.dumps(model))  # noqa: S301 (bytes made in this line)
    _require(np.array_equal(copied.predict(X), model.predict(X)), "a pickled copy differs")


def _check_survival_curves(estimator: Any, X: Any, y: np.ndarray) -> None:
    model = _fitted(estimator, X, y)
    curves = ("predict_survival_function", "predict_cumulative_hazard_function", "unique_times_")
    missing = [name for name in curves if not hasattr(model, name)]
    _require(not missing, f"there are no curves: {', '.join(missing)} missing")
    times = model.unique_times_
    _require(bool((np.diff(times) > 0).all()), "unique_times_ does not increase")
    survival = model.predict_survival_function(X, return_array=True)
    hazard = model.predict_cumulative_hazard_function(X, return_array=True)
    shape = (len(y), len(times))
    for name, values in (("S(t)", survival), ("H(t)", hazard)):
        _require(values.shape == shape, f"{name} has shape {values.shape}, not {shape}")
        _require(values.dtype == np.float64, f"{name} is {values.dtype}, not float64")
    _require(bool(((survival >= 0) & (survival <= 1)).all()), "S(t) leaves [0, 1]")
    _require(bool((np.diff(survival, axis=1) <= 1e-12).all()), "S(t) rises")
    _require(bool((np.diff(hazard, axis=1) >= -1e-12).all()), "H(t) falls")
    _require(bool((hazard >= 0).all()), "H(t) is negative")
    apart = ((survival < 1 - 1e-6) & (hazard < 1e-9)) | ((survival == 1) & (hazard > 1e-6))
    _require(not apart.any(), "S(t) has fallen where H(t) is 0, or is 1 where H(t) is not")
    for predict, expected in (
        (model.predict_survival_function, survival),
        (model.predict_cumulative_hazard_function, hazard),
    ):
        values = np.stack([curve(times) for curve in predict(X)])
        _require(
            np.allclose(values, expected), f"functions and arrays of {predict.__name__} differ"
        )


def _check_features_and_masks(estimator: Any, X: Any, y: np.ndarray) -> None:
    model = _fitted(estimator, X, y)
    if hasattr(model, "transform"):
        features, names = np.asarray(model.transform(X)), model.get_feature_names_out()
        expected: tuple[int, ...] = (len(y), len(set(names)))
        _require(
            features.shape == expected,
            f"transform returns shape {features.shape}; patients and different names: {expected}",
        )
        _require(features.dtype.kind == "f", f"transform returns {features.dtype}")
    if hasattr(model, "predict_mask"):
        masks, expected = model.predict_mask(X), (len(y), *X.shape[2:])
        _require(masks.shape == expected, f"masks have shape {masks.shape}, not {expected}")
        _require(masks.dtype == np.uint8, f"masks are {masks.dtype}, not uint8")
        _require(bool((masks <= 1).all()), f"masks hold values up to {masks.max()}")


def _check_risk_orders_patients_as_survival_does(estimator: Any, X: Any, y: np.ndarray) -> None:
    model = _fitted(estimator, X, y)
    risk = risk_of(model, X)
    hazard = model.predict_cumulative_hazard_function(X, return_array=True)
    one, other = hazard[:, np.newaxis], hazard[np.newaxis]
    above = (one >= other).all(axis=2) & (one > other * (1 + 1e-6)).any(axis=2)
    wrong = above & (risk[:, np.newaxis] < risk[np.newaxis])
    _require(
        not wrong.any(),
        f"in {wrong.sum()} of {above.sum()} pairs a higher H(t) at every time comes with a lower "
        "risk: risk must be higher where the event is earlier",
    )
    if hasattr(model, "risk_horizon_"):
        time = model.risk_horizon_
        survival = np.array([curve(time) for curve in model.predict_survival_function(X)])
        rises = np.diff(survival[np.argsort(risk, kind="stable")])
        _require(
            bool((rises <= 1e-9).all()),
            f"a higher risk comes with a higher S at the horizon, {time:g}",
        )


def _check_score_is_harrells_c(estimator: Any, X: Any, y: np.ndarray) -> None:
    model = _fitted(estimator, X, y)
    event, time = check_outcome(y)
    concordance = concordance_index_censored(event, time, risk_of(model, X))[0]
    score = model.score(X, y)
    _require(
        np.isclose(score, concordance) or not np.isclose(score, 1 - concordance),
        f"score is {score:.4f}, but as a risk (higher = earlier event) the predictions have "
        f"Harrell's C {concordance:.4f}: one of the two has the wrong sign. An estimator that "
        "predicts a time says so by _predict_risk_score = False",
    )
    _require(np.isclose(score, concordance), f"score is {score}, Harrell's C is {concordance}")


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
