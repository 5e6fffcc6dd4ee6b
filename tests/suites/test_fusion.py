"""The table of the fusion suite: metrics against their definitions, undefined ones as NaN."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest
from sklearn.metrics import recall_score, roc_auc_score

from survimg.suites.fusion import classification_table, labels_at_horizon
from survimg.target import make_outcome


def predictions(row, probability, label, threshold=0.5, seeds=(0, 1)):
    n = len(label)
    parts = [
        pd.DataFrame(
            {
                "row": row, "seed": seed, "fold": np.arange(n) % 3, "label": label,
                "probability": probability, "threshold": threshold,
            }
        )
        for seed in seeds
    ]  # fmt: skip
    return pd.concat(parts, ignore_index=True)


@pytest.fixture
def label():
    return (np.arange(60) % 4 == 0).astype(int)


def test_metrics_equal_their_definitions(label):
    probability = np.clip(0.4 * label + np.random.default_rng(0).uniform(0, 0.7, 60), 0, 1)
    row = classification_table(predictions("model", probability, label)).iloc[0]
    assert row["auc"] == pytest.approx(roc_auc_score(label, probability))
    assert row["auc_lower"] < row["auc"] < row["auc_upper"]
    assert row["sen"] == pytest.approx(recall_score(label, probability >= 0.5))
    assert row["spe"] == pytest.approx(recall_score(1 - label, probability < 0.5))
    assert (row["patients"], row["positives"]) == (60, 15)
    hits = int((probability[label == 1] >= 0.5).sum())
    expected = binomtest(hits, 15).proportion_ci(method="wilson")
    assert (row["sen_lower"], row["sen_upper"]) == pytest.approx(tuple(expected), abs=1e-6)


def test_a_perfect_and_a_constant_row_stand_beside_the_others(label):
    table = classification_table(
        pd.concat(
            [
                predictions("perfect", label.astype(float), label),
                predictions("constant", np.full(60, 0.3), label, threshold=np.nan),
            ]
        )
    ).set_index("row")
    assert table.loc["perfect", "auc"] == 1.0
    assert table.loc["perfect", "acc"] == 1.0
    assert np.isnan(table.loc["perfect", "auc_lower"])
    assert table.loc["constant", "auc"] == 0.5
    assert table.loc["constant", ["acc", "sen", "spe", "acc_lower"]].isna().all()


def test_labels_are_known_for_events_by_the_horizon_and_for_who_was_seen_beyond_it():
    outcome = make_outcome([True, True, False, False], [10.0, 40.0, 12.0, 50.0])
    labels, known = labels_at_horizon(outcome, 24.0)
    assert labels.tolist() == [True, False, False, False]
    assert known.tolist() == [True, True, False, True]
    died = np.array([False, False, True, False])
    _, with_deaths = labels_at_horizon(outcome, 24.0, competing=died)
    assert with_deaths.all()
    assert labels_at_horizon(outcome, None)[0].tolist() == [True, True, False, False]
