"""The tables of a report: scores, tests, negative control, published figures, centres, Dice."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from survimg.benchmark.fold_tests import fold_tests
from survimg.benchmark.risk_groups import too_few_tested
from survimg.benchmark.run_folder import Run
from survimg.benchmark.scores import ModelScore
from survimg.evaluation.estimates import LEAST_EVENTS
from survimg.report.probabilities import Probabilities
from survimg.report.ranks import RankSummary
from survimg.report.subgroups import Subgroups, concordance_of, statistics_of
from survimg.report.table_formats import (
    ABSENT,
    Table,
    interval_text,
    mean_and_sd,
    number,
    p_text,
    signed,
)

__all__ = [
    "centre_table",
    "control_table",
    "dice_table",
    "is_permuted",
    "probability_table",
    "published_table",
    "rank_table",
    "reference_table",
    "score_table",
    "split_control",
    "subgroup_table",
]

#: Ending of the name of a model that was trained and tested on permuted outcomes.
PERMUTED = "(permuted)"
#: Cohort of the papers' results, if a run does not name another one.
PUBLISHED_COHORT = "nasopharyngeal carcinoma"
_LEAST_AT_HORIZON = (
    f", of the AUC with fewer than {LEAST_EVENTS} events by that time or fewer than {LEAST_EVENTS} "
    "patients followed beyond it without the event"
)


def is_permuted(run: Run) -> bool:
    """Whether the whole run is a negative control, with permuted outcomes."""
    settings = run.plan["settings"]
    return bool(settings.get("permuted")) or str(settings.get("outcome")).startswith("PERMUTED")


def split_control(
    run: Run, scores: Sequence[ModelScore]
) -> tuple[list[ModelScore], list[ModelScore]]:
    """Separate the negative control from the models that are compared.

    The control are the scores that `score_run` marks as permuted, models named ``... (permuted)``,
    or, if the settings say ``permuted``, all models of the run.

    Returns
    -------
    ranked, control : list of ModelScore
        In a run on permuted outcomes every model is in both lists, the oracle in `ranked` only.
    """
    permuted = [score.permuted or score.model.endswith(PERMUTED) for score in scores]
    ranked = [score for score, apart in zip(scores, permuted, strict=True) if not apart]
    if is_permuted(run):
        return ranked, [score for score in scores if score.model in run.models]
    return ranked, [score for score, apart in zip(scores, permuted, strict=True) if apart]


def score_table(run: Run, scores: Sequence[ModelScore]) -> Table:
    """Lay out the main table, one row per model."""
    header = ["Model", f"{run.index}, mean ± sd of folds", f"{run.index} within folds (95 % CI)"]
    if run.reference:
        header += [f"Difference to {run.reference} (95 % CI)", "p (Holm)"]
    with_dice = any(score.dice.size for score in scores)
    rows = []
    for score in scores:
        row = [score.model, mean_and_sd(score.c_mean, score.c_sd)]
        row.append(interval_text(score.within_folds))
        if run.reference:
            row += [interval_text(score.comparison), p_text(score.p_adjusted)]
        if with_dice:
            row.append(_mean_dice(score.dice))
        rows.append(tuple(row))
    scarce = too_few_tested(run)
    return Table(
        "scores",
        "Concordance indices of the test patients"
        if run.label is None
        else "Areas under the ROC curve of the test patients",
        (*header, *(["Dice, mean ± sd"] if with_dice else [])),
        tuple(rows),
        f"Tested: {run.counted(run.tested)}; folds: {len(run.folds)}; seeds: "
        f"{', '.join(map(str, run.seeds))}. "
        + (
            f"No intervals and no tests: there are {scarce}."
            if scarce
            else "Intervals: infinitesimal jackknife over patients, given the fitted models."
        ),
    )


def reference_table(run: Run, scores: Sequence[ModelScore]) -> Table | None:
    """Both tests of each model against the reference; None if there is nothing to test.

    The first tests whether the difference holds for other patients, given the fitted models; the
    second whether it holds for other splits, training included.
    """
    reference = next((score for score in scores if score.model == run.reference), None)
    others = [
        score
        for score in scores
        if score.model in run.models and score is not reference and not _segments_only(score)
    ]
    if reference is None or not others:
        return None
    tests, sentences = fold_tests(run, {s.model: s.fold_c for s in others}, reference.fold_c)
    reasons = "".join(f" {sentence}" for sentence in sentences)
    over_folds = (
        f"Over folds: mean of the {len(run.folds)} folds' differences (seeds averaged), Nadeau and "
        "Bengio’s corrected resampled t test, which allows for the overlap of training sets. "
        if tests
        else ""
    )
    rows = tuple(
        (
            score.model,
            interval_text(score.comparison),
            p_text(score.p_adjusted),
            interval_text(tests.get(score.model)),
            p_text(score.p_folds_adjusted),
        )
        for score in others
    )
    return Table(
        "reference",
        f"Differences to {run.reference}",
        ("Model", "Over patients (95 % CI)", "p, patients", "Over folds (95 % CI)", "p, folds"),
        rows,
        f"No tests: there are {scarce}."
        if (scarce := too_few_tested(run))
        else "Over patients: pairs within folds, infinitesimal jackknife, given the fitted models. "
        f"{over_folds}p values are corrected for the number of models (Holm).{reasons}",
    )


def rank_table(summary: RankSummary) -> Table:
    """Average ranks, and the models from which each model differs."""
    rows = []
    for name, rank in summary.ranks.items():
        apart = [
            b if a == name else a
            for (a, b), p_value in summary.p_values.items()
            if name in (a, b) and p_value < 0.05
        ]
        rows.append((name, f"{rank:.2f}", ", ".join(apart) or "none"))
    return Table(
        "ranks",
        f"Average ranks over {summary.n_folds} folds",
        ("Model", "Average rank", "Differs at 5 % from"),
        tuple(rows),
        f"Rank 1 is the best model of a fold (seeds averaged). All {len(summary.p_values)} "
        "pairs: corrected resampled t test with Holm’s correction.",
    )


def control_table(control: Sequence[ModelScore]) -> Table | None:
    """Whether the interval of each model of the negative control contains 0.5."""
    if not control:
        return None
    rows = []
    for score in control:
        answer = {True: "yes", False: "no", None: "no interval"}[score.contains_chance]
        rows.append((score.model, interval_text(score.within_folds), answer))
    return Table(
        "negative_control",
        "Negative control: permuted outcomes",
        ("Model", f"{control[0].index} within folds (95 % CI)", "Interval contains 0.5"),
        tuple(rows),
        "Outcomes were permuted at random, so nothing can be learned. An interval "
        "above 0.5 suggests a leak from test to training. By chance, about one interval in "
        "ten does not contain 0.5, because the folds share one set of permuted outcomes.",
    )


def published_table(run: Run, scores: Sequence[ModelScore]) -> Table | None:
    """Results of the papers beside those of this run.

    Returns
    -------
    Table or None
        None if the run has no published results of its models.
    """
    published: Mapping[str, Mapping[str, Any]] = run.plan.get("published") or {}
    by_model = {score.model: score for score in scores}
    if not published or is_permuted(run):
        return None
    with_test = any(row.get("test_c_index") is not None for row in published.values())
    with_dice = any(row.get("dice") is not None for row in published.values())
    rows = []
    for model, row in published.items():
        score = by_model.get(model)
        cells = [model, ABSENT if score is None else mean_and_sd(score.c_mean, score.c_sd)]
        cells.append(mean_and_sd(row.get("c_index"), row.get("sd")))
        cells += [number(row.get("test_c_index"))] if with_test else []
        if with_dice:
            our_dice = ABSENT if score is None else _mean_dice(score.dice)
            cells += [our_dice, number(row.get("dice"))]
        rows.append((*cells, str(row.get("source") or ABSENT)))
    cohort = next((row["cohort"] for row in published.values() if "cohort" in row), None)
    where = str(cohort or PUBLISHED_COHORT)
    header = ["Model", "C here", f"C in the paper ({where})"]
    header += [f"C in the paper, test cohort ({where})"] if with_test else []
    header += ["Dice here", f"Dice in the paper ({where})"] if with_dice else []
    return Table(
        "published",
        "Results of the papers, on another cohort",
        (*header, "Source"),
        tuple(rows),
        f"The papers used other patients ({where}), with another endpoint and follow-up, and "
        "the C-index depends on all of these. Therefore do not subtract the two columns: neither "
        "confirms or refutes the other.",
    )


def centre_table(run: Run, scores: Sequence[ModelScore]) -> Table | None:
    """Concordance of each model within each centre; None without at least two tested centres.

    A pair counts if one fit has predicted both patients and both come from the centre. Centres
    without test patients are left out.
    """
    centres = [] if run.groups is None else np.unique(run.groups[run.tested]).tolist()
    if run.groups is None or len(centres) < 2:
        return None
    models = [score.model for score in scores if score.model in run.models and score.fold_c]
    if not models:
        return None
    event, centre_of = run.outcome["event"][run.tested], run.groups[run.tested]
    rows = []
    for centre in [*centres, None]:
        inside = centre_of == centre if centre is not None else np.ones(event.size, dtype=bool)
        cells = [interval_text(concordance_of(run, m, run.groups, centre)) for m in models]
        name = "all pairs within a centre" if centre is None else str(centre)
        rows.append((name, str(int(inside.sum())), str(int(event[inside].sum())), *cells))
    return Table(
        "centres",
        "C-index within centres" if run.label is None else "AUC within centres",
        ("Centre", "Patients", "Events" if run.label is None else "Positive", *models),
        tuple(rows),
        f"{run.index} with 95 % interval over pairs of test patients of the same fold and "
        f"centre; {ABSENT} without a comparable pair, no interval with {_least(run.label)}, or "
        "without variation.",
    )


def subgroup_table(
    column: str, results: Sequence[Subgroups], horizon: str, label: str | None = None
) -> Table:
    """Lay out C and AUC of each model in each level of a clinical column; of labels both AUCs."""
    first, second = statistics_of(label)
    rows = [
        (
            part.model,
            level.name,
            str(level.n_patients),
            str(level.n_events),
            interval_text(level.concordance),
            p_text(part.p_concordance),
            interval_text(level.auc),
            p_text(part.p_auc),
        )
        for part in results
        for level in part.levels
    ]
    return Table(
        f"subgroups_{re.sub(r'[^A-Za-z0-9._-]', '_', column)}",
        f"Sub-groups by {column}",
        (
            "Model",
            column,
            "Patients",
            "Events" if label is None else "Positive",
            f"{'C within folds' if label is None else first} (95 % CI)",
            f"p, interaction of {first}",
            f"{f'AUC at {horizon}' if label is None else second} (95 % CI)",
            f"p, interaction of {second}",
        ),
        tuple(rows),
        f"{first}: pairs of test patients of the same fold and level. {second}: predicted "
        f"probabilities of all test patients together, "
        f"{'weighted for censoring' if label is None else 'unweighted'}. Interaction: test that "
        "the value is the same in all levels (Cochran’s Q on the logit scale), not corrected for "
        f"the number of models and columns. No interval{' of C' if label is None else ''} with "
        f"{_least(label)}{_LEAST_AT_HORIZON if label is None else ''}. Small groups differ by "
        "chance: take what is found here as a question for other patients.",
    )


def _least(label: str | None) -> str:
    """Say below which numbers there is no interval."""
    if label is None:
        return f"fewer than {LEAST_EVENTS} events"
    return f"fewer than {LEAST_EVENTS} patients with {label} or fewer than {LEAST_EVENTS} without"


def dice_table(scores: Sequence[ModelScore]) -> Table | None:
    """Distribution of the Dice coefficient over test patients; None if no model segments."""
    rows = []
    for score in scores:
        if not score.dice.size:
            continue
        lower, median, upper = np.quantile(score.dice, (0.25, 0.5, 0.75))
        rows.append(
            (
                score.model,
                str(score.dice.size),
                _mean_dice(score.dice),
                f"{median:.3f} ({lower:.3f} to {upper:.3f})",
                number(float(score.dice.min())),
                str(int(np.count_nonzero(score.dice == 0))),
            )
        )
    header = ("Model", "Patients", "Mean ± sd", "Median (quartiles)", "Lowest", "Tumours missed")
    note = "Each test patient with a tumour once, first seed. Missed: no common voxel, Dice 0."
    return Table("dice", "Dice coefficient of test patients", header, tuple(rows), note) if rows \
        else None


def probability_table(models: Sequence[Probabilities], when: str) -> Table | None:
    """Accuracy and calibration of the predicted probabilities; None if no model has any."""
    if not models:
        return None
    rows = tuple(
        (
            p.model,
            f"{p.n_events} of {p.n_patients}",
            number(p.brier),
            signed(p.accuracy),
            ABSENT if p.smooth is None else number(p.smooth.ici),
            p_text(p.p_value),
        )
        for p in models
    )
    return Table(
        "probabilities",
        f"Predicted probabilities {when}",
        ("Model", "Events", "Brier score", "Prediction accuracy", "Calibration index", "p"),
        rows,
        "Brier score: lower is better. Index of prediction accuracy: share by which the Brier "
        "score is better than that of the Kaplan–Meier estimate without covariates; below 0 is "
        "worse. Integrated calibration index: mean distance of predicted from observed "
        "probability. p: Greenwood–Nam–D’Agostino test; small values speak against calibration.",
    )


def _segments_only(score: ModelScore) -> bool:
    """Whether a model has finished fits, but no risks."""
    return bool(score.n_done) and not score.fold_c


def _mean_dice(dice: np.ndarray) -> str:
    if not dice.size:
        return ABSENT
    return mean_and_sd(float(dice.mean()), float(dice.std(ddof=1)) if dice.size > 1 else None)
