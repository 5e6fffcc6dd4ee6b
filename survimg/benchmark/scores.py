"""Scores of a run, computed from its records and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from survimg.benchmark.fold_tests import fold_tests
from survimg.benchmark.records import Record
from survimg.benchmark.risk_groups import too_few_tested
from survimg.benchmark.run_folder import Run
from survimg.benchmark.within_fold import (
    WithinFoldConcordance,
    compare_within_folds,
    run_concordance,
)
from survimg.evaluation.concordance import concordance_index
from survimg.evaluation.estimates import Comparison, Estimate

__all__ = ["ModelScore", "holm", "record_concordance", "score_models", "score_run"]

_NO_VARIATION = 1e-12  # of a standard error: what rounding leaves of zero
ORACLE = "oracle"
Unit = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class ModelScore:
    """Scores of one model.

    Attributes
    ----------
    model : str
    n_done, n_planned : int
        Records with predictions, and records of a full run (folds x seeds).
    fold_c : dict
        (fold, seed) to the concordance index of that test fold.
    c_mean, c_sd : float or None
        Over folds, after averaging over seeds; None without predictions (sd: without two folds).
    within_folds : Estimate or None
        Concordance over all pairs within folds with its 95 % interval; None if there are no
        predictions. The limits are NaN if there is no variation (C of 0 or 1).
    comparison : Comparison or None
        With the reference model on the same folds; None for the reference itself, for an
        unfinished model, and if both order all pairs in the same way.
    p_adjusted : float or None
        p value of `comparison`, corrected for the number of models (Holm).
    p_folds_adjusted : float or None
        p value of the difference over folds (`fold_tests`), corrected in the same way; None without
        such a test, for instance with fewer than five folds.
    dice : ndarray of shape (n_with_mask,)
        Dice coefficient of each test patient with a mask (first seed; mean over repeats).
    fit_seconds, predict_seconds : float or None
        Mean per fold.
    memory_increase : int or None
        Growth of the process's memory during a fit and its predictions, in bytes: the largest over
        folds; None if it was not measured.
    warnings : tuple of str
    verdict : str
        The comparison with the reference, in words.
    permuted : bool
        Whether this is a row of the negative control: fitted and scored on permuted outcomes.
    index : str
        "C", or "AUC" of labels, with which the concordance index is the same (`Run.index`).
    """

    model: str
    n_done: int
    n_planned: int
    fold_c: dict[tuple[int, int], float]
    c_mean: float | None
    c_sd: float | None
    within_folds: Estimate | None
    comparison: Comparison | None = None
    p_adjusted: float | None = None
    p_folds_adjusted: float | None = None
    dice: np.ndarray = field(default_factory=lambda: np.zeros(0))
    fit_seconds: float | None = None
    predict_seconds: float | None = None
    memory_increase: int | None = None
    warnings: tuple[str, ...] = ()
    verdict: str = ""
    permuted: bool = False
    index: str = "C"

    @property
    def contains_chance(self) -> bool | None:
        """Whether the interval contains 0.5; None without an interval."""
        interval = self.within_folds
        if interval is None or np.isnan(interval.lower):
            return None
        return bool(interval.lower <= 0.5 <= interval.upper)


def score_run(run: Run) -> list[ModelScore]:
    """Score every model of a run, then the oracle if the true risk is known.

    If the run has a negative control, its models come last, as ``"<model> (permuted)"``: scored
    on permuted outcomes, not compared with the reference and not counted in the correction of the
    p values.

    Parameters
    ----------
    run : Run

    Returns
    -------
    list of ModelScore
    """
    scores = score_models(run)
    if run.oracle_risk is not None:
        scores.append(_score_oracle(run))
    control = run.negative_control
    return scores if control is None else [*scores, *_score_control(control, run.models)]


def score_models(run: Run) -> list[ModelScore]:
    """Score the models of a run as `score_run`, without the oracle and the negative control."""
    units = {name: _units(run, run.successful_records(name)) for name in run.models}
    concordances = {name: _pool(run, units[name]) for name in run.models}
    scores = [_score_model(run, name, concordances[name]) for name in run.models]
    reference = None if run.reference is None else concordances[run.reference]
    if reference is not None and run.complete(str(run.reference)):
        scores = [_compared(run, score, concordances[score.model], reference) for score in scores]
    adjusted = iter(holm([s.comparison.p_value for s in scores if s.comparison is not None]))
    scores = [
        score if score.comparison is None else replace(score, p_adjusted=next(adjusted))
        for score in scores
    ]
    scores = _with_fold_tests(run, scores)
    return [replace(score, verdict=_verdict(run, score)) for score in scores]


def _with_fold_tests(run: Run, scores: list[ModelScore]) -> list[ModelScore]:
    compared = [score for score in scores if score.comparison is not None]
    reference = next((score for score in scores if score.model == run.reference), None)
    if reference is None or not compared:
        return scores
    tests, _ = fold_tests(run, {s.model: s.fold_c for s in compared}, reference.fold_c)
    p_values = holm([test.p_value for test in tests.values()])
    adjusted = dict(zip(tests, p_values, strict=True))
    return [replace(score, p_folds_adjusted=adjusted.get(score.model)) for score in scores]


def _score_control(control: Run, models: Sequence[str]) -> list[ModelScore]:
    rows = []
    for name in (name for name in models if name in control.models):
        concordance = _pool(control, _units(control, control.successful_records(name)))
        score = replace(_score_model(control, name, concordance), permuted=True)
        verdict = _control_verdict(control, score)
        rows.append(replace(score, model=f"{name} (permuted)", verdict=verdict))
    return rows


def _control_verdict(control: Run, score: ModelScore) -> str:
    if score.n_done < score.n_planned:
        return f"outcomes permuted; {_verdict(control, score)}"
    words = {
        True: "interval contains 0.5, as it must",
        False: "interval EXCLUDES 0.5: about one in ten does by chance (the folds share one set "
        "of permuted outcomes); if another seed repeats it, something leaks",
        None: "no interval",
    }
    return f"outcomes permuted: {words[score.contains_chance]}"


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's correction of p values for their number.

    References
    ----------
    .. [1] Holm S. Scand J Statist 1979;6:65-70.
    """
    values = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(values)
    stepped = np.maximum.accumulate(values[order] * np.arange(values.size, 0, -1))
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted.tolist()


