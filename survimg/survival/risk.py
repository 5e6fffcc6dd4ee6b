"""The sign of risk: what any fitted estimator predicts, as higher = earlier event."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


def risk_of(estimator: Any, X: Any) -> np.ndarray:
    """Predict the risk of patients by any fitted estimator: **higher = earlier event**.

    scikit-survival marks models that predict a time (`IPCRidge`, `FastSurvivalSVM` with
    ``rank_ratio < 1``, boosting with a regression loss, ...) by ``_predict_risk_score = False``;
    their predictions are multiplied by -1. The mark is looked for on the estimator, the last step
    of a pipeline, the best estimator of a search, and the fitted models of a meta-estimator.
    Without one an estimator predicts a risk, as in scikit-survival.

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
        negatives. Set ``_predict_risk_score`` on its class.
    """
    predicted = np.array(estimator.predict(X), dtype=np.float64)
    return predicted if _predicts_risk(estimator, lambda: X) else -predicted


def _predicts_risk(estimator: Any, inputs: Callable[[], Any]) -> bool:
    declared = getattr(estimator, "_predict_risk_score", None)
    if declared is not None:
        return bool(declared)
    steps = getattr(estimator, "steps", None)
    if isinstance(steps, list):
        before = estimator[:-1] if len(steps) > 1 else None
        return _predicts_risk(
            steps[-1][1], lambda: inputs() if before is None else before.transform(inputs())
        )
    if not hasattr(type(estimator), "predict") and hasattr(estimator, "estimator"):
        return _predicts_risk(estimator.estimator, inputs)  # FrozenEstimator
    models = _fitted_models(estimator)
    signs = {_predicts_risk(model, inputs) for model in models}
    if signs <= {True}:
        return True
    if signs == {False} and _hands_on(estimator):
        return False
    if signs == {False} and len(models) == 1:
        # Somebody's own wrapper of a model of times may have turned the sign already.
        outer, inner = (np.asarray(each.predict(inputs())) for each in (estimator, models[0]))
        for same, is_risk in ((inner, False), (-inner, True)):
            if np.array_equal(outer, same):
                return is_risk
    name = type(estimator).__name__
    raise ValueError(
        f"{name} predicts with models that predict a time, and does not say whether its own "
        "predictions are risks (higher = earlier event) or times. Set the class attribute "
        f"_predict_risk_score of {name} to True for risks, to False for times; an average of risks "
        "and times is neither."
    )


def _fitted_models(estimator: Any) -> list[Any]:
    """Return what a meta-estimator has fitted to predict with; empty for a plain estimator."""
    for attribute in ("best_estimator_", "final_estimator_", "estimators_", "estimator_"):
        models = getattr(estimator, attribute, None)
        if isinstance(models, list | tuple | np.ndarray):
            return list(np.ravel(models)) if isinstance(models, np.ndarray) else list(models)
        if models is not None:
            return [models]
    return []


def _hands_on(estimator: Any) -> bool:
    """Whether `predict` is a library's, whose searches and ensembles keep the sign of models."""
    owner = next(kind for kind in type(estimator).__mro__ if "predict" in vars(kind))
    return owner.__module__.partition(".")[0] in ("sklearn", "sksurv") or hasattr(
        estimator, "best_estimator_"
    )
