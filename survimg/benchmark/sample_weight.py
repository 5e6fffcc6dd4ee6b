"""Weights of patients in ``fit``: which models take them, and under which name."""

from __future__ import annotations

from typing import Any

from sklearn.model_selection import GridSearchCV, RandomizedSearchCV
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import has_fit_parameter

__all__ = ["weight_name"]


def weight_name(model: Any) -> str | None:
    """Return the keyword of ``fit`` for the weights of the patients.

    Parameters
    ----------
    model : estimator
        A pipeline hands weights to its last step; a search hands them to what it searches.

    Returns
    -------
    str or None
        None for a model that takes no weights.
    """
    if isinstance(model, Pipeline):
        step, final = model.steps[-1]
        name = weight_name(final)
        return None if name is None else f"{step}__{name}"
    if isinstance(model, GridSearchCV | RandomizedSearchCV):
        return weight_name(model.estimator)
    return "sample_weight" if has_fit_parameter(model, "sample_weight") else None
