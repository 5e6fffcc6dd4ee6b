"""The sign of risk: what any fitted estimator predicts, as higher = earlier event."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import numpy.typing as npt


def risk_of(estimator: Any, X: Any) -> np.ndarray:
    """Predict the risk of patients by any fitted estimator: **higher = earlier event**.

    scikit-survival marks models that predict a time (`IPCRidge`, `FastSurvivalSVM` with
    ``rank_ratio < 1``, boosting with a regression loss, ...) by ``_predict_risk_score = False``;
    their predictions are multiplied by -1. The mark is looked for on the estimator, the last step
    of a pipeline, the best estimator of a search, and the models that a meta-estimator, or a class
    of your own, keeps in its attributes. Without one an estimator predicts a risk, as in
    scikit-survival.

    Parameters
    ----------
    estimator : estimator
        Fitted, with ``predict``.
    X : Cohort or array-like of n patients

    Returns
    -------
    ndarray of shape (n,), float64
        A fresh array.

    Raises
    ------
    ValueError
        A meta-estimator that averages risks and times, or one from outside scikit-learn and
        scikit-survival around a model of times whose predictions are neither that model's nor their
        negatives. Set ``_predict_risk_score`` on its class. Predictions that are not one finite
        number per patient.
    TypeError
        A ``_predict_risk_score`` that is neither True nor False, such as a method.
    """
    name = f"The predicted risk of {type(estimator).__name__}"
    predicted = finite_risk(estimator.predict(X), name)
    return predicted if _predicts_risk(estimator, lambda: X) else -predicted


def finite_risk(values: npt.ArrayLike, name: str, n_patients: int | None = None) -> np.ndarray:
    """Return a copy of risks, or refuse what cannot be ranked.

    Parameters
    ----------
    values : array-like of shape (n,) or (n, 1)
    name : str
        In messages.
    n_patients : int, optional
        Length that `values` must have.

    Returns
    -------
    ndarray of shape (n,), float64

    Raises
    ------
    ValueError
        Another shape, or a value that is not finite.
    """
    risk = np.array(values, dtype=np.float64)
    if risk.ndim == 2 and risk.shape[1] == 1:
        risk = risk[:, 0]
    if risk.ndim != 1 or n_patients not in (None, risk.size):
        length = "n" if n_patients is None else n_patients
        raise ValueError(
            f"{name} must have one value per patient, shape ({length},); got {risk.shape}."
        )
    wrong = np.flatnonzero(~np.isfinite(risk))
    if wrong.size:
        raise ValueError(
            f"{name} must be finite; {wrong.size} value(s) are not, first at position {wrong[0]} "
            f"({risk[wrong[0]]}). A model that returns such a risk has failed to train."
        )
    return risk


def _predicts_risk(estimator: Any, inputs: Callable[[], Any]) -> bool:
    declared = getattr(estimator, "_predict_risk_score", None)
    if declared is not None:
        return _as_bool(declared, type(estimator).__name__)
    steps = getattr(estimator, "steps", None)
    if isinstance(steps, list):
        before = estimator[:-1] if len(steps) > 1 else None
        return _predicts_risk(
            steps[-1][1], lambda: inputs() if before is None else before.transform(inputs())
        )
    if not hasattr(type(estimator), "predict"):  # FitOnce, FrozenEstimator: all is another's
        inner = vars(estimator).get("estimator_", vars(estimator).get("estimator"))
        if inner is not None:
            return _predicts_risk(inner, inputs)
    models = _fitted_models(estimator)
    signs = {_predicts_risk(model, inputs) for model in models}
    if signs <= {True}:
        return True
    if signs == {False} and _hands_on(estimator):
        return False
    if signs == {False} and len(models) == 1:
        return _is_turned(estimator, models[0], inputs)
    raise _unmarked(estimator)


def _is_turned(wrapper: Any, model: Any, inputs: Callable[[], Any]) -> bool:
    """Whether somebody's own wrapper of a model of times has turned the sign already."""
    try:
        inner = np.ravel(model.predict(inputs()))
    except Exception as error:  # the wrapper hands its model something else than its X
        raise _unmarked(wrapper) from error
    outer = np.ravel(wrapper.predict(inputs()))
    for same, turned in ((inner, False), (-inner, True)):
        if np.array_equal(outer, same):
            return turned
    raise _unmarked(wrapper)


def _unmarked(estimator: Any) -> ValueError:
    name = type(estimator).__name__
    return ValueError(
        f"{name} predicts with models that predict a time, and does not say whether its own "
        "predictions are risks (higher = earlier event) or times. Set the class attribute "
        f"_predict_risk_score of {name} to True for risks, to False for times; an average of risks "
        "and times is neither."
    )


def _as_bool(declared: Any, name: str) -> bool:
    if isinstance(declared, bool | np.bool_ | int) and declared in (0, 1):
        return bool(declared)
    raise TypeError(
        f"_predict_risk_score of {name} must be True for risks (higher = earlier event) or False "
        f"for times, as an attribute or a property; got {declared!r}."
    )


def _fitted_models(estimator: Any) -> list[Any]:
    """Return what a meta-estimator has fitted to predict with; empty for a plain estimator."""
    for attribute in (
        "best_estimator_", "fitted_models_", "final_estimator_", "estimators_", "estimator_"
    ):  # fmt: skip
        models = _models_in([getattr(estimator, attribute, None)])
        if models:
            return models
    attributes = vars(estimator) if hasattr(estimator, "__dict__") else {}
    parameters = estimator.get_params(deep=False) if hasattr(estimator, "get_params") else {}
    fitted = [value for name, value in attributes.items() if name not in parameters]
    # What is not fitted in `fit` was given fitted, as to FrozenEstimator.
    return _models_in(fitted) or _models_in(attributes.values())


def _models_in(values: Iterable[Any]) -> list[Any]:
    """Estimators among values, and in lists, arrays and dictionaries of them."""
    models: list[Any] = []
    for value in values:
        if isinstance(value, dict):
            models += _models_in(value.values())
        elif isinstance(value, list | tuple) or (
            isinstance(value, np.ndarray) and value.dtype == object
        ):
            models += _models_in(value)
        elif hasattr(value, "predict") and not isinstance(value, type):
            models.append(value)
    return models


def _hands_on(estimator: Any) -> bool:
    """Whether `predict` is a library's, whose searches and ensembles keep the sign of models."""
    kinds = type(estimator).__mro__
    owner = next((kind for kind in kinds if "predict" in vars(kind)), object)
    return owner.__module__.partition(".")[0] in ("sklearn", "sksurv") or hasattr(
        estimator, "best_estimator_"
    )
