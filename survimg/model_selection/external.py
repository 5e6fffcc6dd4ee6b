"""A training cohort and patients from elsewhere, as one cohort with one split."""

from __future__ import annotations

import numpy as np

from survimg.cohort import Cohort
from survimg.cohort.joining import joined
from survimg.preprocessing.agreement import preparation_of

__all__ = ["join_cohorts"]


def join_cohorts(training: Cohort, external: Cohort, *, prefix: str = "") -> Cohort:
    """Put an external test cohort behind a training cohort; voxels stay where they are.

    Parameters
    ----------
    training, external : Cohort
        With outcomes in the same unit, the same channels, the same clinical columns and, if both
        are prepared, volumes of one shape.
    prefix : str, default=""
        Put before the identifiers of the external patients, for cohorts that number their patients
        alike. Without it, an identifier that is in both cohorts is an error: it may be one patient.

    Returns
    -------
    Cohort
        The training patients, then the external ones. `Cohort.groups` are the two cohorts' own;
        patients of a cohort without groups form a group of their own, ``"training cohort"`` or
        ``"external cohort"``.

    Raises
    ------
    ValueError
        The cohorts do not fit together; the message says in what.
    """
    _check_fit(training, external)
    names = [f"{prefix}{name}" for name in external.ids.tolist()]
    in_both = sorted(set(training.ids.tolist()) & set(names))
    if in_both:
        raise ValueError(
            f"{len(in_both)} patient(s) are in both the training and the external cohort by their "
            f"identifiers, for example {in_both[0]!r}. Take them out of one cohort. If they are "
            "different people, give those of one cohort other identifiers: in the column "
            "patient_id of its manifest, and prepare it again; or in Python join_cohorts(..., "
            "prefix='external-')."
        )
    both = joined(
        [training, external],
        ids=[training.ids.tolist(), names],
        groups=[_groups(training, "training"), _groups(external, "external")],
        settings={"training": training.settings, "external": external.settings},
    )
    if training.finer is None or external.finer is None:
        return both
    return both.with_finer(join_cohorts(training.finer, external.finer, prefix=prefix))


def _check_fit(training: Cohort, external: Cohort) -> None:
    ours, theirs = preparation_of(training) or {}, preparation_of(external) or {}
    for what, first, second in (
        ("channels", training.channel_names, external.channel_names),
        ("units of time", training.time_unit, external.time_unit),
        ("clinical columns", _columns(training), _columns(external)),
        ("voxels (z, y, x)", training.shape[2:], external.shape[2:]),
        *((f"preparation ({step})", ours[step], theirs[step]) for step in ours if theirs),
    ):
        if first != second:
            raise ValueError(
                f"The training cohort and the external cohort have different {what}: {first} and "
                f"{second}. Prepare both alike."
            )
    for name, cohort in (("training", training), ("external", external)):
        if cohort.outcome is None:
            raise ValueError(f"The {name} cohort has no outcome (columns time and event).")


def _columns(cohort: Cohort) -> list[str] | None:
    clinical = cohort.clinical
    return None if clinical is None else [str(name) for name in clinical.columns]


def _groups(cohort: Cohort, name: str) -> np.ndarray:
    if cohort.groups is None:
        return np.full(len(cohort), f"{name} cohort", dtype=object)
    return cohort.groups
