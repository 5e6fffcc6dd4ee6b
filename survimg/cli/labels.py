"""Labels instead of times: what classifiers are trained to tell, from the command line."""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from survimg.cli.output import counted, note

if TYPE_CHECKING:
    import numpy as np

    from survimg.cohort import Cohort

__all__ = [
    "Labelled",
    "add_label",
    "check_label",
    "label_of_model",
    "label_patients",
    "label_wanted",
    "tell_of_left_out",
]


@dataclass(frozen=True)
class Labelled:
    """The patients who have a label.

    Attributes
    ----------
    cohort : Cohort
        Without the column of the labels; its outcome says what they say
        (`survimg.survival.outcome_of_labels`).
    positions : ndarray of shape (m,), int
        Of these patients in the cohort that was given.
    name : str
        What the labels say of a patient.
    sample_weight : ndarray of shape (m,), or None
        With which these patients stand for all, those without a label included.
    settings : dict
        For the report.
    caveats : tuple of str
    """

    cohort: Cohort
    positions: np.ndarray
    name: str
    sample_weight: np.ndarray | None
    settings: dict[str, Any]
    caveats: tuple[str, ...] = ()

    @property
    def labels(self) -> np.ndarray:
        """Whether a patient is positive, (m,), bool."""
        assert self.cohort.outcome is not None
        labels: np.ndarray = self.cohort.outcome["event"]
        return labels


