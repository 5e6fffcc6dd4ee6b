"""Which models can be told apart over the folds: average ranks and pairwise tests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy import stats

from survimg.benchmark.run import Run
from survimg.benchmark.scores import ModelScore, holm
from survimg.evaluation.estimates import Comparison
from survimg.evaluation.resampled_tests import corrected_resampled_t_test

__all__ = ["MIN_FOLDS", "RankSummary", "fold_comparison", "rank_models"]

#: Folds below which differences between folds say too little about their own spread.
MIN_FOLDS = 5


@dataclass(frozen=True)
class RankSummary:
    """Average ranks over the folds, and sets of models that are not told apart.

    Attributes
    ----------
    ranks : dict of str to float
        Model to average rank, best (lowest) first.
    p_values : dict of (str, str) to float
        Both models of every pair, in the order of `ranks`, to the Holm-corrected p value; 1 where
        the two have the same scores.
    groups : tuple of tuple of str
        Largest runs of neighbours in rank of which no two differ at 5 %.
    n_folds : int
    """

    ranks: dict[str, float]
    p_values: dict[tuple[str, str], float]
    groups: tuple[tuple[str, ...], ...]
    n_folds: int


def fold_comparison(run: Run, first: ModelScore, second: ModelScore) -> Comparison:
    """Corrected resampled t test of two models' concordance indices over the folds.

    Seeds of one fold share its patients and are no further sample of them: their mean counts once.

    Parameters
    ----------
    run : Run
    first, second : ModelScore
        Of models that have predicted every fold with every seed.

    Returns
    -------
    Comparison

    Raises
    ------
    ValueError
        Fewer than `MIN_FOLDS` folds; a model that is not finished; no variation between folds.
    """
    _require_folds(run)
    values = [_by_fold(run, score) for score in (first, second)]
    sizes = np.array([(train.size, test.size) for train, test in run.folds], dtype=np.float64)
    n_train, n_test = sizes.mean(axis=0)
    return corrected_resampled_t_test(*values, n_train=float(n_train), n_test=float(n_test))


def rank_models(run: Run, scores: Mapping[str, ModelScore]) -> RankSummary:
    """Rank models within folds, and test every pair of them.

    Pairs are compared by Nadeau and Bengio's t test, which allows for the overlap of training
    sets, with Holm's correction for the number of pairs. Nemenyi's critical difference, the usual
    choice, takes folds for independent data sets and makes the verdict on two models depend on
    which others take part (Benavoli et al.).

    Parameters
    ----------
    run : Run
    scores : mapping of str to ModelScore
        At least three finished models.

    Returns
    -------
    RankSummary

    Raises
    ------
    ValueError
        Fewer than three finished models or than `MIN_FOLDS` folds.

    References
    ----------
    .. [1] Demšar J. J Mach Learn Res 2006;7:1-30.
    .. [2] Benavoli A, Corani G, Mangili F. J Mach Learn Res 2016;17(5):1-10.
    """
    _require_folds(run)
    finished = {name: s for name, s in scores.items() if len(s.fold_c) == s.n_planned}
    if len(finished) < 3:
        raise ValueError(f"Ranks need at least three finished models; there are {len(finished)}.")
    values = np.array([_by_fold(run, score) for score in finished.values()])
    average = stats.rankdata(-values, axis=0).mean(axis=1)  # the highest C-index has rank 1
    names = np.array(list(finished))[np.argsort(average, kind="stable")].tolist()
    ranks = dict(zip(names, np.sort(average, kind="stable").tolist(), strict=True))
    pairs = list(combinations(names, 2))
    adjusted = holm([_pair_p_value(run, finished[a], finished[b]) for a, b in pairs])
    p_values = dict(zip(pairs, adjusted, strict=True))
    return RankSummary(ranks, p_values, _groups(names, p_values), len(run.folds))


def _require_folds(run: Run) -> None:
    if len(run.folds) < MIN_FOLDS:
        raise ValueError(
            f"Too few folds ({len(run.folds)}) to judge how much models vary from fold to fold; at "
            f"least {MIN_FOLDS} are needed."
        )


def _by_fold(run: Run, score: ModelScore) -> np.ndarray:
    """C-index of each fold, the mean over seeds."""
    if len(score.fold_c) < score.n_planned:
        raise ValueError(f"{len(score.fold_c)} of {score.n_planned} fits have predicted risks.")
    values: list[list[float]] = [[] for _ in run.folds]
    for (fold, _), value in score.fold_c.items():
        values[fold].append(value)
    return np.array([np.mean(v) for v in values])


def _pair_p_value(run: Run, first: ModelScore, second: ModelScore) -> float:
    if np.allclose(_by_fold(run, first), _by_fold(run, second), rtol=0, atol=1e-12):
        return 1.0
    return fold_comparison(run, first, second).p_value


def _groups(
    names: list[str], p_values: Mapping[tuple[str, str], float]
) -> tuple[tuple[str, ...], ...]:
    """Longest runs of neighbours without a significant pair, at least two models each."""
    found: list[tuple[str, ...]] = []
    reached = 0  # a run that ends where an earlier one did lies inside it
    for start in range(len(names)):
        stop = start + 1
        while stop < len(names) and all(
            p_values[names[k], names[stop]] >= 0.05 for k in range(start, stop)
        ):
            stop += 1
        if stop - start > 1 and stop > reached:
            found.append(tuple(names[start:stop]))
            reached = stop
    return tuple(found)
