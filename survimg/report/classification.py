"""Table and ROC curves of classifiers, from their out-of-fold probabilities."""

from __future__ import annotations

from markupsafe import Markup

from survimg.benchmark.classification import classification_scores, out_of_fold
from survimg.benchmark.run_folder import Run
from survimg.evaluation.roc import status_roc_curve
from survimg.report.svg import CHANCE, COLOURS, DASHES, Plot, shortened
from survimg.report.table_formats import Table, interval_text, p_text

__all__ = ["classification_table", "roc_figure"]


def classification_table(run: Run) -> Table | None:
    """AUC, accuracy, sensitivity and specificity of each classifier; None without labels."""
    if run.label is None:
        return None
    scores = classification_scores(run)
    rows = []
    for score in scores:
        row = [score.model, interval_text(score.auc)]
        if run.reference:
            row += [interval_text(score.comparison), p_text(score.p_adjusted)]
        shares = (score.accuracy, score.sensitivity, score.specificity)
        rows.append((*row, *map(interval_text, shares)))
    header = ["Model", "AUC (95 % CI)"]
    header += [f"Difference to {run.reference} (95 % CI)", "p (Holm)"] if run.reference else []
    reasons = [f"{s.model}: {reason}" for s in scores for reason in s.reasons]
    return Table(
        "classification",
        f"Classification of {run.label}",
        (*header, "Accuracy (95 % CI)", "Sensitivity (95 % CI)", "Specificity (95 % CI)"),
        tuple(rows),
        " ".join([*_on_folds(run), *_on_weights(run), *reasons]),
    )


def _on_folds(run: Run) -> list[str]:
    """Say whose probabilities are evaluated, and with which thresholds, if there can be any."""
    tested = f"Tested: {run.counted(run.tested)}."
    intervals = "AUC: DeLong’s interval and paired test, given the fitted models."
    if len(run.repeats[0]) == 1:
        return [tested, "Probabilities of one test set, means over seeds.", intervals]
    return [
        tested,
        "Out-of-fold probabilities of all folds together, means over seeds and repeats.",
        intervals,
        "Threshold of a fold: Youden’s on the out-of-fold probabilities of the patients of the "
        "other folds; Wilson’s intervals.",
    ]


def _on_weights(run: Run) -> list[str]:
    """Say what of a weighted run is weighted, and which models were trained without weights."""
    if run.sample_weight is None:
        return []
    records = {name: run.successful_records(name).values() for name in run.models}
    without = [
        name
        for name, of_name in records.items()
        if of_name and not all(record.details.get("sample_weight") for record in of_name)
    ]
    weights = run.sample_weight
    return [
        f"Patients are weighted ({weights.min():.3g} to {weights.max():.3g}), in the columns of "
        "this table and in every AUC over pairs; calibration, decision curves and AUCs "
        "of all folds by sub-group are of the known labels, unweighted.",
        *([f"Trained without weights: {', '.join(without)}."] if without else []),
    ]


def roc_figure(run: Run) -> Markup | None:
    """Draw the ROC curves of all classifiers, first seed and first repeat; None without any."""
    curves = {}
    for name in run.models if run.label is not None else []:
        try:
            unit = out_of_fold(run, name)[0]
        except ValueError:  # the table says why
            continue
        weights = run.weights_of(unit.position)
        curve = status_roc_curve(run.outcome[unit.position], unit.probability, weights)
        curves[name] = curve
    if not curves:
        return None
    bottom = 40 + 13 * len(curves)
    plot = Plot(374, 330 + bottom, (0, 1), (0, 1.02), bottom=bottom)
    plot.line([0, 1], [0, 1], "figure-grey", dash=CHANCE)
    entries = []
    for k, (name, curve) in enumerate(curves.items()):
        colour, dash = COLOURS[k % len(COLOURS)], DASHES[k // len(COLOURS) % len(DASHES)]
        places = curve.false_positive_rate, curve.true_positive_rate
        title = f"{name}: AUC {curve.auc:.3f}"
        plot.line(*places, colour, 1.6, dash=dash, model=name, title=title)
        entries.append((f"{shortened(name, 30)} (AUC {curve.auc:.3f})", colour, dash))
    plot.x_axis("1 - specificity")
    plot.y_axis("sensitivity")
    plot.legend(plot.left, plot.height - bottom + 46, entries, list(curves))
    return plot.svg(f"ROC curves of {', '.join(curves)}")
