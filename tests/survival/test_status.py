"""Labels of outcomes, and outcomes of labels."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss, roc_auc_score

from survimg.evaluation import brier_score, concordance_index, decision_curve, kaplan_meier
from survimg.survival import LABEL_HORIZON, outcome_of_labels, status_at
from survimg.target import make_outcome


def test_labels_are_known_for_events_by_the_horizon_and_for_who_was_seen_beyond_it():
    outcome = make_outcome([True, True, False, False], [10.0, 40.0, 12.0, 50.0])
    labels, known = status_at(outcome, 24.0)
    assert labels.tolist() == [True, False, False, False]
    assert known.tolist() == [True, True, False, True]
    assert status_at(outcome, 12.0)[1].tolist() == [True] * 4  # seen up to the horizon
    died = np.array([False, False, True, False])
    assert status_at(outcome, 24.0, competing=died)[1].all()
    assert status_at(outcome, None)[0].tolist() == [True, True, False, False]


@pytest.mark.parametrize("horizon", [0, -1.0, np.nan, np.inf])
def test_a_horizon_is_a_time(horizon):
    with pytest.raises(ValueError, match="must be a positive time"):
        status_at(make_outcome([True, False], [1.0, 2.0]), horizon)


def test_what_is_said_of_the_outcome_is_said_of_the_labels():
    rng = np.random.default_rng(0)
    labels = rng.uniform(size=80) < 0.3
    probability = np.clip(0.3 * labels + rng.uniform(0, 0.7, 80), 0, 1).round(2)
    y = outcome_of_labels(labels)
    assert concordance_index(y, probability) == pytest.approx(roc_auc_score(labels, probability))
    assert kaplan_meier(y).at(LABEL_HORIZON)[0] == pytest.approx(1 - labels.mean())
    survival = 1 - probability[:, np.newaxis]
    brier = brier_score(y, y, survival, [LABEL_HORIZON])[0]
    assert brier == pytest.approx(brier_score_loss(labels, probability))
    benefit = decision_curve(y, probability, LABEL_HORIZON, [0.2]).net_benefit[0]
    treated = probability > 0.2
    assert benefit == pytest.approx((treated & labels).mean() - 0.25 * (treated & ~labels).mean())
