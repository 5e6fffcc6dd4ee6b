"""The command line: what it answers, how it ends, and that the user's errors are one line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import contestants
import numpy as np
import pandas as pd
import pytest
from contestants import make_cohort

from survimg import Cohort
from survimg.benchmark import read_run
from survimg.benchmark.risk_groups import risk_groups
from survimg.cli import main
from survimg.evaluation import concordance_index

OWN = "contestants:segmenter_model,contestants:StageCox"
PREPARE = ("prepare", "m.csv", "--out", "x", "--shape", "8", "8", "8")
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
    assert f"survimg benchmark --no-progress --cohort {store.name}" in page  # without folders


@pytest.mark.parametrize(
    ("name", "sign"),
    [
        ("stage_time", -1),
        ("stage_time_search", -1),
        ("stage_svm", -1),
        ("stage_svm_search", -1),
        ("stage_time_ensemble", 1),
        ("stage_time_stack", 1),
        ("stage_time_out_of_fold", 1),
    ],
)
def test_models_that_predict_a_time_are_turned(name, sign, store, tmp_path):
    out, model = tmp_path / "run", f"contestants:{name}"
    assert benchmark("--cohort", store, "--models", model, "--folds", 3, "--out", out) == 0
    run, cohort = read_run(out), Cohort.load(store)
    high, tied = np.zeros((2, len(cohort)), bool)
    for fold, (train, test) in enumerate(run.folds):
        unfitted = getattr(contestants, name)()
        seeds = [key for key in unfitted.get_params() if key.endswith("random_state")]
        unfitted.set_params(**dict.fromkeys(seeds, 0))  # as a run with seed 0 does
        fitted = unfitted.fit(cohort[train], cohort.outcome[train])
        arrays = run.records[model, fold, 0].arrays
        found = concordance_index(cohort.outcome[test], arrays["test_risk"])
        expected = fitted.score(cohort[test], cohort.outcome[test])
        assert found == pytest.approx(expected, abs=1e-12)
        risk = sign * fitted.predict(cohort)
        np.testing.assert_allclose(arrays["train_risk"], risk[train])
        cutoff = np.median(risk[train])
        high[test], tied[test] = risk[test] > cutoff, np.isclose(risk[test], cutoff)
    groups = risk_groups(run, model)
    untied = ~tied[groups.position]
    assert untied.sum() > 10
    np.testing.assert_array_equal(groups.high[untied], high[groups.position][untied])


def test_the_phantom_cohort_brings_its_oracle(tmp_path):
    out = tmp_path / "run"
    status = benchmark(
        "--cohort", "phantom", "--patients", 30, "--shape", 16, 16, 16, "--models",
        "contestants:StageCox", "--folds", 2, "--seed", 1, 2, "--truth", "outside", "--out", out,
    )
    assert status == 0
    assert read_run(out).plan["settings"]["phantom_truth"] == "outside"
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
        "--json",
    ])
    assert status == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["patients"], record["shape"], record["masks"]) == (4, [12, 12, 12], 4)
    assert main(["info", str(out)]) == 0
    shown = capsys.readouterr().out
    volumes = "12 x 12 x 12 voxels (z, y, x)"
    for part in (volumes, "8, 8, 8 mm", "4 of 4", "months", "stage: numeric, ", "window"):
        assert part in shown, part


def test_report_renders_again(store, tmp_path, capsys):
    out = tmp_path / "run"
    benchmark("--cohort", store, "--models", "contestants:StageCox", "--folds", 2, "--out", out)
    page = (out / "report.html").read_bytes()
    (out / "report.html").unlink()
    assert main(["report", str(out)]) == 0
    assert (out / "report.html").read_bytes() == page


def test_radiomics_by_the_standard_of_ibsi(store, tmp_path):
    out = tmp_path / "features.csv"
    assert main(["radiomics", str(store), "--out", str(out), "--standard", "ibsi"]) == 0
    columns = out.read_text().splitlines()[0].split(",")
    assert {"morph_volume", "PET_cm_joint_max_3D_avg"} <= set(columns)


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
        (f"{BENCHMARK} images.csv", "There is no manifest images.csv"),
        (f"{BENCHMARK} phantom --truth inside", "must be one of ['mask', 'outside']; got 'inside'"),
        (f"{BENCHMARK} phantom --effects size=1", "effects names ['size']; the components are"),
        (f"{BENCHMARK} phantom --strand-gap 30", "strand_gap must be between 0 and 24 mm"),
        (f"{BENCHMARK} nowhere --truth outside", "apply to nowhere: it is for phantoms"),
        (f"{BENCHMARK} sts51:nowhere --effects stage=1", "--effects does not apply to sts51"),
        (f"{BENCHMARK} sts51:nowhere --shape 8 8 8", "nowhere"),
        (f"{BENCHMARK} nowhere --patients 40", "--patients does not apply to nowhere"),
        (f"{BENCHMARK} phantom --endpoint os", "apply to phantom: it is for the public"),
        (f"{BENCHMARK} phantom --models best", "Unknown model 'best'. Known"),
        (f"{BENCHMARK} phantom --models Deep_MTS", "did you mean 'deepmts'?"),
        (f"{BENCHMARK} phantom --models {OWN},{OWN}", "named twice"),
        (f"{BENCHMARK} phantom --models no.module:f", "cannot be imported"),
        (f"{BENCHMARK} phantom --models contestants:make_cohort", "no estimator"),
        (f"{BENCHMARK} phantom --models json:dumps", "callable without arguments; that gave TypeE"),
        (f"{BENCHMARK} phantom --iterations 5", "--iterations applies to networks"),
        (f"{BENCHMARK} phantom --device tpu", "--device applies to networks"),
        (f"{BENCHMARK} phantom --reference best", "reference 'best' is not one of the models"),
        (f"{BENCHMARK} phantom --centre 0 0 1", "--centre does not apply to phantom"),
        (f"{BENCHMARK} sts51:nowhere --shape 8 8 8 --allow-outside", "--allow-outside does not"),
        (f"{BENCHMARK} nowhere --mask-label 2", "to a prepared cohort: it is for a manifest"),
        (f"{BENCHMARK} nowhere --modalities PET", "--modalities does not apply to a prepared"),
        (f"{BENCHMARK} phantom --patients 12 --shape 16 16 16 --folds 11", "Use fewer folds"),
        ("prepare nowhere.csv --shape 8 8 8 --out x", "nowhere.csv"),
        ("report nowhere", "holds no benchmark run"),
        ("info nowhere", "nowhere"),
        ("radiomics nowhere --out x.csv", "nowhere"),
        ("radiomics nowhere --out gone/x.csv", "--out gone/x.csv: there is no folder gone"),
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
        [*PREPARE, "--spacing", "1,2"], [*PREPARE, "--spacing", "wide"],
    ],
)
def test_wrong_usage_ends_with_status_2(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert "usage:" in capsys.readouterr().err


@pytest.fixture
def manifest(tmp_path):
    """Table of ten phantoms, beside their images."""
    from survimg.datasets import write_phantom_manifest

    return write_phantom_manifest(tmp_path / "images", n=10, shape=(16, 16, 16), random_state=0)


def _stored(folder):

    return Cohort.load(folder)


@pytest.mark.filterwarnings("ignore:The crop cuts off:UserWarning")
@pytest.mark.parametrize(
    ("option", "spacing"),
    [("--spacing 8", [8, 8, 8]), ("--spacing 8,6,4", [8, 6, 4])],
)
def test_options_do_not_swallow_the_manifest_behind_them(manifest, tmp_path, option, spacing):
    out = tmp_path / "store"
    command = f"prepare --no-progress --out {out} --shape 8 8 8"
    assert main([*command.split(), *option.split(), str(manifest)]) == 0
    assert _stored(out).spacing[0].tolist() == spacing
    command = f"{command} --overwrite --modalities CT,PET {manifest}"
    assert main(command.split()) == 0
    assert _stored(out).channel_names == ("CT", "PET")


@pytest.mark.filterwarnings("ignore:The crop cuts off:UserWarning")
@pytest.mark.parametrize("command", ["prepare", "benchmark"])
def test_a_manifest_is_read_and_cropped_as_the_options_say(
    manifest, tmp_path, capsys, command
):
    from survimg.io import read_image, write_image

    for path in manifest.parent.glob("*_mask.nii.gz"):  # the tumour is 2, another lesion 1
        mask = read_image(path)
        labels = mask.array.astype("uint8") * 2
        labels[0, 0, 0] = 1
        write_image(path, labels, mask)
    table = pd.read_csv(manifest)
    for column in ("PET", "CT", "mask"):
        table[column] = "../images/" + table[column]
    (tmp_path / "table").mkdir()
    table.to_csv(tmp_path / "table" / "manifest.csv", index=False)
    out, csv = tmp_path / "run", str(tmp_path / "table" / "manifest.csv")
    arguments = {
        "prepare": ["prepare", csv],
        "benchmark": f"benchmark --models contestants:StageCox --folds 2 --cohort {csv}".split(),
    }[command]
    arguments += f"--no-progress --out {out} --shape 14 14 14 --modalities PET".split()
    arguments += ["--crop", "fixed", "--centre", "0", "0", "8"]
    assert main(arguments) == 2
    assert "--allow-outside" in capsys.readouterr().err
    assert main([*arguments, "--allow-outside"]) == 2
    assert "--mask-label" in capsys.readouterr().err
    assert not out.exists()
    assert main([*arguments, "--allow-outside", "--mask-label", "2"]) == 0
    stores = [out] if command == "prepare" else [
        path for path in (out / "cohort").iterdir() if path.is_dir()
    ]
    cohort = _stored(stores[0])
    assert cohort.channel_names == ("PET",)
    assert cohort.settings["centre"] == [0.0, 0.0, 8.0]
    assert cohort.settings["label"] == 2


def test_too_few_events_for_the_folds_show_before_anything_is_prepared(manifest, tmp_path, capsys):
    out = tmp_path / "deep" / "run"
    status = benchmark(
        "--cohort", manifest, "--models", "contestants:StageCox", "--folds", 10, "--shape",
        8, 8, 8, "--out", out,
    )
    assert status == 2
    assert "Use fewer folds" in capsys.readouterr().err
    assert not out.parent.exists()


def test_a_failing_preparation_leaves_no_empty_folders(manifest, tmp_path, capsys):
    next(manifest.parent.glob("*_CT.nii.gz")).write_text("broken")
    out = tmp_path / "deep" / "run"
    status = benchmark(
        "--cohort", manifest, "--models", "contestants:StageCox", "--folds", 2, "--shape",
        8, 8, 8, "--out", out,
    )
    assert status == 2
    assert "column 'CT'" in capsys.readouterr().err
    assert not out.parent.exists()


def _estimators(out):

    return [json.dumps(r.details["estimator"]) for r in read_run(out).records.values()]


def test_iterations_and_device_reach_a_users_own_network(store, tmp_path):
    out = tmp_path / "run"
    models = "own_network:OwnNetwork,own_network:inside_a_pipeline,contestants:StageCox"
    arguments = ("--cohort", store, "--models", models, "--folds", 2, "--out", out)
    assert benchmark(*arguments, "--iterations", 7, "--device", "cpu") == 0
    texts = _estimators(out)
    assert sum('"n_iterations": 7' in text and '"device": "cpu"' in text for text in texts) == 4


def test_the_short_training_on_phantoms_leaves_a_users_own_number(tmp_path):
    out = tmp_path / "run"
    status = benchmark(
        "--cohort", "phantom", "--patients", 30, "--shape", 16, 16, 16, "--models",
        "own_network:OwnNetwork", "--folds", 2, "--out", out,
    )
    assert status == 0
    assert all('"n_iterations": 3' in text for text in _estimators(out))


def test_a_package_that_is_missing_is_one_line(store, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "radiomics", None)
    arguments = ["radiomics", str(store), "--out", str(tmp_path / "f.csv")]
    assert main([*arguments, "--engine", "pyradiomics"]) == 2
    shown = capsys.readouterr().err
    assert shown.count("\n") == 1
    assert "install" in shown
    with pytest.raises(ImportError):
        main(["--debug", *arguments, "--engine", "pyradiomics"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("radiomics s --out f.csv", "the same command does the rest"),
        ("prepare s --out x --shape 8 8 8", "the same command does the rest"),
        ("fit --cohort s --model clinical-volume-cox --out x", "survimg: interrupted\n"),
    ],
)
def test_an_interruption_says_what_is_kept(arguments, message, capsys, monkeypatch):
    import survimg.cohort
    import survimg.preprocessing

    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(survimg.cohort.Cohort, "load", interrupted)
    monkeypatch.setattr(survimg.preprocessing, "prepare", interrupted)
    assert main(arguments.split()) == 130
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    "sentence", ["draws the folds and the phantom cohort", "so networks are fitted again"]
)
def test_the_help_says_what_seed_and_processes_change(sentence, capsys):
    with pytest.raises(SystemExit):
        main(["benchmark", "--help"])
    assert sentence in " ".join(capsys.readouterr().out.split())


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
