"""Fill in the reporting checklists TRIPOD+AI and CLEAR with what a run's records answer.

The rest is for the authors, and is marked so. Topics are given in few words: read the statements
for their whole wording.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from survimg.cli.checklist_items import CITATIONS, ITEMS
from survimg.cli.output import Answer

if TYPE_CHECKING:
    from survimg.benchmark import Run

__all__ = ["EXAMPLES", "SUMMARY", "add_arguments", "run"]

SUMMARY = "fill in TRIPOD+AI and CLEAR from a run"
EXAMPLES = ("survimg checklist runs/demo", "survimg checklist runs/demo --standard clear")
AUTHORS = "for the authors"
_RADIOMICS = ("resampling", "discretisation", "image_types", "extraction", "parameters")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("folder", metavar="RUN", help="folder of a run of survimg benchmark")
    parser.add_argument(
        "--standard", choices=tuple(ITEMS), default="tripod-ai",
        help="tripod-ai (default), for prediction models; clear, for radiomics",
    )


def run(arguments: argparse.Namespace) -> Answer:
    """Lay out the checklist as a Markdown table.

    Raises
    ------
    ValueError
        The run holds no finished fit.
    """
    from survimg.benchmark import read_run
    from survimg.report.table_formats import escape_markdown

    finished = read_run(arguments.folder)
    if not any(finished.successful_records(name) for name in finished.models):
        raise ValueError(f"{arguments.folder} holds no finished fit; there is nothing to describe.")
    answers = {**_of_patients(finished), **_of_evaluation(finished), **_of_models(finished)}
    standard = arguments.standard
    rows = [(number, topic, answers.get(key, AUTHORS)) for number, topic, key in ITEMS[standard]]
    n_answered = sum(answer != AUTHORS for _, _, answer in rows)
    lines = [
        f"{CITATIONS[standard]}",
        f"{n_answered} of {len(rows)} items are answered, in whole or in part, by the records of "
        f"{finished.folder}.",
        "",
        "| item | topic | answer |",
        "| --- | --- | --- |",
        *(f"| {' | '.join(map(escape_markdown, row))} |" for row in rows),
    ]
    record = {
        "run": finished.folder,
        "standard": standard,
        "answered": n_answered,
        "items": [{"item": i, "topic": t, "answer": a} for i, t, a in rows],
    }
    return Answer("\n".join(lines) + "\n", record)


def _of_patients(run: Run) -> dict[str, str]:
    plan, settings, size = run.plan["cohort"], run.plan["settings"], run.patients_in_words
    predictors = []
    if plan.get("channels"):
        predictors.append(f"images: {', '.join(plan['channels'])}")
    if plan.get("clinical"):
        predictors.append(f"clinical columns: {', '.join(plan['clinical'])}")
    missing = [
        f"{name}: {sum(cell is None for cell in cells)}"
        for name, cells in run.clinical.items()
        if None in cells
    ]
    told = f"cells missing: {', '.join(missing) or 'none'}"
    if plan.get("clinical") and not run.clinical:
        told = "the run keeps no clinical columns (an earlier version)"
    n_centres = plan.get("n_groups")
    prepared = settings.get("prepared")
    return {
        "size": f"{size}; in each fold: folds.csv. Reasons for the size: {AUTHORS}",
        **_of_outcome(run),
        "predictors": f"{'; '.join(predictors) or 'columns of a table'}. Definitions: {AUTHORS}",
        "characteristics": f"{size}; tables by group: survimg.evaluation.compare_cohorts",
        "missing": f"{told}. How models replace them: their parameters in the report",
        **({"centres": f"{n_centres} centres"} if n_centres else {}),
        **({"data": str(settings["cohort"])} if settings.get("cohort") else {}),
        **({"preparation": _in_words(prepared)} if prepared else {}),
    }


def _of_outcome(run: Run) -> dict[str, str]:
    from survimg.benchmark.follow_up import median_follow_up

    if run.label is not None:
        return {
            "follow_up": f"the run keeps labels, no times. Dates: {AUTHORS}",
            "outcome": f"{run.label}: yes or no. Definition: {AUTHORS}",
        }
    unit = run.plan["cohort"].get("time_unit") or "units of time"
    median = median_follow_up(run.outcome)
    reached = "not reached" if median is None else f"{median:.3g} {unit}"
    endpoint = run.plan["settings"].get("endpoint") or "[ENDPOINT]"
    return {
        "follow_up": f"median follow-up {reached} (reverse Kaplan-Meier). Dates: {AUTHORS}",
        "outcome": f"{endpoint}, right-censored, in {unit}. Definition: {AUTHORS}",
    }


def _of_evaluation(run: Run) -> dict[str, str]:
    labels = run.label is not None
    protocol = {k: v for k, v in run.protocol.items() if v is not None and k != "name"}
    numbers = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in protocol.items())
    external = run.protocol.get("name") == "external"
    references = [name for name in (run.reference, run.simple_reference) if name]
    columns = run.plan["settings"].get("subgroups")
    several = (run.plan["cohort"].get("n_groups") or 0) > 1
    return {
        "partition": f"{run.protocol.get('name')} ({numbers}), the same splits for all models, in "
        f"splits.json; {'external' if external else 'internal'} validation",
        "measures": "AUC, accuracy, sensitivity, specificity, Brier score, calibration, decision "
        "curves: report" if labels
        else "Harrell's C within folds, Brier score, calibration, decision curves, "
        "Kaplan-Meier curves of risk groups: report",
        "uncertainty": "95 % intervals over patients (infinitesimal jackknife), spread over folds"
        + (f" and {len(run.seeds)} seeds" if len(run.seeds) > 1 else "; one seed"),
        "comparison": f"paired tests over patients and over folds against "
        f"{' and '.join(dict.fromkeys(references))}, Holm's correction" if references
        else "no reference model was named",
        "performance": "report, Ranking; scores.csv; tables/scores.tex"
        + (f"; sub-groups by {', '.join(columns)}" if columns else ""),
        "limits": "report, What this run does not show",
        "imbalance": f"{run.outcome['event'].mean():.0%} have {run.label or 'an event'}; whether "
        "networks balance their batches by event: parameter balanced in the report",
        "output": f"the probability of {run.label}, or a score; thresholds: report" if labels
        else "a risk (higher = earlier event), survival curves where the model has them; "
        "cut-off of risk groups: the median of the training patients",
        "no_updating": "not applicable: no model was updated",
        "predictions": "of each test patient by the models of its fold: predictions.parquet",
        "code": f"survimg {run.plan.get('survimg')}; command: {run.plan.get('command') or 'none'}",
        "checklists": "this list; survimg checklist RUN --standard tripod-ai",
        "full_model": "survimg fit with the same parameters writes a model folder that survimg "
        "predict reads",
        "poor_input": "survimg predict refuses what it cannot read, by the patient's name; a "
        "missing modality is a warning",
        **({"centre_results": "report, Centre by centre"} if several else {}),
        **({"fairness": f"report, Sub-groups by {', '.join(columns)}"} if columns else {}),
    }


def _of_models(run: Run) -> dict[str, str]:
    described: dict[str, Any] = {
        name: next(iter(records.values())).details["estimator"]
        for name in run.models
        if (records := run.successful_records(name))
    }
    tuned = run.plan["settings"].get("grid")
    how = f"tuned inside training folds: {'; '.join(tuned)}" if tuned else "no grid was searched"
    answers = {"models": f"{', '.join(described)}: steps and all parameters in the report; {how}"}
    parts = [part for estimator in described.values() for part in _radiomics(estimator)]
    if not parts:
        return answers | dict.fromkeys(_RADIOMICS, "not applicable: no model has radiomics")
    values = parts[0]
    bins = [f"{key} {values[key]}" for key in ("bin_width", "bin_count") if values.get(key)]
    whole = values.get("params") is not None
    file = "as in the parameter file" if whole else ""
    spacing = values.get("spacing")
    return answers | {
        "resampling": file or ("voxels as prepared" if spacing is None else f"to {spacing} mm"),
        "discretisation": file or ", ".join(bins) or "32 bins of each image (the default)",
        "image_types": file or f"images {values.get('image_types') or 'all of the default'}; "
        f"features {values.get('features') or 'all of the default'}",
        "extraction": f"survimg's engine {values.get('engine')!r}, standard "
        f"{values.get('standard')!r}",
        "parameters": "report, Parameters of the models",
    }


def _radiomics(description: Any) -> Iterator[Mapping[str, Any]]:
    """Parameters of each `RadiomicsFeatures` in the description of an estimator."""
    if isinstance(description, Mapping):
        if str(description.get("class", "")).endswith(".RadiomicsFeatures"):
            yield description["params"]
        for part in description.values():
            yield from _radiomics(part)
    elif isinstance(description, list | tuple):
        for part in description:
            yield from _radiomics(part)


def _in_words(settings: Mapping[str, Any]) -> str:
    from survimg.report.parameters import in_words

    return ", ".join(f"{name} {in_words(value)}" for name, value in settings.items() if value)
