"""Pairs of models that a paper compares, beside the same comparisons here."""

from __future__ import annotations

from dataclasses import dataclass, replace

from survimg.benchmark.fold_tests import fold_tests
from survimg.benchmark.risk_groups import too_few_tested
from survimg.benchmark.run_folder import Run
from survimg.benchmark.scores import holm, score_models
from survimg.evaluation.estimates import Comparison
from survimg.report.table_formats import ABSENT, Table, interval_text, p_text, signed

__all__ = ["pair_table"]


@dataclass(frozen=True)
class _Pair:
    over_patients: Comparison | None
    over_folds: Comparison | None
    reasons: list[str]  # why there is no test over folds


def pair_table(run: Run) -> Table | None:
    """Lay out both tests of each pair of the run; None if it has none.

    Parameters
    ----------
    run : Run

    Returns
    -------
    Table or None
        The difference is that of the first model from the second; p values are corrected for the
        number of pairs (Holm).
    """
    if not run.pairs:
        return None
    tests = [_test_pair(run, first, second) for first, second in run.pairs]
    over_patients = _adjusted([test.over_patients for test in tests])
    over_folds = _adjusted([test.over_folds for test in tests])
    rows = tuple(
        (
            f"{first} – {second}",
            _published_gap(run, first, second),
            interval_text(test.over_patients),
            p_text(p_patients),
            interval_text(test.over_folds),
            p_text(p_folds),
        )
        for (first, second), test, p_patients, p_folds in zip(
            run.pairs, tests, over_patients, over_folds, strict=True
        )
    )
    reasons = dict.fromkeys(reason for test in tests for reason in test.reasons)
    return Table(
        "pairs",
        "Pairs of models",
        (
            "Pair", "In the paper", "Over patients (95 % CI)", "p, patients",
            "Over folds (95 % CI)", "p, folds",
        ),
        rows,
        f"{run.index} of the first model less that of the second. In the paper: the difference of "
        "its two numbers, of other patients. "
        + (
            f"No tests: there are {scarce}."
            if (scarce := too_few_tested(run))
            else "The two tests are those of the table of differences. Both p are corrected for "
            f"the number of pairs (Holm).{''.join(f' {reason}' for reason in reasons)}"
        ),
    )  # fmt: skip


def _test_pair(run: Run, first: str, second: str) -> _Pair:
    pair = replace(run, plan={**run.plan, "models": [first, second], "reference": second})
    scores = {score.model: score for score in score_models(pair)}
    name = f"{first} – {second}"  # either may be the one that is not finished
    tests, reasons = fold_tests(run, {name: scores[first].fold_c}, scores[second].fold_c)
    return _Pair(scores[first].comparison, tests.get(name), reasons)


def _adjusted(comparisons: list[Comparison | None]) -> list[float | None]:
    """Holm's correction over the pairs that could be tested."""
    adjusted = iter(holm([test.p_value for test in comparisons if test is not None]))
    return [None if test is None else next(adjusted) for test in comparisons]


def _published_gap(run: Run, first: str, second: str) -> str:
    a, b = (run.published.get(name, {}).get("c_index") for name in (first, second))
    return ABSENT if a is None or b is None else signed(a - b)
