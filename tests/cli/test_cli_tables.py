"""The patients' table at the command line: what was understood, and what is told."""

from __future__ import annotations

import json
import warnings

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

import survimg
from survimg import Cohort
from survimg.cli import main
from survimg.estimators import ClinicalVolumeCox
from survimg.target import make_outcome

pytestmark = pytest.mark.filterwarnings("default")  # the command shows them itself

N = 16
#: One column of every kind; text as a hospital's spreadsheet has it.
COLUMNS = {
    "age": [str(40 + 3 * i) for i in range(N)],
    "dose": [f"{60 + i / 4:.2f}" if i % 5 else "" for i in range(N)],
    "T": (["1", "2", "3", "4a", "2", "1", "3", "4b"] * 2),
    "chemo": (["none", "cisplatin", "none", "5FU"] * 4),
    "hpv": (["True", "False", "", "True"] * 4),
    "smoker": (["0", "1", "1", "0"] * 4),
    "grade:categorical": (["1", "2", "3", "1"] * 4),
    "centre_name": (["Süd, Haus 1", "Nord"] * 8),
}


@pytest.fixture(scope="module")
def hospital(tmp_path_factory):
    """A manifest of patients with all kinds of columns, a cohort and a Cox model of it."""
    folder = tmp_path_factory.mktemp("hospital")
    rng = np.random.default_rng(0)
    rows = []
    for i in range(N):
        mask = np.zeros((12, 12, 12), np.uint8)
        mask[4 : 6 + i % 5, 4:8, 4:8] = 1
        for name, array in {"ct": rng.normal(size=mask.shape).astype("float32"), "m": mask}.items():
            nib.save(nib.Nifti1Image(array, np.diag([4.0, 4, 4, 1])), folder / f"{i}_{name}.nii")
        cells = {name: values[i] for name, values in COLUMNS.items()}
        rows.append({
            "patient_id": f"P{i}", "CT": f"{i}_ct.nii", "mask": f"{i}_m.nii",
            "time": round(float(rng.uniform(1, 60)), 2), "event": i % 3 and 1, **cells,
        })
    table = pd.DataFrame(rows)
    table.to_csv(folder / "manifest.csv", index=False)
    store, model = folder / "store", folder / "model"
    given = ["--shape", "12", "12", "12", "--no-progress", "--out", str(store)]
    assert main(["prepare", str(folder / "manifest.csv"), *given]) == 0
    cohort = Cohort.load(store)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitted = ClinicalVolumeCox(alpha=1.0).fit(cohort, cohort.outcome)
    survimg.save(fitted, model)
    return folder, table, model


def risks(hospital, rows, name):
    folder, table, model = hospital
    path, out = folder / f"{name}.csv", folder / f"out_{name}"
    table.iloc[rows].drop(columns=["time", "event"]).to_csv(path, index=False)
    given = ["--model", str(model), "--cohort", str(path), "--out", str(out), "--no-progress"]
    assert main(["predict", *given]) == 0
    found = pd.read_csv(out / "predictions.csv", converters={"risk": float})
    return found.set_index("patient_id")["risk"]


def test_a_patients_prediction_does_not_depend_on_who_else_is_in_the_file(hospital):
    whole = risks(hospital, list(range(N)), "all")
    assert whole.nunique() > N // 2
    rng = np.random.default_rng(1)
    for k, size in enumerate((1, 1, 2, 5)):
        rows = rng.choice(N, size, replace=False).tolist()
        part = risks(hospital, rows, f"part{k}")
        # a product of other size may round its last bit otherwise
        np.testing.assert_allclose(part, whole[part.index], rtol=1e-12)


