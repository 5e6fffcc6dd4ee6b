"""Tests of differences between models over folds, which allow for the choice of the split."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from survimg.benchmark.risk_groups import too_few_tested
from survimg.benchmark.run_folder import Run
from survimg.evaluation.estimates import Comparison
from survimg.evaluation.resampled_tests import corrected_resampled_t_test

__all__ = [
    "MIN_FOLDS",
    "FoldScores",
    "fold_comparison",
    "fold_tests",
    "mean_by_fold",
    "require_folds",
]

#: Folds below which differences between folds say too little about their own spread.
MIN_FOLDS = 5

#: (fold, seed) to the concordance index of that test fold: `ModelScore.fold_c`.
FoldScores = Mapping[tuple[int, int], float]


def fold_comparison(run: Run, first: FoldScores, second: FoldScores) -> Comparison:
    """Corrected resampled t test of two models' concordance indices over the folds.

    Seeds of one fold share its patients, so only their mean is used.

    Parameters
    ----------
    run : Run
    first, second : mapping
        Scores of models that have predicted every fold with every seed.

    Returns
    -------
    Comparison

    Raises
    ------
    ValueError
        As `require_folds`; a model that is not finished; no variation between folds.
    """
    require_folds(run)
    values = [mean_by_fold(run, scores) for scores in (first, second)]
    sizes = np.array([(train.size, test.size) for train, test in run.folds], dtype=np.float64)
    n_train, n_test = sizes.mean(axis=0)
    return corrected_resampled_t_test(*values, n_train=float(n_train), n_test=float(n_test))


def fold_tests(
    run: Run, others: Mapping[str, FoldScores], reference: FoldScores
) -> tuple[dict[str, Comparison], list[str]]:
    """Test the difference of each model from the reference over folds.

    Unlike an interval over patients, which is for the fitted models, this test allows for the
    variation of training.

    Parameters
    ----------
    run : Run
    others : mapping of str to mapping
        Model to its scores.
    reference : mapping

    Returns
    -------
    tests : dict of str to Comparison
        By model, those that could be tested; p values not corrected for their number.
    reasons : list of str
        A sentence for each model that could not be tested, or one for all.
    """
    if len(run.folds) < MIN_FOLDS:
        return {}, [f"No test over folds: {len(run.folds)} are fewer than {MIN_FOLDS}."]
    if scarce := too_few_tested(run):
        return {}, [f"No test over folds: there are {scarce}."]
    tests, reasons = {}, []
    for model, scores in others.items():
        try:
            tests[model] = fold_comparison(run, scores, reference)
        except ValueError as reason:
            reasons.append(f"No test over folds for {model}: {reason}")
    return tests, reasons


def mean_by_fold(run: Run, scores: FoldScores) -> np.ndarray:
    """C-index of each fold, the mean over seeds.

    Raises
    ------
    ValueError
        Folds or seeds are missing.
    """
    n_fits = len(run.folds) * len(run.seeds)
    if len(scores) < n_fits:
        raise ValueError(f"{len(scores)} of {n_fits} fits have predicted risks.")
    values: list[list[float]] = [[] for _ in run.folds]
    for (fold, _), value in scores.items():
        values[fold].append(value)
    return np.array([np.mean(v) for v in values])


def require_folds(run: Run) -> None:
    """Refuse a run with too few folds or events to test over folds.

    Raises
    ------
    ValueError
        Fewer than `MIN_FOLDS` folds or 10 events; of labels also fewer than 10 patients without.
    """
    if len(run.folds) < MIN_FOLDS:
        raise ValueError(
            f"Too few folds ({len(run.folds)}) to estimate how much models vary from fold to fold; "
            f"at least {MIN_FOLDS} are needed."
        )
    if scarce := too_few_tested(run):
        raise ValueError(f"There are {scarce}: too few to test over folds.")
