"""Warnings about patients who lack a modality, which models impute."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from survimg.cli.output import counted

if TYPE_CHECKING:
    from survimg.cohort import Cohort

__all__ = ["absent_modalities", "warn_of_absent_modalities"]


def absent_modalities(cohort: Cohort) -> dict[str, list[str]]:
    """Return the patients who lack a modality.

    Parameters
    ----------
    cohort : Cohort

    Returns
    -------
    dict of str to list of str
        Patients by modality; only modalities that are missing for some patients.
    """
    lacking = {
        name: cohort.ids[~present].tolist()
        for name, present in zip(cohort.channel_names, cohort.present.T, strict=True)
    }
    return {name: patients for name, patients in lacking.items() if patients}


def warn_of_absent_modalities(cohort: Cohort) -> None:
    """Warn once for each modality that is missing for some patients, and name them.

    Parameters
    ----------
    cohort : Cohort
    """
    from survimg.io.patients import listed

    for name, patients in absent_modalities(cohort).items():
        warnings.warn(
            f"{name} is missing for {counted(len(patients), 'patient')}: {listed(patients)}.",
            UserWarning,
            stacklevel=2,
        )
