"""Clinical tables drawn at random, as frames and as the cells of a CSV; run by itself, a record.

    python tests/columns/generated_tables.py 2000

compares the features of that many tables by both roads: frame, and manifest, store, load.
"""

from __future__ import annotations

import csv
import sys
import tempfile
import warnings
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd

from survimg import Cohort
from survimg.features import ClinicalFeatures
from survimg.io import read_manifest

WORDS = [
    "none", "null", "n/a", "yes", "Süd, Haus 1", 'say "A"', "中央", "a;b", "éclair", "4a", "IVb",
    "+", "-", "++", "O'Hara", "unknown", "N/A", "0x1", "1_000", "7th", "\u200bzero", "a b", "Ⅳ",
]


def decimals(rng, n):
    """Numbers, as pandas reads them."""
    return list(np.round(rng.normal(60, 12, n), int(rng.integers(0, 6)))), float


def whole(rng, n):
    """Whole numbers, missing ones among them."""
    return rng.integers(-3, 90, n).tolist(), "Int64"


def objects(rng, n):
    """Numbers in an object column."""
    return rng.integers(0, 9, n).tolist(), object


def padded(rng, n):
    """Numbers as text, with blanks."""
    return [f" {value}.0 " for value in rng.integers(0, 9, n)], object


def truths(rng, n):
    """True and false, missing ones among them."""
    return (rng.random(n) < 0.5).tolist(), object


def nullable_truths(rng, n):
    """True and false in pandas' type."""
    return (rng.random(n) < 0.5).tolist(), "boolean"


def grades(rng, n):
    """Declared categories that look like numbers."""
    return rng.integers(1, 4, n).tolist(), "category"


def stages(rng, n):
    """Numbers and text that are levels of one column."""
    drawn = rng.choice(["1", "2", "3", "4a", "4b"], n).tolist()
    return [int(stage) if stage.isdigit() else stage for stage in drawn], object


def marks(rng, n):
    """What counts as missing, and what does not."""
    return rng.choice(["", "NA", "NaN", "nan", "none", "null"], n).tolist(), object


def words(rng, n):
    """Text of all alphabets, with the signs of CSV."""
    return rng.choice(rng.choice(WORDS, int(rng.integers(2, 5)), replace=False), n).tolist(), object


COLUMNS = [
    decimals, whole, objects, padded, truths, nullable_truths, grades, stages, marks, words, words
]


def draw_column(rng: np.random.Generator, n: int) -> tuple[str, pd.Series, list[str]]:
    """Draw one column: the suffix of its name in a manifest, its values, its cells as text."""
    values, dtype = COLUMNS[rng.integers(len(COLUMNS))](rng, n)
    gone = rng.random(n) < rng.choice([0.0, 0.2])
    values = [None if g else value for g, value in zip(gone, values, strict=True)]
    suffix = ":categorical" if dtype == "category" else ""
    return suffix, pd.Series(values, dtype=dtype), [_cell(value) for value in values]


def draw_table(seed: int) -> tuple[pd.DataFrame, list[list[str]]]:
    """Draw a table: its frame, and the rows of its CSV without the image, header first."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(6, 16))
    drawn = [draw_column(rng, n) for _ in range(int(rng.integers(1, 6)))]
    names = [f"c{j} x" if j == 1 else f"c{j}" for j in range(len(drawn))]
    frame = pd.DataFrame({name: values for name, (_, values, _) in zip(names, drawn, strict=True)})
    header = [name + suffix for name, (suffix, _, _) in zip(names, drawn, strict=True)]
    return frame, [header, *map(list, zip(*(cells for _, _, cells in drawn), strict=True))]


def _cell(value: object) -> str:
    return "" if value is None or value != value else str(value)


def write_manifest(folder: Path, rows: list[list[str]], name: str = "manifest.csv") -> Path:
    """Write the CSV; all patients share one tiny image, since only the table matters."""
    image = folder / "i.nii"
    if not image.exists():
        nib.save(nib.Nifti1Image(np.zeros((2, 2, 2), np.float32), np.eye(4)), image)
    path = folder / name
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["patient_id", "CT", *rows[0]])
        writer.writerows([f"P{i}", "i.nii", *row] for i, row in enumerate(rows[1:]))
    return path


def features_of(table: object) -> pd.DataFrame | str:
    """Encode a table, or return what was said of it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return ClinicalFeatures().fit_transform(table).reset_index(drop=True)
        except ValueError as error:
            return str(error)


def by_both_roads(seed: int, folder: Path) -> tuple[pd.DataFrame | str, pd.DataFrame | str]:
    """Return the features of a drawn table: of the frame, and of manifest, store and load."""
    frame, rows = draw_table(seed)
    table = read_manifest(write_manifest(folder, rows, f"{seed}.csv"))
    cohort = Cohort.from_table(table, np.zeros((len(table), 1, 2, 2, 2), np.float32))
    return features_of(frame), features_of(cohort.save(folder / f"store{seed}"))


def main(n: int) -> None:
    """Compare n tables and say how many are equal, and how many are refused alike."""
    refused = 0
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(n):
            first, second = by_both_roads(seed, Path(folder))
            if isinstance(first, str):
                assert first == second, (seed, first, second)
                refused += 1
            else:
                pd.testing.assert_frame_equal(first, second, obj=f"table {seed}")
    sys.stdout.write(f"{n} tables: {n - refused} equal, {refused} refused with equal words\n")


if __name__ == "__main__":
    main(int(sys.argv[1]))
