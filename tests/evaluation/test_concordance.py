from __future__ import annotations

import numpy as np
import pytest
from drawn_outcomes import draw_outcome
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from lifelines.utils import concordance_index as lifelines_concordance
from sksurv.metrics import concordance_index_censored, concordance_index_ipcw

import survimg.evaluation as ev
from survimg.evaluation import bootstrap, pairs
from survimg.evaluation.influence import censoring_influence
from survimg.target import make_outcome

# Generated risks may lie within the tolerance of ties.
pytestmark = pytest.mark.filterwarnings("ignore:.*risks lie within:UserWarning")


@st.composite
def cohorts(draw, max_patients=25):
    """Outcomes and risks full of ties, in time and (around the tolerance) in risk."""
    n = draw(st.integers(2, max_patients))
    times = st.lists(st.integers(0, 8), min_size=n, max_size=n)
    events = st.lists(st.booleans(), min_size=n, max_size=n)
    steps = st.sampled_from([0.0, 0.5, 1.0, -2.0, 1e-8, 0.5 + 1e-8, 0.5 + 2e-8, 3e-9])
    risks = st.lists(steps, min_size=n, max_size=n)
    return make_outcome(draw(events), draw(times)), np.array(draw(risks))


@given(cohorts())
@settings(max_examples=150, deadline=None)
def test_counts_equal_those_of_scikit_survival(case):
    y, risk = case
    counts = ev.concordance_counts(y, risk)
    if counts.comparable == 0:
        with pytest.raises(ValueError, match="No comparable pair"):
            ev.concordance_index(y, risk)
        return
    expected = concordance_index_censored(y["event"], y["time"], risk)
    assert ev.concordance_index(y, risk) == expected[0]
    assert (counts.concordant, counts.discordant, counts.tied_risk) == expected[1:4]


@given(cohorts())
@settings(max_examples=100, deadline=None)
def test_few_patients_are_counted_as_many(case):
    """Each with each, as up to 128 patients are, and by the kernels, as more are."""
    y, risk = case
    arguments = y["event"], y["time"], risk, np.ones(risk.size, dtype=np.int64), 1e-8
    for count in (pairs.pair_sums, pairs.pair_sums_later):
        direct = count(*arguments)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(pairs, "_FEW", 0)
            compiled = count(*arguments)
        for name in ("concordant", "tied_risk", "comparable"):
            np.testing.assert_array_equal(getattr(direct, name), getattr(compiled, name), name)


def test_pairs_of_events_at_one_time_are_counted_apart():
    y = make_outcome([1, 1, 1, 0], [2, 2, 2, 2])
    counts = ev.concordance_counts(y, [3, 2, 1, 0])
    assert (counts.tied_time, counts.concordant) == (3, 3)


@given(cohorts())
@settings(max_examples=50, deadline=None)
def test_reversing_the_risk_mirrors_the_index(case):
    y, risk = case
    assume(ev.concordance_counts(y, risk).comparable > 0)
    assert ev.concordance_index(y, -risk) == pytest.approx(1 - ev.concordance_index(y, risk))


def test_lifelines_agrees():
    rng = np.random.default_rng(0)
    y, risk = draw_outcome(rng, 100, tied=True), rng.normal(size=100)
    expected = lifelines_concordance(y["time"], -risk, y["event"])
    assert ev.concordance_index(y, risk) == pytest.approx(expected, abs=1e-12)


def test_whole_weights_act_like_repeated_patients():
    rng = np.random.default_rng(1)
    y, risk = draw_outcome(rng, 60, tied=True), rng.normal(size=60).round(1)
    weight = rng.integers(0, 4, size=60)
    repeated = np.repeat(np.arange(60), weight)
    expected = ev.concordance_counts(y[repeated], risk[repeated])
    weighted = ev.concordance_counts(y, risk, weight)
    for name in ("concordant", "discordant", "tied_risk", "tied_time"):
        # Copies of one event are two events at one time: the only pairs that repeating adds.
        extra = 0
        if name == "tied_time":
            extra = (weight * (weight - 1) / 2)[y["event"]].sum()
        assert getattr(weighted, name) + extra == pytest.approx(getattr(expected, name), abs=1e-9)


