"""Comparison of two or more runs: settings, data, splits, versions and results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from typing import Any

import numpy as np

from survimg.benchmark.risk_groups import too_few_tested
from survimg.benchmark.run_folder import Run, read_run
from survimg.benchmark.scores import ModelScore, holm, score_run
from survimg.benchmark.within_fold import (
    WithinFoldConcordance,
    compare_within_folds,
    run_concordance,
)
from survimg.evaluation.estimates import Comparison
from survimg.report.parameters import in_words, model_parameters
from survimg.report.table_formats import ABSENT, Table, interval_text, mean_and_sd, p_text

__all__ = ["Change", "ModelChange", "RunComparison", "compare_runs", "comparison_table"]


@dataclass(frozen=True)
class Change:
    """A setting, parameter or version that differs between runs.

    Attributes
    ----------
    topic : str
        "settings: spacing", "deepmts: learning_rate".
    values : tuple of str
        One per run, in words.
    """

    topic: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class ModelChange:
    """One model in the first run and in another one.

    Attributes
    ----------
    model : str
    run : int
        Index of the other run.
    scores : tuple of ModelScore
        In the first and in the other run.
    comparison : Comparison or None
        Paired difference, other minus first; None without a paired test.
    p_adjusted : float or None
        Holm's correction over all paired tests.
    reason : str
        Why there is no paired test; empty if there is one.
    """

    model: str
    run: int
    scores: tuple[ModelScore, ModelScore]
    comparison: Comparison | None
    p_adjusted: float | None
    reason: str


@dataclass(frozen=True)
class RunComparison:
    """Several runs, compared with the first.

    Attributes
    ----------
    folders : tuple of str
    runs : tuple of Run
    scores : tuple of dict
        Model to score, for each run.
    patients, splits : tuple of str
        For each further run: "same", or how it differs.
    changes : tuple of Change
        Settings, parameters of shared models, versions.
    models : tuple of ModelChange
        Models that the first run shares with another.
    """

    folders: tuple[str, ...]
    runs: tuple[Run, ...]
    scores: tuple[dict[str, ModelScore], ...]
    patients: tuple[str, ...]
    splits: tuple[str, ...]
    changes: tuple[Change, ...]
    models: tuple[ModelChange, ...]

    @property
    def letters(self) -> tuple[str, ...]:
        """Short names of the runs: A, B, and so on; R27 and further beyond the alphabet."""
        return tuple(
            chr(ord("A") + k) if k < 26 else f"R{k + 1}" for k in range(len(self.runs))
        )


def compare_runs(folders: Sequence[str | PathLike[str]]) -> RunComparison:
    """Compare runs; the first is the baseline.

    A model gets a paired test only if both runs have the same patients with the same outcomes in
    the same folds.

    Parameters
    ----------
    folders : sequence of path-like
        At least two runs.

    Returns
    -------
    RunComparison

    Raises
    ------
    ValueError
        Fewer than two folders.
    FileNotFoundError, ValueError
        As `survimg.benchmark.read_run`.
    """
    if len(folders) < 2:
        raise ValueError(f"A comparison needs at least two runs; got {len(folders)}.")
    runs = tuple(read_run(folder) for folder in folders)
    scores = tuple({s.model: s for s in score_run(run) if not s.permuted} for run in runs)
    patients = tuple(_patients(runs[0], run) for run in runs[1:])
    splits = tuple(_splits(runs[0], run) for run in runs[1:])
    models = []
    for k, run in enumerate(runs[1:], start=1):
        reason = _reason(patients[k - 1], splits[k - 1])
        models += [
            _model_change(runs[0], run, name, k, (scores[0][name], scores[k][name]), reason)
            for name in runs[0].models
            if name in run.models
        ]
    return RunComparison(
        tuple(str(folder) for folder in folders),
        runs,
        scores,
        patients,
        splits,
        tuple(_changes(runs)),
        tuple(_adjusted(models)),
    )


def comparison_table(comparison: RunComparison) -> Table:
    """Lay out models by runs, with the differences to the first run.

    Parameters
    ----------
    comparison : RunComparison

    Returns
    -------
    Table
    """
    letters = comparison.letters
    names = dict.fromkeys(name for scores in comparison.scores for name in scores)
    tested = {(change.model, change.run): change for change in comparison.models}
    header = ["Model"]
    for letter, run in zip(letters, comparison.runs, strict=True):
        c = run.index
        header += [f"{c} in {letter}, mean ± sd", f"{c} within folds in {letter} (95 % CI)"]
    for letter in letters[1:]:
        header += [f"{letter} − A (95 % CI)", f"p, {letter}"]
    rows = []
    for name in names:
        row = [name]
        for scores in comparison.scores:
            score = scores.get(name)
            row.append(ABSENT if score is None else mean_and_sd(score.c_mean, score.c_sd))
            row.append(ABSENT if score is None else interval_text(score.within_folds))
        for k in range(1, len(letters)):
            change = tested.get((name, k))
            row.append(ABSENT if change is None else interval_text(change.comparison))
            row.append(ABSENT if change is None else p_text(change.p_adjusted))
        rows.append(tuple(row))
    return Table(
        "comparison",
        "Models by run",
        tuple(header),
        tuple(rows),
        "C within folds: Harrell’s C-index over pairs of test patients of the same fold; of labels "
        "it is the AUC. Intervals: infinitesimal jackknife over patients. Differences: paired on "
        "the same pairs; p with Holm’s correction over all tests of this table.",
    )


def _patients(first: Run, other: Run) -> str:
    ours, theirs = set(first.ids.tolist()), set(other.ids.tolist())
    if ours != theirs:
        return (
            f"{len(ours & theirs)} patients are in both, {len(ours - theirs)} in the first alone, "
            f"{len(theirs - ours)} in the other alone"
        )
    outcome = other.outcome[_positions(other, first.ids)]
    differs = (first.outcome["event"] != outcome["event"]) | (
        first.outcome["time"] != outcome["time"]
    )
    if differs.any():
        return f"the same patients, but {int(differs.sum())} of {differs.size} outcomes differ"
    return "same"


def _splits(first: Run, other: Run) -> str:
    """Compare folds as sets of patients; their order does not matter."""
    if set(first.ids.tolist()) != set(other.ids.tolist()):
        return "other patients, so other folds"
    ours, theirs = (
        {(frozenset(run.ids[a].tolist()), frozenset(run.ids[b].tolist())) for a, b in run.folds}
        for run in (first, other)
    )
    if ours == theirs:
        return "same"
    return f"{len(ours & theirs)} of {len(ours)} folds are shared; the other has {len(theirs)}"


def _reason(patients: str, splits: str) -> str:
    if patients != "same":
        return f"no paired test: {patients}"
    return "" if splits == "same" else f"no paired test: other folds ({splits})"


def _model_change(
    first: Run,
    other: Run,
    name: str,
    k: int,
    scores: tuple[ModelScore, ModelScore],
    reason: str,
) -> ModelChange:
    if not reason and (scarce := too_few_tested(first)):
        reason = f"no paired test: {scarce}"
    if not reason:
        unfinished = [s for s in scores if len(s.fold_c) < s.n_planned]
        if unfinished:
            n_fits = f"{len(unfinished[0].fold_c)} of {unfinished[0].n_planned}"
            reason = f"no paired test: {n_fits} fits have predicted risks in one run"
    if reason:
        return ModelChange(name, k, scores, None, None, reason)
    ours, theirs = (_concordance(first, run, name) for run in (first, other))
    comparison = compare_within_folds(theirs, ours)
    same = "" if comparison is not None else "both runs order all pairs in the same way"
    return ModelChange(name, k, scores, comparison, None, same)


def _concordance(first: Run, run: Run, model: str) -> WithinFoldConcordance:
    """Concordance with patients at the positions of the first run."""
    units = [
        (_positions(first, record.arrays["test_ids"]), record.arrays["test_risk"])
        for record in run.successful_records(model).values()
    ]
    return run_concordance(first, units)


def _positions(run: Run, ids: np.ndarray) -> np.ndarray:
    position = {name: i for i, name in enumerate(run.ids.tolist())}
    return np.array([position[name] for name in ids.tolist()], dtype=np.intp)


def _adjusted(models: Sequence[ModelChange]) -> list[ModelChange]:
    unadjusted = [m.comparison.p_value for m in models if m.comparison is not None]
    p_values = iter(holm(unadjusted))
    return [
        model if model.comparison is None else replace(model, p_adjusted=next(p_values))
        for model in models
    ]


def _changes(runs: Sequence[Run]) -> list[Change]:
    parts = [_facts(run) for run in runs]
    topics = dict.fromkeys(topic for facts in parts for topic in facts)
    rows = [(topic, tuple(facts.get(topic, "absent") for facts in parts)) for topic in topics]
    # Parameters of a model that one of the runs lacks are not compared.
    common = set(runs[0].models).intersection(*(run.models for run in runs[1:]))
    return [
        Change(topic, values)
        for topic, values in rows
        if len(set(values)) > 1 and (not topic.startswith("model ") or _model_of(topic) in common)
    ]


def _model_of(topic: str) -> str:
    return topic.removeprefix("model ").rpartition(": ")[0]


def _facts(run: Run) -> dict[str, str]:
    """All settings, parameters and versions of a run, flat, in words."""
    facts = {
        "survimg": str(run.plan.get("survimg")),
        "suite": in_words(run.plan.get("suite")),
        "models": ", ".join(run.models),
        "reference": str(run.reference),
        "seeds": ", ".join(map(str, run.seeds)),
        "folds": str(len(run.folds)),
    }
    for group in ("settings", "protocol", "cohort"):
        facts |= {f"{group}: {k}": v for k, v in _flat(run.plan.get(group) or {}).items()}
    for name, model in model_parameters(run).items():
        facts[f"model {name}: class"] = model.estimator
        facts |= {f"model {name}: {p.name}": in_words(p.value) for p in model.parameters}
    details = [record.details for record in run.records.values() if record is not None]
    facts["data fingerprint"] = _distinct(d.get("data_fingerprint") for d in details)
    facts["source revision"] = _distinct(d["environment"].get("git") for d in details)
    hardware = [d["environment"]["hardware"] for d in details]
    facts["processor"] = _distinct(h.get("processor") for h in hardware)
    facts["precision of networks"] = _distinct(d.get("precision") for d in details)
    facts["gpu"] = _distinct(h.get("gpu") for h in hardware)
    for package in dict.fromkeys(p for d in details for p in d["environment"]["versions"]):
        versions = (d["environment"]["versions"].get(package) for d in details)
        facts[f"version of {package}"] = _distinct(versions)
    return facts


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}: ")
        else:
            flat[f"{prefix}{name}"] = in_words(value)
    return flat


def _distinct(values: Any) -> str:
    return ", ".join(dict.fromkeys(str(value) for value in values))
