"""Figures show what they were given, in the axes they were given."""

from __future__ import annotations

import subprocess
import sys

import matplotlib as mpl
import numpy as np
import pytest

mpl.use("Agg")
from drawn_outcomes import draw_outcome
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

import survimg.evaluation as ev
from survimg.evaluation import Nomogram, plots
from survimg.evaluation.plots import plot_nomogram


@pytest.fixture
def ax():
    return Figure(figsize=(6, 5), layout="constrained").subplots()


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    y = draw_outcome(rng, 120)
    return y, rng.normal(size=120)


def texts(ax) -> str:
    return " ".join(t.get_text() for t in ax.texts)


def rendered(ax) -> None:
    FigureCanvasAgg(ax.figure).draw()


def test_kaplan_meier_with_numbers_at_risk(ax, data):
    y, risk = data
    high = risk > 0
    labels = {True: "high", False: "low"}
    assert plots.plot_kaplan_meier(y, high, ax, time_label="Months", labels=labels) is ax
    rendered(ax)
    curve = ev.kaplan_meier(y[high])
    drawn = next(line for line in ax.lines if line.get_label() == "high")
    np.testing.assert_allclose(drawn.get_ydata()[1:], curve.survival)
    at_risk = f"{curve.number_at_risk(ax.get_xticks()[1])[0]:.0f}"
    assert at_risk in texts(ax).split()
    assert "log-rank p" in texts(ax)
    assert ax.get_xlabel() == "Months"


def test_the_log_rank_test_is_stratified_on_request(ax, data):
    y, risk = data
    strata = np.arange(y.size) % 3
    plots.plot_kaplan_meier(y, risk > 0, ax, strata=strata)
    expected = ev.logrank_test(y, risk > 0, strata).p_value
    assert f"log-rank p = {expected:.3f}" in texts(ax)
    apart = Figure().subplots()
    plots.plot_kaplan_meier(y, risk > 0, apart, strata=risk > 0)  # no stratum holds both groups
    assert "log-rank p undefined" in texts(apart)


def test_roc_auc_calibration_and_decision_curves(ax, data):
    y, risk = data
    figure = Figure(layout="constrained")
    axes = figure.subplots(2, 2).ravel()
    roc = ev.status_roc_curve(y, risk)
    assert plots.plot_roc_curves({"model": roc}, axes[0]) is axes[0]
    np.testing.assert_array_equal(axes[0].lines[0].get_ydata(), roc.true_positive_rate)
    auc = ev.cumulative_dynamic_auc(y, y, risk, [0.3, 0.6])
    assert plots.plot_auc_over_time({"model": auc}, axes[1]) is axes[1]
    np.testing.assert_array_equal(axes[1].lines[0].get_ydata(), auc.auc)
    survival = np.exp(-0.5 * np.exp(0.2 * risk))
    groups = ev.calibration_groups(y, survival, 0.5, 4)
    smooth = ev.integrated_calibration_index(y, survival, 0.5)
    assert plots.plot_calibration(groups, axes[2], smooth=smooth) is axes[2]
    np.testing.assert_array_equal(axes[2].lines[0].get_ydata(), groups.observed)
    curve = ev.decision_curve(y, 1 - survival, 0.5, np.linspace(0.1, 0.5, 9))
    assert plots.plot_decision_curve({"model": curve}, axes[3]) is axes[3]
    np.testing.assert_array_equal(axes[3].lines[0].get_ydata(), curve.net_benefit)
    figure.canvas.draw()


