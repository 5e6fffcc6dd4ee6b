"""The folder of a run: its plan, its patients, its frozen splits, its records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from survimg.benchmark.environment import survimg_version
from survimg.benchmark.places import without_places
from survimg.benchmark.records import Record, read_record
from survimg.benchmark.storage import read_json
from survimg.files import write_json
from survimg.target import check_outcome, make_outcome

__all__ = ["Plan", "Run", "clinical_cells", "negative_control_folder", "read_run", "write_plan"]

Split = tuple[np.ndarray, np.ndarray]
Place = tuple[str, int, int]  # model, fold, seed


@dataclass(frozen=True)
class Run:
    """A run as stored on disk; scores, tables and figures are computed from it alone.

    Attributes
    ----------
    folder : Path
    plan : dict
        Contents of ``run.json``: models, reference, seeds, settings, caveats, command, cohort,
        protocol, suite, label, published numbers, pairs.
    ids : ndarray of shape (n,), str
    outcome : structured array of shape (n,)
    oracle_risk : ndarray of shape (n,) or None
    groups : ndarray of shape (n,), str, or None
        Group (centre) of each patient, if the cohort has groups.
    folds : list of (train, test)
        Positions of the patients.
    records : dict
        (model, fold, seed) to the record, or None where it is missing.
    clusters : ndarray of shape (n,), str, or None
        Patient of each image, if patients have several; splits keep them together.
    clinical : dict of list
        Clinical columns, for sub-groups: numbers or text, None where missing. Empty without them.
    sample_weight : ndarray of shape (n,) or None
        Weights of the patients in training and in the AUC; None for equal ones.
    """

    folder: Path
    plan: dict[str, Any]
    ids: np.ndarray
    outcome: np.ndarray
    oracle_risk: np.ndarray | None
    groups: np.ndarray | None
    folds: list[Split]
    records: dict[Place, Record | None]
    clusters: np.ndarray | None = None
    clinical: Mapping[str, list[Any]] = field(default_factory=dict)
    sample_weight: np.ndarray | None = None

    def weights_of(self, positions: np.ndarray) -> np.ndarray | None:
        """Return the weights of some patients; None for equal ones."""
        return None if self.sample_weight is None else self.sample_weight[positions]

    @property
    def tested(self) -> np.ndarray:
        """Positions of the patients of all test parts; in external validation these are not all."""
        return np.unique(np.concatenate([test for _, test in self.folds]))

    def counted(self, positions: np.ndarray | None = None) -> str:
        """Count patients in words: "34 patients, 19 events"; of labels "19 with relapse"."""
        event = self.outcome["event"] if positions is None else self.outcome["event"][positions]
        n_events = int(event.sum())
        what = ("event" if n_events == 1 else "events") if self.label is None else "with"
        who = "patient" if event.size == 1 else "patients"
        return f"{event.size} {who}, {n_events} {what}{f' {self.label}' if self.label else ''}"

    @property
    def patients_in_words(self) -> str:
        """Numbers of patients and events; also of those tested, if these are not all."""
        if self.tested.size == self.ids.size:
            return self.counted()
        return f"{self.counted()} (tested: {self.counted(self.tested)})"

    @property
    def models(self) -> list[str]:
        """Names of the models, in the order given."""
        return list(self.plan["models"])

    @property
    def seeds(self) -> list[int]:
        """Seeds of the run."""
        return list(self.plan["seeds"])

    @property
    def reference(self) -> str | None:
        """Model that the others are compared with."""
        return self.plan["reference"]

    @property
    def simple_reference(self) -> str | None:
        """A second reference, a simple model, where `reference` is that of a paper's table."""
        return self.plan.get("simple_reference")

    @property
    def protocol(self) -> dict[str, Any]:
        """Name and numbers of the protocol; empty if they were not recorded."""
        return dict(self.plan.get("protocol") or {})

    @property
    def suite(self) -> str | None:
        """Name of the suite that the models come from."""
        return self.plan.get("suite")

    @property
    def label(self) -> str | None:
        """What classifiers were trained to tell; None of a run of survival models."""
        return self.plan.get("label")

    @property
    def index(self) -> str:
        """Name of what ranks the models: "C", or "AUC" of labels."""
        return "C" if self.label is None else "AUC"

    @property
    def published(self) -> dict[str, dict[str, Any]]:
        """Numbers that papers report for models of this name, on other cohorts."""
        return dict(self.plan.get("published") or {})

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Pairs of models that are compared besides all models with the reference."""
        return [(first, second) for first, second in self.plan.get("pairs") or []]

    @property
    def repeats(self) -> list[list[int]]:
        """Folds of each repeat; a patient is tested at most once in a repeat."""
        size = len(self.folds) // int(self.protocol.get("n_repeats", 1))
        return [list(range(k, k + size)) for k in range(0, len(self.folds), size)]

    @property
    def negative_control(self) -> Run | None:
        """The same protocol and seeds on permuted outcomes, if they were run.

        None if the control is older than the last call for this run, when its models may differ.
        """
        folder = negative_control_folder(self.folder)
        if not (folder / "run.json").is_file():
            return None
        control = read_run(folder)
        same = control.protocol == self.protocol and control.seeds == self.seeds
        newer = control.plan.get("called", "") >= self.plan.get("called", "")
        return control if same and newer else None

    @property
    def failures(self) -> list[Record]:
        """Records of models that raised an error."""
        return [record for record in self.records.values() if record is not None and record.failed]

    @property
    def missing(self) -> list[Place]:
        """Models, folds and seeds without a record: the run was interrupted."""
        return [place for place, record in self.records.items() if record is None]

    def successful_records(self, model: str) -> dict[tuple[int, int], Record]:
        """Successful records of one model by (fold, seed)."""
        return {
            (fold, seed): record
            for (name, fold, seed), record in self.records.items()
            if name == model and record is not None and not record.failed
        }

    def first_repeat(self, model: str) -> dict[int, Record]:
        """Successful records of one model in the first repeat, with the first seed, by fold."""
        records, seed = self.successful_records(model), self.seeds[0]
        return {f: records[f, seed] for f in self.repeats[0] if (f, seed) in records}

    def complete(self, model: str) -> bool:
        """Whether the model has predicted every fold with every seed."""
        return len(self.successful_records(model)) == len(self.folds) * len(self.seeds)


def read_run(folder: str | PathLike[str]) -> Run:
    """Read a run, finished or not.

    Parameters
    ----------
    folder : path-like

    Raises
    ------
    FileNotFoundError
        The folder holds no run.
    ValueError
        A file of the run is damaged.
    """
    folder = Path(folder)
    if not (folder / "run.json").is_file():
        raise FileNotFoundError(f"{folder} holds no benchmark run (no run.json in it).")
    plan, patients = read_json(folder / "run.json"), read_json(folder / "patients.json")
    position = {name: i for i, name in enumerate(patients["id"])}

    def positions(names: Sequence[str]) -> np.ndarray:
        return np.array([position[name] for name in names], dtype=np.intp)

    splits = read_json(folder / "splits.json")["folds"]
    folds = [(positions(fold["train"]), positions(fold["test"])) for fold in splits]
    oracle = patients["oracle_risk"]
    groups = patients.get("group")  # absent from runs of survimg before groups were kept
    return Run(
        folder,
        plan,
        np.array(patients["id"], dtype=np.str_),
        make_outcome(patients["event"], patients["time"]),
        None if oracle is None else np.array(oracle, dtype=np.float64),
        None if groups is None else np.array(groups, dtype=np.str_),
        folds,
        {(e["model"], e["fold"], e["seed"]): read_record(folder, **e) for e in plan["records"]},
        None if (clusters := patients.get("cluster")) is None else np.array(clusters, dtype=str),
        patients.get("clinical") or {},
        None if (weights := patients.get("sample_weight")) is None else np.array(weights, float),
    )


def negative_control_folder(folder: Path) -> Path:
    """Folder of a run's negative control: a run of its own inside it."""
    return folder / "negative-control"


