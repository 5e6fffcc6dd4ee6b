"""Labels instead of times: the status at a horizon, and labels in the form of an outcome."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from survimg.target import check_outcome, is_table, make_outcome

__all__ = ["LABEL_HORIZON", "labels_of", "outcome_of_labels", "status_at"]

#: Time at which the outcome of `outcome_of_labels` shows the labels.
LABEL_HORIZON = 1.0


def status_at(
    y: npt.ArrayLike, horizon: float | None, competing: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Turn an outcome into labels, and say which patients have one.

    Parameters
    ----------
    y : structured array of shape (n,)
        (event, time).
    horizon : float or None
        Positive: event by this time. Negative: event-free up to it. Patients censored before it
        have no label. None: status at the end of follow-up, whatever its length, known for all.
    competing : ndarray of shape (n,), bool, optional
        Patients who are censored because they failed otherwise first: negative at every horizon.

    Returns
    -------
    labels, labelled : ndarray of shape (n,), bool

    Raises
    ------
    ValueError
        An invalid outcome, or a horizon that is not a positive time.
    """
    event, time = check_outcome(y)
    if horizon is None:
        return event, np.ones(len(event), dtype=bool)
    if not 0 < horizon < np.inf:
        raise ValueError(f"The horizon must be a positive time; got {horizon!r}.")
    positive = event & (time <= horizon)
    labelled = positive | (time >= horizon)
    return positive, labelled if competing is None else labelled | (competing & ~event)


def labels_of(y: Any) -> np.ndarray | None:
    """Return labels as booleans; None for an outcome, or for anything that is not labels.

    Parameters
    ----------
    y : structured array, table, or array of bool, 0 and 1, of shape (n,)
    """
    if is_table(y):
        return None
    values = np.asarray(y)
    if values.dtype.names is not None or values.ndim != 1 or values.dtype.kind not in "biu":
        return None
    return values.astype(bool) if np.isin(values, (0, 1)).all() else None


def outcome_of_labels(labels: npt.ArrayLike) -> np.ndarray:
    """Write labels as an outcome: positive patients fail at time 1, all others are seen up to 2.

    Whatever is said of such an outcome is said of the labels, exactly: the comparable pairs are
    those of a positive and a negative patient, so Harrell's C is the area under the ROC curve; and
    nobody is censored before `LABEL_HORIZON`, at which the Kaplan-Meier estimate, the Brier score,
    calibration and net benefit are those of the labels.

    Parameters
    ----------
    labels : array-like of shape (n,), bool

    Returns
    -------
    structured array of shape (n,)
    """
    positive = np.asarray(labels, dtype=bool)
    return make_outcome(positive, np.where(positive, LABEL_HORIZON, 2 * LABEL_HORIZON))
