"""What a run does not show, in sentences."""

from __future__ import annotations

from collections.abc import Sequence

from survimg.benchmark.run import Run
from survimg.benchmark.scores import ORACLE, ModelScore

__all__ = ["unsupported_statements"]


def unsupported_statements(run: Run, scores: Sequence[ModelScore]) -> list[str]:
    """List statements that a reader might take from the page and that the data do not support.

    Parameters
    ----------
    run : Run
    scores : sequence of ModelScore

    Returns
    -------
    list of str
    """
    sentences = list(run.plan["caveats"])
    for score in scores:
        sentences += _about_model(score, run.reference)
    n_events = int(run.outcome["event"].sum())
    sentences.append(
        "How any of these models ranks patients of another hospital: training and test patients "
        "come from the same cohort."
    )
    sentences.append(
        f"How much a model would change if it were trained on other patients. The intervals stand "
        f"for the choice of the {run.ids.size} test patients ({n_events} events), given the models "
        "that were fitted."
    )
    if len(run.seeds) == 1:
        sentences.append(
            f"How much a model varies from one random start to the next: one seed was run "
            f"({run.seeds[0]})."
        )
    sentences.append(
        "Whether predicted probabilities are right: the C-index and the risk groups judge the "
        "order of the patients only."
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
            f"{gap.difference:+.3f} (95 % interval {gap.lower:+.3f} to {gap.upper:+.3f}, p = "
            f"{score.p_adjusted:.2g})."
        )
    if not score.within_folds.lower > 0.5:
        sentences.append(f"That {score.model} ranks patients better than chance.")
    return sentences
