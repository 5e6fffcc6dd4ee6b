"""Which columns of a manifest hold paths, and what those paths must be."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from survimg.columns import number_of, odd_mark
from survimg.io.containment import REMEDY, is_inside

__all__ = [
    "IMAGE_SUFFIXES", "RESERVED", "check_any_image", "holds_paths", "image_columns", "read_paths"
]

#: Suffixes by which a cell is known as the path of an image.
IMAGE_SUFFIXES = (
    ".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd", ".hdr", ".img", ".img.gz", ".dcm", ".gipl"
)

#: Columns with a meaning of their own.
RESERVED = ("patient_id", "mask", "organs", "time", "event", "group")


def image_columns(
    table: dict[str, list[str]], modalities: Sequence[str] | None, ids: list[str], path: Path
) -> list[str]:
    """Return the columns with images: those named, or those in which every cell is a path."""
    if modalities is not None:
        names = list(modalities)
        if isinstance(modalities, str) or not names or len(set(names)) != len(names):
            raise ValueError(f"modalities must list different columns; got {modalities!r}.")
        for name in names:
            if name not in table or name in RESERVED:
                raise ValueError(
                    f"{path} has no image column {name!r}; its columns are {list(table)}."
                )
        return names
    names = []
    for name, cells in table.items():
        if name in RESERVED:
            continue
        looks = _which_are_paths(cells, path.parent)
        if not any(looks):
            continue
        if not all(look is not False for look in looks):
            raise ValueError(_partly_paths(name, cells, looks, ids))
        names.append(name)
    if not names:
        raise ValueError(
            f"{path} has no column with paths of images; its columns are {list(table)}. Say which "
            "they are (modalities=..., or --modalities) if the files have unusual names."
        )
    return names


def holds_paths(cells: list[str], folder: Path) -> bool:
    """Tell whether every cell of a column that is not empty is a path."""
    looks = _which_are_paths(cells, folder)
    return any(looks) and all(look is not False for look in looks)


def _which_are_paths(cells: list[str], folder: Path) -> list[bool | None]:
    """Tell which cells look like paths; None where they are empty."""
    answers = {cell: _looks_like_path(cell, folder) for cell in set(cells)}
    return [answers[cell] if cell else None for cell in cells]


def _looks_like_path(cell: str, folder: Path) -> bool:
    if cell.lower().endswith(IMAGE_SUFFIXES):
        return True
    if not cell.strip("./\\~") or number_of(cell) is not None:  # a dot is no folder of slices
        return False
    try:
        return (folder / cell).exists()
    except (OSError, RuntimeError, ValueError):  # a name too long or with a NUL is no path
        return False


def _partly_paths(
    name: str, cells: list[str], looks: Sequence[bool | None], ids: Sequence[str]
) -> str:
    """Say which cell is the odd one in a column of which some cells look like paths."""
    n_paths, n_others = looks.count(True), looks.count(False)
    i = looks.index(n_paths < n_others)
    where = f"Patient {ids[i]!r}, column {name!r}: {cells[i]!r}"
    remedy = "say which columns are images (modalities=..., or --modalities)."
    if n_paths < n_others:
        return (
            f"{where} is the path of a file or folder, or has the suffix of an image, but other "
            f"cells of the column are no paths. Correct it, or {remedy}"
        )
    mark = f" ({text})" if (text := odd_mark(cells[i])) else ""
    return (
        f"{where} is not the path of an image, but other cells of the column are{mark}. Correct "
        f"it, leave it empty if the patient lacks this modality, or {remedy}"
    )


def _links_stay(path: Path, root: Path) -> bool:
    """Tell whether the links in a folder of slices lead to files under `root`."""
    if not path.is_dir():
        return True
    with os.scandir(path) as entries:
        links = [Path(entry.path) for entry in entries if entry.is_symlink()]
    return all(is_inside(link, root) for link in links)


def _is_inside(path: Path, root: Path, parents: dict[Path, bool]) -> bool:
    """Tell whether a path stays under `root`; folders of many files are followed once."""
    if path.is_symlink() or path.name == "..":
        return is_inside(path, root)
    if path.parent not in parents:
        parents[path.parent] = is_inside(path.parent, root)
    return parents[path.parent] or is_inside(path, root)


def read_paths(
    column: str, cells: list[str], ids: list[str], folder: Path, allow_outside: bool
) -> list[Path | None]:
    """Return the paths of a column; refuse those that are not there, or lead elsewhere."""
    root = folder.resolve()
    parents: dict[Path, bool] = {}
    paths: list[Path | None] = []
    for patient, cell in zip(ids, cells, strict=True):
        if not cell:
            paths.append(None)
            continue
        path = folder / cell
        try:
            exists, inside = path.exists(), _is_inside(path, root, parents)
        except (OSError, RuntimeError, ValueError) as error:  # RuntimeError: a link to itself
            raise ValueError(f"Patient {patient!r}, column {column!r}: {error}.") from None
        if not allow_outside and not (inside and _links_stay(path, root)):
            raise ValueError(
                f"Patient {patient!r}, column {column!r}: {cell!r} leads outside the manifest's "
                f"folder {folder}. {REMEDY}"
            )
        if not exists:
            raise ValueError(
                f"Patient {patient!r}, column {column!r}: there is no file {path}."
            )
        paths.append(path)
    return paths


def check_any_image(images: dict[str, list[Path | None]], ids: list[str]) -> None:
    """Refuse patients without any image."""
    for i, patient in enumerate(ids):
        if all(paths[i] is None for paths in images.values()):
            raise ValueError(
                f"Patient {patient!r} has no image: the columns {list(images)} are all empty."
            )
