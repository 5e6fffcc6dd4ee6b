"""Writing a cohort to a folder of memory-mapped files, one patient at a time."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from survimg.io.store.store import StoreWriter

if TYPE_CHECKING:
    from survimg.cohort.cohort import Cohort

__all__ = ["write_cohort"]


def write_cohort(cohort: Cohort, folder: str | os.PathLike[str]) -> None:
    """Write volumes, masks and tables of a prepared cohort; see `Cohort.save`."""
    shape = (cohort.shape[1], cohort.shape[2], cohort.shape[3], cohort.shape[4])
    with StoreWriter(
        folder,
        len(cohort),
        shape,
        channel_names=cohort.channel_names,
        masks=bool(cohort.has_masks.any()),
    ) as writer:
        for i in range(len(cohort)):
            mask = cohort.mask(i) if cohort.has_masks[i] else None
            writer.write_case(i, cohort.volume(i), mask, patient=cohort.ids[i])
        writer.finish(
            ids=cohort.ids,
            outcome=cohort.outcome,
            groups=cohort.groups,
            clinical=cohort.clinical,
            spacing=cohort.spacing,
            present=cohort.present,
            time_unit=cohort.time_unit,
            settings=cohort.settings,
            geometry=cohort.geometry,
        )