def add_label(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that make classifiers of the models."""
    classification = parser.add_argument_group("classification")
    group = classification.add_mutually_exclusive_group()
    group.add_argument(
        "--label", metavar="COLUMN[=VALUE]",
        help="train classifiers on a clinical column that holds yes and no, or 1 and 0; with "
        "=VALUE, patients with this value are positive and all others negative; patients without a "
        "value are left out",
    )
    group.add_argument(
        "--label-at", metavar="TIME",
        help="train classifiers on whether the event happened by TIME, in the unit of the cohort; "
        "patients censored before it have no label; end: status at the end of follow-up, known for "
        "all",
    )
    classification.add_argument(
        "--label-censoring", choices=("drop", "weight"),
        help="with --label-at: patients censored before TIME are left out (drop, the default), or "
        "the others are weighted by the inverse probability of censoring, to stand for them too "
        "(weight): in the training of models that take weights, and in the AUC",
    )


def label_wanted(arguments: argparse.Namespace) -> bool:
    """Whether models are classifiers."""
    return arguments.label is not None or arguments.label_at is not None


def label_of_model(folder: str) -> str | None:
    """Return what the labels of a saved classifier say, if ``survimg fit`` wrote it down."""
    from survimg.model_files import read_manifest

    label: str | None = read_manifest(folder).get("notes", {}).get("label")
    return label


def label_patients(arguments: argparse.Namespace, cohort: Cohort) -> Labelled:
    """Take the patients who have a label, with their labels as outcome.

    Raises
    ------
    ValueError
        No such column, values that are not of two kinds, a time that is none, an outcome that is
        missing, patients of one class only.
    """
    import numpy as np

    from survimg.survival import outcome_of_labels

    read = _of_column if arguments.label is not None else _at_time
    labels, has_label, name, settings, caveats = read(arguments, cohort)
    positions = np.flatnonzero(has_label)
    weights = None
    if arguments.label_censoring == "weight":
        weights = _weights(cohort, settings["label_at"])[positions]
    labels = labels[positions]
    if labels.all() or not labels.any():
        which = "every" if labels.all() else "no"
        raise ValueError(f"Of {counted(labels.size, 'labelled patient')}, {which} one has {name}.")
    settings |= {"label": name, "positive": int(labels.sum())}
    if n_out := len(cohort) - len(positions):
        settings["left_out_without_label"] = n_out
    patients = cohort[positions]
    if arguments.label is not None:
        patients = patients.without_clinical([_column(arguments.label)[0]])
    patients = patients.with_outcome(outcome_of_labels(labels))
    return Labelled(patients, positions, name, weights, settings, caveats)


def check_label(arguments: argparse.Namespace) -> None:
    """Refuse weights of labels that need none, and sub-groups by the label itself.

    Raises
    ------
    ValueError
        `--label-censoring` without a time, `--subgroups` with the column of `--label`.
    """
    column = None if arguments.label is None else _column(arguments.label)[0]
    if column in (getattr(arguments, "subgroups", None) or []):
        raise ValueError(
            f"--subgroups {column}: this is the column of --label, so all patients of a sub-group "
            "would have the same label and no AUC. Give other clinical columns."
        )
    at = None if arguments.label_at is None else arguments.label_at.strip()
    if arguments.label_censoring is not None and at in (None, "end"):
        raise ValueError(
            f"--label-censoring {arguments.label_censoring} needs --label-at TIME, before which "
            "patients may be censored."
        )


def _weights(cohort: Cohort, horizon: float) -> np.ndarray:
    from survimg.evaluation import status_weights

    assert cohort.outcome is not None
    return status_weights(cohort.outcome, horizon)


def tell_of_left_out(settings: Mapping[str, Any]) -> None:
    """Warn of patients without a label."""
    if n_out := settings.get("left_out_without_label"):
        weighted = settings.get("label_censoring") == "weight"
        others = "; the others are weighted to stand for them" if weighted else ""
        note("warning", f"{counted(n_out, 'patient')} without a label: left out{others}.")


def _column(text: str) -> tuple[str, str | None]:
    name, equals, value = text.partition("=")
    return name.strip(), value.strip() if equals else None


def _of_column(arguments: argparse.Namespace, cohort: Cohort) -> Any:
    import numpy as np

    from survimg.target import event_of

    column, value = _column(arguments.label)
    clinical = cohort.clinical
    if clinical is None or column not in clinical:
        columns = "no clinical columns" if clinical is None else ", ".join(map(str, clinical))
        raise ValueError(f"--label {arguments.label}: no such column; the cohort has {columns}.")
    has_label = clinical[column].notna().to_numpy()
    cells = [cell for cell, there in zip(clinical[column], has_label, strict=True) if there]
    labels = np.zeros(len(cohort), dtype=bool)
    if value is not None:
        labels[has_label] = [_is_value(cell, value) for cell in cells]
        return labels, has_label, f"{column} = {value}", {}, ()
    truths = [event_of(cell) for cell in cells]
    if any(truth is None for truth in truths):
        values = ", ".join(dict.fromkeys(str(cell) for cell in cells))
        raise ValueError(
            f"--label {column} holds {values}: which is the positive one? Give --label "
            f"{column}=VALUE."
        )
    labels[has_label] = truths
    return labels, has_label, column, {}, ()


def _is_value(cell: Any, value: str) -> bool:
    if str(cell).strip() == value:
        return True
    try:
        return float(cell) == float(value)
    except (TypeError, ValueError):
        return False


def _at_time(arguments: argparse.Namespace, cohort: Cohort) -> Any:
    from survimg.survival import status_at

    text = arguments.label_at.strip()
    if cohort.outcome is None:
        raise ValueError(f"--label-at {text}: the cohort has no outcome (columns time and event).")
    try:
        horizon = None if text == "end" else float(text)
    except ValueError:
        horizon = math.nan
    if horizon is not None and not 0 < horizon < math.inf:
        raise ValueError(f"--label-at takes a positive time, or end; got {text!r}.")
    labels, has_label = status_at(cohort.outcome, horizon)
    if horizon is None:
        caveat = (
            "How likely the event is by any time: a patient counts as negative who was not seen to "
            "have it by the end of follow-up, however short that was."
        )
        return labels, has_label, "the event by the end of follow-up", {}, (caveat,)
    unit = f" {cohort.time_unit}" if cohort.time_unit else ""
    name = f"the event by {horizon:g}{unit}"
    caveats: tuple[str, ...] = ()
    censoring = arguments.label_censoring or "drop"
    settings = {"label_at": horizon, "label_censoring": censoring}
    if censoring == "weight":
        caveats = (
            f"What differs between patients censored before {horizon:g}{unit} and those who were "
            "not: the latter are weighted by the inverse probability of censoring, estimated from "
            "the follow-up of all patients of the cohort at once (Kaplan-Meier), as if censoring "
            "had nothing to do with the patient.",
        )
        return labels, has_label, name, settings, caveats
    if n_out := int((~has_label).sum()):
        caveats = (
            f"The probability of the event among all patients: {counted(n_out, 'patient')} "
            f"censored before {horizon:g}{unit} are left out of training and test, so that events "
            "are more frequent among those who remain.",
        )
    return labels, has_label, name, settings, caveats
