"""``survimg prepare`` on a folder of DICOM: the same as a manifest of it written by hand."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pandas as pd
import pytest

pydicom = pytest.importorskip("pydicom")
pytest.importorskip("highdicom")

from dicom_export import export_contours, export_mask, export_series  # noqa: E402

from survimg import Cohort  # noqa: E402
from survimg.cli import main  # noqa: E402
from survimg.datasets import write_phantom_manifest  # noqa: E402
from survimg.io import (  # noqa: E402
    manifest_of_dicom,
    read_image,
    read_manifest,
    read_mask,
)

NAMES = ["P000", "P001", "P002", "P003"]
SUV_FACTOR = 70_000 / (370e6 * 2 ** (-3600 / 6586.2))  # g per decayed Bq


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """Four patients as DICOM, a table of them, and a manifest that names the same files.

    Of P001 all files share one folder; P002 has an RTSTRUCT, the others segmentation objects; P003
    has no PET.
    """
    root = tmp_path_factory.mktemp("archive")
    source = write_phantom_manifest(root / "nifti", n=4, shape=(16, 16, 16), random_state=0)
    table = pd.read_csv(source)
    for i, name in enumerate(NAMES):
        images, folder = table.loc[i], root / "dicom" / name
        study = pydicom.uid.generate_uid()
        for column, modality in (("CT", "CT"), ("PET", "PT")):
            if (name, column) != ("P003", "PET"):
                path = source.parent / images[column]
                export_series(root / "single" / name / column, path, modality=modality, study=study)
        if name == "P002":
            export_contours(root / "single" / name / "mask.dcm", root / "single" / name / "CT")
        else:
            mask = source.parent / images["mask"]
            export_mask(root / "single" / name / "mask.dcm", mask, root / "single" / name / "CT")
        flat = name == "P001"
        for file in (root / "single" / name).rglob("*.dcm"):
            inner = file.name if flat else file.relative_to(root / "single" / name)
            (folder / inner).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, folder / inner)
    clinical = pd.DataFrame({"patient_id": NAMES, **table[["time", "event", "stage"]]})
    clinical["event"] = [1, 0, 1, 1]
    clinical["centre"] = ["north", "south", "", "north"]
    clinical.iloc[::-1].to_csv(root / "clinical.csv", index=False)  # joined by name, not by place
    manifest = clinical.assign(
        CT=[f"single/{name}/CT" for name in NAMES],
        PET=[*(f"single/{name}/PET" for name in NAMES[:3]), ""],
        mask=[f"single/{name}/mask.dcm" for name in NAMES],
    )
    columns = ["patient_id", "PET", "CT", "mask", *clinical.columns[1:]]
    manifest[columns].to_csv(root / "manifest.csv", index=False)
    return root


STEPS = ["--shape", 16, 16, 16, "--spacing", 8, "--label", "Tumour", "--normalise", "none", "-q"]


def prepare(archive, out, *options, images="dicom", clinical="clinical.csv"):
    given = ["prepare", archive / images, "--out", out, *STEPS, *options]
    given += ["--clinical", archive / clinical] if clinical else []
    return main([str(word) for word in given])


def content(store):
    return {path.name: path.read_bytes() for path in store.iterdir()}


@pytest.fixture(scope="module")
def by_hand(archive, tmp_path_factory):
    """Files of the cohort that the manifest gives."""
    out = tmp_path_factory.mktemp("by_hand") / "store"
    assert prepare(archive, out, images="manifest.csv", clinical=None) == 0
    return content(out)


pytestmark = pytest.mark.filterwarnings("ignore:PET is missing:UserWarning")


@pytest.mark.parametrize("processes", [1, 2])
def test_a_folder_gives_what_its_manifest_gives(
    archive, by_hand, tmp_path, monkeypatch, processes, capsys
):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    out = tmp_path / "new" / "store"
    assert prepare(archive, out, "--n-jobs", processes, "--json") == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["channels"], record["masks"], record["events"]) == (["PET", "CT"], 4, 3)
    assert content(out) == by_hand
    assert [path.name for path in out.parent.iterdir()] == ["store"]
    assert not list((tmp_path / "temporary").glob("survimg-*"))
    for file in out.iterdir():
        assert b"Doe" not in file.read_bytes()
        assert b"secret" not in file.read_bytes()


def test_pet_is_suv_and_the_table_is_joined_by_name(archive, tmp_path):
    out = tmp_path / "store"
    assert prepare(archive, out, "--crop", "fixed", "--time-unit", "months") == 0
    cohort = Cohort.load(out)
    table = pd.read_csv(archive / "clinical.csv").set_index("patient_id").loc[cohort.ids]
    assert cohort.ids.tolist() == NAMES
    np.testing.assert_array_equal(cohort.outcome["event"], table["event"] == 1)
    np.testing.assert_allclose(cohort.outcome["time"], table["time"])
    assert cohort.clinical["stage"].tolist() == table["stage"].tolist()
    assert cohort.time_unit == "months"
    assert cohort.present.tolist() == [[True, True]] * 3 + [[False, True]]
    path = pd.read_csv(archive / "nifti" / "manifest.csv")["PET"][0]
    activity = read_image(archive / "nifti" / path).array
    assert cohort.volume(0)[0].max() == pytest.approx(activity.max() * SUV_FACTOR, rel=0.03)


def test_an_interrupted_run_goes_on_where_it_was(archive, by_hand, tmp_path, monkeypatch, capsys):
    from survimg.preprocessing import preparing

    seen, limit = [], [3]
    whole = preparing._prepare_patient

    def counted(task):
        if len(seen) >= limit[0]:
            raise KeyboardInterrupt
        seen.append(task.patient.id)
        return whole(task)

    monkeypatch.setattr(preparing, "_prepare_patient", counted)
    out = tmp_path / "store"
    assert prepare(archive, out) == 130
    assert "the same command does the rest" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["store.partial"]
    limit[0] = 99
    assert prepare(archive, out) == 0
    assert seen == NAMES  # each once, P001 too, whose links are others now
    assert content(out) == by_hand
    assert prepare(archive, out) == 2
    assert "already holds a prepared cohort" in capsys.readouterr().err
    assert prepare(archive, out, "--overwrite", "--modalities", "CT") == 0
    assert Cohort.load(out).channel_names == ("CT",)
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


def copy_of(archive, tmp_path):
    shutil.copytree(archive / "dicom", tmp_path / "archive" / "dicom")
    shutil.copy(archive / "clinical.csv", tmp_path / "archive")
    return tmp_path / "archive"


def test_a_patient_who_cannot_be_read_is_named_and_nothing_is_left(archive, tmp_path, capsys):
    changed = copy_of(archive, tmp_path)
    slices = sorted((changed / "dicom" / "P002" / "CT").iterdir())
    slices[len(slices) // 2].unlink()
    out = tmp_path / "out" / "store"
    assert prepare(changed, out) == 2
    assert "Patient 'P002', column 'CT'" in capsys.readouterr().err
    assert not out.parent.exists()
    assert prepare(changed, out, "--keep-going") == 2
    assert "1 of 4 patients cannot be prepared" in capsys.readouterr().err
    shutil.copytree(archive / "dicom" / "P002", changed / "dicom" / "P002", dirs_exist_ok=True)
    assert prepare(changed, out) == 0
    assert [path.name for path in out.parent.iterdir()] == ["store"]


def rewrite(path, **rows):
    """Change cells of a table, or leave out a patient's row (None)."""
    table = pd.read_csv(path, dtype=str, keep_default_na=False).set_index("patient_id")
    for patient, cells in rows.items():
        if cells is None:
            table = table.drop(index=patient)
        else:
            table = table.assign(**dict.fromkeys(cells.keys() - set(table.columns), "1"))
            table.loc[patient, list(cells)] = list(cells.values())
    table.fillna("1").reset_index().to_csv(path, index=False)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ({"P001": None, "P003": None}, "same patients. Without a row: 'P001', 'P003'. The"),
        ({"P007": {"time": "3"}, "P008": {"time": "3"}}, "Without images: 'P007', 'P008'. The"),
        ({"P001": None, "p1": {"time": "3"}}, "Without a row: 'P001'. Without images: 'p1'."),
        ({"P001": {"time": "-3"}}, "Patient 'P001', column 'time': '-3' must be a number >= 0"),
        ({"P001": {"OS": "3"}}, "clinical.csv, columns 'OS': by their names an outcome"),
        ({"P001": {"CT": "3"}}, "clinical.csv: the column 'CT' is made from the DICOM folder"),
        ({"P001": {"mask": "3"}}, "clinical.csv: the column 'mask' is made from"),
        ({"P001": {"Time": "3"}}, "clinical.csv has a column 'Time'; write 'time'"),
    ],
)
def test_a_table_that_does_not_fit_is_one_line(archive, tmp_path, capsys, rows, message):
    shutil.copy(archive / "clinical.csv", tmp_path)
    rewrite(tmp_path / "clinical.csv", **rows)
    assert prepare(archive, tmp_path / "store", clinical=tmp_path / "clinical.csv") == 2
    shown = capsys.readouterr().err
    assert message in shown
    assert shown.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["clinical.csv"]


