"""Run models over folds; only missing records are computed."""

from __future__ import annotations

import logging
import warnings
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
    check_inner_splits,
    check_labels,
    check_models,
    check_oracle,
    check_pair,
    check_published,
    check_sample_weight,
    check_seeds,
    check_splits,
    n_patients,
)
from survimg.benchmark.fitting import Task, compute_record
from survimg.benchmark.identity import (
    code_identity,
    data_fingerprint,
    describe,
    outcome_digest,
    record_key,
    seeded_clone,
)
from survimg.benchmark.leaderboard import Result
from survimg.benchmark.leakage import (
    ImageContent,
    check_groups,
    check_images,
    check_learned_statistics,
    check_unfitted,
    image_content,
)
from survimg.benchmark.records import Record, read_record, write_record
from survimg.benchmark.run_folder import Plan, write_plan
from survimg.benchmark.storage import read_json
from survimg.files import locked, write_json
from survimg.survival import outcome_of_labels
from survimg.target import check_outcome, is_table, make_outcome

__all__ = ["run_benchmark"]

_LOG = logging.getLogger("survimg.benchmark")
_CONTENT = "images.json"
_GRID_SIZE = 64  # times at which survival curves are stored
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
    groups: npt.ArrayLike | None = None,
    inner_splits: Sequence[Sequence[tuple[npt.ArrayLike, npt.ArrayLike]]] | None = None,
    reference: str | None = None,
    simple_reference: str | None = None,
    oracle_risk: npt.ArrayLike | None = None,
    settings: Mapping[str, Any] | None = None,
    caveats: Sequence[str] = (),
    command: str | None = None,
    protocol: Mapping[str, Any] | None = None,
    suite: str | None = None,
    label: str | None = None,
    sample_weight: npt.ArrayLike | None = None,
    published: Mapping[str, Mapping[str, Any]] | None = None,
    pairs: Sequence[tuple[str, str]] = (),
    n_jobs: int | None = 1,
    progress: bool = True,
) -> Result:
    """Fit every model on every fold with every seed and write a record of each fit to disk.

    A record is written in one step, as soon as its model has predicted and before anything is
    scored. Called again with the same arguments, the function computes only what is missing: after
    an interruption, or for models that were added. A record is reused only if the
    estimator with all its parameters, the data, the outcome, the split, the seed, survimg's source
    and the versions of the libraries are the same. Models that failed are fitted again. The run
    consists of the models of the last call: records of other models stay on disk and are used again
    when a later call names them.

    Before anything is fitted, the data and splits are checked for leaks: one patient, or one image
    under two names, in both parts of a split; models or steps that are fitted already; data scaled
    by statistics of all patients (`survimg.benchmark.leakage`). Everything that is learned, also by
    a search or a scaler, must be part of the model, so that it learns from the training part alone.

    Parameters
    ----------
    models : mapping of str to estimator
        Unfitted scikit-learn survival estimators: ``fit(X, y)`` and ``predict(X)`` (risk, higher =
        earlier event). ``predict_survival_function``, ``predict_mask`` and ``history_`` are used
        if they exist. For labels they are classifiers: ``predict_proba``, or ``decision_function``
        for models without probabilities. A search (``GridSearchCV``) is scored by its best
        estimator, and its best parameters are recorded; a model with ``predict_mask`` only is
        scored by its masks.
    X : Cohort, array or frame of n patients
    y : structured array of shape (n,), or array of bool, 0 and 1, of shape (n,)
        (event, time); or labels, which classifiers are trained on, and whose AUC takes the place of
        the concordance index everywhere.
    splits : sequence of (train, test)
        Index arrays, shared by all models and written to disk by patient. Usually they come from a
        protocol of `survimg.model_selection`, whose ``Protocol.arguments()`` are `splits`,
        `inner_splits`, `groups` and `protocol`.
    out : path-like
        Folder of the run; made if needed.
    seeds : sequence of int, default=(0,)
        Each is set as ``random_state`` of every estimator (nested ones too) in turn.
    ids : sequence of str, optional
        Unique patient identifiers; by default ``X.ids``.
    groups : array-like of shape (n,), optional
        Patient of each image, if patients have several. Splits must keep them together, and
        intervals count patients rather than images.
    inner_splits : sequence of sequence of (train, test), optional
        Folds of each training part, if models are tuned or averaged over them; stored with
        `splits`.
    reference : str, optional
        Name of the model that all others are compared with.
    simple_reference : str, optional
        A second one for the report, such as a model of clinical columns, where `reference` is the
        model of a paper.
    oracle_risk : array-like of shape (n,), optional
        True risk, if it is known: no model can be expected to have a higher concordance.
    settings : mapping, optional
        Information on the run for the report (cohort, endpoint, preparation): JSON values.
    caveats : sequence of str, optional
        Sentences on what this run cannot show, for the report.
    command : str, optional
        Command line that started the run, for the report.
    protocol : mapping, optional
        Name and numbers of the protocol, for the report; ``n_repeats`` is the number of times that
        `splits` test each patient.
    suite : str, optional
        Name of the suite that the models come from.
    label : str, optional
        What the labels in `y` say of a patient, such as ``"metastasis"``, for the report.
    sample_weight : array-like of shape (n,), optional
        Weights of the patients, with labels only, such as `survimg.evaluation.status_weights`:
        in ``fit`` of the models that take ``sample_weight`` (records say which did), in the AUC,
        the accuracy, the sensitivity and the specificity. A patient without weight is to be left
        out.
    published : mapping of str to mapping, optional
        Results of papers for models of this name on other cohorts, for the report: ``c_index``,
        ``dice``, ``sd`` (numbers or None) and ``source``.
    pairs : sequence of (str, str), optional
        Models to compare with each other in the report, besides all of them with `reference`.
    n_jobs : int or None, default=1
        Number of fits at once, in processes. None: as set by a surrounding
        ``joblib.parallel_config`` or `survimg.compute.dask_cluster`.
    progress : bool, default=True
        Show progress bars if standard error is a terminal.

    Returns
    -------
    Result
        A `Run` that prints as its leaderboard; its ``failures`` lists the records of models that
        raised an error.

    Raises
    ------
    ValueError
        Invalid outcome, identifiers, splits, models or reference; a leak; or `out` holds a run with
        other splits.
    BlockingIOError
        Another process is writing to `out`.
    """
    out = Path(out)
    cohort_ids = getattr(X, "ids", None)
    labels = check_labels(y, n_patients(X), label)
    y = y if labels is None else outcome_of_labels(labels)
    event, time = check_outcome(y, n_patients=n_patients(X), ids=cohort_ids, require_event=True)
    y = make_outcome(event, time) if is_table(y) else y
    names = check_ids(X, ids, event.size)
    folds = check_splits(splits, event, time)
    for name in (reference, simple_reference):
        check_models(models, name, classifiers=labels is not None)
    for first, second in pairs:
        check_pair(models, first, second)
    check_unfitted(models)
    plan = Plan(
        models=models,
        X=X,
        y=y,
        ids=names,
        folds=folds,
        inner_folds=check_inner_splits(inner_splits, folds, event.size),
        clusters=check_groups(groups, folds, names),
        sample_weight=check_sample_weight(sample_weight, event.size, labels is not None),
        seeds=check_seeds(seeds),
        reference=reference,
        simple_reference=simple_reference,
        oracle_risk=None if oracle_risk is None else check_oracle(oracle_risk, event.size),
        settings=dict(settings or {}),
        caveats=list(caveats),
        command=command,
        protocol=protocol,
        suite=suite,
        label=None if labels is None else label or "label",
        published=check_published(published),
        pairs=list(pairs),
    )
    data = data_fingerprint(X)
    content = _known_content(out, data) or image_content(X)
    check_images(content or [], folds, names)
    check_learned_statistics(X, content, folds, names)
    with locked(out):
        write_json(out / _CONTENT, {"fingerprint": data, "images": content})
        tasks = _tasks(plan, data, _time_grid(event, time, plan.settings.get("horizon")))
        write_plan(out, plan, {(task.name, task.fold, task.seed): task.key for task in tasks})
        target = y if labels is None else labels
        if n_jobs == 1:
            compute = partial(
                compute_record, X=X, y=target, ids=names, sample_weight=plan.sample_weight
            )
            _compute_serially(compute, out, tasks, list(models), progress)
        else:
            compute = joblib.delayed(compute_record)
            weights = plan.sample_weight
            calls = [compute(task, X, target, names, weights) for task in _unrecorded(out, tasks)]
            _compute_in_parallel(calls, out, n_jobs, progress)
    return Result.read(out)


