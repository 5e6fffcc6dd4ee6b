"""A table of cases, as PyRadiomics' command line takes it, to a table of features."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import SimpleITK as sitk  # noqa: N813  # the name its own documentation uses
from joblib import Parallel, delayed
from tqdm.auto import tqdm

from survimg.files import file_name, read_json, write_json
from survimg.radiomics.cache import digest
from survimg.radiomics.case import UnmeasurableRegionError
from survimg.radiomics.extractor.case_images import labels_of, read_image
from survimg.radiomics.extractor.feature_extractor import FeatureExtractor, feature_names
from survimg.radiomics.extractor.lesions import labels_in, lesion_masks
from survimg.radiomics.extractor.voxel_maps import replace_maps
from survimg.radiomics.native.engine import ENGINE_VERSION

__all__ = ["Case", "Regions", "measure_cases", "read_cases"]


@dataclass(frozen=True)
class Case:
    """One row of a table of cases.

    Parameters
    ----------
    row : int
        Number of its line in the file, for messages.
    image, mask : Path
    label, label_channel : int or None
        None where the parameters say it.
    columns : dict
        The row as it stands in the table.
    """

    row: int
    image: Path
    mask: Path
    label: int | None
    label_channel: int | None
    columns: Mapping[str, str]

    @property
    def name(self) -> str:
        """The case in messages."""
        return f"Line {self.row} ({self.image.name})"


@dataclass(frozen=True)
class Regions:
    """What is measured of each case.

    Parameters
    ----------
    all_labels : bool, default=False
        A row for each label of each mask instead of one for the label of the case.
    lesions : {"union", "largest", "each", "sum"}, default="union"
        See `LESIONS`.
    empty : {"raise", "nan"}, default="raise"
        What to do with a region that cannot be measured: raise, or a row of NaN.
    maps : Path or None, default=None
        Write a map of each feature into a folder of the region in this folder, and give its path
        in it instead of a number.

    Raises
    ------
    ValueError
        A sum of maps is asked for.
    """

    all_labels: bool = False
    lesions: str = "union"
    empty: str = "raise"
    maps: Path | None = None

    def __post_init__(self) -> None:
        if self.maps is not None and self.lesions == "sum":
            raise ValueError(
                "Maps of several lesions have no sum; choose the lesions 'union', 'largest' or "
                "'each'."
            )


def read_cases(path: Path) -> list[Case]:
    """Read a table of cases.

    Parameters
    ----------
    path : Path
        CSV with the columns Image and Mask, and Label and Label_channel if need be; others are
        handed on. Paths are relative to the folder of the file.

    Raises
    ------
    ValueError
        A column is missing, or a cell is empty or no whole number.
    FileNotFoundError
        An image or a mask does not exist.
    """
    table = pd.read_csv(path, dtype=str, keep_default_na=False, skipinitialspace=True)
    places = {str(name).strip().lower(): name for name in table.columns}
    absent = [name for name in ("Image", "Mask") if name.lower() not in places]
    if absent or table.empty:
        raise ValueError(
            f"{path} must have the columns Image and Mask and a row for each case; "
            f"{'it has no row' if not absent else 'it has no column ' + ' and '.join(absent)}. "
            f"Columns: {', '.join(map(str, table.columns))}."
        )
    cases = []
    for i, row in enumerate(table.to_dict("records")):
        cells = {key: str(row[name]).strip() for key, name in places.items()}
        case = Case(
            row=i + 2,
            image=_file(cells["image"], path, i, "Image"),
            mask=_file(cells["mask"], path, i, "Mask"),
            label=_whole(cells.get("label", ""), path, i, "Label"),
            label_channel=_whole(cells.get("label_channel", ""), path, i, "Label_channel"),
            columns={str(name): str(cell) for name, cell in row.items()},
        )
        cases.append(case)
    return cases


def _whole(cell: str, path: Path, i: int, column: str) -> int | None:
    if not cell:
        return None
    if not cell.isdecimal():
        raise ValueError(f"{path}, line {i + 2}: {column} must be a whole number; got {cell!r}.")
    return int(cell)


def _file(cell: str, path: Path, i: int, column: str) -> Path:
    file = path.parent / cell
    if not cell or not file.exists():
        raise FileNotFoundError(
            f"{path}, line {i + 2}: {column} {cell!r} does not exist (relative paths start at "
            f"{path.parent})."
        )
    return file


def measure_cases(
    cases: Sequence[Case],
    extractor: FeatureExtractor,
    regions: Regions,
    *,
    records: Path | None = None,
    n_jobs: int | None = None,
    progress: bool = False,
) -> pd.DataFrame:
    """Measure cases.

    Parameters
    ----------
    cases : sequence of Case
    extractor : FeatureExtractor
    regions : Regions
    records : Path, optional
        Folder in which finished cases are stored, and found again by a later call.
    n_jobs : int, optional
    progress : bool, default=False

    Returns
    -------
    DataFrame
        Columns of the table of cases, then ``label`` and ``lesion`` where there are several, then
        diagnostics and features (or the paths of their maps).

    Raises
    ------
    ValueError
        What `FeatureExtractor.execute` refuses; the message names the case.
    """
    run = Parallel(n_jobs=n_jobs, prefer="threads", return_as="generator")
    tasks = (delayed(_stored_rows)(case, extractor, regions, records) for case in cases)
    bar = tqdm(run(tasks), total=len(cases), disable=not progress, desc="radiomics", unit="case")
    return pd.DataFrame(
        [
            {**case.columns, **row}
            for case, rows in zip(cases, bar, strict=True)
            for row in rows
        ]
    )


def _stored_rows(
    case: Case,
    extractor: FeatureExtractor,
    regions: Regions,
    records: Path | None,
) -> list[dict[str, Any]]:
    if records is None:
        return _rows(case, extractor, regions)
    states = [
        (str(path), path.stat().st_size, path.stat().st_mtime_ns)
        for path in (case.image, case.mask)
    ]
    # Maps lie in a folder of the line; numbers of a case stay its own where lines are added.
    line = None if regions.maps is None else case.row
    choices = (line, case.label, case.label_channel, regions)
    path = records / f"{digest(states, choices, extractor.parameters, ENGINE_VERSION)}.json"
    stored = _stored(path)
    if stored is not None and (regions.maps is None or _are_there(stored, regions.maps)):
        return stored
    rows = _rows(case, extractor, regions)
    write_json(path, {"rows": rows})
    return rows


def _stored(path: Path) -> list[dict[str, Any]] | None:
    """Return the rows of a finished case; a damaged record counts as none."""
    if not path.exists():
        return None
    try:
        rows = read_json(path).get("rows")
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise ValueError(f"{path} holds no rows.")
    except (OSError, ValueError) as error:
        warnings.warn(
            f"A damaged record counts as none, and its case is measured again: {error}",
            UserWarning, stacklevel=2,
        )  # fmt: skip
        return None
    return rows


def _are_there(rows: Sequence[Mapping[str, Any]], maps: Path) -> bool:
    paths = [cell for row in rows for cell in row.values() if str(cell).endswith(".nii.gz")]
    return all((maps / path).exists() for path in paths)


def _rows(case: Case, extractor: FeatureExtractor, regions: Regions) -> list[dict[str, Any]]:
    image = read_image(case.image, f"{case.name}: the image")
    all_labels = regions.all_labels
    given = {"label": case.label, "label_channel": case.label_channel}
    settings = extractor.parameters.settings | {k: v for k, v in given.items() if v is not None}
    try:
        mask = labels_of(read_image(case.mask, "The mask"), settings, present=not all_labels)
    except ValueError as error:
        raise ValueError(f"{case.name}: {error}") from error
    rows = []
    for label in labels_in(mask) if all_labels else [settings["label"]]:
        of_label = []
        for number, lesion in lesion_masks(mask, label, regions.lesions):
            place = {"label": label} if all_labels else {}
            place |= {"lesion": number} if regions.lesions == "each" else {}
            try:
                features = _features(case, extractor, image, lesion, label, place, regions.maps)
            except UnmeasurableRegionError as error:
                if regions.empty == "raise":
                    raise ValueError(
                        f"{case.name}: {error} Correct it, leave the case out, or take a row of "
                        "NaN (--empty-masks nan)."
                    ) from error
                names = feature_names(extractor.parameters, maps=regions.maps is not None)
                features = dict.fromkeys(names, np.nan)
            except ValueError as error:
                raise ValueError(f"{case.name}: {error}") from error
            of_label.append({**place, **{name: _cell(value) for name, value in features.items()}})
        rows.extend([_sum(of_label, extractor)] if regions.lesions == "sum" else of_label)
    return rows


def _features(
    case: Case,
    extractor: FeatureExtractor,
    image: sitk.Image,
    mask: sitk.Image,
    label: int,
    place: Mapping[str, int],
    maps: Path | None,
) -> dict[str, Any]:
    voxel_based = maps is not None
    values = dict(extractor.execute(image, mask, label, label_channel=0, voxelBased=voxel_based))
    if maps is None:
        return values
    # Two cases may have files of one name; lines of a table are different.
    stem = file_name(case.image.name.split(".")[0])
    parts = [str(case.row - 1), stem, *(f"{what}-{number}" for what, number in place.items())]
    paths = replace_maps(values, image, maps / "_".join(parts))
    # Relative to it, so that the folder can be moved, and the table tells of no other folder.
    return values | {name: path.relative_to(maps).as_posix() for name, path in paths.items()}


def _sum(rows: Sequence[dict[str, Any]], extractor: FeatureExtractor) -> dict[str, Any]:
    # Diagnostics of several lesions have no sum; those of the largest would say something wrong.
    names = feature_names(extractor.parameters)
    label = {"label": rows[0]["label"]} if "label" in rows[0] else {}
    return {**label, **{name: float(sum(row[name] for row in rows)) for name in names}}


def _cell(value: Any) -> Any:
    if isinstance(value, float):  # numpy's, too
        return float(value)
    return value if isinstance(value, int) else str(value)
