"""Networks of the user's own on the command line."""

from __future__ import annotations

import json

import pytest

from survimg.benchmark import read_run
from survimg.cli import main
from survimg.datasets import make_phantom_cohort

TRUST = ["--trust", "tests.estimators.deep.networks_of_users:SmallNet"]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cohorts") / "cohort"
    make_phantom_cohort(n=12, shape=(16, 16, 16), random_state=0).cohort.save(folder)
    return str(folder)


def test_a_network_is_trained_saved_and_predicts(store, tmp_path, capsys):
    model = str(tmp_path / "model")
    arguments = ["fit", "--cohort", store, "--model", "own_network:image_survival", "--no-progress"]
    assert main([*arguments, "--out", model]) == 2
    assert "SmallNet" in capsys.readouterr().err
    assert not (tmp_path / "model").exists()
    assert main([*arguments, "--out", model, *TRUST]) == 0
    out = ["predict", "--model", model, "--cohort", store, "--no-progress", "--out"]
    assert main([*out, str(tmp_path / "a")]) == 2
    assert main([*out, str(tmp_path / "a"), *TRUST]) == 0
    assert main([*out, str(tmp_path / "b"), "--trust", "tests.nowhere:SmallNet"]) == 2
    assert "'tests.nowhere:SmallNet' cannot be imported" in capsys.readouterr().err


def test_a_network_takes_part_in_a_comparison(store, tmp_path):
    out = tmp_path / "run"
    models = "own_network:image_survival,clinical-volume-cox"
    arguments = ["benchmark", "--cohort", store, "--models", models, "--folds", "2",
                 "--iterations", "2", "--no-progress", "--out", str(out)]  # fmt: skip
    assert main(arguments) == 0
    texts = [json.dumps(r.details["estimator"]) for r in read_run(out).records.values()]
    assert sum("SmallNet" in text for text in texts) == 2
