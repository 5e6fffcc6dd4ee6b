"""Single patients: ranks, wrong pairs, pictures."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from made_runs import made_run, noise, truth, wrong

from survimg.benchmark.within_fold import patient_pairs, within_fold_concordance
from survimg.report.patients import patient_rows, risk_ranks, thumbnail


def test_wrong_pairs_are_those_of_a_loop():
    run = made_run({"noise": noise}, n=40, n_folds=4)
    time, event = run.outcome["time"], run.outcome["event"]
    units = [(t, run.records["noise", f, 0].arrays["test_risk"]) for f, (_, t) in
             enumerate(run.folds)]
    expected = {}
    for test, risk in units:
        for a, i in enumerate(test):
            right = n = 0
            for b, j in enumerate(test):
                if (event[i] and time[i] < time[j]) or (event[j] and time[j] < time[i]):
                    n += 1
                    right += (risk[a] > risk[b]) == (time[i] < time[j])
            expected[i] = (n - right, n)
    rows = patient_rows(run, ["noise"])
    assert len(rows) == 40
    for row in rows:
        n_wrong, n = expected[row.position]
        assert row.n_pairs == n
        assert row.wrong is None if n == 0 else row.wrong == pytest.approx(n_wrong / n)
    shares = [row.wrong for row in rows if row.wrong is not None]
    assert all(a > b - 0.01 for a, b in pairwise(shares))
    score, pairs = patient_pairs(event, time, units)
    concordance = within_fold_concordance(event, time, units)
    assert score.sum() / pairs.sum() == pytest.approx(concordance.value)


def test_a_perfect_and_a_reversed_model_are_half_wrong_together():
    rows = patient_rows(made_run({"truth": truth, "wrong": wrong}), ["truth", "wrong"])
    assert all(row.wrong == pytest.approx(0.5) for row in rows if row.wrong is not None)
    assert all(row.ranks["truth"] == pytest.approx(1 - row.ranks["wrong"]) for row in rows)


def test_ranks_go_from_0_to_1_and_ties_count_half():
    ranks = risk_ranks(6, [(np.array([0, 2, 4]), np.array([5.0, 1.0, 3.0])),
                           (np.array([1, 3]), np.array([2.0, 2.0])), (np.array([5]), np.ones(1))])
    np.testing.assert_array_equal(ranks, [1, 0.5, 0, 0.5, 0.5, np.nan])


def test_a_picture_is_that_of_the_patient():
    run = made_run({"first": truth, "second": truth}, n=20, n_folds=2)
    record = run.records["second", 1, 0]
    layers = np.zeros((3, 12, 10), dtype=np.uint8)
    layers[0], layers[1, 3:6, 3:6], layers[2, 4:7, 3:6] = 128, 1, 1
    record.arrays["dice_ids"] = run.ids[[7, 3]]
    record.arrays["thumbnail1"] = layers
    model, source = thumbnail(run, run.models, 3)
    assert model == "second"
    assert source.startswith("data:image/png;base64,")
    assert thumbnail(run, run.models, 7) is None  # a record without its picture
    assert thumbnail(run, run.models, 5) is None
