"""The experiments on phantoms can be run call by call and seed by seed."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from survimg.cli.parser import make_parser

EXPERIMENTS = Path(__file__).parents[2] / "benchmarks" / "experiments.py"


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, EXPERIMENTS, *arguments]
    return subprocess.run([str(part) for part in line], capture_output=True, text=True, check=False)


@pytest.fixture
def calls(tmp_path):
    def dry_run(*arguments):
        done = run(*arguments, "--out", tmp_path, "--dry-run")
        assert done.returncode == 0, done.stderr
        lines = [shlex.split(line) for line in done.stdout.splitlines()]
        assert not list(tmp_path.iterdir())
        return [make_parser().parse_args(line[1:]) for line in lines]

    return dry_run


def test_a_call_is_chosen_by_its_name_and_seeds(calls):
    (call,) = calls("E1", "--only", "mask-600")
    assert (call.truth, call.iterations, call.seed) == ("mask", 600, [0, 1, 2])
    (more,) = calls("E1", "--only", "mask-600", "--seed", 0, 1)
    assert more.out == call.out  # the same phantoms and folds: records are added
    (other,) = calls("E1", "--only", "mask-600", "--seed", 1)
    assert other.seed == [1]
    assert Path(other.out).name == "mask-600-seed1"


def test_the_nomogram_is_fitted_on_both_truths_with_three_seeds(calls):
    commands = calls("E3")
    assert [(call.truth, call.seed) for call in commands] == [
        (truth, [seed]) for truth in ("mask", "outside") for seed in (0, 1, 2)
    ]
    assert len({call.out for call in commands}) == 6
    (one,) = calls("E3", "--only", "outside", "--seed", 7, "--smoke")
    assert (one.seed, one.shape) == ([7], [16, 16, 16])


def test_a_name_that_is_none_is_told_the_names(tmp_path):
    done = run("E2", "--only", "n50", "--out", tmp_path)
    assert done.returncode == 2
    assert "--only n50: the calls are n40, n80, n160" in done.stderr
