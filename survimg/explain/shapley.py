"""Exact Shapley values of a few features for a patient's risk or S(t)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from math import comb
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from survimg.survival import risk_of
from survimg.target import as_times

__all__ = ["MOST_PLAYERS", "ShapleyValues", "shapley_values"]

MOST_PLAYERS = 10
"""Features or groups; their coalitions number two to that power."""

# Rows that a model is given at once.
_BLOCK = 20_000


class ShapleyValues(NamedTuple):
    """Contributions of features to a prediction."""

    values: np.ndarray
    """(n, n_players), or (n, n_players, n_times) with several horizons."""

    prediction: np.ndarray
    """Risk or S(t) of each patient, (n,) or (n, n_times)."""

    expectation: np.ndarray
    """Mean prediction of the background, of the shape of `prediction`: the same for all patients,
    unless features in no group are the patient's own. Contributions sum to `prediction` less
    this."""

    players: tuple[str, ...]
    """Names of the features or groups."""

    def to_frame(self) -> pd.DataFrame:
        """Return contributions with one row per patient; for one horizon, or the risk, only."""
        if self.values.ndim != 2:
            raise ValueError("Contributions at several horizons have no single table.")
        return pd.DataFrame(self.values, columns=list(self.players))


def shapley_values(
    model: Any,
    X: pd.DataFrame | npt.ArrayLike,
    background: pd.DataFrame | npt.ArrayLike,
    *,
    horizon: float | Sequence[float] | None = None,
    groups: Mapping[str, Sequence[str]] | None = None,
) -> ShapleyValues:
    """Divide a prediction among at most ten features, exactly, over all their coalitions.

    The worth of a coalition is the mean prediction with its features taken from the patient and
    all others from each background patient in turn (the interventional value function). The
    contributions of a patient add up to the prediction minus the mean prediction of the background.

    Parameters
    ----------
    model : estimator
        Fitted on a table, with ``predict``, and for a `horizon`
        ``predict_survival_function(X, return_array=True)`` and ``unique_times_``, as survimg's and
        scikit-survival's models have. Of a radiomics pipeline give ``pipeline[-1]`` and
        ``pipeline[:-1].transform(X)``.
    X : DataFrame or array-like of shape (n, n_features)
        Patients to explain.
    background : DataFrame or array-like of shape (m, n_features)
        Patients to compare with, such as the training set; m times 2**players rows are predicted
        for each patient.
    horizon : float or sequence of float, optional
        Explain S(horizon): with several times the contributions over time of SurvSHAP(t). By
        default the risk.
    groups : mapping of str to sequence of str, optional
        Features that count as one, such as `feature_families`; those in no group stay the
        patient's own and get no contribution, and the expectation is taken with them. By default
        each feature is on its own.

    Returns
    -------
    ShapleyValues
        **Of the risk: positive where the feature raises the risk.** Of S(t): positive where it
        raises survival.

    Raises
    ------
    ValueError
        More than ten players, columns that differ between `X` and `background`, groups that
        overlap or name unknown columns, or a horizon beyond the model's last time.

    References
    ----------
    Lundberg SM, Lee S-I. A unified approach to interpreting model predictions. NeurIPS 2017.
    Janzing D, Minorics L, Bloebaum P. Feature relevance quantification in explainable AI: a causal
    problem. AISTATS 2020. Krzyzinski M, Spytek M, Baniecki H, Biecek P. SurvSHAP(t): time-dependent
    explanations of machine learning survival models. Knowl-Based Syst 262:110234, 2023.
    """
    patients, others = _tables(X, background)
    members = _players(patients, groups)
    predict = _predictor(model, isinstance(X, pd.DataFrame), horizon)
    rows = [_of_patient(predict, patients.iloc[[i]], others, members) for i in range(len(patients))]
    values, predictions, expectations = (np.stack(part) for part in zip(*rows, strict=True))
    return ShapleyValues(values, predictions, expectations, tuple(members))


Predictor = Callable[[pd.DataFrame], np.ndarray]


def _of_patient(
    predict: Predictor, patient: pd.DataFrame, others: pd.DataFrame, members: Mapping[str, Any]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Contributions (players, ...), the prediction, and the worth of nobody."""
    players = list(members)
    n = len(players)
    ungrouped = [c for c in patient if c not in {c for group in members.values() for c in group}]
    coalitions = [c for size in range(n + 1) for c in combinations(range(n), size)]
    worth: dict[tuple[int, ...], np.ndarray] = {}
    at_once = max(1, _BLOCK // len(others))
    for start in range(0, len(coalitions), at_once):
        block = coalitions[start : start + at_once]
        of_patient = [[c for k in coalition for c in members[players[k]]] for coalition in block]
        mixed = [_mixture(patient, others, [*ungrouped, *columns]) for columns in of_patient]
        predicted = predict(pd.concat(mixed, ignore_index=True))
        means = predicted.reshape(len(block), len(others), *predicted.shape[1:]).mean(axis=1)
        worth.update(zip(block, means, strict=True))
    values = np.zeros((n, *worth[()].shape))
    for coalition in coalitions:
        for k in set(range(n)) - set(coalition):
            weight = 1 / (n * comb(n - 1, len(coalition)))
            values[k] += weight * (worth[tuple(sorted((*coalition, k)))] - worth[coalition])
    return values, worth[tuple(range(n))], worth[()]


def _mixture(patient: pd.DataFrame, others: pd.DataFrame, columns: list[Any]) -> pd.DataFrame:
    """Every background patient with the patient's values in some columns."""
    mixed = others.copy()
    repeated = patient.iloc[np.zeros(len(others), dtype=np.intp)].reset_index(drop=True)
    for column in columns:
        mixed[column] = repeated[column]
    return mixed


def _predictor(model: Any, named: bool, horizon: float | Sequence[float] | None) -> Predictor:
    def as_given(table: pd.DataFrame) -> Any:
        return table if named else table.to_numpy()

    if horizon is None:
        return lambda table: risk_of(model, as_given(table))
    times = np.asarray(model.unique_times_, dtype=np.float64)
    horizons = np.atleast_1d(as_times(horizon, "horizon"))
    if not ((horizons >= 0) & (horizons <= times[-1])).all():
        raise ValueError(
            f"horizon={horizon} is outside the times that the model describes, 0 to {times[-1]:g}."
        )
    position = np.searchsorted(times, horizons, side="right") - 1

    def survival(table: pd.DataFrame) -> np.ndarray:
        curves = np.asarray(model.predict_survival_function(as_given(table), return_array=True))
        # Nobody fails before the first time.
        at_horizons: np.ndarray = np.where(position >= 0, curves[:, np.maximum(position, 0)], 1.0)
        return at_horizons[:, 0] if np.ndim(horizon) == 0 else at_horizons

    return survival


def _tables(X: Any, background: Any) -> tuple[pd.DataFrame, pd.DataFrame]:
    patients, others = (
        table.reset_index(drop=True) if isinstance(table, pd.DataFrame) else pd.DataFrame(table)
        for table in (X, background)
    )
    if list(patients.columns) != list(others.columns):
        raise ValueError(
            "X and background must have the same columns; got "
            f"{list(patients.columns)[:5]} and {list(others.columns)[:5]}."
        )
    if not len(patients) or not len(others):
        raise ValueError("X and background must hold at least one patient each.")
    return patients, others


def _players(
    table: pd.DataFrame, groups: Mapping[str, Sequence[str]] | None
) -> dict[str, list[Any]]:
    if groups is None:
        members = {str(column): [column] for column in table.columns}
    else:
        members = {name: list(columns) for name, columns in groups.items()}
    columns = [column for group in members.values() for column in group]
    unknown = [column for column in columns if column not in table.columns]
    if unknown or len(set(columns)) < len(columns):
        raise ValueError(
            f"groups must name each column once; unknown: {unknown[:5]}, twice: "
            f"{sorted({c for c in columns if columns.count(c) > 1}, key=str)[:5]}."
        )
    if not 1 <= len(members) <= MOST_PLAYERS:
        raise ValueError(
            f"{len(members)} features or groups; exact Shapley values are for 1 to {MOST_PLAYERS}. "
            "Give groups=..., feature_families(X.columns) for example, or fewer columns."
        )
    return members
