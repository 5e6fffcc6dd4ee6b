"""Outcome arrays, time grids and labels for stratifying.

The floor of the library: every other module may import this one, and it imports NumPy only.

An outcome ``y`` is scikit-survival's structured array: one boolean field (did the event happen?)
followed by one float field (time to the event, or to censoring), in any time unit. Where an outcome
is taken, a DataFrame or a dict with the columns ``event`` and ``time`` is taken too.

Risk is one number per patient; **a higher risk means an earlier event**. Every ``predict`` of
survimg returns risk on that scale, whatever the model is trained on; `survimg.survival.risk_of`
brings what other estimators predict to it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

__all__ = [
    "OUTCOME_DTYPE",
    "as_outcome",
    "as_times",
    "check_outcome",
    "event_labels",
    "event_of",
    "event_quantiles",
    "in_order_of",
    "is_table",
    "make_outcome",
    "names_in",
]

OUTCOME_DTYPE = np.dtype([("event", np.bool_), ("time", np.float64)])
_TRUTHS = {
    **dict.fromkeys(("1", "1.0", "true", "yes"), True),
    **dict.fromkeys(("0", "0.0", "false", "no"), False),
}


def make_outcome(event: Any, time: Any = None, *, data: Any = None) -> np.ndarray:
    """Put event indicators and times into one structured array.

    Parameters
    ----------
    event : array-like of shape (n,), DataFrame, mapping, or str
        True (or 1) where the event was observed, False (or 0) where the patient was censored;
        text that says so (``"1"``, ``"true"``, ``"yes"``, ``"0"``, ``"false"``, ``"no"``) is
        understood. Alone, without `time`: a DataFrame or mapping with the columns ``event`` and
        ``time``. With `data`: name of the column.
    time : array-like of shape (n,), or str, optional
        Time to event or censoring, non-negative, in any unit. With `data`: name of the column.
    data : DataFrame or mapping, optional
        Table that holds both columns.

    Returns
    -------
    ndarray of shape (n,), dtype ``[("event", bool), ("time", float64)]``

    Raises
    ------
    ValueError
        Values other than true and false in `event`; missing, infinite, negative or complex values,
        dates or durations in `time`; unequal lengths; two Series of different patients.

    Notes
    -----
    Two Series are put together by their index, in the order of `event`.

    Examples
    --------
    >>> from survimg.target import make_outcome
    >>> make_outcome(event=[1, 0], time=[12.5, 30.0])
    array([( True, 12.5), (False, 30. )], dtype=[('event', '?'), ('time', '<f8')])
    >>> make_outcome("relapse", "months", data={"relapse": ["yes", "no"], "months": [8, 24]})
    array([( True,  8.), (False, 24.)], dtype=[('event', '?'), ('time', '<f8')])
    """
    if data is not None:
        event, time = _column(data, event), _column(data, time)
    elif time is None:
        event, time = _named_columns(event)
    time = in_order_of(event, time, "event", "time")
    event_array, time_array = _as_indicator(event), as_times(time)
    if event_array.shape != time_array.shape or event_array.ndim != 1:
        raise ValueError(
            "event and time must be one-dimensional and of equal length; got shapes "
            f"{event_array.shape} and {time_array.shape}."
        )
    outcome = np.empty(event_array.shape[0], dtype=OUTCOME_DTYPE)
    outcome["event"] = event_array
    outcome["time"] = time_array
    _check_times(time_array, None)
    return outcome


def check_outcome(
    y: Any,
    *,
    n_patients: int | None = None,
    ids: Sequence[str] | None = None,
    require_event: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Check an outcome and split it into event indicators and times.

    Parameters
    ----------
    y : structured array of shape (n,), DataFrame, or mapping
        One boolean field, then one float field, under any names (as in scikit-survival); or a
        table with the columns ``event`` and ``time``.
    n_patients : int, optional
        Length that `y` must have.
    ids : sequence of str, optional
        Patient identifiers, used to name the patient in error messages, and to put a DataFrame
        whose index holds them into their order.
    require_event : bool, default=False
        Refuse outcomes in which every patient is censored.

    Returns
    -------
    event : ndarray of shape (n,), bool
    time : ndarray of shape (n,), float64
        Fresh arrays; writing to them does not change `y`.

    Raises
    ------
    ValueError
        Nothing of these forms, wrong length, a missing, infinite or negative time (the message
        names the patients when `ids` is given), or no event at all when one is required.
    """
    if is_table(y):
        event, time = _split_table(y, ids)
    else:
        event, time = _split_array(y)
    if n_patients is not None and event.shape[0] != n_patients:
        raise ValueError(
            f"X holds {n_patients} patients but y has {event.shape[0]} entries; both must have the "
            "same length."
        )
    _check_times(time, ids)
    if require_event and not event.any():
        raise ValueError(
            f"All {event.shape[0]} patients are censored; at least one event is needed to fit or "
            "score a survival model."
        )
    return event, time


