"""Scores of classifiers over the folds of a run: AUC, accuracy, sensitivity, specificity."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from survimg.benchmark.run_folder import Run
from survimg.benchmark.scores import holm
from survimg.evaluation.estimates import Comparison, Estimate
from survimg.evaluation.risk_groups import learn_cutoff
from survimg.evaluation.roc import compare_status_auc, status_auc
from survimg.survival.distributions import normal_p_value, normal_quantile

__all__ = ["ClassificationScore", "OutOfFold", "classification_scores", "out_of_fold"]

_Z = normal_quantile(0.975)


@dataclass(frozen=True)
class OutOfFold:
    """Probabilities of all test patients of one seed and one repeat.

    Attributes
    ----------
    position : ndarray of shape (m,), int
        Positions of the patients in the run, in increasing order.
    probability : ndarray of shape (m,)
        Of the label, by the model that was trained without the patient.
    fold : ndarray of shape (m,), int
    """

    position: np.ndarray
    probability: np.ndarray
    fold: np.ndarray


@dataclass(frozen=True)
class ClassificationScore:
    """Scores of one classifier, each the mean over seeds and repeats.

    Attributes
    ----------
    model : str
    auc : Estimate or None
        Of the out-of-fold probabilities of all folds together, with DeLong's interval. Its error is
        the mean of the seeds' and repeats' errors, an upper bound of the error of their mean.
    comparison : Comparison or None
        Of the AUC with that of the reference, by DeLong's paired test.
    p_adjusted : float or None
        Corrected for the number of models (Holm).
    accuracy, sensitivity, specificity : Estimate or None
        At the thresholds, with Wilson's interval on the number of patients. Weighted, if the run
        is; thresholds are chosen without weights.
    thresholds : tuple of float
        Lowest and highest; empty without any.
    reasons : tuple of str
        Why values are None or without an interval.
    """

    model: str
    auc: Estimate | None = None
    comparison: Comparison | None = None
    p_adjusted: float | None = None
    accuracy: Estimate | None = None
    sensitivity: Estimate | None = None
    specificity: Estimate | None = None
    thresholds: tuple[float, ...] = ()
    reasons: tuple[str, ...] = ()


def classification_scores(run: Run) -> list[ClassificationScore]:
    """Score the classifiers of a run on the probabilities of all folds together.

    The threshold of a patient is Youden's on the out-of-fold probabilities of the patients of all
    other folds: neither the patient nor anybody tested beside them chooses it, and probabilities of
    training patients, which flatter, are not used.

    Parameters
    ----------
    run : Run
        Of labels.

    Returns
    -------
    list of ClassificationScore
        In the order of the models.
    """
    units, reasons = {}, {}
    for name in run.models:
        try:
            units[name] = out_of_fold(run, name)
        except ValueError as problem:
            reasons[name] = str(problem)
    scores = [
        _score(run, name, units[name])
        if name in units
        else ClassificationScore(name, reasons=(reasons[name],))
        for name in run.models
    ]
    reference = units.get(run.reference or "")
    if reference is None or run.clusters is not None:
        return scores
    compared = [
        s if s.model == run.reference else _compared(run, s, units.get(s.model), reference)
        for s in scores
    ]
    adjusted = iter(holm([s.comparison.p_value for s in compared if s.comparison is not None]))
    return [
        s if s.comparison is None else replace(s, p_adjusted=next(adjusted)) for s in compared
    ]


def out_of_fold(run: Run, model: str) -> list[OutOfFold]:
    """Probabilities of all test patients, seed by seed and repeat by repeat.

    Parameters
    ----------
    run : Run
        Of labels.
    model : str

    Returns
    -------
    list of OutOfFold

    Raises
    ------
    ValueError
        Folds without predictions, a model without probabilities, patients who are tested in several
        folds of a repeat.
    """
    records = run.successful_records(model)
    if len(records) < len(run.folds) * len(run.seeds):
        raise ValueError(
            f"{len(records)} of {len(run.folds) * len(run.seeds)} fits have predictions."
        )
    if not all("survival" in record.arrays for record in records.values()):
        raise ValueError("The model gives no probabilities, and scores of folds share no scale.")
    units = []
    for folds in run.repeats:
        position = np.concatenate([run.folds[fold][1] for fold in folds])
        if np.unique(position).size < position.size:
            raise ValueError("Patients are tested in several folds, which cannot be pooled.")
        fold_of = np.repeat(folds, [run.folds[fold][1].size for fold in folds])
        order = np.argsort(position)
        for seed in run.seeds:
            risk = np.concatenate([records[fold, seed].arrays["test_risk"] for fold in folds])
            units.append(OutOfFold(position[order], risk[order], fold_of[order]))
    return units


def _score(run: Run, model: str, units: list[OutOfFold]) -> ClassificationScore:
    reasons: list[str] = []
    auc = _auc(run, units, reasons)
    label = run.outcome["event"]
    correct, thresholds = [], []
    try:
        for unit in units:
            positive, cut = _decisions(run, unit)
            correct.append(positive == label[unit.position])
            thresholds += cut
    except ValueError as problem:
        reasons.append(f"No threshold: {problem}")
        return ClassificationScore(model, auc, reasons=tuple(reasons))
    truth = np.concatenate([label[unit.position] for unit in units])
    right = np.concatenate(correct)
    position = np.concatenate([unit.position for unit in units])
    weights = run.weights_of(position)
    weight = np.ones(right.size) if weights is None else weights
    shares = {
        name: _proportion(right[among], weight[among], len(units))
        for name, among in (
            ("accuracy", np.ones(truth.size, dtype=bool)),
            ("sensitivity", truth),
            ("specificity", ~truth),
        )
    }
    limits = (min(thresholds), max(thresholds))
    return ClassificationScore(
        model,
        auc,
        accuracy=shares["accuracy"],
        sensitivity=shares["sensitivity"],
        specificity=shares["specificity"],
        thresholds=limits,
        reasons=tuple(reasons),
    )


def _auc(run: Run, units: list[OutOfFold], reasons: list[str]) -> Estimate:
    from sklearn.metrics import roc_auc_score  # reports of survival models do without scikit-learn

    label = run.outcome["event"]
    value = np.mean(
        [
            roc_auc_score(
                label[u.position], u.probability, sample_weight=run.weights_of(u.position)
            )
            for u in units
        ]
    )
    error = np.nan
    if run.clusters is None:
        try:
            parts = [
                status_auc(
                    run.outcome[u.position], u.probability, sample_weight=run.weights_of(u.position)
                )
                for u in units
            ]
            error = float(np.mean([part.standard_error for part in parts]))
        except ValueError as problem:
            reasons.append(f"No interval: {problem}")
    else:
        reasons.append("No interval: DeLong's holds for one image of each patient.")
    lower, upper = np.clip([value - _Z * error, value + _Z * error], 0, 1)
    return Estimate(float(value), float(lower), float(upper), float(error), 0.95, "DeLong")


def _decisions(run: Run, unit: OutOfFold) -> tuple[np.ndarray, list[float]]:
    """Which patients are called positive, and the threshold of each fold."""
    if np.unique(unit.fold).size < 2:
        raise ValueError(
            "there is one fold, so that no other patients have out-of-fold probabilities."
        )
    positive = np.zeros(unit.position.size, dtype=bool)
    thresholds = []
    for fold in np.unique(unit.fold):
        inside = unit.fold == fold
        outcome = run.outcome[unit.position[~inside]]
        cutoff = learn_cutoff(outcome, unit.probability[~inside], "youden")
        positive[inside] = cutoff.high_risk(unit.probability[inside])
        thresholds.append(cutoff.threshold)
    return positive, thresholds


def _proportion(right: np.ndarray, weight: np.ndarray, n_units: int) -> Estimate:
    """Share with the interval of Wilson, J Am Stat Assoc 22:209-212, 1927.

    Of weighted patients the interval is of as many as have the same variance, (sum w)^2 / sum w^2
    (Kish, Survey Sampling, 1965, section 8.2).
    """
    share = float(np.average(right, weights=weight))
    n = float(weight.sum() ** 2 / np.sum(weight**2)) / n_units
    centre = (share + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
    half = _Z / (1 + _Z**2 / n) * float(np.sqrt(share * (1 - share) / n + _Z**2 / (4 * n**2)))
    return Estimate(share, centre - half, centre + half, half / _Z, 0.95, "Wilson")


def _compared(
    run: Run, score: ClassificationScore, units: list[OutOfFold] | None, reference: list[OutOfFold]
) -> ClassificationScore:
    if units is None or score.auc is None:
        return score
    try:
        parts = [
            compare_status_auc(
                run.outcome[one.position], one.probability, other.probability,
                sample_weight=run.weights_of(one.position),
            )
            for one, other in zip(units, reference, strict=True)
        ]
    except ValueError as problem:
        reason = f"Not compared with {run.reference}: {problem}"
        return replace(score, reasons=(*score.reasons, reason))
    first, second, d, error = np.mean(
        [[p.first, p.second, p.difference, p.standard_error] for p in parts], axis=0
    ).tolist()
    p_value = normal_p_value(d / error)
    comparison = Comparison(
        first, second, d, d - _Z * error, d + _Z * error, error, p_value, 0.95, "DeLong"
    )
    return replace(score, comparison=comparison)
