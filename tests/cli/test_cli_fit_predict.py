"""``survimg fit`` and ``survimg predict``: from images to predictions without Python."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

import survimg
from survimg import Cohort
from survimg.cli import main
from survimg.datasets import write_phantom_manifest
from survimg.explain import saliency
from survimg.io import read_image
from survimg.preprocessing import to_patient_space

SHAPE = ["--shape", "16", "16", "16", "--spacing", "8"]


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Return a manifest, the cohort prepared from it, and a network trained on that."""
    folder = tmp_path_factory.mktemp("hospital")
    manifest = write_phantom_manifest(
        folder / "images", n=12, shape=(16, 16, 16), random_state=0
    )
    store, model = folder / "cohort", folder / "model"
    assert main(["prepare", str(manifest), "--out", str(store), *SHAPE, "--no-progress"]) == 0
    status = main([
        "fit", "--cohort", str(store), "--model", "deepmts", "--iterations", "2", "--threads", "1",
        "--set", "batch_size=4", "--set", "batch_norm_batches=1",
        "--set", "precision=float32", "--out", str(model),
    ])
    assert status == 0
    return manifest, store, model


def predict(model, cohort, out, *options):
    arguments = ["--model", str(model), "--cohort", str(cohort), "--out", str(out), *options]
    return main(["predict", *arguments])


def test_a_manifest_gives_what_the_model_gives_in_python(images, tmp_path):
    manifest, store, folder = images
    out = tmp_path / "new" / "predictions"
    assert predict(folder, manifest, out, "--horizons", "12", "--masks") == 0
    exact = {"risk": float, "survival_12": float}
    table = pd.read_csv(out / "predictions.csv", converters=exact)
    cohort, model = Cohort.load(store), survimg.load(folder)
    assert model.batch_size == 4
    assert model.random_state == 0
    assert table["patient_id"].astype(str).tolist() == cohort.ids.tolist()
    np.testing.assert_array_equal(table["risk"], model.predict(cohort))
    expected = [curve(12.0) for curve in model.predict_survival_function(cohort)]
    np.testing.assert_array_equal(table["survival_12"], expected)
    assert sorted(path.name for path in out.iterdir()) == ["masks", "predictions.csv"]

    masks = model.predict_mask(cohort)
    for i, patient in enumerate(cohort.ids):
        written = read_image(out / "masks" / f"{patient}.nii.gz")
        own = read_image(manifest.parent / pd.read_csv(manifest)["PET"][i])
        assert written.array.shape == own.array.shape
        assert written.spacing == pytest.approx(own.spacing)
        assert written.origin == pytest.approx(own.origin)
        expected = to_patient_space(cohort, i, masks[i], interpolation="nearest").array
        np.testing.assert_array_equal(written.array, expected)
    assert masks.any()


def test_a_prepared_cohort_gives_the_same(images, tmp_path):
    manifest, store, folder = images
    assert predict(folder, store, tmp_path / "a") == 0
    assert predict(folder, manifest, tmp_path / "b") == 0
    assert (tmp_path / "a" / "predictions.csv").read_bytes() == (
        tmp_path / "b" / "predictions.csv"
    ).read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_classic_models_are_fitted_and_predict_too(images, tmp_path):
    manifest, store, _ = images
    model, out, again = tmp_path / "cox", tmp_path / "out", tmp_path / "again"
    arguments = ["--cohort", str(store), "--model", "clinical-volume-cox", "--out", str(model)]
    assert main(["fit", *arguments]) == 0
    assert predict(model, store, out, "--horizons", "0.01", "6", "12") == 0
    assert predict(model, manifest, again, "--horizons", "0.01", "6", "12") == 0
    assert (again / "predictions.csv").read_bytes() == (out / "predictions.csv").read_bytes()
    table = pd.read_csv(out / "predictions.csv")
    assert (table["survival_0.01"] == 1).all()  # before the first event
    assert (table["survival_6"] >= table["survival_12"]).all()
    assert table["risk"].corr(table["survival_12"], method="spearman") == pytest.approx(-1)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--masks"], "predicts no masks"),
        (["--horizons", "1e6"], "predicts survival up to"),
    ],
)
def test_what_a_model_cannot_predict_is_refused_and_nothing_is_written(
    images, tmp_path, capsys, options, words
):
    _, store, _ = images
    model = tmp_path / "cox"
    arguments = ["--cohort", str(store), "--model", "clinical-volume-cox", "--out", str(model)]
    assert main(["fit", *arguments]) == 0
    assert predict(model, store, tmp_path / "out", *options) == 2
    assert words in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["cox"]


@pytest.fixture
def table(images):
    """Return the manifest's table, and a function that writes a changed one beside the images."""
    manifest, _, _ = images
    paths = []

    def write(changed):
        paths.append(manifest.with_name(f"changed{len(paths)}.csv"))
        changed.to_csv(paths[-1], index=False)
        return paths[-1]

    yield pd.read_csv(manifest, dtype={"patient_id": str}), write
    for path in paths:
        path.unlink()


def test_patients_without_a_mask_learn_where_the_crop_comes_from(images, table, tmp_path, capsys):
    changed, write = table
    patient = changed["patient_id"][1]
    changed.loc[1, "mask"] = None
    assert predict(images[2], write(changed), tmp_path / "out") == 2
    message = capsys.readouterr().err
    assert "The training cohort of" in message
    assert f"1 of 12 new patients have no mask: {patient!r}" in message
    assert "Use another crop" not in message
    assert not list(tmp_path.iterdir())