def as_outcome(y: Any, X: Any = None) -> np.ndarray:
    """Return an outcome of any accepted form as one structured array (event, time).

    Parameters
    ----------
    y : structured array of shape (n,), DataFrame, or mapping
    X : Cohort, DataFrame or array, optional
        The patients. If it has their names, a table that has them too is put into its order.

    Raises
    ------
    ValueError
        As `check_outcome`; a table that names the patients where `X` does not.
    """
    names = getattr(X, "ids", None)
    names = names_in(X) if names is None else names
    rows = names_in(_named_columns(y)[0]) if X is not None and is_table(y) else None
    if names is None and rows is not None and not _are_counts(rows):
        raise ValueError(
            f"y names its rows ({rows[:3]} ...), but the features do not, so that nothing tells "
            "whether both are in one order. Give as_outcome(y, cohort) or Cohort.outcome; or y "
            "without names (reset_index(drop=True)) if they are."
        )
    event, time = check_outcome(y, ids=names)
    return make_outcome(event, time)


def names_in(part: Any) -> list[Any] | None:
    """Return the index of a frame or Series; None where there is none, or it only counts rows."""
    index = getattr(part, "index", None)
    if index is None or callable(index):
        return None
    labels = list(index)
    return None if labels == list(range(len(labels))) else labels


def in_order_of(first: Any, second: Any, name: str, other: str) -> Any:
    """Put a frame or Series into the order of another one; refuse those of different patients.

    Parameters
    ----------
    first, second : object
        Whatever has no index is paired by position. `first` may be an outcome of any form.
    name, other : str
        Of `first` and `second`, for messages.

    Returns
    -------
    object
        `second`, in the order of `first`.

    Raises
    ------
    ValueError
        Both have an index, and these hold different names, or names that stand twice.
    """
    first = first.get("event") if isinstance(first, Mapping) else first
    index, theirs = names_in(first), names_in(second)
    if index is None or theirs is None:
        both = hasattr(first, "iloc") and hasattr(second, "iloc")
        if not both or (index is theirs):
            return second
        index, theirs = list(first.index), list(second.index)
    if len(index) != len(theirs) or index == theirs:
        return second  # unequal lengths are told where they matter
    if len(set(index)) == len(set(theirs)) == len(index) and set(index) == set(theirs):
        return second.loc[index]
    raise ValueError(
        f"{name} and {other} are of different patients by their indexes ({index[:3]} ... and "
        f"{theirs[:3]} ...). Take both from one table, or give plain arrays (.to_numpy()) if they "
        "are in one order."
    )


def is_table(y: Any) -> bool:
    """Tell whether an outcome is a DataFrame or a mapping of columns."""
    return isinstance(y, Mapping) or (hasattr(y, "columns") and hasattr(y, "iloc"))


