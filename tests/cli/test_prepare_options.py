"""Options of the preparation reach the store, and a saved model prepares new patients by them."""

from __future__ import annotations

import pytest

from survimg import Cohort
from survimg.cli import main
from survimg.cli.new_patients import _training_preparation
from survimg.datasets import write_phantom_manifest
from survimg.estimators import ClinicalVolumeCox
from survimg.saving import save

OPTIONS = (
    "--interpolation", "cubic", "--no-antialias", "--mask-interpolation", "linear",
    "--features-spacing", "6", "--features-margin", "10",
)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("options")
    csv = write_phantom_manifest(folder / "data", n=8, shape=(16, 16, 16), random_state=0)
    shape = ("--shape", "16", "16", "16", "--spacing", "8")
    out = folder / "out"
    assert main(["prepare", str(csv), "--out", str(out), *shape, *OPTIONS, "--no-progress"]) == 0
    return out


def test_every_option_stands_in_the_settings(store):
    cohort = Cohort.load(store)
    assert {name: cohort.settings[name] for name in (
        "interpolation", "antialias", "mask_interpolation", "features_spacing", "features_margin"
    )} == {
        "interpolation": "cubic", "antialias": False, "mask_interpolation": "linear",
        "features_spacing": [6.0, 6.0, 6.0], "features_margin": 10.0,
    }
    assert cohort.finer.spacing[0].tolist() == [6.0, 6.0, 6.0]


def test_new_patients_are_prepared_as_the_model_says(store, tmp_path):
    cohort = Cohort.load(store)
    save(ClinicalVolumeCox().fit(cohort, cohort.outcome), tmp_path / "model")
    steps = _training_preparation(str(tmp_path / "model"))
    for name in ("interpolation", "antialias", "mask_interpolation", "features_spacing"):
        assert steps[name] == cohort.settings[name]


def test_native_and_a_word_that_is_none(capsys):
    command = ["prepare", "m.csv", "--out", "x", "--shape", "8", "8", "8"]
    with pytest.raises(SystemExit):
        main([*command, "--features-spacing", "x"])
    assert "must be 4 or" in capsys.readouterr().err


def test_a_benchmark_of_files_measures_the_finer_voxels_that_it_is_asked_for(tmp_path):
    csv = write_phantom_manifest(tmp_path / "data", n=16, shape=(16, 16, 16), random_state=0)
    command = ["benchmark", "--cohort", str(csv), "--models", "clinical-volume-cox", "--folds", "2",
               "--out", str(tmp_path / "runs"), "--shape", "16", "16", "16", "--no-progress"]
    for more in ([], ["--features-spacing", "6"]):
        assert main([*command, *more]) == 0
    stores = [Cohort.load(folder) for folder in (tmp_path / "runs" / "cohort").iterdir()
              if folder.is_dir()]
    assert sorted(store.finer is not None for store in stores) == [False, True]
    assert next(s for s in stores if s.finer is not None).finer.spacing[0].tolist() == [6.0] * 3


def test_a_benchmark_of_the_sarcoma_cohort_measures_finer_voxels_unless_told_not_to(
    tmp_path, monkeypatch
):
    csv = write_phantom_manifest(tmp_path / "data", n=16, shape=(16, 16, 16), random_state=0)
    monkeypatch.setattr(
        "survimg.datasets.load_sts51", lambda folder, endpoint: Cohort.from_manifest(csv)
    )
    command = ["benchmark", "--cohort", f"sts51:{csv.parent}", "--models", "clinical-volume-cox",
               "--folds", "2", "--shape", "16", "16", "16", "--no-progress"]
    for name, more in (("default", []), ("none", ["--features-spacing", "none"])):
        assert main([*command, *more, "--out", str(tmp_path / name)]) == 0
        (store,) = (folder for folder in (tmp_path / name / "cohort").iterdir() if folder.is_dir())
        assert (Cohort.load(store).finer is not None) == (name == "default")
