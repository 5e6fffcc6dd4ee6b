"""What a run does not show, in sentences."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

import numpy as np

from survimg.benchmark.run_folder import Run
from survimg.benchmark.scores import ORACLE, ModelScore
from survimg.report.parameters import ModelParameters, model_parameters
from survimg.report.table_formats import signed

__all__ = ["unsupported_statements"]


def unsupported_statements(
    run: Run, scores: Sequence[ModelScore], with_probabilities: Collection[str] = ()
) -> list[str]:
    """List conclusions that a reader might draw from the page but that the data do not support.

    Parameters
    ----------
    run : Run
    scores : sequence of ModelScore
    with_probabilities : collection of str, optional
        Models whose predicted probabilities are evaluated on the page.

    Returns
    -------
    list of str
    """
    sentences = list(run.plan["caveats"])
    parameters = model_parameters(run)
    for score in scores:
        sentences += _about_model(score, run.reference)
        if score.model in parameters:
            sentences += _about_training(parameters[score.model])
    sentences += _about_centres(run)
    sentences.append(
        f"How much a model would change if it were trained on other patients. The intervals cover "
        f"the choice of the test patients ({run.counted(run.tested)}), given the fitted models."
    )
    if len(run.seeds) == 1:
        sentences.append(
            f"How much a model varies with its random initialisation: one seed was used "
            f"({run.seeds[0]})."
        )
    index = "C-index" if run.label is None else "AUC"
    without = [s.model for s in scores if s.n_done and s.model not in {*with_probabilities, ORACLE}]
    if without:
        sentences.append(
            f"Whether predicted probabilities of {', '.join(without)} are right: the {index} "
            f"{'and the risk groups depend' if run.label is None else 'depends'} on the order of "
            "the patients only."
        )
    return sentences


def _about_model(score: ModelScore, reference: str | None) -> list[str]:
    sentences: list[str] = []
    if score.model == ORACLE or score.within_folds is None:
        return sentences
    if score.comparison is not None and not (score.p_adjusted or 0) < 0.05:
        gap = score.comparison
        better = "better" if gap.difference > 0 else "worse"
        sentences.append(
            f"That {score.model} ranks patients {better} than {reference}: the difference is "
            f"{signed(gap.difference)} (95 % interval {signed(gap.lower)} to {signed(gap.upper)}, "
            f"p = {score.p_adjusted:.2g})."
        )
    elif score.comparison is not None and not _over_folds(score):
        tested = (
            "no test over folds"
            if score.p_folds_adjusted is None
            else f"over folds p = {score.p_folds_adjusted:.2g}"
        )
        better = "better" if score.comparison.difference > 0 else "worse"
        sentences.append(
            f"That {score.model}, trained on other patients, ranks patients {better} than "
            f"{reference}: the difference is significant for these fitted models only ({tested})."
        )
    if math.isnan(score.within_folds.lower) and "fewer than" in score.within_folds.method:
        sentences.append(
            f"Whether {score.model} ranks patients better than chance or than others: its "
            f"{_index(score)} is {score.within_folds.value:.3f}, but there are "
            f"{score.within_folds.method}."
        )
    elif math.isnan(score.within_folds.lower):
        sentences.append(
            f"How far the {_index(score)} of {score.model} ({score.within_folds.value:.3f}) could "
            "be chance: its pairs of test patients do not vary, so there is no interval."
        )
    elif not score.within_folds.lower > 0.5:
        sentences.append(f"That {score.model} ranks patients better than chance.")
    return sentences


def _index(score: ModelScore) -> str:
    return "C-index" if score.index == "C" else score.index


def _over_folds(score: ModelScore) -> bool:
    """Whether the difference from the reference holds over folds, training included."""
    return score.p_folds_adjusted is not None and score.p_folds_adjusted < 0.05


def _about_training(model: ModelParameters) -> list[str]:
    return [
        f"What {model.model} can reach: its training was shortened to {length.name} = "
        f"{length.value}; the default of {length.estimator} is {length.default}."
        for length in model.shortened
    ]


def _about_centres(run: Run) -> list[str]:
    """Say whether test patients come from centres that the models have not seen."""
    n_centres = run.plan["cohort"]["n_groups"]
    if run.groups is None:
        of_centres = "" if n_centres is None else f" of {n_centres} centres"
        return [
            "How any of these models ranks patients of another hospital: training and test "
            f"patients come from the same cohort{of_centres}."
        ]
    mixed = [
        np.intersect1d(run.groups[train], run.groups[test]).size > 0 for train, test in run.folds
    ]
    if not any(mixed):
        return []
    return [
        "How any of these models ranks patients of a centre it has not seen: the cohort has "
        f"{n_centres} {'centre' if n_centres == 1 else 'centres'} (column group), the folds do not "
        f"separate them, and in {sum(mixed)} of {len(mixed)} folds patients of one centre are in "
        "both the training and the test part."
    ]
