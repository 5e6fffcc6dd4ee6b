"""Every number of every class that a model file may hold, changed one at a time, twice.

    python tests/chaos/directed_models.py

Of the classes of survimg each attribute is changed in the first model that holds it, and the model
predicts for one patient; those of scikit-learn and scikit-survival are changed in an example each.

Two runs, side by side, use the changed models in processes whose fresh memory holds a pattern
(glibc's ``MALLOC_PERTURB_``), another one in each: an answer that differs between them was read
from memory that nobody had written. Writes tests/chaos/results/directed.csv.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

ROOT = Path(__file__).parents[2]
RESULTS = Path(__file__).parent / "results" / "directed.csv"
PATTERNS = ("85", "170")
#: Address space of a run: what asks for more is refused by the system, and so by name or not.
MEMORY = 16 << 30
COLUMNS = ["refused", "equal", "differs", "raises in use", "not refused by name", "crash"]


def run(path: Path) -> None:
    """Change every number of every example; write what came of it."""
    sys.path += [str(ROOT), str(ROOT / "tests" / "model_files")]
    import torch
    from directed import answers, changes, digest, outcomes, taken_apart
    from third_party_examples import EXAMPLES, fitted

    from survimg.model_files.classes import Classes
    from survimg.saving import _LISTED

    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    classes = Classes(_LISTED)
    with open(path, "w", encoding="utf-8") as file:

        def tell(name: str, told: Iterable[Any]) -> None:
            rows = [[change.place, change.what, what, detail] for change, what, detail in told]
            file.write(json.dumps([name, rows]) + "\n")
            file.flush()

        for name in EXAMPLES:
            model, X = fitted(name)
            use, expected = partial(answers, X=X), digest(answers(model, X))
            tell(name, outcomes(changes(taken_apart(model, classes)), classes, use, expected))
        tried: set[tuple[str, str]] = set()
        own = [(*each, taken_apart(each[1], classes)) for each in own_models()]
        for name, model, use, encoder in sorted(own, key=lambda each: len(each[-1].objects)):
            new = [
                change for change in changes(encoder)
                if change.place.startswith("survimg.") and (change.place, change.what) not in tried
            ]  # fmt: skip
            tried |= {(change.place, change.what) for change in new}
            tell(f"survimg, {name}", outcomes(new, classes, use, digest(use(model))))


def own_models() -> Iterator[tuple[str, Any, Callable[[Any], Any]]]:
    """Fit a small model of every public name of `survimg.estimators`; with how it is used."""
    from saved_models import MODELS, answers, make_cohort, patients, target

    cohort = make_cohort()
    for name, make in MODELS.items():
        X = patients(name, cohort)
        model = make().fit(X, target(name, cohort))
        one = X.iloc[:1] if isinstance(X, pd.DataFrame) else X[:1]
        yield name, model, partial(answers, X=one)


def rows_of(first: Mapping[str, list], second: Mapping[str, list]) -> list[dict[str, Any]]:
    """Count by example, and by class of survimg, what came of the changes of two runs."""
    counts: dict[str, Counter[str]] = {}
    for name, told in first.items():
        for (place, what, outcome, detail), other in zip(told, second[name], strict=True):
            own = place.startswith("survimg.")
            label = place.removeprefix("survimg.").partition(",")[0].split(".")
            cls = next((part for part in label if part[:1].isupper()), name) if own else name
            cls = f"survimg: {cls}" if own else cls
            count = counts.setdefault(cls, Counter())
            count["changes"] += 1
            count[outcome] += 1
            unlike = [place, what, outcome, detail] != other
            count["other in the second run"] += unlike
            if unlike or outcome in COLUMNS[-2:]:
                sys.stderr.write(f"{name}: {place}, {what}: {outcome} {detail}, {other[2:]}\n")
    columns = ["changes", *COLUMNS, "other in the second run"]
    return [{"class": cls, **{c: count[c] for c in columns}} for cls, count in counts.items()]


def main() -> int:
    """Run twice, compare, write the table; return the number of changes not handled."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / pattern for pattern in PATTERNS]
        processes = [
            subprocess.Popen(
                [sys.executable, __file__, str(path)],
                env={**os.environ, "MALLOC_PERTURB_": path.name, "OMP_NUM_THREADS": "1"},
            )
            for path in paths
        ]
        statuses = [process.wait() for process in processes]
        if any(statuses):
            raise RuntimeError("A run has failed.")
        texts = [path.read_text("utf-8").splitlines() for path in paths]
    runs = [dict(json.loads(line) for line in lines) for lines in texts]
    table = pd.DataFrame(rows_of(*runs))
    table.to_csv(RESULTS, index=False)
    sys.stdout.write(f"{table.drop(columns='class').sum().to_string()}\n")
    return int(table[[*COLUMNS[-2:], "other in the second run"]].to_numpy().sum())


if __name__ == "__main__":
    if len(sys.argv) > 1:
        run(Path(sys.argv[1]))
    else:
        sys.exit(min(1, main()))