@pytest.mark.filterwarnings("always::UserWarning")
def test_an_absent_modality_is_said_before_it_is_filled_in(images, table, tmp_path, capsys):
    _, store, _ = images
    changed, write = table
    patient = changed["patient_id"][2]
    changed = changed.head(4).copy()
    changed.loc[2, "CT"] = None
    manifest, model = write(changed), tmp_path / "cox"
    arguments = ["--cohort", str(store), "--model", "clinical-volume-cox", "--out", str(model)]
    assert main(["fit", *arguments]) == 0
    assert predict(model, manifest, tmp_path / "out", "--horizons", "6") == 0
    said = capsys.readouterr().err
    assert said.count(f"CT is missing for 1 patient: {patient!r}.") == 1
    prepared = ["prepare", str(manifest), "--out", str(tmp_path / "store"), *SHAPE, "--json"]
    assert main(prepared) == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out)["absent"] == {"CT": [patient]}
    assert f"CT is missing for 1 patient: {patient!r}." in shown.err


def test_explain_takes_networks_and_prepared_cohorts(images, tmp_path, capsys):
    manifest, store, network = images
    model = tmp_path / "cox"
    arguments = ["--cohort", str(store), "--model", "clinical-volume-cox", "--out", str(model)]
    assert main(["fit", *arguments]) == 0
    capsys.readouterr()
    command = ["explain", "--out", str(tmp_path / "maps")]
    assert main([*command, "--model", str(model), "--cohort", str(store)]) == 2
    message = capsys.readouterr().err
    assert "ClinicalVolumeCox is not a network" in message
    assert message.count("\n") == 1
    assert main([*command, "--model", str(network), "--cohort", str(manifest)]) == 2
    assert "is a file; a prepared cohort is a folder" in capsys.readouterr().err


def test_explain_writes_a_map_and_a_picture_per_patient(images, tmp_path, capsys):
    pytest.importorskip("captum")
    _, store, folder = images
    cohort = Cohort.load(store)
    first, second = cohort.ids[:2].tolist()
    command = ["explain", "--model", str(folder), "--cohort", str(store), "--method", "grad_cam"]
    out = tmp_path / "maps"
    assert main([*command, "--patients", second, first, "--out", str(out), "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert [entry["patient_id"] for entry in record["maps"]] == [second, first]
    assert all(Path(entry["map"]).is_file() for entry in record["maps"])
    names = {f"{name}_saliency{end}" for name in (first, second) for end in (".nii.gz", ".png")}
    assert {path.name for path in out.iterdir()} == names
    written = read_image(out / f"{second}_saliency.nii.gz").array
    expected = saliency(survimg.load(folder), cohort[[1]], method="grad_cam")[0]
    np.testing.assert_allclose(written, to_patient_space(cohort, 1, expected).array, atol=1e-6)
    assert main([*command, "--patients", "nobody", "--out", str(tmp_path / "x")]) == 2
    assert "no such patient" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("labels", "options", "expected"),
    [
        ([], ["--horizon", "12"], "contribution to the survival at 12"),
        (["--label-at", "24"], [], "contribution to the log-odds of the event by 24"),
    ],
    ids=["survival", "label"],
)
def test_colours_of_a_picture_are_named_after_what_is_explained(
    images, tmp_path, monkeypatch, labels, options, expected
):
    pytest.importorskip("captum")
    _, store, model = images
    names = []

    def draw(*_arguments, label):
        names.append(label)
        return Figure()

    monkeypatch.setattr("survimg.explain.plot_saliency", draw)
    if labels:
        model = tmp_path / "classifier"
        fit = ["fit", "--cohort", str(store), "--model", "deepmts", "--iterations", "1", *labels]
        fit += ["--set", "batch_size=4", "--set", "batch_norm_batches=1", "--threads", "1"]
        assert main([*fit, "--set", "precision=float32", "--out", str(model)]) == 0
    patient = str(Cohort.load(store).ids[0])
    explain = ["explain", "--model", str(model), "--cohort", str(store), "--patients", patient]
    assert main([*explain, *options, "--out", str(tmp_path / "maps")]) == 0
    assert names == [expected]


@pytest.mark.parametrize("command", ["explain", "predict"])
def test_the_output_of_another_run_meanwhile_stays_as_it_is(images, tmp_path, monkeypatch, command):
    _, store, folder = images
    out, replace = tmp_path / "out", os.replace

    def other_first(source, target):
        if Path(target) == out:
            out.mkdir()
            (out / "other.csv").write_text("of another run")
        replace(source, target)

    monkeypatch.setattr(os, "replace", other_first)
    words = ["--model", str(folder), "--cohort", str(store), "--out", str(out)]
    if command == "explain":
        pytest.importorskip("captum")
        words += ["--method", "grad_cam", "--patients", str(Cohort.load(store).ids[0])]
    assert main([command, *words]) == 2
    assert [path.name for path in out.iterdir()] == ["other.csv"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_fit_refuses_before_it_trains(images, tmp_path, capsys):
    _, store, folder = images
    command = ["fit", "--cohort", str(store), "--model", "deepmts"]
    assert main([*command, "--out", str(folder)]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert main([*command, "--out", str(tmp_path / "m"), "--set", "learn_rate=1"]) == 2
    assert "learning_rate" in capsys.readouterr().err
    assert predict(folder, store, folder) == 2
    assert "exists" in capsys.readouterr().err
    assert not (tmp_path / "m").exists()
