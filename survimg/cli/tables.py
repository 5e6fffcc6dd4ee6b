"""Scores of a run as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from survimg.benchmark import ModelScore

__all__ = ["score_record"]


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