@dataclass(frozen=True, eq=False, kw_only=True)
class Plan:
    """The checked arguments of a run.

    Attributes
    ----------
    models : mapping of str to estimator
    X : Cohort, array or frame of n patients
    y : structured array of shape (n,)
    ids : ndarray of shape (n,), str
    folds : list of (train, test)
    inner_folds : list of list of (train, test), or None
    clusters : ndarray of shape (n,), str, or None
    sample_weight : ndarray of shape (n,), or None
        See `Run`.
    seeds : sequence of int
    reference, simple_reference, oracle_risk, settings, caveats, command, protocol, suite, label
    published, pairs
        See `survimg.benchmark.run_benchmark`.
    """

    models: Mapping[str, Any]
    X: Any
    y: np.ndarray
    ids: np.ndarray
    folds: list[Split]
    inner_folds: Sequence[Sequence[Split]] | None
    clusters: np.ndarray | None
    sample_weight: np.ndarray | None
    seeds: Sequence[int]
    reference: str | None
    simple_reference: str | None
    oracle_risk: np.ndarray | None
    settings: Mapping[str, Any]
    caveats: Sequence[str]
    command: str | None
    protocol: Mapping[str, Any] | None
    suite: str | None
    label: str | None
    published: Mapping[str, Mapping[str, Any]]
    pairs: Sequence[tuple[str, str]]


