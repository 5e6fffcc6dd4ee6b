"""The report of a run, an HTML page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from survimg.benchmark.follow_up import median_follow_up
from survimg.benchmark.hidden import without_identifiers
from survimg.benchmark.records import Record
from survimg.benchmark.risk_groups import risk_groups, too_few_tested
from survimg.benchmark.run_folder import Run, read_run
from survimg.benchmark.scores import ModelScore, score_models, score_run
from survimg.benchmark.tables import write_tables
from survimg.files import write_atomically
from survimg.report.classification import classification_table, roc_figure
from survimg.report.convergence import history_figures, shared_history_figures
from survimg.report.figures import (
    concordance_figure,
    dice_figure,
    kaplan_meier_figure,
    rank_figure,
)
from survimg.report.links import run_files
from survimg.report.pairs import pair_table
from survimg.report.parameters import in_words, model_parameters
from survimg.report.patients import patient_rows, thumbnail
from survimg.report.pictures import contoured
from survimg.report.probabilities import Probabilities, evaluate_probabilities, report_horizon
from survimg.report.probability_figures import calibration_figure, decision_figure
from survimg.report.ranks import rank_models
from survimg.report.statements import unsupported_statements
from survimg.report.style import script, stylesheet, templates
from survimg.report.subgroup_figure import forest_figure
from survimg.report.subgroups import evaluate_subgroups, levels_of
from survimg.report.table_formats import Table, signed, write_documents
from survimg.report.tables import (
    centre_table,
    control_table,
    dice_table,
    is_permuted,
    probability_table,
    published_table,
    rank_table,
    reference_table,
    score_table,
    split_control,
    subgroup_table,
)

__all__ = ["render"]

# Rows for preparation steps that were not done; other absent settings get no row.
_WORST, _MOST_ROWS = 8, 1000  # patients with a card, and in the table
_ABSENT = {"spacing": "each patient's own voxel size"}


def render(
    folder: str | PathLike[str],
    *,
    subgroups: Sequence[str] | None = None,
    hide_ids: bool = False,
) -> Path:
    """Render ``report.html`` and the tables of a run from its records, without fitting models.

    The page is self-contained: it works offline and can be sent by mail. The page of an interrupted
    run says what is missing.

    Parameters
    ----------
    folder : path-like
        Folder of the run.
    subgroups : sequence of str, optional
        Clinical columns by whose levels the models are evaluated too; by default those in the
        settings of the run (``subgroups``).
    hide_ids : bool, default=False
        Write ``patient 001`` and so on in place of identifiers, into the page and the tables.

    Returns
    -------
    Path
        ``report.html``. In the same folder are ``scores.csv``, ``folds.csv``,
        ``predictions.parquet`` and, in ``tables``, every table of the page as LaTeX and Markdown.

    Raises
    ------
    FileNotFoundError, ValueError
        As `survimg.benchmark.read_run`; no such clinical column, or too many levels in it.
    """
    run = read_run(folder)
    columns = run.plan["settings"].get("subgroups") or [] if subgroups is None else subgroups
    for column in columns:
        levels_of(run, column)
    if hide_ids:
        run = without_identifiers(run)
    write_tables(run)
    content = _content(run, columns)
    tables = write_documents(run.folder / "tables", content["documents"])
    content["files"] = run_files(run, tables)
    page = templates().get_template("page.html").render(content)
    path = run.folder / "report.html"
    write_atomically(path, page.encode())
    return path


def _content(run: Run, columns: Sequence[str]) -> dict[str, Any]:
    every = score_run(run)
    scores, control = split_control(run, every)
    ranked = [score.model for score in scores if score.model in run.models]
    horizon = report_horizon(run)
    when = f"at {_time(run, horizon)}" if run.label is None else f"of {run.label}"
    evaluated, not_evaluated = _probabilities(run, ranked, horizon)
    tables = {
        "scores": score_table(run, scores),
        "reference": reference_table(run, scores),
        "published": published_table(run, scores),
        "control": control_table(control),
        "centres": centre_table(run, scores),
        "dice": dice_table(scores),
        "classification": classification_table(run),
        "probabilities": probability_table(evaluated, when),
        "simple": _simple_reference(run),
        "pairs": pair_table(run),
    }
    subgroups = [_subgroups(run, scores, column, horizon) for column in columns]
    ranks = _ranks(run, scores)
    documents = [*tables.values(), ranks["table"], *(part["table"] for part in subgroups)]
    return {
        "style": stylesheet(),
        "script": script(),
        "run": run,
        "subgroups": subgroups,
        "patients": _patients(run, ranked),
        "scores": scores,
        "ranked": ranked,
        "failures": _failures(run),
        "signed": signed,
        "tables": tables,
        "documents": [table for table in documents if table is not None],
        "permuted": is_permuted(run),
        "ranks": ranks,
        "horizon": horizon,
        "horizon_text": _time(run, horizon),
        "horizon_given": run.plan["settings"].get("horizon") is not None,
        "too_few": too_few_tested(run),
        "has_intervals": any(
            score.within_folds is not None and np.isfinite(score.within_folds.lower)
            for score in scores
        ),
        "title": run.plan["settings"].get("cohort") or run.folder.resolve().name,
        "follow_up": None if run.label else median_follow_up(run.outcome),
        "concordance": concordance_figure(scores),
        "concordance_narrow": concordance_figure(scores, narrow=True),
        "groups": []
        if run.label
        else [_groups(run, name) for name in ranked if run.successful_records(name)],
        "roc": roc_figure(run),
        "calibration": [_calibration(p, when) for p in evaluated],
        "not_evaluated": not_evaluated,
        "decision": decision_figure(evaluated, when),
        "shared_histories": shared_history_figures({name: _all_fits(run, name) for name in ranked}),
        "histories": _histories(run, ranked),
        "dice": dice_figure(scores),
        "examples": _examples(run, ranked),
        "statements": unsupported_statements(run, scores, {p.model for p in evaluated}),
        "settings": _settings(
            {**run.plan["settings"], "suite": run.suite, "protocol": run.protocol}
        ),
        "parameters": model_parameters(run),
        "environments": _environments(run),
        "precisions": _precisions(run),
        "has_dice": any(score.dice.size for score in scores),
        "has_memory": any(score.memory_increase is not None for score in scores),
    }


def _simple_reference(run: Run) -> Table | None:
    """Lay out the same tests against the second reference."""
    if run.simple_reference in (None, run.reference):
        return None
    other = replace(run, plan={**run.plan, "reference": run.simple_reference})
    table = reference_table(other, score_models(other))
    return None if table is None else replace(table, name="simple_reference")


def _subgroups(
    run: Run, scores: Sequence[ModelScore], column: str, horizon: float
) -> dict[str, Any]:
    models = [score for score in scores if score.model in run.models and score.fold_c]
    results = [evaluate_subgroups(run, score.model, column, horizon) for score in models]
    figures = [
        (result.model, forest_figure(result, score.within_folds))
        for result, score in zip(results, models, strict=True)
    ]
    table = subgroup_table(column, results, _time(run, horizon), run.label)
    return {"column": column, "figures": figures, "table": table}


def _patients(run: Run, ranked: Sequence[str]) -> dict[str, Any]:
    """Rows of the patients, and the worst ranked ones with a picture."""
    rows = patient_rows(run, ranked)
    worst = []
    for row in rows[:_WORST]:
        picture = thumbnail(run, ranked, row.position)
        worst.append({"row": row, "picture": picture, "time": _time(run, row.time)})
    models = [name for name in ranked if rows and name in rows[0].ranks]
    return {"rows": rows[:_MOST_ROWS], "n": len(rows), "worst": worst, "models": models}


def _time(run: Run, value: float) -> str:
    unit = run.plan["cohort"]["time_unit"]
    text = f"{value:.3g}" if value < 1000 else f"{value:.0f}"
    return text if unit is None else f"{text} {unit}"


def _ranks(run: Run, scores: Sequence[ModelScore]) -> dict[str, Any]:
    """Ranks as figure and table, or the reason why they are missing."""
    models = {score.model: score for score in scores if score.model in run.models}
    if len(models) < 3:  # two models are compared by their difference
        return {"figure": None, "table": None, "reason": None}
    try:
        summary = rank_models(run, models)
    except ValueError as reason:
        return {"figure": None, "table": None, "reason": str(reason)}
    content = {"figure": rank_figure(summary), "table": rank_table(summary), "reason": None}
    return {**content, "lines": bool(summary.groups)}


def _probabilities(
    run: Run, models: Sequence[str], horizon: float
) -> tuple[list[Probabilities], list[tuple[str, str]]]:
    evaluated, reasons = [], []
    for name in models:
        if not run.successful_records(name):
            continue
        try:
            evaluated.append(evaluate_probabilities(run, name, horizon))
        except ValueError as reason:
            reasons.append((name, str(reason)))
    return evaluated, reasons


def _calibration(evaluated: Probabilities, when: str) -> dict[str, Any]:
    return {
        "model": evaluated.model,
        "figure": calibration_figure(evaluated, when),
        "reasons": evaluated.reasons,
    }


def _groups(run: Run, model: str) -> dict[str, Any]:
    try:
        groups = risk_groups(run, model)
    except ValueError as reason:
        return {"model": model, "figure": None, "reason": str(reason)}
    figure = kaplan_meier_figure(run.outcome, groups, run.plan["cohort"]["time_unit"], model)
    return {"model": model, "figure": figure, "p_value": groups.p_value}


def _failures(run: Run) -> list[dict[str, Any]]:
    """Errors, each once, with the fits in which it occurred."""
    errors: dict[tuple[str, str], list[Record]] = {}
    for record in run.failures:
        text = (record.error or {}).get("traceback", "")
        errors.setdefault((record.model, text), []).append(record)
    return [{"record": records[0], "places": _places(records)} for records in errors.values()]


def _places(records: Sequence[Record]) -> str:
    if len(records) == 1:
        return f"fold {records[0].fold + 1}, seed {records[0].seed}"
    folds, seeds = (sorted({getattr(r, name) for r in records}) for name in ("fold", "seed"))
    which = f"folds {', '.join(str(fold + 1) for fold in folds)}"
    return f"{len(records)} fits ({which}; seeds {', '.join(map(str, seeds))})"


def _first_seed(run: Run, model: str) -> list[Record]:
    records = run.successful_records(model)
    return [record for (_, seed), record in records.items() if seed == run.seeds[0]]


def _all_fits(run: Run, model: str) -> list[Record]:
    return list(run.successful_records(model).values())


def _histories(run: Run, models: Sequence[str]) -> list[dict[str, Any]]:
    figures = {name: history_figures(_all_fits(run, name)) for name in models}
    return [{"model": name, "figures": drawings} for name, drawings in figures.items() if drawings]


def _examples(run: Run, models: Sequence[str]) -> list[dict[str, Any]]:
    """Patients with the lowest, a middle and the highest Dice of all folds, by model."""
    content = []
    for name in models:
        records = _first_seed(run, name)
        slices = [
            (example["dice"], record, k)
            for record in records
            for k, example in enumerate(record.details.get("examples", []))
        ]
        if not slices:
            continue
        slices.sort(key=lambda item: item[0])
        # Each record has three slices, so the run's median patient may not be among them.
        median = float(np.median(np.concatenate([r.arrays["dice"] for r in records])))
        last = len(slices) - 1
        ranks = {0: "lowest", last: "highest"} if last else {0: "the only one"}
        if last > 1:
            nearest = min(range(1, last), key=lambda i: abs(slices[i][0] - median))
            ranks[nearest] = f"close to the median ({median:.3f})"
        examples = [_slice(*slices[i][1:], ranks[i]) for i in sorted(ranks)]
        content.append({"model": name, "slices": examples})
    return content


def _slice(record: Record, k: int, rank: str) -> dict[str, Any]:
    example = record.details["examples"][k]
    truth, predicted = (record.arrays[f"example{k}_{name}"] for name in ("truth", "predicted"))
    spacing = example["spacing"] or [1.0, 1.0]
    volumes = zip(record.arrays[f"example{k}_image"], example["channels"], strict=True)
    channels = [
        _grey(channel, inverted=name.upper() in ("PET", "PT")) for channel, name in volumes
    ]
    aspect = spacing[0] / spacing[1]
    image = contoured(channels, truth > 0, predicted > 0, width=273, aspect=aspect)
    return {**example, "image": image, "rank": rank}


def _grey(channel: np.ndarray, *, inverted: bool) -> np.ndarray:
    low, high = np.percentile(channel, (1, 99.5))
    grey = (255 * ((channel - low) / max(high - low, 1e-6)).clip(0, 1)).astype(np.uint8)
    return 255 - grey if inverted else grey


def _settings(settings: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Rows of settings; each member of a group of settings gets a row."""
    rows = []
    for name, value in settings.items():
        grouped = isinstance(value, Mapping)
        for key, item in value.items() if grouped else [(name, value)]:
            if item is not None or key in _ABSENT:
                text = _ABSENT[key] if item is None else in_words(item)
                rows.append((f"{name}: {key}" if grouped else name, text))
    return [(title.replace("_", " "), text) for title, text in rows]


def _precisions(run: Run) -> list[str]:
    """Types in which the networks of a run were trained."""
    details = [record.details for record in run.records.values() if record is not None]
    return sorted({d["precision"] for d in details if "precision" in d})


def _environments(run: Run) -> Sequence[dict[str, Any]]:
    """Distinct environments of the records: more than one if the run was continued elsewhere."""
    environments: list[dict[str, Any]] = []
    for record in run.records.values():
        if record is not None and record.details["environment"] not in environments:
            environments.append(record.details["environment"])
    return environments