@pytest.mark.parametrize(
    ("images", "options", "message"),
    [
        ("manifest.csv", ["--clinical", "x.csv"], "--clinical does not apply to a manifest"),
        ("manifest.csv", ["--by-patient-id"], "--by-patient-id does not apply to a manifest"),
        ("dicom", ["--allow-outside"], "--allow-outside does not apply to a folder of DICOM"),
        ("dicom", ["--clinical", "x.csv"], "There is no table x.csv"),
        ("dicom", ["--clinical", __file__], "test_prepare_dicom.py"),
        ("dicom", ["--modalities", "MR"], "Patient 'P000' has no image"),
        ("dicom", ["--modalities", "T1"], "images called 'T1' cannot be found"),
        ("dicom", ["--label", "Liver"], "Patient 'P000', column 'mask'"),
        ("dicom/P001", [], "put those of each patient into a folder"),
        ("nifti", [], "holds no folders of patients"),
        ("nowhere", [], "There is no manifest"),
        ("nowhere", ["--clinical", "x.csv"], "nowhere, which is not a folder"),
    ],
)
def test_what_cannot_be_prepared_is_one_line(archive, tmp_path, capsys, images, options, message):
    assert prepare(archive, tmp_path / "store", *options, images=images, clinical=None) == 2
    shown = capsys.readouterr().err
    assert message in shown
    assert shown.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_patients_are_told_apart_by_their_headers_where_asked(archive, tmp_path):
    """Ids that would lead out of the folder of links are ids like others."""
    ids = ["../../outside", "A/1", "A_1"]
    ct = next((archive / "nifti").glob("*_CT.nii.gz"))
    for patient in ids:
        export_series(tmp_path / "in", ct, patient=patient, study=pydicom.uid.generate_uid())
    export_contours(tmp_path / "in" / "rt.dcm", archive / "single" / "P000" / "CT", patient=ids[1])
    (tmp_path / "out" / "deep").mkdir(parents=True)
    table = tmp_path / "clinical.csv"
    table.write_text("patient_id,age\nA_1,3\nA/1,2\n../../outside,1\n")
    path = manifest_of_dicom(
        tmp_path / "in", tmp_path / "out" / "deep", clinical=table, by_patient_id=True
    )
    manifest = read_manifest(path, allow_outside=True)
    assert manifest.ids.tolist() == ids
    assert manifest.masks == [None, tmp_path / "in" / "rt.dcm", None]
    assert manifest.clinical["age"].tolist() == [1, 2, 3]
    for patient, series in zip(ids, manifest.images["CT"], strict=True):
        assert series.is_relative_to(tmp_path / "out" / "deep" / "series")
        headers = [pydicom.dcmread(file).PatientID for file in series.iterdir()]
        assert headers == [patient] * 16
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clinical.csv", "in", "out"]