@pytest.mark.parametrize(
    ("event", "time", "message"),
    [
        ([0, 0, 0], [1, 2, 3], "all 3 patients are censored"),
        ([0, 0, 1], [1, 2, 3], "observed for longer"),
        ([1, 1, 1], [2, 2, 2], "observed for longer"),
    ],
)
def test_without_a_comparable_pair_every_form_raises(event, time, message):
    y, risk = make_outcome(event, time), [1.0, 2.0, 3.0]
    for call in (
        lambda: ev.concordance_index(y, risk),
        lambda: ev.concordance_index(y, risk, confidence_interval="analytic"),
        lambda: ev.compare_concordance(y, risk, risk[::-1]),
        lambda: ev.uno_concordance(y, y, risk, confidence_interval="analytic"),
        lambda: ev.uno_concordance(y, y, risk),
        lambda: ev.antolini_concordance(y, np.full((3, 1), 0.5), [9.0]),
    ):
        with pytest.raises(ValueError, match=message):
            call()


@pytest.mark.parametrize(
    ("risk", "message"),
    [([1.0, np.nan], "finite"), ([1.0], r"shape \(2,\)"), ([[1.0, 2.0]], r"shape \(2,\)")],
)
def test_invalid_risks_are_refused(risk, message):
    with pytest.raises(ValueError, match=message):
        ev.concordance_index(make_outcome([1, 0], [1, 2]), risk)


def test_an_empty_cohort_is_refused():
    with pytest.raises(ValueError, match="no patient"):
        ev.concordance_index(make_outcome([], []), [])


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("limit", [10_000, 0])
def test_bootstrap_equals_scikit_survival_on_resampled_patients(tied, limit, monkeypatch):
    """Both by matrix products and, for large cohorts, by counting."""
    monkeypatch.setattr(bootstrap, "MATRIX_LIMIT", limit)
    rng = np.random.default_rng(2)
    y, risk = draw_outcome(rng, 50, tied=tied), rng.normal(size=50).round(1)
    other = risk + rng.normal(size=50)
    counts = bootstrap.resampling_counts(50, 100, rng)
    values = bootstrap.bootstrap_concordance(y["event"], y["time"], [risk, other], counts, 1e-8)
    for k, row in enumerate(counts.astype(int)):
        drawn = np.repeat(np.arange(50), row)
        for model, r in enumerate((risk, other)):
            expected = concordance_index_censored(y["event"][drawn], y["time"][drawn], r[drawn])[0]
            assert values[model, k] == expected


def test_weighted_bootstrap_equals_uno_on_resampled_patients():
    rng = np.random.default_rng(3)
    y, risk = draw_outcome(rng, 40), rng.normal(size=40)
    g = ev.CensoringDistribution(y)
    weight = g.event_weights(y["event"], y["time"]) ** 2
    counts = bootstrap.resampling_counts(40, 100, rng)
    values = bootstrap.bootstrap_concordance(
        y["event"], y["time"], [risk], counts, 1e-8, event_weight=weight
    )[0]
    for k in range(20):
        drawn = np.repeat(np.arange(40), counts[k].astype(int))
        assert values[k] == pytest.approx(ev.uno_concordance(y, y[drawn], risk[drawn]), abs=1e-12)


@pytest.mark.parametrize("method", ["analytic", "percentile", "bca"])
def test_intervals_hold_the_estimate_and_widen_with_the_level(method):
    rng = np.random.default_rng(4)
    risk = rng.normal(size=150)
    y = make_outcome(rng.random(150) < 0.6, rng.exponential(size=150) * np.exp(-risk))
    options = {"confidence_interval": method, "random_state": 0}
    e = ev.concordance_index(y, risk, **options)
    wide = ev.concordance_index(y, risk, level=0.99, **options)
    assert float(e) == e.value == ev.concordance_index(y, risk)
    assert wide.lower < e.lower < e.value < e.upper < wide.upper
    assert e == ev.concordance_index(y, risk, **options)


def test_general_bootstrap_agrees_with_the_fast_one():
    rng = np.random.default_rng(5)
    y, risk = draw_outcome(rng, 60), rng.normal(size=60)
    for method in ("percentile", "bca"):
        fast = ev.concordance_index(
            y, risk, confidence_interval=method, n_resamples=200, random_state=7
        )
        slow = ev.bootstrap_interval(
            ev.concordance_index, y, risk, method=method, n_resamples=200, random_state=7
        )
        np.testing.assert_allclose([fast.lower, fast.upper], [slow.lower, slow.upper], rtol=1e-12)