def _known_content(out: Path, data: str) -> ImageContent | None:
    """Return the digests that an earlier call computed from the same images, if any."""
    path = out / _CONTENT
    if not path.is_file():
        return None
    try:
        earlier = read_json(path)
    except ValueError as error:
        warnings.warn(
            f"A damaged record counts as none, and the images are compared again: {error}",
            UserWarning, stacklevel=3,
        )  # fmt: skip
        return None
    if earlier.get("fingerprint") != data or earlier.get("images") is None:
        return None
    return [[None if i is None else (i[0], i[1], i[2]) for i in row] for row in earlier["images"]]


def _tasks(plan: Plan, data: str, times: np.ndarray) -> list[Task]:
    """Return one task for each model, seed and fold; `data` is the fingerprint of the patients."""
    labels = plan.label is not None
    outcome = outcome_digest(plan.y, labels=labels, sample_weight=plan.sample_weight)
    code = code_identity()
    tasks = []
    for name, model in plan.models.items():
        for seed in plan.seeds:
            description = describe(seeded_clone(model, seed))
            for fold, (train, test) in enumerate(plan.folds):
                key = record_key(
                    description,
                    data=data,
                    outcome=outcome,
                    train_ids=plan.ids[train].tolist(),
                    test_ids=plan.ids[test].tolist(),
                    seed=seed,
                    code=code,
                )
                described = description, data, plan.settings
                tasks.append(Task(key, name, model, fold, seed, train, test, times, *described))
    return tasks


