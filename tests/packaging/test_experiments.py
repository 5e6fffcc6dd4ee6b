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


def write_run(folder, scores):
    folder.mkdir(parents=True)
    (folder / "scores.csv").write_text(f"model,c_mean,dice_mean\n{scores}")
    (folder / "folds.csv").write_text("model,fit_seconds\nsur-hs,12.34\n")


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
    every = calls("E1", "--only", "mask-600")
    assert [(call.truth, call.iterations, call.seed) for call in every] == [
        ("mask", 600, [seed]) for seed in (0, 1, 2)
    ]
    (one,) = calls("E1", "--only", "mask-600", "--seed", 1)
    assert (one.seed, one.out) == (every[1].seed, every[1].out)


def test_calls_of_one_truth_and_seed_draw_the_same_phantoms(calls):
    drawn = {
        (call.patients, call.external, call.shift, tuple(call.shape))
        for call in calls("E1", "--seed", 0)
    }
    assert drawn == {(160, "phantom:400", 0.0, (32, 32, 32))}


def test_the_table_holds_what_there_is(tmp_path):
    table = tmp_path / "table.csv"
    none = run("E4", "--out", tmp_path, "--table", table)
    assert none.returncode == 1
    assert "holds no run of E4" in none.stderr
    write_run(tmp_path / "backbones-seed1", "sur-hs,0.7,\noracle,0.8,\n")
    assert run("E4", "--out", tmp_path, "--table", table).returncode == 0
    assert table.read_text().splitlines() == [
        "call,truth,seed,model,concordance,dice,fit_seconds",
        "backbones,mask,1,sur-hs,0.7,,12.3",
        "backbones,mask,1,oracle,0.8,,",
    ]
    assert "--table: the reports of E2" in run("E2", "--out", tmp_path, "--table", table).stderr


def test_the_table_keeps_what_another_machine_ran(tmp_path):
    table = tmp_path / "table.csv"
    for machine, seed, scores in (
        ("first", 2, "sur-hs,0.7,\n"),
        ("second", 1, "sur-hs,0.6,\n"),
        ("third", 2, "sur-hs,0.75,\n"),
    ):
        out = tmp_path / machine
        write_run(out / f"backbones-seed{seed}", scores)
        assert run("E4", "--out", out, "--table", table).returncode == 0
    assert table.read_text().splitlines()[1:] == [
        "backbones,mask,1,sur-hs,0.6,,12.3",
        "backbones,mask,2,sur-hs,0.75,,12.3",
    ]


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
