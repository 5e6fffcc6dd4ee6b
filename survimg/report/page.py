"""Put a run on one page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from survimg.benchmark.follow_up import median_follow_up
from survimg.benchmark.records import Record
from survimg.benchmark.risk_groups import risk_groups
from survimg.benchmark.run import Run, read_run
from survimg.benchmark.scores import score_run, write_tables
from survimg.benchmark.storage import write_bytes
from survimg.report.figures import (
    concordance_figure,
    example_figure,
    history_figures,
    kaplan_meier_figure,
)
from survimg.report.parameters import in_words, model_parameters
from survimg.report.statements import unsupported_statements

__all__ = ["render"]

_FOLDER = Path(__file__).parent
# What the absence of a preparation step means; the others that are absent are not worth a row.
_ABSENT = {"spacing": "each patient's own voxel size"}


def render(folder: str | PathLike[str]) -> Path:
    """Render ``report.html`` and the tables of a run from its records, without computing models.

    The page refers to nothing outside itself: it works offline and can be sent by mail. A run that
    was interrupted is rendered with what is there, and says what is missing.

    Parameters
    ----------
    folder : path-like
        Folder of the run.

    Returns
    -------
    Path
        ``report.html``; ``scores.csv`` and ``folds.csv`` lie beside it.

    Raises
    ------
    FileNotFoundError, ValueError
        As `survimg.benchmark.read_run`.
    """
    run = read_run(folder)
    write_tables(run)
    # Names and identifiers come from users' tables: everything is escaped unless drawn here.
    templates = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = templates.get_template("page.html").render(_content(run))
    path = run.folder / "report.html"
    write_bytes(path, page.encode())
    return path


def _content(run: Run) -> dict[str, Any]:
    scores = score_run(run)
    return {
        "style": Markup((_FOLDER / "style.css").read_text(encoding="utf-8")),
        "run": run,
        "scores": scores,
        "n_events": int(run.outcome["event"].sum()),
        "title": run.plan["settings"].get("cohort") or run.folder.resolve().name,
        "follow_up": median_follow_up(run.outcome),
        "concordance": concordance_figure(scores),
        "concordance_narrow": concordance_figure(scores, narrow=True),
        "groups": [_groups(run, name) for name in run.models if run.done(name)],
        "histories": _histories(run),
        "examples": _examples(run),
        "statements": unsupported_statements(run, scores),
        "settings": _settings(run.plan["settings"]),
        "parameters": model_parameters(run),
        "environments": _environments(run),
        "has_dice": any(score.dice.size for score in scores),
        "has_memory": any(score.memory_increase is not None for score in scores),
    }


def _groups(run: Run, model: str) -> dict[str, Any]:
    try:
        groups = risk_groups(run, model)
    except ValueError as reason:
        return {"model": model, "figure": None, "reason": str(reason)}
    figure = kaplan_meier_figure(run.outcome, groups, run.plan["cohort"]["time_unit"], model)
    return {"model": model, "figure": figure, "p_value": groups.p_value}


def _first_seed(run: Run, model: str) -> list[Record]:
    return [record for (_, seed), record in run.done(model).items() if seed == run.seeds[0]]


def _histories(run: Run) -> list[dict[str, Any]]:
    drawn = [(name, history_figures(_first_seed(run, name))) for name in run.models]
    return [{"model": name, "figures": figures} for name, figures in drawn if figures]


def _examples(run: Run) -> list[dict[str, Any]]:
    """Per model the patients with the lowest, a middle and the highest Dice of all folds."""
    content = []
    for name in run.models:
        records = _first_seed(run, name)
        slices = [
            (example["dice"], record, k)
            for record in records
            for k, example in enumerate(record.details.get("examples", []))
        ]
        if not slices:
            continue
        slices.sort(key=lambda item: item[0])
        # Each record keeps three slices, so the run's median patient may not be among them.
        median = float(np.median(np.concatenate([r.arrays["dice"] for r in records])))
        last = len(slices) - 1
        chosen = {0: "lowest", last: "highest"} if last else {0: "the only one"}
        if last > 1:
            nearest = min(range(1, last), key=lambda i: abs(slices[i][0] - median))
            chosen[nearest] = f"close to the median ({median:.3f})"
        shown = [_slice(*slices[i][1:], chosen[i]) for i in sorted(chosen)]
        content.append({"model": name, "slices": shown})
    return content


def _slice(record: Record, k: int, rank: str) -> dict[str, Any]:
    return {**record.details["examples"][k], "image": example_figure(record, k), "rank": rank}


def _settings(settings: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Rows of settings for a reader; a group of settings becomes one row each."""
    rows = []
    for name, value in settings.items():
        grouped = isinstance(value, Mapping)
        for key, item in value.items() if grouped else [(name, value)]:
            if item is not None or key in _ABSENT:
                text = _ABSENT[key] if item is None else in_words(item)
                rows.append((f"{name}: {key}" if grouped else name, text))
    return [(title.replace("_", " "), text) for title, text in rows]


def _environments(run: Run) -> Sequence[dict[str, Any]]:
    """Distinct environments of the records: more than one if the run was continued elsewhere."""
    found: list[dict[str, Any]] = []
    for record in run.records.values():
        if record is not None and record.details["environment"] not in found:
            found.append(record.details["environment"])
    return found