def as_times(values: Any, name: str = "time") -> np.ndarray:
    """Return times as float64; refuse what only looks like times.

    Parameters
    ----------
    values : array-like of shape (n,)
    name : str, default="time"
        For messages.

    Raises
    ------
    ValueError
        Dates, durations, truth values, complex numbers, masked entries, or text that is no number.
    """
    array = np.asarray(values)
    if np.ma.is_masked(values):
        raise ValueError(f"{name} holds masked or missing values; every patient needs a time.")
    entries = array.ravel().tolist() if array.dtype.kind in "OUST" else []
    days = [v for v in entries if hasattr(v, "isoformat") or hasattr(v, "total_seconds")]
    if array.dtype.kind in "mM" or days or hasattr(getattr(values, "dtype", None), "freq"):
        raise ValueError(
            f"{name} holds dates or durations, such as {str(array.ravel()[0])!r}; give a number in "
            "the cohort's unit, for example (last_seen - diagnosis).dt.days."
        )
    if array.dtype.kind in "bc" or any(isinstance(v, bool | complex) for v in entries):
        is_complex = array.dtype.kind == "c" or any(isinstance(v, complex) for v in entries)
        what = "complex numbers" if is_complex else "true/false"
        raise ValueError(f"{name} holds {what}; give one real number per patient.")
    if any(isinstance(v, str) and "_" in v for v in entries):
        raise ValueError(f"{name} holds text that is no number, such as {entries[0]!r}.")
    try:
        if hasattr(values, "astype") and hasattr(values, "isna"):  # pandas' NA becomes NaN
            values = values.astype("Float64").astype("float64")
        return np.array(values if array.dtype.kind not in "US" else array, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(
            f"{name} must be numbers in the cohort's unit; got values such as "
            f"{array.ravel()[:3].tolist()}."
        ) from None


def event_quantiles(event: np.ndarray, time: np.ndarray, n_intervals: int) -> np.ndarray:
    """Cut points that put about as many events into each interval.

    Parameters
    ----------
    event : ndarray of shape (n,), bool
    time : ndarray of shape (n,), float
    n_intervals : int
        Number of intervals wanted; ties between event times can yield fewer.

    Returns
    -------
    ndarray of shape (<= n_intervals,)
        Increasing upper bounds of the intervals, in the unit of `time`; the last one is the
        largest observed time, events or not, so that every patient falls into an interval.

    Raises
    ------
    ValueError
        No event, all times 0, or `n_intervals` below 1.
    """
    if n_intervals < 1:
        raise ValueError(f"n_intervals must be at least 1; got {n_intervals}.")
    event_times = np.asarray(time)[np.asarray(event, dtype=bool)]
    if event_times.size == 0:
        raise ValueError("Event quantiles need at least one event; every patient is censored.")
    inner = np.quantile(event_times, np.linspace(0, 1, n_intervals + 1)[1:-1])
    cuts = np.unique(np.append(inner, np.max(time)))
    if cuts[-1] <= 0:
        raise ValueError("All times are 0; there is no interval to put the events into.")
    return cuts[cuts > 0]


def event_labels(event: np.ndarray, time: np.ndarray, n_time_bins: int = 1) -> np.ndarray:
    """Integer labels that stratify by event and, optionally, by time within events.

    Parameters
    ----------
    event : ndarray of shape (n,), bool
    time : ndarray of shape (n,), float
    n_time_bins : int, default=1
        Number of quantile bins of the event times. 1 stratifies by event alone.

    Returns
    -------
    ndarray of shape (n,), int
        0 for censored patients, 1 to `n_time_bins` for events from early to late.
    """
    event = np.asarray(event, dtype=bool)
    labels = event.astype(np.intp)
    if n_time_bins > 1 and event.any():
        cuts = np.quantile(time[event], np.linspace(0, 1, n_time_bins + 1)[1:-1])
        labels[event] = 1 + np.searchsorted(cuts, time[event], side="left")
    return labels


_NAMED = (
    "Name the columns: make_outcome(event=..., time=...), or a DataFrame or dict with the columns "
    "'event' and 'time'."
)


def _split_array(y: Any) -> tuple[np.ndarray, np.ndarray]:
    """Split scikit-survival's structured array."""
    if isinstance(y, tuple):
        raise ValueError(f"y is a tuple, which does not say what is time and what event. {_NAMED}")
    array = np.asarray(y)
    names = array.dtype.names
    well_formed = (
        array.ndim == 1
        and names is not None
        and len(names) == 2
        and array.dtype[0] == np.bool_
        and np.issubdtype(array.dtype[1], np.floating)
    )
    if not well_formed or names is None:
        raise ValueError(
            "y must be a one-dimensional structured array with a boolean event field followed by a "
            f"float time field; got dtype {array.dtype} and shape {array.shape}. {_NAMED} "
            "A cohort has it as Cohort.outcome."
        )
    return array[names[0]].astype(np.bool_, copy=True), array[names[1]].astype(np.float64)


def _split_table(y: Any, ids: Sequence[str] | None) -> tuple[np.ndarray, np.ndarray]:
    """Split a table, in the order of `ids` where its index holds them."""
    event, time = _named_columns(y)
    time = in_order_of(event, time, "event", "time")
    events, times = _as_indicator(event), as_times(time)
    if events.shape != times.shape or events.ndim != 1:
        raise ValueError(f"event and time have shapes {events.shape} and {times.shape}.")
    index = names_in(event)
    if ids is not None and index is not None:
        labels, names = [_label(label) for label in index], [str(name) for name in ids]
        position = {label: i for i, label in enumerate(labels)}
        if labels != names and len(position) == len(labels) and position.keys() == set(names):
            rows = [position[name] for name in names]
            return events[rows], times[rows]
        if labels != names and not _are_counts(index):
            raise ValueError(
                f"y has the index {labels[:3]} ..., but the patients are {names[:3]} ...; give it "
                "their names, or none (reset_index(drop=True)) if its rows are in their order."
            )
    return events.copy(), times.copy()


def _are_counts(labels: Sequence[Any]) -> bool:
    """Tell whether an index may be what is left of row numbers after rows were chosen."""
    return all(isinstance(label, int | np.integer) for label in labels)


def _label(value: Any) -> str:
    """Return the name of a patient in an index as text; 7.0 is 7, blanks around it do not count."""
    whole = isinstance(value, float) and value.is_integer()
    return str(int(value)) if whole else str(value).strip()


def _named_columns(table: Any) -> tuple[Any, Any]:
    if not is_table(table):
        kind = type(table).__name__
        if getattr(getattr(table, "dtype", None), "names", None):
            return _split_array(table)
        raise ValueError(f"{kind} alone does not say what is time and what event. {_NAMED}")
    return _column(table, "event"), _column(table, "time")


def _column(table: Any, name: Any) -> Any:
    columns = list(table.columns if hasattr(table, "columns") else table)
    if columns.count(name) != 1:
        raise ValueError(
            f"The outcome needs one column {name!r}; the columns are {columns}. Name them: "
            "make_outcome(event='...', time='...', data=table)."
        )
    return table[name]


def _as_indicator(values: Any) -> np.ndarray:
    if np.ma.is_masked(values):
        raise ValueError("event holds masked or missing values; give 1 or 0 for every patient.")
    event = np.asarray(values)
    if event.dtype == np.bool_:
        return event
    if event.dtype.kind in "iuf":
        happened = event.astype(np.float64)
        wrong = np.flatnonzero(~np.isin(happened, (0.0, 1.0)))
    else:
        truths = [event_of(value) for value in event.ravel().tolist()]
        wrong = np.flatnonzero([truth is None for truth in truths])
        happened = np.array([bool(truth) for truth in truths]).reshape(event.shape)
    if wrong.size:
        raise ValueError(
            "event must hold True/False or 1/0; got "
            f"{[event.ravel().tolist()[i] for i in wrong[:5]]} at positions {wrong[:5].tolist()}."
        )
    return happened.astype(np.bool_)


def event_of(value: Any) -> bool | None:
    """Return what a value says of the event, or None."""
    if isinstance(value, str):
        return _TRUTHS.get(value.strip().lower())
    try:
        return bool(value) if value in (0, 1) else None
    except (TypeError, ValueError):  # pandas' NA, an array
        return None


def _check_times(time: np.ndarray, ids: Sequence[str] | None) -> None:
    wrong = np.flatnonzero(~np.isfinite(time) | (time < 0))
    if wrong.size:
        names = [f"patient {ids[i]!r}" if ids is not None else f"position {i}" for i in wrong[:5]]
        listed = ", ".join(f"{name}: {time[i]}" for name, i in zip(names, wrong[:5], strict=True))
        raise ValueError(
            f"time must be finite and non-negative; {wrong.size} value(s) are not ({listed})."
        )
