"""Run models over folds: what is recorded already is kept, only what is missing is computed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import numpy.typing as npt
from tqdm.auto import tqdm

from survimg.benchmark.checks import (
    check_ids,
    check_models,
    check_oracle,
    check_seeds,
    check_splits,
    n_patients,
)
from survimg.benchmark.fitting import Task, run_task
from survimg.benchmark.identity import (
    code_identity,
    data_fingerprint,
    describe,
    outcome_digest,
    record_key,
    seeded_clone,
)
from survimg.benchmark.records import read_record, write_record
from survimg.benchmark.run import Run, read_run, write_plan
from survimg.benchmark.storage import locked
from survimg.target import check_outcome

__all__ = ["run_benchmark"]

_LOG = logging.getLogger("survimg.benchmark")
_GRID_SIZE = 64  # times at which survival curves are kept
Split = tuple[np.ndarray, np.ndarray]


def run_benchmark(
    models: Mapping[str, Any],
    X: Any,
    y: np.ndarray,
    *,
    splits: Sequence[tuple[npt.ArrayLike, npt.ArrayLike]],
    out: str | PathLike[str],
    seeds: Sequence[int] = (0,),
    ids: Sequence[str] | None = None,
    reference: str | None = None,
    oracle_risk: npt.ArrayLike | None = None,
    settings: Mapping[str, Any] | None = None,
    caveats: Sequence[str] = (),
    command: str | None = None,
    n_jobs: int = 1,
    progress: bool = True,
) -> Run:
    """Fit every model on every fold with every seed and leave one record of each on disk.

    A record is written, in one step, as soon as its model has predicted and before anything is
    scored. Called again with the same arguments, the function computes only what is missing: after
    an interruption, or for a model or fold that was added. A record is reused only if the
    estimator with all its parameters, the data, the outcome, the split, the seed, survimg's source
    and the versions of the libraries are the same. Models that failed are tried again. The run
    consists of the models of the last call: records of others stay on disk, and count again when
    a later call names them.

    Parameters
    ----------
    models : mapping of str to estimator
        Unfitted scikit-learn survival estimators: ``fit(X, y)`` and ``predict(X)`` (risk, higher =
        earlier event). ``predict_survival_function``, ``predict_mask`` and ``history_`` are used
        where they exist.
    X : Cohort, array or frame of n patients
    y : structured array of shape (n,)
        (event, time).
    splits : sequence of (train, test)
        Index arrays, shared by all models and written to disk by patient. The caller makes them, as
        a rule with `survimg.model_selection.EventStratifiedKFold`.
    out : path-like
        Folder of the run; made if needed.
    seeds : sequence of int, default=(0,)
        Each is set as ``random_state`` of every estimator (nested ones too) in turn.
    ids : sequence of str, optional
        Unique patient identifiers; by default ``X.ids``.
    reference : str, optional
        Name of the model that all others are compared with.
    oracle_risk : array-like of shape (n,), optional
        True risk, where it is known: its concordance is the ceiling.
    settings : mapping, optional
        What the report is to say about the run (cohort, endpoint, preparation): JSON values.
    caveats : sequence of str, optional
        Sentences on what this run cannot show, for the report.
    command : str, optional
        Command line that started the run, for the report.
    n_jobs : int, default=1
        Number of models and folds worked on at once, in processes.
    progress : bool, default=True
        Show progress bars if standard error is a terminal.

    Returns
    -------
    Run
        ``run.failures`` lists the records of models that raised an error.

    Raises
    ------
    ValueError
        Invalid outcome, identifiers, splits, models or reference; or `out` holds a run with other
        splits.
    BlockingIOError
        Another process is writing to `out`.
    """
    out = Path(out)
    event, time = check_outcome(y, n_patients=n_patients(X), require_event=True)
    names = check_ids(X, ids, event.size)
    folds = check_splits(splits, event, time)
    seeds = check_seeds(seeds)
    check_models(models, reference)
    oracle = None if oracle_risk is None else check_oracle(oracle_risk, event.size)
    with locked(out):
        tasks = _plan_tasks(models, X, y, names, folds, seeds, _time_grid(event, time))
        write_plan(
            out,
            X=X,
            ids=names,
            event=event,
            time=time,
            folds=folds,
            seeds=seeds,
            models=list(models),
            keys={(task.name, task.fold, task.seed): task.key for task in tasks},
            reference=reference,
            oracle_risk=oracle,
            settings=dict(settings or {}),
            caveats=list(caveats),
            command=command,
        )
        compute = partial(_compute, out=out, X=X, y=y, ids=names)
        if n_jobs == 1:
            _run_in_turn(compute, out, tasks, list(models), progress)
        else:
            _run_in_parallel(compute, _missing(out, tasks), n_jobs, progress)
    return read_run(out)


def _plan_tasks(
    models: Mapping[str, Any],
    X: Any,
    y: np.ndarray,
    ids: np.ndarray,
    folds: list[Split],
    seeds: Sequence[int],
    times: np.ndarray,
) -> list[Task]:
    data, outcome, code = data_fingerprint(X), outcome_digest(y), code_identity()
    tasks = []
    for name, model in models.items():
        descriptions = {seed: describe(seeded_clone(model, seed)) for seed in seeds}
        for seed in seeds:
            for fold, (train, test) in enumerate(folds):
                key = record_key(
                    descriptions[seed],
                    data=data,
                    outcome=outcome,
                    train_ids=ids[train].tolist(),
                    test_ids=ids[test].tolist(),
                    seed=seed,
                    code=code,
                )
                tasks.append(
                    Task(key, name, model, fold, seed, train, test, times, descriptions[seed], data)
                )
    return tasks


def _time_grid(event: np.ndarray, time: np.ndarray) -> np.ndarray:
    """Return the event times, thinned to quantiles if there are many: where curves are kept."""
    times = np.unique(time[event])
    if times.size <= _GRID_SIZE:
        return times
    return np.unique(np.quantile(times, np.linspace(0, 1, _GRID_SIZE)))


def _missing(out: Path, tasks: Sequence[Task]) -> list[Task]:
    """Tasks without a record, or with the record of an error."""
    return [
        task
        for task in tasks
        if (record := read_record(out, task.name, task.fold, task.seed, task.key)) is None
        or record.failed
    ]


def _compute(task: Task, *, out: Path, X: Any, y: np.ndarray, ids: np.ndarray) -> str:
    record = run_task(task, X, y, ids)
    write_record(out, record)
    what = f"{task.name}, fold {task.fold + 1}, seed {task.seed}"
    if record.error is not None:
        return f"{what}: FAILED ({record.error['type']}: {record.error['message']})"
    return f"{what}: fitted in {record.details['fit_seconds']:.1f} s"


def _run_in_turn(
    compute: Callable[[Task], str],
    out: Path,
    tasks: Sequence[Task],
    models: Sequence[str],
    progress: bool,
) -> None:
    quiet = None if progress else True  # None: silent unless standard error is a terminal
    with tqdm(models, desc="models", unit="model", disable=quiet) as model_bar:
        for name in model_bar:
            missing = _missing(out, [task for task in tasks if task.name == name])
            for task in tqdm(missing, desc=f"{name}: folds", leave=False, disable=quiet):
                _LOG.info(compute(task))


def _run_in_parallel(
    compute: Callable[[Task], str], tasks: Sequence[Task], n_jobs: int, progress: bool
) -> None:
    finished = joblib.Parallel(n_jobs=n_jobs, return_as="generator_unordered")(
        joblib.delayed(compute)(task) for task in tasks
    )
    quiet = None if progress else True
    for message in tqdm(finished, total=len(tasks), desc="models x folds", disable=quiet):
        _LOG.info(message)