def test_leave_one_out_values_are_exact():
    rng = np.random.default_rng(6)
    y, a = draw_outcome(rng, 40, tied=True), rng.normal(size=40).round(1)
    b = rng.normal(size=40)
    keep = [np.delete(np.arange(40), i) for i in range(40)]
    d = np.array(
        [ev.concordance_index(y[k], a[k]) - ev.concordance_index(y[k], b[k]) for k in keep]
    )
    error = np.sqrt(39 / 40 * np.sum((d - d.mean()) ** 2))
    paired = ev.compare_concordance(y, a, b, method="jackknife")
    assert paired.standard_error == pytest.approx(error, rel=1e-10)


def test_the_three_paired_tests_agree_on_a_large_cohort():
    rng = np.random.default_rng(7)
    risk = rng.normal(size=600)
    y = make_outcome(rng.random(600) < 0.7, rng.exponential(size=600) * np.exp(-risk))
    worse = risk + rng.normal(size=600)
    results = [
        ev.compare_concordance(y, risk, worse, method=m, random_state=0)
        for m in ("analytic", "jackknife", "bootstrap")
    ]
    for result in results:
        assert result.difference > 0
        assert result.p_value < 0.01
        assert result.standard_error == pytest.approx(results[0].standard_error, rel=0.1)
    mirrored = ev.compare_concordance(y, worse, risk)
    assert mirrored.difference == -results[0].difference
    assert mirrored.p_value == results[0].p_value


def test_tests_without_variation_raise():
    y = make_outcome(np.ones(12, bool), np.arange(1, 13))
    risk = -y["time"]
    with pytest.raises(ValueError, match="same way"):
        ev.compare_concordance(y, risk, 10 * risk)
    for method in ("analytic", "percentile", "bca"):
        with pytest.raises(ValueError, match="variation"):
            ev.concordance_index(y, risk, confidence_interval=method, random_state=0)


def test_asymptotic_intervals_and_tests_need_ten_events():
    rng = np.random.default_rng(0)
    time, risk = np.arange(1.0, 41.0), rng.normal(size=40)
    event = np.zeros(40, bool)
    event[rng.choice(30, 10, replace=False)] = True
    enough = make_outcome(event, time)
    event[np.flatnonzero(event)[0]] = False
    few = make_outcome(event, time)
    for statistic in (
        lambda y: ev.concordance_index(y, risk, confidence_interval="analytic").lower,
        lambda y: ev.compare_concordance(y, risk, risk[::-1]).p_value,
        lambda y: ev.compare_concordance(y, risk, risk[::-1], method="jackknife").p_value,
        lambda y: ev.uno_concordance(y, y, risk, confidence_interval="analytic").lower,
    ):
        assert np.isfinite(statistic(enough))
        with pytest.raises(ValueError, match="With 9 events there is no interval and no test"):
            statistic(few)
    weight = np.where(event & (time < 15), 0.0, 1.0)  # patients who do not count are no events
    with pytest.raises(ValueError, match=r"With \d events"):
        ev.concordance_index(enough, risk, weight, confidence_interval="analytic")
    with pytest.raises(ValueError, match=r"With \d events"):
        ev.uno_concordance(enough, enough, risk, 15.0, confidence_interval="analytic")
    aucs = ev.cumulative_dynamic_auc(enough, enough, risk, [15.0, 30.0])
    np.testing.assert_array_equal(np.isfinite(aucs.lower), aucs.n_cases >= 10)
    assert aucs.n_cases[0] < 10 <= aucs.n_cases[1]


def test_too_many_undefined_resamples_raise():
    y = make_outcome([1, 0, 0, 0, 0], [1, 2, 3, 4, 5])
    with pytest.raises(ValueError, match="resamples"):
        ev.concordance_index(y, [1, 0, 2, 0, 0], confidence_interval="percentile", random_state=0)


@pytest.mark.parametrize("tied", [False, True])
def test_uno_equals_scikit_survival(tied):
    """With its convention at shared times, G(t); without shared times, with both."""
    rng = np.random.default_rng(8)
    train, y = draw_outcome(rng, 200, tied=tied), draw_outcome(rng, 80, tied=tied)
    risk = rng.normal(size=80).round(1)
    for tau in (1.0, 0.7):
        end = tau * (4 if tied else 1)
        expected = concordance_index_ipcw(train, y, risk, tau=end)[0]
        value = ev.uno_concordance(train, y, risk, end, censoring_limit="right")
        assert value == pytest.approx(expected, abs=1e-12)
        left = ev.uno_concordance(train, y, risk, end)
        # Events and censorings share times between cohorts only when times are tied.
        assert (left == pytest.approx(expected, abs=1e-12)) is not tied