@pytest.mark.parametrize("kind", ["roc", "auc", "decision", "kaplan_meier"])
def test_each_of_many_lines_has_its_own_look_and_the_legend_covers_none(data, kind):
    y, risk = data
    names, rng = [f"model {k}" for k in range(9)], np.random.default_rng(3)
    risks = {name: risk + rng.normal(size=risk.size) for name in names}
    ax = Figure(figsize=(9, 5), layout="constrained").subplots()
    if kind == "roc":
        plots.plot_roc_curves({n: ev.status_roc_curve(y, r) for n, r in risks.items()}, ax)
    elif kind == "auc":
        auc = {n: ev.cumulative_dynamic_auc(y, y, r, [0.3, 0.6]) for n, r in risks.items()}
        plots.plot_auc_over_time(auc, ax)
    elif kind == "decision":
        curve = ev.decision_curve(y, np.exp(-np.exp(risk)), 0.5, np.linspace(0.1, 0.5, 9))
        plots.plot_decision_curve(dict.fromkeys(names, curve), ax)
    else:
        plots.plot_kaplan_meier(y, np.array(names)[np.arange(y.size) % 9], ax)
    rendered(ax)
    drawn = [line for line in ax.lines if line.get_label() in names or "AUC" in line.get_label()]
    looks = {(line.get_color(), line.get_linestyle()) for line in drawn}
    assert len(drawn) == len(looks) == 9
    legend, axes = ax.get_legend().get_window_extent(), ax.get_window_extent()
    assert axes.x1 <= legend.x0 < legend.x1 <= ax.figure.bbox.x1


def test_lines_that_could_not_be_told_apart_are_refused(ax, data):
    roc = ev.status_roc_curve(*data)
    with pytest.raises(ValueError, match="29 lines .* at most 28"):
        plots.plot_roc_curves({str(k): roc for k in range(29)}, ax)


def test_forest_plot_writes_estimates_and_differences(ax, data):
    y, risk = data
    noisy = risk + np.random.default_rng(1).normal(size=risk.size)
    estimates = {
        name: ev.concordance_index(y, r, confidence_interval="analytic")
        for name, r in {"A": risk, "B": noisy}.items()
    }
    differences = {"B": ev.compare_concordance(y, noisy, risk)}
    assert plots.plot_concordance_forest(estimates, ax, differences=differences) is ax
    rendered(ax)
    assert f"{estimates['A'].value:.3f}" in texts(ax)
    assert str(differences["B"]) in texts(ax)
    assert [t.get_text() for t in ax.get_yticklabels()] == ["A", "B"]


def test_nomogram_reads_like_the_model(ax, data):
    y, risk = data
    X = np.column_stack([risk, -2 * np.random.default_rng(2).normal(size=risk.size)])
    fit = ev.fit_cox(y, X, names=["score", "stage"])
    ranges = {name: (X[:, k].min(), X[:, k].max()) for k, name in enumerate(fit.names)}
    nomogram = Nomogram(fit, ranges)
    points = [nomogram.points(name, ranges[name]) for name in fit.names]
    assert max(p.max() for p in points) == pytest.approx(100)
    assert min(p.min() for p in points) == pytest.approx(0)
    total = nomogram.total_points(X)
    by_hand = sum(nomogram.points(name, X[:, k]) for k, name in enumerate(fit.names))
    np.testing.assert_allclose(total, by_hand, atol=1e-10)
    survival = nomogram.survival(total, 0.5)
    np.testing.assert_allclose(survival, fit.survival(X, [0.5])[:, 0], rtol=1e-10)
    np.testing.assert_allclose(nomogram.points_for_survival(survival, 0.5), total, atol=1e-8)
    assert plot_nomogram(nomogram, ax, horizons=[0.3, 0.6], time_unit="years") is ax
    rendered(ax)
    assert "Survival at 0.3 years" in texts(ax)
    with pytest.raises(ValueError, match="range of covariate 'stage'"):
        Nomogram(fit, {"score": (0, 1)})
    with pytest.raises(ValueError, match="must rise"):
        Nomogram(fit, {"score": (1, 0), "stage": (0, 1)})


def test_statistics_load_neither_matplotlib_nor_torch():
    code = (
        "import sys, survimg.evaluation; "
        "print([m for m in ('matplotlib', 'torch', 'monai', 'radiomics', 'sksurv') "
        "if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