def test_all_patients_who_need_order_are_named_at_once(archive, tmp_path):
    ct = next((archive / "nifti").glob("*_CT.nii.gz"))
    for name in ("A", "A", "B", "B"):
        export_series(tmp_path / name, ct, study=f"1.{ord(name)}")
    export_series(tmp_path / "C", ct, study="1.3", patient="one")
    export_series(tmp_path / "C" / "x", ct, modality="PT", study="1.4", patient="two")
    for name in ("D", "E"):
        (tmp_path / name).mkdir()
        export_contours(tmp_path / name / "1.dcm", archive / "single" / "P000" / "CT")
    shutil.copy(tmp_path / "D" / "1.dcm", tmp_path / "C" / "1.dcm")
    shutil.copy(tmp_path / "D" / "1.dcm", tmp_path / "C" / "2.dcm")
    with pytest.raises(ValueError, match="Patient 'A' has 2 CT series") as error:
        manifest_of_dicom(tmp_path, tmp_path)
    told = str(error.value)
    for part in (
        "Patient 'B' has 2 CT series", "Patient 'C' has 2 mask objects (1.dcm, 2.dcm)",
        "Patient 'D' has a mask", "Patient 'E' has a mask", "... and 1 more",
    ):
        assert part in told
    for name in "ABDE":
        shutil.rmtree(tmp_path / name)
    (tmp_path / "C" / "2.dcm").unlink()
    with pytest.raises(ValueError, match="'C' holds images with 2 PatientIDs") as error:
        manifest_of_dicom(tmp_path, tmp_path)
    assert "one" not in str(error.value).replace(str(tmp_path), "")
    assert not (tmp_path / "manifest.csv").exists()


def test_files_without_a_patient_id_need_folders(archive, tmp_path):
    ct = next((archive / "nifti").glob("*_CT.nii.gz"))
    export_series(tmp_path / "in", ct, patient="")
    with pytest.raises(ValueError, match="has no PatientID; sort the files into folders"):
        manifest_of_dicom(tmp_path / "in", tmp_path, by_patient_id=True)


def test_a_real_patient_keeps_his_tumour_to_the_voxel(shared_dir, tmp_path):
    (tmp_path / "export").mkdir()
    (tmp_path / "export" / "STS_001").symlink_to(shared_dir / "data" / "dicom_sts001_pet")
    out = tmp_path / "store"
    given = ["prepare", tmp_path / "export", "--out", out, "--label", "GTV_Mass", "-q"]
    given += ["--normalise", "none", "--shape", 64, 64, 64]
    assert main([str(word) for word in given]) == 0
    cohort = Cohort.load(out)
    assert (cohort.ids.tolist(), cohort.channel_names) == (["STS_001"], ("PET",))
    assert cohort.mask(0).sum() == 5095
    folder = shared_dir / "data" / "dicom_sts001_pet"
    suv = read_image(folder / "reference_SUV.nii.gz")
    inside = suv.array[read_mask(folder / "reference_mask.nii.gz", suv) > 0]
    found = cohort.volume(0)[0][cohort.mask(0) > 0]
    assert found.max() == pytest.approx(inside.max(), rel=0.05)  # resampled by half a voxel at most
    assert found.mean() == pytest.approx(inside.mean(), rel=0.01)
