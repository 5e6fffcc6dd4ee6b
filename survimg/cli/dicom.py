"""A folder of DICOM where a command takes a manifest."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from survimg.cli.arguments import refuse

__all__ = ["find_manifest", "is_raw_folder"]


def is_raw_folder(path: Path) -> bool:
    """Tell whether a path is a folder that is not a prepared cohort, so one of DICOM files."""
    return path.is_dir() and not (path / "cohort.json").is_file()


def find_manifest(
    arguments: argparse.Namespace,
    path: Path,
    scratch: Path,
    *,
    modalities: Sequence[str] | None,
    every_row: bool,
) -> tuple[Path, bool]:
    """Return a manifest as it is, or write that of a folder of DICOM.

    Parameters
    ----------
    arguments : argparse.Namespace
    path : Path
        Manifest or folder.
    scratch : Path
        Existing folder for temporary files.
    modalities : sequence of str or None
        Images that are wanted; None for all.
    every_row : bool
        Whether every row of the clinical table must have its images.

    Returns
    -------
    manifest : Path
    allow_outside : bool
        Whether paths in it may lead out of its folder.

    Raises
    ------
    ValueError, OSError
        Options that do not apply; what `survimg.io.manifest_of_dicom` refuses.
    """
    if not is_raw_folder(path):
        itself = "a manifest, which contains ids and clinical columns itself"
        not_a_folder = f"{path}, which is not a folder"
        which = itself if path.exists() else not_a_folder
        of_dicom = "clinical", "by_patient_id", "series"
        refuse(arguments, which, *of_dicom, meant_for="a folder of DICOM")
        return path, bool(arguments.allow_outside)
    from survimg.io import manifest_of_dicom

    refuse(arguments, "a folder of DICOM", "allow_outside", meant_for="a manifest (.csv)")
    manifest = manifest_of_dicom(
        path,
        scratch,
        modalities=modalities,
        series=_descriptions(arguments.series or []),
        clinical=arguments.clinical,
        every_row=every_row,
        by_patient_id=bool(arguments.by_patient_id),
        n_jobs=arguments.n_jobs,
        progress=arguments.progress,
    )
    return manifest, True


def _descriptions(texts: Sequence[str]) -> dict[str, list[str]]:
    """Return the descriptions in ``--series`` by modality."""
    descriptions: dict[str, list[str]] = {}
    for text in texts:
        name, equals, description = text.partition("=")
        if not equals:
            raise ValueError(f"--series must be like 'CT=*venous*'; got {text!r}.")
        descriptions.setdefault(name.strip(), []).append(description)
    return descriptions
