"""Permutation importance of feature families: the loss of C-index without them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import clone
from sklearn.pipeline import Pipeline
from sklearn.utils import _safe_indexing, check_random_state

from survimg.evaluation.concordance import concordance_index
from survimg.explain.families import FamilyKind, feature_families
from survimg.survival import risk_of
from survimg.target import as_outcome

__all__ = ["FamilyImportance", "cross_validated_family_importance", "family_importance"]

Families = Mapping[str, Sequence[str]]


class FamilyImportance(NamedTuple):
    """C-index lost by permuting each family among the patients."""

    table: pd.DataFrame
    """One row per family, most important first: ``n_features``, ``drop_mean`` and ``drop_sd``
    (over repeats; of cross-validation over the folds' means), ``drop_min`` and ``drop_max`` over
    all repeats."""

    drops: pd.DataFrame
    """One row per fold, family and repeat: ``fold``, ``family``, ``repeat``, ``drop``."""

    score: np.ndarray
    """C-index of the intact table, one per fold."""


def family_importance(
    model: Any,
    X: Any,
    y: np.ndarray,
    *,
    families: Families | None = None,
    by: FamilyKind = "class",
    n_repeats: int = 30,
    random_state: int | np.random.RandomState | None = None,
) -> FamilyImportance:
    """Measure how much Harrell's C falls when a family of features is permuted among patients.

    The features of a family move together, so that features with the same information cannot
    replace each other, as they do when columns are permuted one at a time. Information that another
    family also carries remains: a drop of 0 does not mean that a family carries none.

    Parameters
    ----------
    model : estimator
        Fitted survival model with ``score(X, y)``: a Pipeline whose last step takes a table
        (`survimg.estimators.radiomics_lasso_cox` and the like), or such a model itself.
    X : Cohort, or DataFrame of shape (n, n_features)
        Patients that `model` has **not** been fitted on; its own training patients show what it
        memorised.
    y : structured array of shape (n,)
        (event, time).
    families : mapping of str to sequence of str, optional
        Columns of each family; by default `feature_families` of the table's columns. Columns in no
        family stay as they are.
    by : {"class", "image", "channel", "image-class"}, default="class"
        See `feature_families`.
    n_repeats : int, default=30
        Permutations per family.
    random_state : int, RandomState or None, default=None

    Returns
    -------
    FamilyImportance
        A drop above 0: the model ranks worse without the family.

    Raises
    ------
    TypeError
        The model's table has no column names.
    ValueError
        A family names columns that the table does not have, or no pair can be compared.

    Notes
    -----
    The table that is permuted is the one that the pipeline's last step takes, after filters:
    the model does not use columns that a filter has dropped. Imputation and scaling work
    column by column, so that permuting before or after them is the same.

    References
    ----------
    Breiman L. Random forests. Mach Learn 45:5-32, 2001, section 10. Grouped: Au Q, Herbinger J,
    Stachl C, Bischl B, Casalicchio G. Grouped feature importance and combined features effect plot.
    Data Min Knowl Discov 36:1401-1450, 2022, section 4.1.
    """
    generator = check_random_state(random_state)
    final, table = _table_of(model, X)
    groups = _checked(feature_families(table.columns, by) if families is None else families, table)
    score, drops = _drops(final, table, y, groups, n_repeats, generator)
    return _summary([drops], [score], groups)


def cross_validated_family_importance(
    model: Any,
    X: Any,
    y: np.ndarray,
    *,
    cv: Any,
    families: Families | None = None,
    by: FamilyKind = "class",
    n_repeats: int = 30,
    random_state: int | np.random.RandomState | None = None,
) -> FamilyImportance:
    """Fit on each training fold and measure `family_importance` on its test fold.

    Filters may keep other features in each fold; the drop of a family of which a fold keeps none is
    exactly 0, because its model does not use it.

    Parameters
    ----------
    model : estimator
        Unfitted; cloned for each fold.
    X, y, families, by, n_repeats, random_state
        As in `family_importance`.
    cv : splitter
        With ``split(X, y)``, such as `survimg.model_selection.EventStratifiedKFold`.

    Returns
    -------
    FamilyImportance
        ``drop_sd`` is the standard deviation over folds of the folds' mean drops; ``n_features``
        is the mean number of features that a fold's model was given.
    """
    generator = check_random_state(random_state)
    y = as_outcome(y, X)
    fold_drops, scores, fold_groups = [], [], []
    for train, test in cv.split(X, y):
        fitted = clone(model).fit(_safe_indexing(X, train), y[train])
        final, table = _table_of(fitted, _safe_indexing(X, test))
        if families is None:
            groups = feature_families(table.columns, by)
        else:
            columns = set(table.columns)
            groups = {name: tuple(c for c in cs if c in columns) for name, cs in families.items()}
            groups = {name: columns for name, columns in groups.items() if columns}
        score, drops = _drops(final, table, y[test], groups, n_repeats, generator)
        fold_drops.append(drops)
        scores.append(score)
        fold_groups.append(groups)
    names = list(dict.fromkeys(name for groups in fold_groups for name in groups))
    for k, groups in enumerate(fold_groups):
        absent = {name: np.zeros(n_repeats) for name in names if name not in groups}
        fold_drops[k] = {**fold_drops[k], **absent}
    sizes = {name: np.mean([len(groups.get(name, ())) for groups in fold_groups]) for name in names}
    return _summary(fold_drops, scores, sizes)


def _table_of(model: Any, X: Any) -> tuple[Any, pd.DataFrame]:
    """Return the last step and the table that it is given."""
    final = model
    if isinstance(model, Pipeline):
        final = model[-1]
        X = model[:-1].transform(X) if len(model) > 1 else X
    if not isinstance(X, pd.DataFrame):
        raise TypeError(
            f"{type(final).__name__} is given {type(X).__name__} without column names; use "
            "set_output(transform='pandas') on the steps before it, or give a DataFrame."
        )
    return final, X.reset_index(drop=True)


def _checked(groups: Families, table: pd.DataFrame) -> dict[str, tuple[str, ...]]:
    unknown = [c for columns in groups.values() for c in columns if c not in table.columns]
    if unknown or not groups:
        raise ValueError(
            f"families name columns that the table does not have: {unknown[:5]}."
            if unknown
            else "No families to permute."
        )
    return {name: tuple(columns) for name, columns in groups.items()}


def _drops(
    final: Any,
    table: pd.DataFrame,
    y: npt.ArrayLike,
    groups: Families,
    n_repeats: int,
    generator: np.random.RandomState,
) -> tuple[float, dict[str, np.ndarray]]:
    """C-index of the table, and what it loses in each repeat."""
    if n_repeats < 1:
        raise ValueError(f"n_repeats must be at least 1; got {n_repeats}.")
    score = concordance_index(y, risk_of(final, table))
    drops = {}
    for name, columns in groups.items():
        names = list(columns)
        differences = np.empty(n_repeats)
        for repeat in range(n_repeats):
            order = generator.permutation(len(table))
            permuted = table.copy()
            permuted[names] = table[names].iloc[order].reset_index(drop=True)
            differences[repeat] = score - concordance_index(y, risk_of(final, permuted))
        drops[name] = differences
    return score, drops


def _summary(
    folds: list[dict[str, np.ndarray]], scores: list[float], groups: Mapping[str, Any]
) -> FamilyImportance:
    rows = [
        {"fold": fold, "family": name, "repeat": repeat, "drop": drop}
        for fold, drops in enumerate(folds)
        for name, differences in drops.items()
        for repeat, drop in enumerate(differences)
    ]
    drops = pd.DataFrame(rows)
    spread = "repeat" if len(folds) == 1 else "fold"
    table = []
    for name, size in groups.items():
        of_family = drops[drops["family"] == name]
        means = of_family.groupby(spread)["drop"].mean()
        table.append(
            {
                "family": name,
                "n_features": size if np.isscalar(size) else len(size),
                "drop_mean": of_family["drop"].mean(),
                "drop_sd": means.std(ddof=1) if len(means) > 1 else np.nan,
                "drop_min": of_family["drop"].min(),
                "drop_max": of_family["drop"].max(),
            }
        )
    frame = pd.DataFrame(table).sort_values("drop_mean", ascending=False, kind="stable")
    return FamilyImportance(frame.reset_index(drop=True), drops, np.array(scores))