def write_plan(out: Path, plan: Plan, keys: Mapping[Place, str]) -> None:
    """Write the plan of a run, before it starts.

    Parameters
    ----------
    out : Path
    plan : Plan
    keys : mapping of (model, fold, seed) to str
        Key of each record.

    Raises
    ------
    ValueError
        The folder holds a run with other splits.
    """
    event, time = check_outcome(plan.y)
    _freeze_splits(out, plan.ids, plan.folds, plan.inner_folds)
    groups = getattr(plan.X, "groups", None)
    write_json(
        out / "patients.json",
        {
            "id": plan.ids.tolist(),
            "event": event.tolist(),
            "time": time.tolist(),
            "oracle_risk": None if plan.oracle_risk is None else plan.oracle_risk.tolist(),
            "group": None if groups is None else [str(group) for group in groups],
            "cluster": None if plan.clusters is None else plan.clusters.tolist(),
            "clinical": clinical_cells(getattr(plan.X, "clinical", None)),
            **(
                {} if plan.sample_weight is None else {"sample_weight": plan.sample_weight.tolist()}
            ),
        },
    )
    write_json(
        out / "run.json",
        {
            "format": 1,
            "survimg": survimg_version(),
            "called": datetime.now(UTC).isoformat(timespec="microseconds"),
            "command": without_places(plan.command),
            "settings": without_places(plan.settings),
            "caveats": without_places(plan.caveats),
            "cohort": _describe_cohort(plan.X),
            "protocol": dict(plan.protocol or {"name": "given splits", "n_folds": len(plan.folds)}),
            "suite": plan.suite,
            "label": plan.label,
            "published": {name: dict(numbers) for name, numbers in plan.published.items()},
            "pairs": [list(pair) for pair in plan.pairs],
            "models": list(plan.models),
            "reference": plan.reference,
            "simple_reference": plan.simple_reference,
            "seeds": list(plan.seeds),
            "records": [
                {"model": model, "fold": fold, "seed": seed, "key": key}
                for (model, fold, seed), key in keys.items()
            ],
        },
    )


def _freeze_splits(
    out: Path,
    ids: np.ndarray,
    folds: Sequence[Split],
    inner_folds: Sequence[Sequence[Split]] | None,
) -> None:
    def by_name(split: Split) -> dict[str, Any]:
        return {"train": ids[split[0]].tolist(), "test": ids[split[1]].tolist()}

    content = {"folds": [by_name(split) for split in folds]}
    for fold, inner in zip(content["folds"], inner_folds or [], strict=inner_folds is not None):
        fold["inner"] = [by_name(split) for split in inner]
    path = out / "splits.json"
    if not path.exists():
        write_json(path, content)
    elif read_json(path) != content:
        raise ValueError(
            f"{out} holds a run with other splits (number of folds, seed, or patients differ). "
            "All models of a run share its splits; choose another folder."
        )


def clinical_cells(table: Any) -> dict[str, list[Any]] | None:
    """Cells as JSON: numbers stay numbers, all else is text, what is missing is None."""
    if table is None:
        return None

    def plain(cell: Any) -> Any:
        if isinstance(cell, int | float | np.number) and not isinstance(cell, bool | np.bool_):
            return float(cell) if np.isfinite(cell) else None
        return str(cell)

    return {
        str(name): [
            None if absent else plain(cell)
            for cell, absent in zip(column, column.isna(), strict=True)
        ]
        for name, column in table.items()
    }


def _describe_cohort(X: Any) -> dict[str, Any]:
    """Describe a cohort; arrays and frames have a shape only."""
    groups, names = getattr(X, "groups", None), getattr(X, "channel_names", None)
    clinical = getattr(X, "clinical", None)
    return {
        "shape": [None if size is None else int(size) for size in X.shape],
        "channels": None if names is None else [str(name) for name in names],
        "time_unit": getattr(X, "time_unit", None),
        "n_groups": None if groups is None else int(np.unique(groups).size),
        "clinical": None if clinical is None else [str(name) for name in clinical.columns],
    }
