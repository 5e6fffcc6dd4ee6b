"""Cox regression tables as clinical papers print them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import chdtrc

from survimg.columns import (
    Column,
    as_frame,
    bring_levels,
    bring_numbers,
    learn_column,
    level_of,
)
from survimg.evaluation.cox_regression import CoxFit, fit_cox
from survimg.evaluation.estimates import check_level
from survimg.survival.risk_sets import Ties
from survimg.target import as_outcome, check_outcome, in_order_of

__all__ = ["cox_table", "multivariate_cox_table", "univariate_cox_table"]

Blocks = dict[str, tuple[list[str], pd.DataFrame]]


def univariate_cox_table(
    y: npt.ArrayLike,
    variables: pd.DataFrame,
    *,
    references: Mapping[str, object] | None = None,
    level: float = 0.95,
    ties: Ties = "efron",
) -> pd.DataFrame:
    """One Cox model per variable.

    Parameters
    ----------
    y : structured array of shape (n,)
    variables : DataFrame of shape (n, p)
        Numbers enter as they are; texts, categories and booleans by indicators against a reference.
    references : mapping of column to level, optional
        Reference level of categorical variables; by default the first level of a ``Categorical``,
        or the first in sorted order.
    level : float, default=0.95
    ties : {"efron", "breslow"}, default="efron"

    Returns
    -------
    DataFrame
        One row per variable, or per level but the reference, indexed by ``variable`` and
        ``category``; columns ``n`` and ``events`` (patients without missing values in the
        variable), ``hr``, ``lower``, ``upper``, ``p_wald``, and ``p_likelihood_ratio`` of the whole
        variable.

    Raises
    ------
    ValueError
        A constant variable, an unknown reference, or as `fit_cox`; the message names the variable.
    """
    frame = _frame(y, variables)
    blocks = _coded(frame, references or {})
    parts = [_rows(y, {name: block}, level, ties) for name, block in blocks.items()]
    return pd.concat(parts)


def multivariate_cox_table(
    y: npt.ArrayLike,
    variables: pd.DataFrame,
    *,
    references: Mapping[str, object] | None = None,
    level: float = 0.95,
    ties: Ties = "efron",
) -> pd.DataFrame:
    """One Cox model with all variables.

    Patients with a missing value in any variable are left out; ``n`` tells how many stay.
    Parameters, columns and errors as in `univariate_cox_table`; ``p_likelihood_ratio`` compares
    with the model that lacks the variable.

    Returns
    -------
    DataFrame
    """
    frame = _frame(y, variables)
    return _rows(y, _coded(frame, references or {}), level, ties)


def cox_table(
    y: npt.ArrayLike,
    variables: pd.DataFrame,
    *,
    multivariate: Sequence[str] | float = 0.05,
    references: Mapping[str, object] | None = None,
    level: float = 0.95,
    ties: Ties = "efron",
) -> pd.DataFrame:
    """Univariate models side by side with one multivariate model.

    Parameters
    ----------
    y : structured array of shape (n,)
    variables : DataFrame of shape (n, p)
    multivariate : sequence of str or float, default=0.05
        Variables of the multivariate model; or a bound below which the likelihood-ratio p value of
        the univariate model must lie. Selection by p value makes later p values too small; it is
        what clinical papers do.
    references, level, ties
        As in `univariate_cox_table`.

    Returns
    -------
    DataFrame
        Columns in two groups, ``univariate`` and ``multivariate``; a variable outside the
        multivariate model has missing values there.

    Raises
    ------
    ValueError
        No variable qualifies for the multivariate model, or as `univariate_cox_table`.
    """
    univariate = univariate_cox_table(
        y, variables, references=references, level=level, ties=ties
    )
    if isinstance(multivariate, int | float):
        p_values = univariate["p_likelihood_ratio"].groupby(level="variable").first()
        names = [name for name in map(str, variables.columns) if p_values[name] < multivariate]
        if not names:
            raise ValueError(
                "No variable has a univariate likelihood-ratio p value (p_likelihood_ratio; p_wald "
                f"does not decide) below {multivariate}; name the variables of the multivariate "
                "model instead."
            )
    else:
        names = list(multivariate)
    frame = variables.rename(columns=str)
    unknown = [name for name in names if name not in frame.columns]
    if unknown:
        raise ValueError(f"multivariate names {unknown}, which are not among the variables.")
    in_model = {name: value for name, value in (references or {}).items() if name in names}
    joint = multivariate_cox_table(y, frame[names], references=in_model, level=level, ties=ties)
    return pd.concat({"univariate": univariate, "multivariate": joint}, axis=1)


def _frame(y: npt.ArrayLike, variables: pd.DataFrame) -> pd.DataFrame:
    event, _ = check_outcome(y, require_event=True)
    if not isinstance(variables, pd.DataFrame):
        raise TypeError(f"variables must be a DataFrame; got {type(variables).__name__}.")
    if variables.columns.empty:
        raise ValueError("variables has no column; a Cox model needs at least one.")
    if len(variables) != event.size:
        raise ValueError(f"variables has {len(variables)} rows but y has {event.size}.")
    variables = in_order_of(y, variables, "y", "variables")
    return as_frame(variables).reset_index(drop=True)


def _coded(frame: pd.DataFrame, references: Mapping[str, object]) -> Blocks:
    """Numeric columns of each variable, with the names of its categories; missing stays missing."""
    unknown = set(references) - set(frame.columns)
    if unknown:
        raise ValueError(f"references names {sorted(unknown)}, which are not among the variables.")
    blocks: Blocks = {}
    for name in frame.columns:
        learned = learn_column(frame[name])
        patients = list(map(str, frame.index))
        if learned.kind != "numeric":
            values = bring_levels(frame[name], learned, patients)
            blocks[name] = _indicators(values, learned, references.get(name))
        elif name in references:
            raise ValueError(
                f"{name!r} is numeric, so it has no reference level; make it categorical first."
            )
        else:
            values = bring_numbers(frame[name], learned, patients)
            blocks[name] = ([""], values.to_frame(name))
    return blocks


def _indicators(
    values: pd.Series, learned: Column, reference: object | None
) -> tuple[list[str], pd.DataFrame]:
    categories = [level for level in learned.levels if (values == level).any()]
    base = categories[0] if reference is None else level_of(reference)
    if base not in categories:
        raise ValueError(
            f"The reference {base!r} of {learned.name!r} does not occur; its levels are "
            f"{categories}."
        )
    if len(categories) < 2:
        raise ValueError(f"{learned.name!r} has a single level, {categories[0]!r}; leave it out.")
    others = [category for category in categories if category != base]
    names = [f"{category} vs {base}" for category in others]
    missing = values.isna()
    indicators = [(values == category).astype(np.float64).mask(missing) for category in others]
    return names, pd.DataFrame(dict(zip(names, indicators, strict=True)))


def _rows(y: npt.ArrayLike, blocks: Blocks, level: float, ties: Ties) -> pd.DataFrame:
    check_level(level)
    matrix = pd.concat([block for _, block in blocks.values()], axis=1)
    complete = matrix.notna().all(axis=1).to_numpy()
    outcome = as_outcome(y)[complete]
    values = matrix.to_numpy(dtype=np.float64)[complete]
    owner = np.array([name for name, (labels, _) in blocks.items() for _ in labels])
    labels = [label for names, _ in blocks.values() for label in names]
    full_names = [f"{o} {label}".strip() for o, label in zip(owner, labels, strict=True)]
    fit = fit_cox(outcome, values, names=full_names, ties=ties)
    estimates = fit.hazard_ratios(level)
    p_values = {name: _without(outcome, values, owner == name, full_names, fit) for name in blocks}
    return pd.DataFrame(
        {
            "n": fit.n_patients,
            "events": fit.n_events,
            "hr": [estimate.value for estimate in estimates],
            "lower": [estimate.lower for estimate in estimates],
            "upper": [estimate.upper for estimate in estimates],
            "p_wald": [estimate.p_value for estimate in estimates],
            "p_likelihood_ratio": [p_values[name] for name in owner],
        },
        index=pd.MultiIndex.from_arrays([owner, labels], names=["variable", "category"]),
    )


def _without(
    y: np.ndarray, values: np.ndarray, block: np.ndarray, names: list[str], fit: CoxFit
) -> float:
    """Likelihood-ratio p value of the columns `block` (a mask) of a fit."""
    if block.all():
        return fit.likelihood_ratio_test[2]
    rest = [name for name, inside in zip(names, block, strict=True) if not inside]
    smaller = fit_cox(y, values[:, ~block], names=rest, ties=fit.ties)
    statistic = 2 * (fit.log_likelihood - smaller.log_likelihood)
    return float(chdtrc(int(block.sum()), max(statistic, 0.0)))
