"""The scores of a run at a glance: a frame, or lines for a terminal, the best model first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from math import isnan
from os import PathLike
from typing import TYPE_CHECKING, Any

from survimg.benchmark.run_folder import Run, read_run
from survimg.benchmark.scores import ORACLE, ModelScore, score_run
from survimg.benchmark.tables import score_table

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Result", "leaderboard", "leaderboard_text", "ranked", "score_lines"]


class Result(Run):
    """A run that prints as its leaderboard; everything else as in `Run`.

    Examples
    --------
    ``print(result)`` shows the table of ``survimg summary``; ``result.leaderboard()`` is the frame.
    """

    @classmethod
    def read(cls, folder: str | PathLike[str]) -> Result:
        """Read the folder of a run, see `survimg.benchmark.read_run`."""
        run = read_run(folder)
        return cls(**{field.name: getattr(run, field.name) for field in fields(run)})

    def leaderboard(self) -> pd.DataFrame:
        """Return the frame of `survimg.benchmark.leaderboard`."""
        return leaderboard(self)

    def __str__(self) -> str:
        return leaderboard_text(self)

    def _repr_html_(self) -> str:
        return str(self.leaderboard().to_html(float_format="{:.3f}".format, na_rep=""))


def leaderboard(run: Run | str | PathLike[str]) -> pd.DataFrame:
    """Return the scores of a run, the best model first.

    Parameters
    ----------
    run : Run or path-like
        A run, or its folder.

    Returns
    -------
    DataFrame indexed by model
        ``c_mean`` and ``c_sd`` over folds; ``c_within_folds`` with ``c_lower95`` and ``c_upper95``;
        ``difference`` from the reference with its limits, ``p_holm`` and ``p_holm_folds``;
        ``dice_mean``; ``folds_done`` of ``folds_planned``; ``verdict`` in words. Models are ordered
        by ``c_mean``; those without one follow, then the oracle and the negative control. Of labels
        it is ``auc_mean``, and so on.

    Raises
    ------
    FileNotFoundError, ValueError
        As `survimg.benchmark.read_run`.
    """
    run = run if isinstance(run, Run) else read_run(run)
    table = score_table(ranked(score_run(run))).set_index("model")
    return table[[name for name in table if not str(name).startswith(("c_fold", "auc_fold"))]]


def leaderboard_text(run: Run) -> str:
    """Lay out the leaderboard with a line on patients and folds, for a terminal."""
    n_folds, n_seeds = len(run.folds), len(run.seeds)
    about = (
        f"{run.patients_in_words}; {n_folds} splits, {n_seeds} "
        f"{'seed' if n_seeds == 1 else 'seeds'}"
    )
    missing = len(run.missing)
    verb = "fit is" if missing == 1 else "fits are"
    unfinished = f"; {missing} {verb} missing" if missing else ""
    lines = score_lines(ranked(score_run(run)), run.published)
    return f"{run.folder}: {about}{unfinished}\n\n{lines}"


def ranked(scores: Sequence[ModelScore]) -> list[ModelScore]:
    """Order scores by mean C; the oracle and the negative control come last."""

    def place(score: ModelScore) -> tuple[bool, bool, float]:
        c = -1.0 if score.c_mean is None else score.c_mean
        return score.permuted, score.model == ORACLE, -c

    return sorted(scores, key=place)


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
    index = scores[0].index if scores else "C"
    rows = [["model", f"{index}, mean ± sd", f"{index} within folds, 95 %", "Dice"]]
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