def _at_positions(run: Run, ids: np.ndarray, values: np.ndarray) -> Unit:
    position = {name: i for i, name in enumerate(run.ids.tolist())}
    return np.array([position[name] for name in ids.tolist()], dtype=np.intp), values


def _units(run: Run, records: dict[tuple[int, int], Record]) -> list[Unit]:
    return [
        _at_positions(run, record.arrays["test_ids"], record.arrays["test_risk"])
        for record in records.values()
        if record.has_risk
    ]


def _pool(run: Run, units: list[Unit]) -> WithinFoldConcordance | None:
    return run_concordance(run, units) if units else None


def record_concordance(run: Run, record: Record) -> float:
    """Concordance index of one fold's test patients."""
    test, risk = _at_positions(run, record.arrays["test_ids"], record.arrays["test_risk"])
    return concordance_index(run.outcome[test], risk, run.weights_of(test))


def _estimate(concordance: WithinFoldConcordance | None) -> Estimate | None:
    if concordance is None:
        return None
    if concordance.too_few is not None:
        return _without_interval(concordance, f"{concordance.too_few}, no interval")
    if not 0 < concordance.value < 1 or concordance.standard_error < _NO_VARIATION:
        return _without_interval(concordance, "no variation, no interval")
    return concordance.interval()


def _without_interval(concordance: WithinFoldConcordance, reason: str) -> Estimate:
    error = concordance.standard_error
    return Estimate(concordance.value, np.nan, np.nan, error, 0.95, reason)


def _mean_and_sd(fold_c: dict[tuple[int, int], float]) -> tuple[float | None, float | None]:
    by_fold: dict[int, list[float]] = {}
    for (fold, _), value in fold_c.items():
        by_fold.setdefault(fold, []).append(value)
    means = [float(np.mean(values)) for values in by_fold.values()]
    if not means:
        return None, None
    return float(np.mean(means)), float(np.std(means, ddof=1)) if len(means) > 1 else None


def _score_model(run: Run, name: str, concordance: WithinFoldConcordance | None) -> ModelScore:
    records = run.successful_records(name)
    fold_c = {
        place: record_concordance(run, record)
        for place, record in records.items()
        if record.has_risk
    }
    mean, sd = _mean_and_sd(fold_c)
    details = [record.details for record in records.values()]
    first = [record.arrays for (_, seed), record in records.items() if seed == run.seeds[0]]
    increases = [d.get("memory_increase_bytes") for d in details]  # absent from earlier versions
    every = [r for (model, _, _), r in run.records.items() if model == name and r is not None]
    return ModelScore(
        model=name,
        n_done=len(records),
        n_planned=len(run.folds) * len(run.seeds),
        fold_c=fold_c,
        c_mean=mean,
        c_sd=sd,
        within_folds=_estimate(concordance),
        dice=_dice_of_patients(first),
        fit_seconds=_mean([d["fit_seconds"] for d in details]),
        predict_seconds=_mean([d["predict_seconds"] for d in details]),
        memory_increase=max((size for size in increases if size is not None), default=None),
        warnings=tuple(dict.fromkeys(text for r in every for text in r.details["warnings"])),
        index=run.index,
    )


