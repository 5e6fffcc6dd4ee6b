"""With permuted outcomes nothing can be ranked; what still ranks has seen the answers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from contestants import StageCox
from sklearn.base import BaseEstimator
from sksurv.linear_model import CoxPHSurvivalAnalysis

from survimg.benchmark import read_run, run_benchmark, score_run, score_table
from survimg.benchmark.run_folder import negative_control_folder
from survimg.datasets import make_phantom_cohort
from survimg.estimators import ClinicalVolumeCox, DeepMTS
from survimg.model_selection import k_fold_protocol, permute_outcome


class MeanUptake(BaseEstimator):
    """A scikit-learn-like model of one feature."""

    def fit(self, X, y):
        self.cox_ = CoxPHSurvivalAnalysis(alpha=0.1).fit(self._feature(X), y)
        return self

    def predict(self, X):
        return self.cox_.predict(self._feature(X))

    def _feature(self, X):
        return pd.DataFrame({"top": [np.quantile(X.volume(i)[0], 0.97) for i in range(len(X))]})


class Peeking(BaseEstimator):
    """Reads the outcome of the patients that it is to predict."""

    def fit(self, X, y):
        return self

    def predict(self, X):
        noise = np.random.default_rng(0).normal(size=len(X))
        return -np.log(X.outcome["time"]) + 0.5 * noise


def compare(cohort, models, out, **options):
    protocol = k_fold_protocol(cohort, cohort.outcome, n_folds=3, random_state=0)
    return run_benchmark(
        models, cohort, cohort.outcome, out=out, **options, **protocol.arguments()
    )


@pytest.fixture(scope="module")
def phantoms():
    return make_phantom_cohort(n=60, shape=(16, 16, 16), random_state=0).cohort


def permuted(cohort, seed):
    return cohort.with_outcome(permute_outcome(cohort.outcome, seed))


@pytest.fixture(scope="module")
def run(tmp_path_factory, phantoms):
    """The true outcomes, with a negative control of cheap models and a network."""
    out = tmp_path_factory.mktemp("control")
    cheap = {"cox": ClinicalVolumeCox(), "uptake": MeanUptake(), "peeking": Peeking()}
    network = DeepMTS(n_iterations=2, batch_size=8, device="cpu", n_threads=1, precision="float32")
    compare(phantoms, cheap, out, reference="cox")
    # A 95 % interval misses 0.5 in one permutation of twenty, also for an honest model (the
    # network's with permutation 1); those of this permutation hold it.
    compare(permuted(phantoms, 2), cheap | {"net": network}, negative_control_folder(out))
    return read_run(out)


def test_every_interval_of_an_honest_model_contains_one_half(run):
    control = {score.model: score for score in score_run(run.negative_control)}
    assert set(control) == {"cox", "uptake", "peeking", "net"}
    for name in ("cox", "uptake", "net"):
        assert control[name].n_done == 3
        assert control[name].contains_chance is True, control[name].within_folds


def test_the_same_models_do_rank_with_the_true_outcomes(run):
    scores = {score.model: score for score in score_run(run)}
    assert scores["cox"].contains_chance is False
    assert scores["cox"].within_folds.value > 0.6


def test_what_sees_the_outcome_of_test_patients_is_caught(run):
    row = next(score for score in score_run(run) if score.model == "peeking (permuted)")
    assert row.contains_chance is False
    assert "EXCLUDES 0.5" in row.verdict


def test_rows_of_the_control_follow_and_are_not_compared(run):
    scores = score_run(run)
    assert [score.model for score in scores] == [
        "cox", "uptake", "peeking", "cox (permuted)", "uptake (permuted)", "peeking (permuted)"
    ]
    assert [score.permuted for score in scores] == [False] * 3 + [True] * 3
    assert all(score.comparison is None for score in scores if score.permuted)
    column = score_table(scores).set_index("model")["interval_contains_0.5"]
    assert bool(column["cox (permuted)"])
    assert not column["cox"]


def test_a_control_of_another_protocol_is_not_shown(tmp_path, cohort):
    compare(cohort, {"cox": StageCox()}, tmp_path)
    control = negative_control_folder(tmp_path)
    compare(permuted(cohort, 0), {"cox": StageCox()}, control, seeds=(1,))
    assert read_run(tmp_path).negative_control is None


def test_permuting_keeps_pairs_and_strata(cohort):
    y, centres = cohort.outcome, np.arange(36) % 3
    dealt = permute_outcome(y, 0, within=centres)
    for centre in range(3):
        mine = centres == centre
        assert sorted(dealt[mine].tolist()) == sorted(y[mine].tolist())
    assert (dealt["time"] != y["time"]).any()
    np.testing.assert_array_equal(permute_outcome(y, 3), permute_outcome(y, 3))
    with pytest.raises(ValueError, match="one entry per patient"):
        permute_outcome(y, 0, within=[1, 2])
