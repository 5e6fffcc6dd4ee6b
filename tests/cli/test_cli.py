"""The command line: what it answers, how it ends, and that the user's errors are one line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from contestants import make_cohort

from survimg.cli import main

OWN = "contestants:segmenter_model,contestants:StageCox"
BENCHMARK = "benchmark --out x --models contestants:StageCox --cohort"


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cohorts") / "spheres"
    make_cohort(n=30)[0].save(folder)
    return folder


def benchmark(*arguments):
    return main(["benchmark", "--no-progress", *map(str, arguments)])


def test_own_models_on_a_prepared_cohort(store, tmp_path, capsys):
    out = tmp_path / "run"
    arguments = ("--cohort", store, "--models", OWN, "--folds", 3, "--out", out)
    assert benchmark(*arguments, "--reference", "contestants:StageCox") == 0
    shown = capsys.readouterr().out
    assert "contestants:StageCox" in shown
    assert str(out / "report.html") in shown
    scores = pd.read_csv(out / "scores.csv")
    assert scores["model"].tolist() == OWN.split(",")
    assert (scores["folds_done"] == 3).all()
    page = (out / "report.html").read_text(encoding="utf-8")
    assert f"survimg benchmark --no-progress --cohort {store}" in page


def test_the_phantom_cohort_brings_its_oracle(tmp_path):
    out = tmp_path / "run"
    status = benchmark(
        "--cohort", "phantom", "--patients", 30, "--shape", 16, 16, 16, "--models",
        "contestants:StageCox", "--folds", 2, "--seed", 1, 2, "--out", out,
    )
    assert status == 0
    scores = pd.read_csv(out / "scores.csv").set_index("model")
    assert scores.loc["oracle", "c_mean"] > 0.7
    assert {"c_fold1_seed1", "c_fold1_seed2"} <= set(scores.columns)


def test_a_failing_model_shows_in_the_status_and_the_others_are_reported(store, tmp_path, capsys):
    models = "contestants:failing_model,contestants:StageCox"
    out = tmp_path / "run"
    assert benchmark("--cohort", store, "--models", models, "--folds", 2, "--out", out) == 1
    assert "FAILED in 2 of 2 fits (RuntimeError" in capsys.readouterr().out
    assert "contestants:StageCox" in (out / "report.html").read_text(encoding="utf-8")


def test_a_manifest_is_prepared_once(tmp_path, monkeypatch):
    from survimg.datasets import write_phantom_manifest

    manifest = write_phantom_manifest(tmp_path / "images", n=10, shape=(16, 16, 16), random_state=0)
    arguments = (
        "--cohort", manifest, "--models", "contestants:StageCox", "--folds", 2, "--shape", 16, 16,
        16, "--spacing", 8, "--out", tmp_path / "run",
    )
    assert benchmark(*arguments) == 0
    (store,) = (path for path in (tmp_path / "run" / "cohort").iterdir() if path.is_dir())
    before = (store / "volumes.npy").stat().st_mtime_ns
    assert benchmark(*arguments) == 0
    assert (store / "volumes.npy").stat().st_mtime_ns == before


@pytest.mark.filterwarnings("always::UserWarning")
def test_a_cut_tumour_is_told_now_and_in_every_report(tmp_path, capsys):
    from survimg.datasets import write_phantom_manifest

    manifest = write_phantom_manifest(tmp_path / "images", n=10, shape=(16, 16, 16), random_state=0)
    arguments = (
        "--cohort", manifest, "--models", "contestants:StageCox", "--folds", 2, "--shape", 8, 8, 8,
        "--spacing", 1, "--out", tmp_path / "run",
    )
    assert benchmark(*arguments) == 0
    assert "warning: The crop cuts off part of the tumour" in capsys.readouterr().err
    assert benchmark(*arguments) == 0
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "The crop cuts off part of the tumour" in page


def test_prepare_then_info(tmp_path, capsys):
    from survimg.datasets import write_phantom_manifest

    manifest = write_phantom_manifest(tmp_path / "images", n=4, shape=(16, 16, 16), random_state=0)
    out = tmp_path / "store"
    status = main([
        "prepare", str(manifest), "--out", str(out), "--shape", "12", "12", "12", "--spacing", "8",
        "--normalise", "PET=zscore,CT=window:-200:300", "--time-unit", "months", "--no-progress",
    ])
    assert status == 0
    capsys.readouterr()
    assert main(["info", str(out)]) == 0
    shown = capsys.readouterr().out
    for part in ("12 x 12 x 12", "8, 8, 8 mm", "4 of 4", "months", "stage", "window"):
        assert part in shown, part


def test_report_renders_again(store, tmp_path, capsys):
    out = tmp_path / "run"
    benchmark("--cohort", store, "--models", "contestants:StageCox", "--folds", 2, "--out", out)
    page = (out / "report.html").read_bytes()
    (out / "report.html").unlink()
    assert main(["report", str(out)]) == 0
    assert (out / "report.html").read_bytes() == page


def test_radiomics_writes_one_row_per_patient(store, tmp_path, capsys):
    out = tmp_path / "features.csv"
    arguments = ["radiomics", str(store), "--out", str(out), "--images", "original"]
    assert main(arguments) == 0
    table = pd.read_csv(out)
    assert len(table) == 30
    assert table.columns[0] == "patient_id"
    assert table.shape[1] > 100
    assert main(arguments) == 2
    assert "exists" in capsys.readouterr().err
    assert main([*arguments, "--overwrite"]) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (f"{BENCHMARK} nowhere", "no such folder"),
        (f"{BENCHMARK} nowhere.csv --shape 8 8 8", "nowhere.csv"),
        (f"{BENCHMARK} images.csv", "--shape Z Y X is needed"),
        (f"{BENCHMARK} sts51:nowhere --shape 8 8 8", "nowhere"),
        (f"{BENCHMARK} nowhere --patients 40", "--patients does not apply to nowhere"),
        (f"{BENCHMARK} phantom --endpoint os", "--endpoint does not apply to phantom"),
        (f"{BENCHMARK} phantom --models best", "Unknown model 'best'"),
        (f"{BENCHMARK} phantom --models {OWN},{OWN}", "named twice"),
        (f"{BENCHMARK} phantom --models no.module:f", "cannot be imported"),
        (f"{BENCHMARK} phantom --models contestants:make_cohort", "no estimator"),
        (f"{BENCHMARK} phantom --iterations 5", "--iterations applies to networks"),
        (f"{BENCHMARK} phantom --patients 12 --shape 16 16 16 --folds 11", "Use fewer folds"),
        ("prepare nowhere.csv --shape 8 8 8 --out x", "nowhere.csv"),
        ("prepare nowhere.csv --shape 8 8 8 --spacing 1 2 --out x", "--spacing takes one number"),
        ("report nowhere", "holds no benchmark run"),
        ("info nowhere", "nowhere"),
        ("radiomics nowhere --out x.csv", "nowhere"),
    ],
)
def test_errors_of_the_user_are_one_line(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(arguments.split()) == 2
    shown = capsys.readouterr().err
    assert shown.count("\n") == 1
    assert shown.startswith(f"survimg {arguments.split()[0]}: error: ")
    assert message in shown
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "arguments",
    [
        [], ["benchmark"], ["benchmark", "--cohort", "phantom", "--out", "x", "--folds", "1"],
        ["prepare", "m.csv", "--out", "x"], ["fly"],
    ],
)
def test_wrong_usage_ends_with_status_2(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_debug_shows_the_traceback(tmp_path):
    with pytest.raises(FileNotFoundError):
        main(["--debug", "report", str(tmp_path)])


def test_help_of_the_program_loads_no_heavy_library():
    code = (
        "import sys, survimg.cli\n"
        "heavy = ('torch', 'monai', 'matplotlib', 'jinja2', 'survimg.benchmark')\n"
        "print([m for m in heavy if m in sys.modules])"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout.strip() == "[]"
