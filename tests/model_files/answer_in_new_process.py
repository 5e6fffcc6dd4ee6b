"""Load every model of a folder and say which answers differ from those that lie beside it."""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path

import numpy as np
from saved_models import answers, patients

import survimg


def main(folder: Path) -> None:
    cohort = survimg.Cohort.load(folder / "cohort")
    report = {}
    for path in sorted((folder / "models").iterdir()):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = answers(survimg.load(path), patients(path.name, cohort))
        with np.load(folder / "answers" / f"{path.name}.npz", allow_pickle=False) as expected:
            same = sorted(expected.files) == sorted(found) and all(
                found[name].dtype == expected[name].dtype
                and found[name].shape == expected[name].shape
                and found[name].tobytes() == expected[name].tobytes()
                for name in found
            )
        report[path.name] = {"same": bool(same), "answers": sorted(found)}
    sys.stdout.write(json.dumps(report))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
