"""Table and ROC curves of classifiers, from their out-of-fold probabilities."""

from __future__ import annotations

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.figure import Figure

from survimg.benchmark.classification import classification_scores, out_of_fold
from survimg.benchmark.run_folder import Run
from survimg.evaluation import plots
from survimg.evaluation.roc import status_roc_curve
from survimg.report.figures import shortened
from survimg.report.svg import STYLE, mark, mark_legend, svg
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
    positives = int(run.outcome["event"].sum())
    reasons = [f"{s.model}: {reason}" for s in scores for reason in s.reasons]
    return Table(
        "classification",
        f"Classification of {run.label}",
        (*header, "Accuracy (95 % CI)", "Sensitivity (95 % CI)", "Specificity (95 % CI)"),
        tuple(rows),
        f"Patients: {run.ids.size}; with {run.label}: {positives}. Out-of-fold probabilities of "
        "all folds together, means over seeds and repeats. AUC: DeLong’s interval and paired test, "
        "given the fitted models. Threshold of a fold: Youden’s on the out-of-fold probabilities "
        "of the patients of the other folds; Wilson’s intervals. "
        + " ".join([*_on_weights(run), *reasons]),
    )


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
        "this table and in every AUC over pairs; calibration, decision curves and AUCs of "
        "sub-groups are of the known labels, unweighted.",
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
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(5.2, 5.2), layout="constrained")
        axes = figure.subplots()
        plots.plot_roc_curves(curves, axes)
        legend = axes.legend(frameon=False, loc="lower right")
        for line, label, (name, curve) in zip(
            axes.lines[:-1], legend.get_texts(), curves.items(), strict=True
        ):  # the last line is the diagonal
            mark(line, f"{name}: AUC {curve.auc:.3f}", model=name)
            label.set_text(f"{shortened(name, 30)} (AUC {curve.auc:.3f})")
        mark_legend(legend, curves)
    return svg(figure, f"ROC curves of {', '.join(curves)}")
