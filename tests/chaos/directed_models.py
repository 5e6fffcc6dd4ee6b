"""Every number of every class that a model file may hold, changed one at a time, twice.

    python tests/chaos/directed_models.py

Both runs use the changed models in processes whose fresh memory holds a pattern (glibc's
``MALLOC_PERTURB_``), another one each time: an answer that differs between them was read from
memory that nobody had written. Writes tests/chaos/results/directed.csv.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import warnings
from collections import Counter
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).parents[2]
RESULTS = Path(__file__).parent / "results" / "directed.csv"
PATTERNS = ("85", "170")
COLUMNS = ["refused", "equal", "differs", "raises in use", "not refused by name", "crash"]


def run(path: Path) -> None:
    """Change every number of every example; write what came of it."""
    sys.path += [str(ROOT), str(ROOT / "tests" / "model_files")]
    from directed import answers, changes, content, digest, outcomes, taken_apart  # noqa: F401
    from third_party_examples import EXAMPLES, fitted

    from survimg.model_files.classes import Classes
    from survimg.saving import _LISTED

    warnings.simplefilter("ignore")
    classes = Classes(_LISTED)
    with open(path, "w", encoding="utf-8") as file:
        for name in EXAMPLES:
            model, X = fitted(name)
            told = outcomes(
                changes(taken_apart(model, classes)), classes, lambda m, X=X: answers(m, X),
                digest(answers(model, X)),
            )  # fmt: skip
            rows = [[c.place, c.what, what, detail] for c, what, detail in told]
            file.write(json.dumps([name, rows]) + "\n")


def main() -> int:
    """Run twice, compare, write the table; return the number of changes not handled."""
    runs = []
    with tempfile.TemporaryDirectory() as folder:
        for pattern in PATTERNS:
            path = Path(folder) / pattern
            environment = {**os.environ, "MALLOC_PERTURB_": pattern, "OMP_NUM_THREADS": "1"}
            command = [sys.executable, __file__, str(path)]
            subprocess.run(command, check=True, env=environment)
            runs.append(dict(json.loads(line) for line in path.read_text("utf-8").splitlines()))
    rows = []
    for name, first in runs[0].items():
        unwritten = sum(a != b for a, b in zip(first, runs[1][name], strict=True))
        counts = Counter(what for _, _, what, _ in first)
        rows.append({
            "class": name, "changes": len(first), **{what: counts[what] for what in COLUMNS},
            "other in the second run": unwritten,
        })  # fmt: skip
    table = pd.DataFrame(rows)
    table.to_csv(RESULTS, index=False)
    sys.stdout.write(f"{table.drop(columns='class').sum().to_string()}\n")
    return int(table[[*COLUMNS[-2:], "other in the second run"]].to_numpy().sum())


if __name__ == "__main__":
    if len(sys.argv) > 1:
        run(Path(sys.argv[1]))
    else:
        sys.exit(min(1, main()))
