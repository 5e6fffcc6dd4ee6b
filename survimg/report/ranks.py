"""Average ranks of models over the folds, and pairwise tests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from survimg.benchmark.fold_tests import fold_comparison, mean_by_fold, require_folds
from survimg.benchmark.run_folder import Run
from survimg.benchmark.scores import ModelScore, holm

__all__ = ["RankSummary", "midranks", "rank_models"]


@dataclass(frozen=True)
class RankSummary:
    """Average ranks over the folds, and groups of models that do not differ significantly.

    Attributes
    ----------
    ranks : dict of str to float
        Model to average rank, best (lowest) first.
    p_values : dict of (str, str) to float
        Pair of models, in the order of `ranks`, to the Holm-corrected p value; 1 if both have the
        same scores.
    groups : tuple of tuple of str
        Models of neighbouring ranks of which no two differ at 5 %.
    n_folds : int
    """

    ranks: dict[str, float]
    p_values: dict[tuple[str, str], float]
    groups: tuple[tuple[str, ...], ...]
    n_folds: int


def rank_models(run: Run, scores: Mapping[str, ModelScore]) -> RankSummary:
    """Rank models within folds, and test every pair of them.

    Pairs are compared by Nadeau and Bengio's t test, which allows for the overlap of training
    sets, with Holm's correction for the number of pairs. Nemenyi's critical difference, the usual
    choice, treats folds as independent data sets, and its result for two models depends on
    which other models are compared (Benavoli et al.).

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
    require_folds(run)
    finished = {name: s for name, s in scores.items() if len(s.fold_c) == s.n_planned}
    if len(finished) < 3:
        raise ValueError(f"Ranks need at least three finished models; there are {len(finished)}.")
    values = np.array([mean_by_fold(run, score.fold_c) for score in finished.values()])
    # The highest C-index of a fold has rank 1.
    average = np.mean([midranks(fold) for fold in -values.T], axis=0)
    names = np.array(list(finished))[np.argsort(average, kind="stable")].tolist()
    ranks = dict(zip(names, np.sort(average, kind="stable").tolist(), strict=True))
    pairs = list(combinations(names, 2))
    adjusted = holm([_pair_p_value(run, finished[a], finished[b]) for a, b in pairs])
    p_values = dict(zip(pairs, adjusted, strict=True))
    return RankSummary(ranks, p_values, _groups(names, p_values), len(run.folds))


def _pair_p_value(run: Run, first: ModelScore, second: ModelScore) -> float:
    first_c, second_c = first.fold_c, second.fold_c
    if np.allclose(mean_by_fold(run, first_c), mean_by_fold(run, second_c), rtol=0, atol=1e-12):
        return 1.0
    return fold_comparison(run, first_c, second_c).p_value


def _groups(
    names: list[str], p_values: Mapping[tuple[str, str], float]
) -> tuple[tuple[str, ...], ...]:
    """Longest sequences of neighbours without a significant pair, at least two models each."""
    groups: list[tuple[str, ...]] = []
    reached = 0  # a sequence with the same end as an earlier one is part of it
    for start in range(len(names)):
        stop = start + 1
        while stop < len(names) and all(
            p_values[names[k], names[stop]] >= 0.05 for k in range(start, stop)
        ):
            stop += 1
        if stop - start > 1 and stop > reached:
            groups.append(tuple(names[start:stop]))
            reached = stop
    return tuple(groups)


def midranks(values: np.ndarray) -> np.ndarray:
    """Rank from 1; equal values get the mean of their ranks.

    As `scipy.stats.rankdata`, which takes longer to load than a report takes to be written.

    Parameters
    ----------
    values : ndarray of shape (n,)

    Returns
    -------
    ndarray of shape (n,), float64
    """
    _, level, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[level]