def _dice_of_patients(arrays: Sequence[dict[str, np.ndarray]]) -> np.ndarray:
    """One value per patient, in the order of their first test: a mean where there are repeats."""
    of_patient: dict[str, list[float]] = {}
    for part in arrays:
        pairs = zip(part.get("dice_ids", []), part.get("dice", []), strict=True)
        for name, value in pairs:
            of_patient.setdefault(str(name), []).append(float(value))
    return np.array([np.mean(values) for values in of_patient.values()])


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None


def _compared(
    run: Run,
    score: ModelScore,
    concordance: WithinFoldConcordance | None,
    reference: WithinFoldConcordance,
) -> ModelScore:
    if score.model == run.reference or concordance is None or not run.complete(score.model):
        return score
    if too_few_tested(run):
        return score
    return replace(score, comparison=compare_within_folds(concordance, reference))


def _score_oracle(run: Run) -> ModelScore:
    risk = np.asarray(run.oracle_risk)
    tests = [test for _, test in run.folds]
    fold_c = {
        (fold, run.seeds[0]): concordance_index(run.outcome[test], risk[test], run.weights_of(test))
        for fold, test in enumerate(tests)
    }
    mean, sd = _mean_and_sd(fold_c)
    concordance = _pool(run, [(test, risk[test]) for test in tests])
    return ModelScore(
        model=ORACLE,
        n_done=len(tests),
        n_planned=len(tests),
        fold_c=fold_c,
        c_mean=mean,
        c_sd=sd,
        within_folds=_estimate(concordance),
        verdict="true risk: no model can be expected to rank better",
        index=run.index,
    )


def _verdict(run: Run, score: ModelScore) -> str:
    """Put the comparison with the reference into words."""
    failures = [r for r in run.failures if r.model == score.model and r.error is not None]
    if failures:
        error = failures[0].error or {}
        first = f"{error['type']}: {' '.join(error['message'].split())}"
        return f"FAILED in {len(failures)} of {score.n_planned} fits ({first})"
    if score.n_done < score.n_planned:
        return f"not finished: {score.n_done} of {score.n_planned} fits"
    words = []
    if score.model == run.reference:
        words.append("reference")
    elif score.comparison is not None:
        words.append(_against_reference(score, score.comparison, str(run.reference)))
    elif not score.fold_c:
        words.append("segments only: no risk to score")
    elif run.reference is not None and (scarce := too_few_tested(run)):
        words.append(f"not compared with {run.reference}: {scarce}")
    elif run.reference is not None and run.complete(run.reference):
        words.append(f"orders all pairs in the same way as {run.reference}")
    if score.within_folds is not None:
        words.append(_against_chance(score.within_folds))
    return "; ".join(word for word in words if word)


def _against_chance(concordance: Estimate) -> str:
    if np.isnan(concordance.lower):  # every comparison with NaN is false and would say nothing
        order = {0.0: ": every pair is ordered WRONGLY", 1.0: ": every pair is ordered rightly"}
        return f"no interval{order.get(concordance.value, '')}"
    if concordance.upper < 0.5:
        return "WORSE than chance (0.5)"
    return "" if concordance.lower > 0.5 else "not shown to be better than chance (0.5)"


def _against_reference(score: ModelScore, comparison: Comparison, reference: str) -> str:
    """Call a difference significant only if it also holds over folds, training included.

    A test of the fitted models alone is significant at 5 % in about one of ten runs on permuted
    outcomes.
    """
    place = "BELOW" if comparison.difference < 0 else "above"
    if score.p_adjusted is None or score.p_adjusted >= 0.05:
        words = "not significant"
    elif score.p_folds_adjusted is None:
        words = "significant for these fitted models, not tested over folds"
    elif score.p_folds_adjusted < 0.05:
        words = "significant"
    else:
        words = "significant for these fitted models, not over folds"
    return f"{place} {reference} (difference {words})"
