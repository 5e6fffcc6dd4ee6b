"""``survimg predict`` on a folder of DICOM: the same as on NIfTI, with masks as DICOM-SEG."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

pydicom = pytest.importorskip("pydicom")
pytest.importorskip("highdicom")

from dicom_export import export_patient  # noqa: E402  # needs pydicom

from survimg.cli import main  # noqa: E402
from survimg.datasets import write_phantom_manifest  # noqa: E402
from survimg.io import (  # noqa: E402
    manifest_of_dicom,
    read_image,
    read_manifest,
    read_mask,
    write_image,
)

NEW = ["P000", "P001"]


@pytest.fixture(scope="module")
def hospital(tmp_path_factory):
    """A manifest of NIfTI files, a network trained on its CT, and two of its patients as DICOM."""
    folder = tmp_path_factory.mktemp("hospital")
    manifest = write_phantom_manifest(folder / "images", n=8, shape=(16, 16, 16), random_state=0)
    table = pd.read_csv(manifest, dtype={"patient_id": str})
    table["patient_id"] = [f"P{i:03d}" for i in range(len(table))]
    table.drop(columns="PET").to_csv(manifest, index=False)
    store, model = folder / "cohort", folder / "model"
    shape = ["--shape", "16", "16", "16", "--spacing", "8"]
    assert main(["prepare", str(manifest), "--out", str(store), *shape, "-q"]) == 0
    status = main([
        "fit", "--cohort", str(store), "--model", "deepmts", "--iterations", "2", "--threads", "1",
        "--set", "batch_size=4", "--set", "batch_norm_batches=1",
        "--set", "precision=float32", "--out", str(model), "-q",
    ])
    assert status == 0
    new = table[table["patient_id"].isin(NEW)].drop(columns=["PET", "time", "event"])
    for _, row in new.iterrows():
        ct, mask = manifest.parent / row["CT"], manifest.parent / row["mask"]
        export_patient(folder / "dicom" / row["patient_id"], ct, mask)
        image = read_image(folder / "dicom" / row["patient_id"] / "scan 1")
        write_image(ct, image.array, image)  # DICOM holds 16 bits of each slice: NIfTI the same
    new.to_csv(manifest.parent / "new.csv", index=False)
    clinical = table.drop(columns=["PET", "CT", "mask", "time", "event"])
    clinical.to_csv(folder / "clinical.csv", index=False)
    return folder


def predict(hospital, cohort, out, *options):
    arguments = ["predict", "--model", hospital / "model", "--cohort", cohort, "--out", out]
    return main([str(word) for word in [*arguments, *options]])


def test_dicom_gives_what_nifti_gives(hospital, tmp_path):
    options = ["--horizons", "12", "--masks"]
    nifti, dicom, objects = (tmp_path / name for name in ("nifti", "dicom", "objects"))
    assert predict(hospital, hospital / "images" / "new.csv", nifti, *options) == 0
    options += ["--clinical", hospital / "clinical.csv", "--label", "Tumour"]
    assert predict(hospital, hospital / "dicom", dicom, *options) == 0
    assert predict(hospital, hospital / "dicom", objects, *options, "--mask-format=dicom-seg") == 0
    expected, found = (
        pd.read_csv(folder / "predictions.csv", index_col="patient_id")
        for folder in (nifti, dicom)
    )
    assert found.index.tolist() == NEW
    pd.testing.assert_frame_equal(found, expected, rtol=1e-5)
    assert (objects / "predictions.csv").read_bytes() == (dicom / "predictions.csv").read_bytes()
    for patient in NEW:
        like = read_image(hospital / "dicom" / patient / "scan 1")
        as_nifti = read_mask(dicom / "masks" / f"{patient}.nii.gz", like)
        as_object = read_mask(objects / "masks" / f"{patient}.dcm", like)
        np.testing.assert_array_equal(as_object, as_nifti)
        assert as_nifti.any()
        written = pydicom.dcmread(objects / "masks" / f"{patient}.dcm")
        assert written.PatientName == "Doe^Jane"
    assert "Doe" not in (objects / "predictions.csv").read_text()
    assert "secret" not in (objects / "predictions.csv").read_text()


@pytest.mark.filterwarnings("always::UserWarning")
def test_a_patient_without_predicted_tumour_has_no_object(hospital, tmp_path, capsys, monkeypatch):
    from survimg.estimators import DeepMTS

    def nothing_found(model, X):
        return model.predict(X), np.zeros((len(X), *X.shape[2:]), np.uint8)

    monkeypatch.setattr(DeepMTS, "predict_risk_and_mask", nothing_found)
    options = ["--clinical", hospital / "clinical.csv", "--masks", "--mask-format", "dicom-seg"]
    assert predict(hospital, hospital / "dicom", tmp_path / "out", *options) == 0
    assert capsys.readouterr().err.count("no tumour is predicted") == len(NEW)
    assert not list((tmp_path / "out" / "masks").iterdir())


@pytest.mark.parametrize(
    ("cohort", "options", "message"),
    [
        ("cohort", ["--label", "2"], "--mask-label does not apply to a prepared cohort"),
        ("cohort", ["--clinical", "x.csv"], "--clinical does not apply to a prepared cohort"),
        ("cohort", ["--masks", "--mask-format=dicom-seg"], "needs the DICOM series"),
        ("cohort", ["--mask-format", "nifti"], "--mask-format needs --masks"),
        ("images/new.csv", ["--masks", "--mask-format=dicom-seg"], "is not a DICOM series"),
        ("images/new.csv", ["--clinical", "x.csv"], "--clinical does not apply to a manif"),
        ("images/new.csv", ["--label", "7"], "has no label 7"),
        ("dicom", ["--allow-outside"], "--allow-outside does not apply to a folder of DICOM"),
        ("dicom", ["--clinical", "x.csv"], "There is no table x.csv"),
        ("cohort", ["--by-patient-id"], "--by-patient-id does not apply to a prepared cohort"),
        ("cohort", ["--series", "CT=*"], "--series does not apply to a prepared cohort"),
        ("dicom", ["--series", "CT=x"], "Patient 'P000' has no CT series with the description 'x'"),
        ("dicom/P000", [], "put those of each patient into a folder"),
        ("images", [], "holds no folders of patients"),
        ("nowhere", [], "nowhere"),
    ],
)
def test_what_cannot_be_predicted_is_refused(
    hospital, tmp_path, capsys, cohort, options, message
):
    assert predict(hospital, hospital / cohort, tmp_path / "out", *options) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.fixture
def archive(hospital, tmp_path):
    """Return ``export(patient, ...)``, which adds a CT to a folder of DICOM, and that folder."""
    ct = next((hospital / "images").glob("*_CT.nii.gz"))
    folder = tmp_path / "archive"
    return lambda patient, **options: export_patient(folder / patient, ct, **options), folder


def test_series_that_share_a_folder_are_told_apart(archive, tmp_path):
    export, folder = archive
    export("A")
    path = manifest_of_dicom(folder, tmp_path, modalities=["CT"])
    (series,) = read_manifest(path, allow_outside=True).images["CT"]
    assert series == (folder / "A" / "scan 1").resolve()
    alone = read_image(series, allow_outside=True)
    export("A", image_type="LOCALIZER")
    path = manifest_of_dicom(folder, tmp_path, modalities=["CT"])
    (series,) = read_manifest(path, allow_outside=True).images["CT"]
    assert series.is_relative_to(tmp_path / "series")
    np.testing.assert_array_equal(read_image(series, allow_outside=True).array, alone.array)


def test_two_scans_of_a_modality_are_not_chosen_from(archive, tmp_path):
    export, folder = archive
    export("A")
    export("A")
    with pytest.raises(ValueError, match="Patient 'A' has 2 CT series"):
        manifest_of_dicom(folder, tmp_path, modalities=["CT"])


def test_one_study_in_two_folders_is_no_two_patients(archive, tmp_path):
    export, folder = archive
    export("B", study=export("A"))
    with pytest.raises(ValueError, match="one folder per patient"):
        manifest_of_dicom(folder, tmp_path, modalities=["CT"])


def test_clinical_rows_are_needed_for_every_patient(archive, tmp_path):
    export, folder = archive
    export("A")
    table = tmp_path / "clinical.csv"
    table.write_text("patient_id,age\nB,60\n")
    with pytest.raises(ValueError, match="Without a row: 'A'."):
        manifest_of_dicom(folder, tmp_path, modalities=["CT"], clinical=table)
    table.write_text("patient_id,CT\nA,60\n")
    with pytest.raises(ValueError, match="the column 'CT' is made from"):
        manifest_of_dicom(folder, tmp_path, modalities=["CT"], clinical=table)
    with pytest.raises(ValueError, match="images called 'T1' cannot be found"):
        manifest_of_dicom(folder, tmp_path, modalities=["T1"])