def test_uno_without_censoring_is_harrells():
    rng = np.random.default_rng(9)
    y = make_outcome(np.ones(50, bool), rng.exponential(size=50))
    risk = rng.normal(size=50)
    assert ev.uno_concordance(y, y, risk) == pytest.approx(ev.concordance_index(y, risk))


def test_uno_beyond_the_training_follow_up_asks_for_tau():
    train = make_outcome([1, 0, 1], [1, 2, 3])
    y = make_outcome([1, 1, 0], [1, 5, 6])
    with pytest.raises(ValueError, match="tau"):
        ev.uno_concordance(train, y, [3, 2, 1])
    assert ev.uno_concordance(train, y, [3, 2, 1], tau=3) == 1.0


def test_influence_of_the_censoring_matches_the_jackknife():
    """Leaving a patient out changes Uno's C by its influence, up to terms of order 1 / n^2."""
    rng = np.random.default_rng(10)
    n = 300
    risk = rng.normal(size=n)
    event_time, censoring = rng.exponential(size=n) * np.exp(-risk), rng.exponential(size=n)
    y = make_outcome(event_time <= censoring, np.minimum(event_time, censoring))
    e = ev.uno_concordance(y, y, risk, 1.0, confidence_interval="analytic")
    keep = [np.delete(np.arange(n), i) for i in range(n)]
    left_out = np.array([ev.uno_concordance(y[k], y[k], risk[k], 1.0) for k in keep])
    jackknife = np.sqrt((n - 1) / n * np.sum((left_out - left_out.mean()) ** 2))
    assert e.standard_error == pytest.approx(jackknife, rel=0.03)
    given_g = ev.uno_concordance(y[::-1], y, risk, 1.0, confidence_interval="analytic")
    assert given_g.value == pytest.approx(e.value)
    assert given_g.standard_error != e.standard_error


def test_censoring_influence_is_the_derivative_of_the_estimate():
    """Against a finite difference in the weight of each patient, with ties."""
    rng = np.random.default_rng(11)
    y = draw_outcome(rng, 30, tied=True)
    event, time = y["event"], y["time"]
    slope = np.where(event, rng.normal(size=30), 0.0)

    def log_inverse_g(weight):
        grid = np.unique(time)
        at = np.searchsorted(grid, time)
        events = np.bincount(at, weight * event, minlength=grid.size)
        total = np.cumsum(np.bincount(at, weight, minlength=grid.size)[::-1])[::-1]
        hazard = np.bincount(at, weight * ~event, minlength=grid.size) / np.maximum(
            total - events, 1e-300
        )
        before = np.concatenate(([1.0], np.cumprod(1 - np.minimum(hazard, 1))))[at]
        return -np.log(before)

    step = 1e-6
    ones = np.ones(30)
    base = slope[event] @ log_inverse_g(ones)[event]
    numeric = [
        (slope[event] @ log_inverse_g(ones + step * np.eye(30)[i])[event] - base) / step
        for i in range(30)
    ]
    influence = censoring_influence(slope, event, time, ev.CensoringDistribution(y))
    # d log(1 - h) = dh / (1 - h), where the influence uses dh (first order in the hazard).
    assert np.corrcoef(influence, numeric)[0, 1] > 0.99


def test_antolini_by_brute_force_and_for_proportional_hazards():
    rng = np.random.default_rng(12)
    y = draw_outcome(rng, 40, tied=True)
    grid = np.unique(y["time"])
    curves = np.sort(rng.random((40, grid.size)).round(1), axis=1)[:, ::-1]
    score = comparable = 0.0
    for i in np.flatnonzero(y["event"]):
        k = np.searchsorted(grid, y["time"][i])
        for j in range(40):
            tied_censored = y["time"][j] == y["time"][i] and not y["event"][j]
            if y["time"][j] > y["time"][i] or tied_censored:
                comparable += 1
                difference = curves[j, k] - curves[i, k]
                score += 0.5 if abs(difference) <= 1e-8 else float(difference > 0)
    assert ev.antolini_concordance(y, curves, grid) == pytest.approx(score / comparable, abs=1e-12)
    risk = rng.normal(size=40)
    baseline = np.linspace(0.1, 2, grid.size)
    proportional = np.exp(-np.exp(risk)[:, np.newaxis] * baseline)
    assert ev.antolini_concordance(y, proportional, grid) == pytest.approx(
        ev.concordance_index(y, risk), abs=1e-12
    )