def _time_grid(event: np.ndarray, time: np.ndarray, horizon: float | None) -> np.ndarray:
    """Return the times at which curves are stored: event times, or quantiles if there are many.

    The report's horizon is added to the quantiles, so that its probabilities are exact.
    """
    times = np.unique(time[event])
    if times.size <= _GRID_SIZE:
        return times
    reported = float(np.median(time[event]) if horizon is None else horizon)
    quantiles = np.quantile(times, np.linspace(0, 1, _GRID_SIZE))
    return np.union1d(quantiles, [reported] if times[0] <= reported <= times[-1] else [])


def _unrecorded(out: Path, tasks: Sequence[Task]) -> list[Task]:
    """Return tasks without a record, or with the record of an error."""
    return [
        task
        for task in tasks
        if (record := read_record(out, task.name, task.fold, task.seed, task.key)) is None
        or record.failed
    ]


def _store(record: Record, out: Path) -> None:
    """Write a record and log it."""
    write_record(out, record)
    what = f"{record.model}, fold {record.fold + 1}, seed {record.seed}"
    if record.error is None:
        _LOG.info(f"{what}: fitted in {record.details['fit_seconds']:.1f} s")
    else:
        _LOG.info(f"{what}: FAILED ({record.error['type']}: {record.error['message']})")


def _compute_serially(
    compute: Callable[[Task], Record],
    out: Path,
    tasks: Sequence[Task],
    models: Sequence[str],
    progress: bool,
) -> None:
    quiet = None if progress else True  # None: silent unless standard error is a terminal
    with tqdm(models, desc="models", unit="model", disable=quiet) as model_bar:
        for name in model_bar:
            outstanding = _unrecorded(out, [task for task in tasks if task.name == name])
            for task in tqdm(outstanding, desc=f"{name}: folds", leave=False, disable=quiet):
                _store(compute(task), out)


def _compute_in_parallel(
    calls: Sequence[Any], out: Path, n_jobs: int | None, progress: bool
) -> None:
    """Compute in workers and write here: workers on other machines may not reach the folder."""
    records = joblib.Parallel(n_jobs=n_jobs, return_as="generator_unordered")(calls)
    quiet = None if progress else True
    for record in tqdm(records, total=len(calls), desc="models x folds", disable=quiet):
        _store(record, out)
