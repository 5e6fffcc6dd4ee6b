"""Scores of a run as JSON, and those of its classifiers as text too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from survimg.benchmark import ModelScore, Run

__all__ = ["classification_lines", "classification_records", "score_record"]


def score_record(score: ModelScore) -> dict[str, Any]:
    """Return the score of one model as names and numbers; missing values are None."""
    interval, compared = score.within_folds, score.comparison
    c = score.index.lower()
    return {
        "model": score.model,
        f"{c}_mean": score.c_mean,
        f"{c}_sd": score.c_sd,
        f"{c}_within_folds": None if interval is None else interval.value,
        "lower95": None if interval is None else interval.lower,
        "upper95": None if interval is None else interval.upper,
        "difference_to_reference": None if compared is None else compared.difference,
        "p_holm": score.p_adjusted,
        "dice_mean": float(score.dice.mean()) if score.dice.size else None,
        "fits_done": score.n_done,
        "fits_planned": score.n_planned,
        "verdict": score.verdict,
    }


def classification_lines(run: Run) -> str:
    """Lay out AUC, accuracy, sensitivity and specificity of a run of labels, for a terminal."""
    from survimg.report.classification import classification_table

    table = classification_table(run)
    assert table is not None
    rows = [table.header, *table.rows]
    widths = [max(len(row[k]) for row in rows) for k in range(len(table.header))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    return "\n".join([table.title, *lines]) + "\n"


def classification_records(run: Run) -> list[dict[str, Any]]:
    """Return AUC, accuracy, sensitivity and specificity of each classifier; see the report."""
    from survimg.benchmark.classification import classification_scores

    rows = []
    for score in classification_scores(run):
        row: dict[str, Any] = {"model": score.model, "label": run.label}
        for name in ("auc", "accuracy", "sensitivity", "specificity"):
            estimate = getattr(score, name)
            there = estimate is not None
            row[name] = estimate.value if there else None
            row[f"{name}_lower95"] = estimate.lower if there else None
            row[f"{name}_upper95"] = estimate.upper if there else None
        test = score.comparison
        row["difference_to_reference"] = None if test is None else test.difference
        rows.append({**row, "p_holm": score.p_adjusted, "undefined": " ".join(score.reasons)})
    return rows
