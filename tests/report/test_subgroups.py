"""Sub-groups: their levels, C and AUC in each, the test of interaction."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from made_runs import blurred, made_run, noise, truth
from scipy import stats

from survimg.evaluation import Estimate, concordance_index, cumulative_dynamic_auc
from survimg.report.subgroup_figure import forest_figure
from survimg.report.subgroups import evaluate_subgroups, heterogeneity, levels_of
from survimg.report.tables import subgroup_table


def with_clinical(run, **columns):
    return replace(run, clinical=columns)


def halves(n):
    return ["a" if i % 2 else "b" for i in range(n)]


def test_concordance_and_auc_are_those_of_the_patients_of_the_level():
    run = with_clinical(made_run({"blurred": blurred}, n=120, n_folds=1), sex=halves(120))
    test, record = run.folds[0][1], run.records["blurred", 0, 0]
    times = np.array([0.0, 5.0, 30.0])
    record.arrays["times"] = times
    survival = np.exp(-np.exp(record.arrays["test_risk"])[:, None] * times / 20)
    record.arrays["survival"] = survival
    result = evaluate_subgroups(run, "blurred", "sex", 5.0)
    assert [level.name for level in result.levels] == ["a", "b"]
    for level in result.levels:
        inside = np.array(halves(120))[test] == level.name
        y = run.outcome[test][inside]
        expected = concordance_index(y, record.arrays["test_risk"][inside])
        assert level.concordance.value == pytest.approx(expected)
        assert level.concordance.lower < expected < level.concordance.upper
        auc = cumulative_dynamic_auc(y, y, 1 - survival[inside, 1], [5.0])
        assert level.auc.value == pytest.approx(auc.auc[0])
        assert (level.n_patients, level.n_events) == (60, y["event"].sum())


def test_pairs_of_different_folds_do_not_count():
    """Risks of folds have no common scale: a constant added to one fold changes nothing."""
    run = with_clinical(made_run({"blurred": blurred}, n=100), sex=halves(100))
    before = evaluate_subgroups(run, "blurred", "sex", 5.0)
    run.records["blurred", 2, 0].arrays["test_risk"] += 100
    assert evaluate_subgroups(run, "blurred", "sex", 5.0) == before


def test_levels_are_cells_or_halves_and_what_is_missing_is_said():
    run = with_clinical(
        made_run({"m": truth}, n=8, n_folds=2),
        stage=[1.0, 2.0, None, 10.0, 1.0, 2.0, 2.0, 1.0],
        age=[50.0, 61.0, 62.5, 70.0, None, 41.0, 42.0, 43.0],
        name=list("abcdefgh"),
    )
    assert levels_of(run, "stage").tolist() == ["1", "2", "missing", "10", "1", "2", "2", "1"]
    low, high = "≤ 50", "> 50"
    assert levels_of(run, "age").tolist() == [low, high, high, high, "missing", low, low, low]
    with pytest.raises(ValueError, match="8 different values"):
        levels_of(run, "name")
    with pytest.raises(ValueError, match=r"no clinical column 'sex'; its columns are stage, age"):
        levels_of(run, "sex")
    # numbers by size, not as text; the patients with an empty cell last
    names = [level.name for level in evaluate_subgroups(run, "m", "stage", 5.0).levels]
    assert names == ["1", "2", "10", "missing"]


def test_interaction_is_found_where_it_is_and_holds_its_level_where_it_is_not():
    def only_in_a(log_hazard, rng):
        inside = np.array(halves(log_hazard.size)) == "a"
        return np.where(inside, log_hazard, rng.normal(size=log_hazard.size))

    run = with_clinical(made_run({"m": only_in_a}, n=300), sex=halves(300))
    assert evaluate_subgroups(run, "m", "sex", 5.0).p_concordance < 0.001
    rng = np.random.default_rng(0)
    p_values = [
        heterogeneity([_drawn(rng, 0.7, 0.05), _drawn(rng, 0.7, 0.03), _drawn(rng, 0.7, 0.04)])
        for _ in range(2000)
    ]
    assert np.mean(np.array(p_values) < 0.05) == pytest.approx(0.05, abs=0.015)


def _drawn(rng, value, error):
    """An estimate whose logit is normal around that of `value`."""
    logit = np.log(value / (1 - value)) + rng.normal() * error / (value * (1 - value))
    drawn = 1 / (1 + np.exp(-logit))
    return Estimate(drawn, 0.0, 1.0, error * drawn * (1 - drawn) / (value * (1 - value)), 0.95, "")


def test_two_groups_are_compared_as_by_a_z_test_of_the_logits():
    a, b = Estimate(0.8, 0.7, 0.9, 0.04, 0.95, ""), Estimate(0.6, 0.5, 0.7, 0.05, 0.95, "")
    z = (np.log(4) - np.log(1.5)) / np.hypot(0.04 / 0.16, 0.05 / 0.24)
    assert heterogeneity([a, b, None]) == pytest.approx(2 * stats.norm.sf(z))
    assert heterogeneity([a, replace(b, lower=np.nan)]) is None


def test_table_and_figure_hold_the_same_numbers():
    run = with_clinical(made_run({"m": blurred, "n": noise}, n=120), sex=halves(120))
    results = [evaluate_subgroups(run, name, "sex", 5.0) for name in ("m", "n")]
    table = subgroup_table("sex", results, "5 months")
    assert [row[:2] for row in table.rows] == [("m", "a"), ("m", "b"), ("n", "a"), ("n", "b")]
    assert "fewer than 10 events by that time" in table.note
    picture = str(forest_figure(results[0], None))
    for row in table.rows[:2]:
        assert f"{row[1]}: C = {row[4]}" in picture
