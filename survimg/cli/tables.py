"""Scores of a run, for a terminal and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isnan
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from survimg.benchmark import ModelScore

__all__ = ["score_lines", "score_record"]


def score_lines(
    scores: Sequence[ModelScore], published: Mapping[str, Mapping[str, Any]]
) -> str:
    """Lay out the scores, with results of a paper, marked as those of another cohort.

    Parameters
    ----------
    scores : sequence of ModelScore
    published : mapping of str to mapping
        See `survimg.benchmark.run_benchmark`.
    """
    rows = [["model", "C, mean ± sd", "C within folds, 95 %", "Dice"]]
    rows += [_cells(score) for score in scores]
    if published:
        rows[0].append("paper, ANOTHER COHORT")
        for row, score in zip(rows[1:], scores, strict=True):
            row.append(_reported(published.get(score.model)))
    rows[0].append("result")
    for row, score in zip(rows[1:], scores, strict=True):
        row.append(score.verdict)
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    lines = [
        "  ".join([*(cell.ljust(w) for cell, w in zip(row, widths, strict=False)), row[-1]])
        for row in rows
    ]
    sources = sorted({str(numbers["source"]) for numbers in published.values()})
    if sources:
        lines.append(f"Paper: {'; '.join(sources)}. Not comparable: other patients, other images.")
    return "\n".join(lines) + "\n"


def score_record(score: ModelScore) -> dict[str, Any]:
    """Return the score of one model as names and numbers; missing values are None."""
    interval, compared = score.within_folds, score.comparison
    return {
        "model": score.model,
        "c_mean": score.c_mean,
        "c_sd": score.c_sd,
        "c_within_folds": None if interval is None else interval.value,
        "lower95": None if interval is None else interval.lower,
        "upper95": None if interval is None else interval.upper,
        "difference_to_reference": None if compared is None else compared.difference,
        "p_holm": score.p_adjusted,
        "dice_mean": float(score.dice.mean()) if score.dice.size else None,
        "fits_done": score.n_done,
        "fits_planned": score.n_planned,
        "verdict": score.verdict,
    }


def _cells(score: ModelScore) -> list[str]:
    interval = score.within_folds
    mean = "-" if score.c_mean is None else f"{score.c_mean:.3f}"
    spread = "" if score.c_sd is None else f" ± {score.c_sd:.3f}"
    within = "-"
    if interval is not None:
        limits = f"{interval.lower:.3f}-{interval.upper:.3f}"
        within = f"{interval.value:.3f} ({'no interval' if isnan(interval.lower) else limits})"
    dice = f"{score.dice.mean():.2f}" if score.dice.size else "-"
    return [score.model, mean + spread, within, dice]


def _reported(numbers: Mapping[str, Any] | None) -> str:
    if numbers is None:
        return "-"
    words = []
    if numbers.get("c_index") is not None:
        sd = numbers.get("sd")
        words.append(f"C {numbers['c_index']:.3f}" + ("" if sd is None else f" ± {sd:.3f}"))
    if numbers.get("test_c_index") is not None:
        words.append(f"test C {numbers['test_c_index']:.3f}")
    if numbers.get("dice") is not None:
        words.append(f"Dice {numbers['dice']:.2f}")
    return ", ".join(words) or "-"
