"""Ranks, tests over folds, centres, the negative control, published figures, probabilities."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from made_runs import blurred, made_run, noise, truth, wrong
from scipy import stats

from survimg.benchmark import score_run
from survimg.benchmark.fold_tests import fold_comparison
from survimg.evaluation import brier_score, concordance_index, decision_curve
from survimg.report.convergence import history_figures, shared_history_figures, training_curves
from survimg.report.probabilities import evaluate_probabilities, report_horizon, survival_at
from survimg.report.probability_figures import calibration_figure, decision_figure
from survimg.report.ranks import rank_models
from survimg.report.statements import unsupported_statements
from survimg.report.tables import (
    centre_table,
    control_table,
    is_permuted,
    published_table,
    reference_table,
    split_control,
)

MODELS = {"truth": truth, "blurred": blurred, "noise": noise, "wrong": wrong}


def by_name(run):
    return {score.model: score for score in score_run(run)}


def test_ranks_are_those_of_the_folds_with_seeds_averaged():
    run = made_run(MODELS, seeds=(0, 1))
    scores = by_name(run)
    table = np.array(
        [[np.mean([s.fold_c[f, k] for k in (0, 1)]) for f in range(5)] for s in scores.values()]
    )
    expected = dict(zip(scores, stats.rankdata(-table, axis=0).mean(axis=1), strict=True))
    summary = rank_models(run, scores)
    assert summary.ranks == pytest.approx(expected)
    assert list(summary.ranks.values()) == sorted(summary.ranks.values())
    assert len(summary.p_values) == 6


def test_models_are_grouped_unless_a_pair_differs():
    summary = rank_models(run := made_run(MODELS, n=100, n_folds=10), by_name(run))
    best, *_, worst = summary.ranks
    assert best in ("truth", "blurred")
    assert worst == "wrong"
    assert summary.p_values[best, worst] < 0.05
    for group in summary.groups:
        assert not {best, worst} <= set(group)
        assert min(p for pair, p in summary.p_values.items() if set(pair) <= set(group)) >= 0.05
    twins = made_run({"a": noise, "b": noise, "c": noise})
    summary = rank_models(twins, by_name(twins))
    assert summary.groups == (("a", "b", "c"),)
    assert set(summary.p_values.values()) == {1.0}


def test_few_folds_and_few_models_are_refused():
    run = made_run(MODELS, n_folds=3)
    with pytest.raises(ValueError, match=r"Too few folds \(3\)"):
        rank_models(run, by_name(run))
    pair = made_run({"a": truth, "b": noise})
    with pytest.raises(ValueError, match="at least three finished models; there are 2"):
        rank_models(pair, by_name(pair))


def test_few_events_are_not_tested_over_folds_nor_within_centres():
    run = made_run(MODELS, n=60, groups=np.repeat(["A", "B"], 30), reference="truth")
    events = [test[run.outcome["event"][test]] for _, test in run.folds]
    early = [of_fold[np.argsort(run.outcome["time"][of_fold])][:2] for of_fold in events]
    run.outcome["event"][:] = False
    run.outcome["event"][np.concatenate(early)[:9]] = True
    scores = score_run(run)
    with pytest.raises(ValueError, match="fewer than 10 events"):
        rank_models(run, by_name(run))
    assert "there are fewer than 10 events" in reference_table(run, scores).note
    assert all(score.p_folds_adjusted is None for score in scores)
    cells = [cell for row in centre_table(run, scores).rows for cell in row[3:]]
    assert all("no interval" in cell or cell == "–" for cell in cells)


def test_the_test_over_folds_allows_for_overlapping_training_sets():
    run = made_run(MODELS)
    scores = by_name(run)
    compared = fold_comparison(run, scores["blurred"].fold_c, scores["noise"].fold_c)
    gaps = [scores["blurred"].fold_c[f, 0] - scores["noise"].fold_c[f, 0] for f in range(5)]
    error = np.std(gaps, ddof=1) * np.sqrt(1 / 5 + 12 / 48)
    assert compared.difference == pytest.approx(np.mean(gaps))
    assert compared.p_value == pytest.approx(2 * stats.t(4).sf(abs(np.mean(gaps)) / error))


def test_repeating_a_fold_with_another_seed_adds_no_evidence():
    models = {"a": truth, "b": wrong}
    made = made_run(models), made_run(models, seeds=(0, 1))
    results = [
        fold_comparison(run, *(score.fold_c for score in by_name(run).values())).p_value
        for run in made
    ]
    assert results[0] == pytest.approx(results[1])


def test_a_difference_is_called_significant_only_if_it_holds_over_folds_too():
    scores = score_run(made_run({"truth": truth, "wrong": wrong}, reference="wrong"))
    better = {score.model: score for score in scores}["truth"]
    assert better.p_adjusted < 0.05
    assert better.p_folds_adjusted < 0.05
    assert better.verdict.startswith("above wrong (difference significant)")
    few = score_run(made_run({"truth": truth, "wrong": wrong}, n_folds=3, reference="wrong"))
    better = {score.model: score for score in few}["truth"]
    assert better.p_adjusted < 0.05
    assert better.p_folds_adjusted is None
    assert "not tested over folds" in better.verdict
    run = made_run({"truth": truth, "wrong": wrong}, n_folds=3, reference="wrong")
    assert any("(no test over folds)" in s for s in unsupported_statements(run, few))
    both = made_run({"truth": truth, "wrong": wrong}, reference="wrong")
    said = unsupported_statements(both, scores)
    assert not any(", trained on other patients, ranks" in sentence for sentence in said)


def test_a_difference_that_one_lucky_fold_makes_is_not_called_significant():
    folds = iter(range(5))

    def lucky(log_hazard, rng):
        return truth(log_hazard, rng) if next(folds) == 0 else wrong(log_hazard, rng)

    run = made_run({"lucky": lucky, "wrong": wrong}, n=300, reference="wrong")
    scores = score_run(run)
    score = {score.model: score for score in scores}["lucky"]
    assert score.p_adjusted < 0.05 < score.p_folds_adjusted
    assert "significant for these fitted models, not over folds" in score.verdict
    assert any(
        "That lucky, trained on other patients, ranks patients better than wrong" in sentence
        and f"over folds p = {score.p_folds_adjusted:.2g}" in sentence
        for sentence in unsupported_statements(run, scores)
    )


def test_both_tests_stand_in_the_table_and_a_missing_one_has_a_reason():
    run = made_run({"truth": truth, "noise": noise, "same": truth}, reference="truth")
    table = reference_table(run, score_run(run))
    rows = {row[0]: row[1:] for row in table.rows}
    assert "–" not in rows["noise"]
    assert set(rows["same"]) == {"–"}
    assert "No test over folds for same" in table.note
    few = made_run({"truth": truth, "noise": noise}, n_folds=3, reference="truth")
    assert "3 are fewer than 5" in reference_table(few, score_run(few)).note
    assert reference_table(made_run({"truth": truth}, reference="truth"), []) is None


def test_a_leak_shows_in_the_negative_control():
    run = made_run({"noise": noise, "noise (permuted)": noise, "leak (permuted)": truth})
    ranked, control = split_control(run, score_run(run))
    assert [score.model for score in ranked] == ["noise"]
    answers = {row[0]: row[2] for row in control_table(control).rows}
    assert answers == {"noise (permuted)": "yes", "leak (permuted)": "no"}
    assert control_table([]) is None
    assert "about one interval in ten" in control_table(control).note  # as the verdict says


def test_a_run_of_permuted_outcomes_is_its_own_control():
    run = made_run({"noise": noise}, settings={"outcome": "PERMUTED (seed 0)"})
    assert is_permuted(run)
    assert is_permuted(made_run({"noise": noise}, settings={"permuted": True}))
    ranked, control = split_control(run, score_run(run))
    assert [s.model for s in ranked] == [s.model for s in control] == ["noise"]
    assert not is_permuted(made_run({"noise": noise}, settings={"permuted": False}))


def test_published_figures_stand_apart_and_name_their_cohort():
    published = {
        "truth": {"c_index": 0.722, "sd": None, "dice": None, "source": "Meng 2022"},
        "absent": {"c_index": 0.6, "sd": 0.02, "dice": 0.76, "source": "Table <II>"},
    }
    run = made_run({"truth": truth}, published=published)
    table = published_table(run, score_run(run))
    assert any("nasopharyngeal carcinoma" in name for name in table.header)
    rows = {row[0]: row for row in table.rows}
    assert "0.722" in rows["truth"]
    assert rows["absent"][1:3] == ("–", "0.600 ± 0.020")
    assert "do not subtract" in table.note
    assert published_table(made_run({"truth": truth}), []) is None
    permuted = made_run({"truth": truth}, published=published, settings={"permuted": True})
    assert published_table(permuted, []) is None


def test_centres_are_scored_by_pairs_within_them():
    centres = np.array(["north", "south"])[np.arange(60) % 2]
    run = made_run({"blurred": blurred}, n_folds=1, groups=centres)
    everyone = np.arange(60)
    run = replace(run, folds=[(everyone, everyone)])
    record = run.records["blurred", 0, 0]
    table = centre_table(run, score_run(run))
    assert [row[0] for row in table.rows] == ["north", "south", "all pairs within a centre"]
    for row in table.rows[:2]:
        inside = centres == row[0]
        expected = concordance_index(run.outcome[inside], record.arrays["test_risk"][inside])
        assert row[3].startswith(f"{expected:.3f} (")
        assert row[1:3] == ("30", str(run.outcome["event"][inside].sum()))
    assert centre_table(made_run({"blurred": blurred}), []) is None


@pytest.fixture
def with_curves():
    """A run whose model knows the survival curves that the times were drawn from."""
    run = made_run({"truth": truth, "risk only": truth}, n=150)
    grid = np.unique(np.quantile(run.outcome["time"][run.outcome["event"]], np.linspace(0, 1, 40)))
    for (name, _, _), record in run.records.items():
        if name == "truth":
            hazard = np.exp(record.arrays["test_risk"]) / 20
            record.arrays["times"] = grid
            record.arrays["survival"] = np.exp(-np.outer(hazard, grid))
    return run


def test_probabilities_are_pooled_over_folds(with_curves):
    run = with_curves
    horizon = report_horizon(run)
    assert horizon == np.median(run.outcome["time"][run.outcome["event"]])
    position, survival = survival_at(run, "truth", horizon)
    assert sorted(position) == list(range(150))
    result = evaluate_probabilities(run, "truth", horizon)
    y = run.outcome[position]
    assert result.brier == pytest.approx(brier_score(y, y, survival[:, None], [horizon])[0])
    assert result.accuracy > 0.1
    assert result.smooth.ici < 0.1
    assert result.p_value > 0.01
    curve = result.decision
    expected = decision_curve(y, 1 - survival, horizon, curve.thresholds)
    np.testing.assert_allclose(curve.net_benefit, expected.net_benefit)
    assert calibration_figure(result, "1 month").count('role="img"') == 1
    assert "Decision curves of truth" in decision_figure([result], "1 month")


def test_models_without_probabilities_are_not_evaluated(with_curves):
    with pytest.raises(ValueError, match="risks only"):
        evaluate_probabilities(with_curves, "risk only", 5.0)
    with_curves.records["truth", 0, 0].arrays["survival"][0] = np.nan
    with pytest.raises(ValueError, match=r"1 of 150 test patients end before the horizon 5"):
        survival_at(with_curves, "truth", 5.0)


def test_the_horizon_can_be_set():
    assert report_horizon(made_run({"a": truth}, settings={"horizon": 36})) == 36
    with pytest.raises(ValueError, match="positive"):
        report_horizon(made_run({"a": truth}, settings={"horizon": -1}))


def with_history(histories):
    run = made_run({"net": noise}, n=20, n_folds=len(histories))
    for record, history in zip(run.records.values(), histories, strict=True):
        record.details["history"] = history
    return list(run.records.values())


def test_the_mean_ends_where_the_first_fold_does():
    records = with_history([
        {"epoch": [1, 2, 3], "loss": [3.0, 2.0, 1.0]}, {"epoch": [1, 2], "loss": [1.0, 0.0]},
    ])
    curves = training_curves(records)["loss"]
    np.testing.assert_allclose(curves.x, [1, 2])
    np.testing.assert_allclose(curves.mean, [2, 1])
    np.testing.assert_allclose(curves.sd, [np.sqrt(2)] * 2)
    assert [len(values) for _, values in curves.lines] == [3, 2]


def test_training_and_validation_share_their_axes():
    history = {"loss": [2.0, 1.0], "validation_loss": [2.5, 2.0], "validation_c_index": [0.5, 0.6]}
    names = [name for name, _ in history_figures(with_history([history]))]
    assert names == ["loss", "validation c index"]


def test_models_stand_side_by_side_where_they_measured_the_same():
    one = with_history([{"loss": [2.0, 1.0], "dice": [-0.1, -0.2]}])
    two = with_history([{"loss": [3.0, 2.0], "dice": [0.1, 0.2]}])
    names = [name for name, _ in shared_history_figures({"one": one, "two": two})]
    assert names == ["loss"]  # one dice is a loss, the other a score
    assert shared_history_figures({"one": one}) == []


def test_axes_end_where_the_means_do():
    long = with_history([{"loss": [3.0, 2.0, 90.0]}, {"loss": [1.0, 0.0]}])
    ((_, figure),) = shared_history_figures({"one": long, "two": long})
    texts = [text.text for text in ET.fromstring(str(figure)).iter("text")]
    assert max(float(text) for text in texts if text[0].isdigit()) <= 4  # 90 is one fold alone