def test_info_shows_what_was_understood_of_a_manifest(hospital, capsys):
    folder = hospital[0]
    assert main(["info", str(folder / "manifest.csv")]) == 0
    shown = capsys.readouterr().out
    for part in (
        "patients  16", "age: numeric, 40 to 85", "dose: numeric, 60.25 to 63.5; 4 missing",
        "T: categorical, 1: 4, 2: 4, 3: 4, 4a: 2, 4b: 2",
        "chemo: categorical, 5FU: 4, cisplatin: 4, none: 8",
        "hpv: boolean, False: 4, True: 8; 4 missing", "grade: categorical, 1: 8",
    ):
        assert part in shown, part
    given = ["--na-values", "none", "--kinds", "T=categorical,smoker=boolean", "--json"]
    assert main(["info", str(folder / "manifest.csv"), *given]) == 0
    record = json.loads(capsys.readouterr().out)["clinical"]
    assert record["chemo"]["missing"] == 8
    assert record["smoker"] == {"kind": "boolean", "missing": 0, "levels": {"False": 8, "True": 8}}


def test_info_says_why_a_column_is_refused(hospital, tmp_path, capsys):
    folder, table, _ = hospital
    table.assign(born=[f"19{50 + i}-03-02" for i in range(N)]).to_csv(folder / "b.csv", index=False)
    assert main(["info", str(folder / "b.csv")]) == 0
    assert "born: refused. Clinical column 'born' holds dates" in capsys.readouterr().out
    assert main(["info", str(tmp_path)]) == 2
    assert main(["info", str(folder / "store"), "--na-values", "x"]) == 2


@pytest.fixture
def store(tmp_path):
    """A cohort of two centres, a column that tells them, and two empty masks."""
    n = 24
    rng = np.random.default_rng(0)
    masks = np.zeros((n, 6, 6, 6), np.uint8)
    for i in range(n):
        masks[i].flat[: 20 + 7 * i] = 1
    masks[[3, 8]] = 0
    Cohort(
        rng.normal(size=(n, 1, 6, 6, 6)).astype("float32"), masks=masks, spacing=4.0,
        ids=[f"P{i}" for i in range(n)], groups=["A", "B"] * (n // 2),
        clinical={"scanner": ["GE", "Philips"] * (n // 2), "age": rng.integers(40, 80, n)},
        outcome=make_outcome(np.arange(n) % 3 > 0, rng.uniform(1, 60, n)),
    ).save(tmp_path / "store")
    return tmp_path / "store"


def benchmark(store, *options):
    out = store.parent / "run"
    given = ["--cohort", str(store), "--models", "clinical-volume-cox", "--out", str(out)]
    return main(["benchmark", *given, "--no-progress", "--keep-groups", "no", *options])


def test_empty_masks_are_found_before_any_model_is_fitted(store, capsys):
    assert benchmark(store, "--folds", "2") == 2
    error = capsys.readouterr().err
    assert "2 patient(s) have an empty tumour mask: 'P3', 'P8'" in error
    assert "--empty-masks leave-out" in error
    assert not (store.parent / "run" / "records").exists()
    assert main(["info", str(store)]) == 0
    assert "24 of 24; 2 of them empty: 'P3', 'P8'" in capsys.readouterr().out
    assert benchmark(store, "--folds", "2", "--empty-masks", "leave-out") == 0
    assert "'P3', 'P8'; they are left out" in capsys.readouterr().err
    given = ["--cohort", str(store), "--model", "clinical-volume-cox", "--out"]
    assert main(["fit", *given, str(store.parent / "m")]) == 2


def test_a_failed_models_message_stands_whole_in_the_table(store, capsys):
    assert benchmark(store, "--folds", "2", "--empty-masks", "keep") == 1
    shown = capsys.readouterr().out
    assert "A tumour volume needs at least one voxel; correct the masks or leave" in shown


def test_a_column_that_tells_the_centre_and_warnings_of_fits_are_said_once(store, capsys):
    options = ["--protocol", "leave-one-centre-out", "--empty-masks", "leave-out"]
    assert benchmark(store, *options) == 0
    error = capsys.readouterr().err
    assert error.count("The clinical column 'scanner' tells the centre") == 1
    assert error.count("holds levels that no training patient had: ['GE']") == 1
    assert "clinical-volume-cox: Clinical column" in error