def test_antolini_beyond_the_curves_asks_for_tau():
    y = make_outcome([1, 1, 0], [1, 3, 4])
    curves = np.array([[0.2], [0.5], [0.9]])
    with pytest.raises(ValueError, match=r"tau=2"):
        ev.antolini_concordance(y, curves, [2.0])
    with pytest.raises(ValueError, match="increase"):
        ev.antolini_concordance(y, np.tile([0.2, 0.5], (3, 1)), [1.0, 2.0])
    assert ev.antolini_concordance(y, np.repeat(curves, 2, axis=1), [1.0, 2.0], tau=2) == 1.0


def test_the_tolerance_of_ties_is_a_parameter_everywhere():
    y = make_outcome([1, 1, 1, 0], [1, 2, 3, 4])
    risk = np.array([3.0, 2.9, 3.5, 1.0])
    assert ev.concordance_index(y, risk, tied_tol=0.2) != ev.concordance_index(y, risk)
    assert ev.concordance_counts(y, risk, tied_tol=0.2).tied_risk == 1
    assert ev.uno_concordance(y, y, risk, tied_tol=0.2) != ev.uno_concordance(y, y, risk)
    narrow = ev.cumulative_dynamic_auc(y, y, risk, [2.5])
    wide = ev.cumulative_dynamic_auc(y, y, risk, [2.5], tied_tol=0.7)
    assert wide.auc[0] != narrow.auc[0]
    other = risk[[0, 2, 1, 3]]
    many, risks, others = np.tile(y, 4), np.tile(risk, 4), np.tile(other, 4)
    default = ev.compare_concordance(many, risks, others)
    assert ev.compare_concordance(many, risks, others, tied_tol=0.2).first != default.first
    curves, times = np.array([[0.2, 0.2], [0.3, 0.1], [0.9, 0.4], [0.9, 0.8]]), [1.0, 3.0]
    assert ev.antolini_concordance(y, curves, times) != ev.antolini_concordance(
        y, curves, times, tied_tol=0.2
    )


def test_one_outlier_does_not_hide_that_the_tolerance_swallows_the_risks():
    rng = np.random.default_rng(5)
    y = draw_outcome(rng, 60)
    tiny = -1e-9 * y["time"] / y["time"].max()
    outlier = np.where(np.arange(60) == 7, 1.0, tiny)
    for risk in (tiny, outlier):
        with pytest.warns(UserWarning, match="count as tied"):
            ev.concordance_index(y, risk)
        with pytest.warns(UserWarning, match="count as tied"):
            ev.cumulative_dynamic_auc(y, y, risk, [np.median(y["time"])])
    ev.concordance_index(y, (tiny < np.median(tiny)) + 1e-9 * (tiny == tiny.max()))
    ev.concordance_index(y, 0.3 + 1e-15 * rng.normal(size=60))


def test_two_hundred_thousand_patients():
    rng = np.random.default_rng(13)
    y, risk = draw_outcome(rng, 200_000), rng.normal(size=200_000)
    value = ev.concordance_index(y, risk)
    assert abs(value - 0.5) < 0.005
    counts = ev.concordance_counts(y, risk)
    assert counts.comparable > 1e9
    # A random sample of pairs has the same share.
    i, j = rng.integers(0, 200_000, size=(2, 400_000))
    comparable = y["event"][i] & (y["time"][i] < y["time"][j])
    share = (risk[i] > risk[j])[comparable].mean()
    assert share == pytest.approx(value, abs=0.01)


@pytest.mark.slow
def test_thirty_times_faster_than_scikit_survival():
    import time

    rng = np.random.default_rng(14)
    y, risk = draw_outcome(rng, 20_000), rng.normal(size=20_000)
    ev.concordance_index(y, risk)

    def seconds(call) -> float:
        start = time.process_time()
        call()
        return time.process_time() - start

    ours = min(seconds(lambda: ev.concordance_index(y, risk)) for _ in range(5))
    theirs = seconds(lambda: concordance_index_censored(y["event"], y["time"], risk))
    assert theirs > 30 * ours


def test_risks_that_the_tolerance_swallows_are_a_warning():
    y = make_outcome(np.ones(20, dtype=bool), np.arange(1.0, 21.0))
    risk = -np.arange(20.0)
    with pytest.warns(UserWarning, match="All risks lie within 1.9e-09 of each other"):
        assert ev.concordance_index(y, risk * 1e-10) == 0.5
    assert ev.concordance_index(y, risk * 1e-10, tied_tol=0.0) == 1
    assert ev.concordance_index(y, np.full(20, 3.0)) == 0.5
