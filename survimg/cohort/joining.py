"""Several cohorts as one; voxels stay where they are."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from survimg.cohort.cohort import Cohort
from survimg.columns import level_of
from survimg.io.patients import PatientTable, listed

__all__ = ["concatenate_cohorts"]


def concatenate_cohorts(cohorts: Sequence[Cohort]) -> Cohort:
    """Put the patients of several cohorts into one, in the order given.

    Parameters
    ----------
    cohorts : sequence of Cohort
        With the same channels, clinical columns, unit of time and settings, and volumes of one
        shape if they are prepared; all with an outcome, or none.

    Returns
    -------
    Cohort
        Voxels are read where they lie. Patients of cohorts without groups have none.

    Raises
    ------
    ValueError
        The cohorts do not fit together, or a patient is in two of them; the message says in what.
    """
    cohorts = list(cohorts)
    if not cohorts:
        raise ValueError("There are no cohorts to put together.")
    for what, of in (
        ("channels", lambda c: c.channel_names),
        ("units of time", lambda c: c.time_unit),
        ("clinical columns", _columns),
        ("voxels (z, y, x)", lambda c: c.shape[2:]),
        ("settings", lambda c: c.settings),
        ("outcomes", lambda c: c.outcome is not None),
    ):
        first, *others = (of(cohort) for cohort in cohorts)
        different = next((other for other in others if other != first), first)
        if different != first:
            raise ValueError(f"The cohorts have different {what}: {first} and {different}.")
    groups = [cohort.groups for cohort in cohorts]
    if all(values is None for values in groups):
        groups = []
    return joined(
        cohorts,
        ids=[cohort.ids.tolist() for cohort in cohorts],
        groups=[
            np.full(len(cohort), None, dtype=object) if values is None else values
            for cohort, values in zip(cohorts, groups, strict=bool(groups))
        ],
        settings=cohorts[0].settings,
    )


def joined(
    cohorts: Sequence[Cohort],
    *,
    ids: Sequence[list[str]],
    groups: Sequence[np.ndarray],
    settings: dict[str, Any],
) -> Cohort:
    """Put cohorts that fit together into one, under these names of their patients.

    Parameters
    ----------
    cohorts : sequence of Cohort
    ids : sequence of list of str
    groups : sequence of ndarray
        One for each cohort; empty where there are no groups.
    settings : dict

    Raises
    ------
    ValueError
        A name stands in two cohorts.
    """
    earlier: set[str] = set()
    for names in ids:
        if twice := sorted(earlier & set(names)):
            raise ValueError(
                f"{len(twice)} patient(s) are in several cohorts by their identifiers: "
                f"{listed(twice)}. Take them out of one, or rename them if they are different "
                "people."
            )
        earlier |= set(names)
    tables = [cohort.table for cohort in cohorts]
    spacings = [cohort.spacing for cohort in cohorts if cohort.spacing is not None]
    geometries = [table.geometry for table in tables if table.geometry is not None]
    outcomes = [table.outcome for table in tables if table.outcome is not None]
    all_of = len(cohorts)
    table = PatientTable(
        ids=np.array([name for names in ids for name in names], dtype=object),
        channel_names=tables[0].channel_names,
        outcome=np.concatenate(outcomes) if len(outcomes) == all_of else None,
        time_unit=tables[0].time_unit,
        groups=np.concatenate(groups) if groups else None,
        clinical=_clinical(tables),
        has_mask=np.concatenate([table.has_mask for table in tables]),
        present=np.concatenate([table.present for table in tables]),
        spacing=np.concatenate(spacings) if len(spacings) == all_of else None,
        geometry=tuple(itertools.chain(*geometries)) if len(geometries) == all_of else None,
    )
    masks = _JoinedStore(cohorts, masks=True) if table.has_mask.any() else None
    return Cohort.from_table(table, _JoinedStore(cohorts, masks=False), masks, settings=settings)


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


def _columns(cohort: Cohort) -> list[str] | None:
    clinical = cohort.clinical
    return None if clinical is None else sorted(clinical.columns)


def _clinical(tables: Sequence[PatientTable]) -> pd.DataFrame | None:
    frames = [table.clinical for table in tables if table.clinical is not None]
    if len(frames) < len(tables):
        return None
    whole = pd.concat(frames, ignore_index=True)
    for name in whole.columns:
        declared = [f[name] for f in frames if isinstance(f[name].dtype, pd.CategoricalDtype)]
        if declared and whole[name].dtype != declared[0].dtype:
            # Levels of the first cohort come first; concat falls back to plain objects.
            categories = [level_of(value) for column in declared for value in column.cat.categories]
            texts = whole[name].map(level_of, na_action="ignore").astype(object)
            levels = list(dict.fromkeys([*categories, *sorted(texts.dropna().unique())]))
            ordered = all(column.cat.ordered for column in declared)
            whole[name] = pd.Categorical(texts, categories=levels, ordered=ordered)
    return whole
