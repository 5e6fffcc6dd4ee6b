"""A training cohort and patients from elsewhere, as one cohort with one split."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from survimg.cohort import Cohort
from survimg.io.patients import PatientTable
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
    ids = [*training.ids.tolist(), *(f"{prefix}{name}" for name in external.ids.tolist())]
    shared = sorted(set(ids[: len(training)]) & set(ids[len(training) :]))
    if shared:
        raise ValueError(
            f"{len(shared)} patient(s) are in both the training and the external cohort by their "
            f"identifiers, for example {shared[0]!r}. Take them out of one; if they are different "
            "people, rename those of one cohort (prefix=)."
        )
    both = (training, external)
    tables = [cohort.table for cohort in both]
    spacings = [cohort.spacing for cohort in both if cohort.spacing is not None]
    geometries = [table.geometry for table in tables if table.geometry is not None]
    table = PatientTable(
        ids=np.array(ids, dtype=object),
        channel_names=training.channel_names,
        outcome=np.concatenate([cohort.outcome for cohort in both]),
        time_unit=training.time_unit,
        groups=np.concatenate([_groups(training, "training"), _groups(external, "external")]),
        clinical=_clinical(training, external),
        has_mask=np.concatenate([table.has_mask for table in tables]),
        present=np.concatenate([table.present for table in tables]),
        spacing=np.concatenate(spacings) if len(spacings) == 2 else None,
        geometry=(*geometries[0], *geometries[1]) if len(geometries) == 2 else None,
    )
    joined = Cohort.from_table(
        table,
        _JoinedStore(both, masks=False),
        _JoinedStore(both, masks=True) if table.has_mask.any() else None,
        settings={"training": training.settings, "external": external.settings},
    )
    if training.finer is None or external.finer is None:
        return joined
    return joined.with_finer(join_cohorts(training.finer, external.finer, prefix=prefix))


class _JoinedStore:
    """Volumes, or masks, of several cohorts one after the other."""

    def __init__(self, cohorts: Sequence[Cohort], *, masks: bool) -> None:
        self._cohorts = tuple(cohorts)
        self._masks = masks

    def __len__(self) -> int:
        return sum(len(cohort) for cohort in self._cohorts)

    @property
    def case_shape(self) -> tuple[int | None, ...]:
        """Shape of one case; None for axes that differ."""
        shapes = [cohort.shape[2:] if self._masks else cohort.shape[1:] for cohort in self._cohorts]
        return tuple(
            sizes[0] if len(set(sizes)) == 1 else None for sizes in zip(*shapes, strict=True)
        )

    @property
    def nbytes_in_memory(self) -> int:
        """Bytes that travel when the store is pickled; both stores share the cohorts."""
        return 0 if self._masks else sum(cohort.__sizeof__() for cohort in self._cohorts)

    def read(self, position: int) -> np.ndarray:
        """Return the array of one case."""
        cohort, i = self._find(position)
        return cohort.marks(i) if self._masks else cohort.volume(i)

    def case_key(self, position: int) -> str:
        """Key of the case in its own cohort."""
        cohort, i = self._find(position)
        return cohort.case_key(i)

    def _find(self, position: int) -> tuple[Cohort, int]:
        for cohort in self._cohorts:
            if position < len(cohort):
                return cohort, position
            position -= len(cohort)
        raise IndexError(f"There are only {len(self)} patients.")


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


def _clinical(training: Cohort, external: Cohort) -> pd.DataFrame | None:
    frames = [cohort.clinical for cohort in (training, external)]
    if frames[0] is None or frames[1] is None:
        return None
    joined = pd.concat(frames, ignore_index=True)
    for name in joined.columns:
        known = frames[0][name].dtype
        if isinstance(known, pd.CategoricalDtype) and joined[name].dtype != known:
            # Levels known from training come first; concat falls back to plain objects.
            values = frames[1][name].dropna().unique().tolist()
            more = [level for level in values if level not in known.categories]
            levels = pd.CategoricalDtype([*known.categories, *more], ordered=known.ordered)
            joined[name] = joined[name].astype(levels)
    return joined


def _groups(cohort: Cohort, name: str) -> np.ndarray:
    if cohort.groups is None:
        return np.full(len(cohort), f"{name} cohort", dtype=object)
    return np.array([str(group) for group in cohort.groups.tolist()], dtype=object)
