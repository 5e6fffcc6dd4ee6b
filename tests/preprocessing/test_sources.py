"""One road: every source of the same patients gives the same bits, by whatever processes."""

from __future__ import annotations

import re
import shutil

import numpy as np
import pandas as pd
import pytest
from joblib.externals.loky import get_reusable_executor

import survimg.preprocessing.preparing as module
from survimg.cohort import Cohort
from survimg.io import read_image, write_image
from survimg.preprocessing import Preparation, Registration, prepare

SETTINGS = Preparation(shape=(8, 10, 12), spacing=4.0)
REGISTERED = Preparation(
    shape=(8, 8, 8), spacing=5.0, crop="fixed",
    registration=Registration(channel="PET", on_failure="translate"),
)


@pytest.fixture(scope="module", autouse=True)
def _own_workers():
    yield
    get_reusable_executor().shutdown(wait=True)


def _frame(folder):
    frame = pd.read_csv(folder / "manifest.csv", dtype={"patient_id": str})
    for name in ("PET", "CT", "mask"):
        frame[name] = [None if pd.isna(cell) else str(folder / cell) for cell in frame[name]]
    return frame


def _assert_same(one, other):
    np.testing.assert_array_equal(one.to_numpy(), other.to_numpy())
    np.testing.assert_array_equal(one.has_masks, other.has_masks)
    for i in np.flatnonzero(one.has_masks):
        np.testing.assert_array_equal(one.mask(i), other.mask(i))
    assert one.settings == other.settings
    assert one.geometry == other.geometry
    np.testing.assert_array_equal(one.spacing, other.spacing)
    np.testing.assert_array_equal(one.outcome, other.outcome)
    pd.testing.assert_frame_equal(one.clinical, other.clinical, check_dtype=False)


def test_manifest_frame_and_raw_cohort_give_the_same_bits_on_unlike_grids(cohort_folder, tmp_path):
    csv = cohort_folder / "manifest.csv"
    reference = prepare(csv, SETTINGS, tmp_path / "manifest", progress=False)
    raw = Cohort.from_manifest(csv)
    for number, source in enumerate((csv, _frame(cohort_folder), raw)):
        for n_jobs in (1, 2):
            _assert_same(
                prepare(source, SETTINGS, n_jobs=n_jobs, progress=False), reference
            )
        out = tmp_path / str(number)
        _assert_same(prepare(source, SETTINGS, out, n_jobs=2, progress=False), reference)


@pytest.mark.filterwarnings("ignore:The registration of")
@pytest.mark.filterwarnings("ignore:The crop cuts off")
def test_registration_is_part_of_the_one_interpolation(cohort_folder, tmp_path):
    csv = cohort_folder / "manifest.csv"
    reference = prepare(csv, REGISTERED, tmp_path / "out", progress=False)
    _assert_same(prepare(Cohort.from_manifest(csv), REGISTERED, progress=False), reference)


def test_a_raw_cohort_is_interrupted_and_resumed_to_the_same_bits(
    cohort_folder, tmp_path, monkeypatch
):
    raw, calls = Cohort.from_manifest(cohort_folder / "manifest.csv"), []
    original = module.prepare_case

    def interrupted(*arguments):
        if len(calls) == 3:
            raise KeyboardInterrupt
        calls.append(1)
        return original(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(module, "prepare_case", interrupted)
        with pytest.raises(KeyboardInterrupt):
            prepare(raw, SETTINGS, tmp_path / "out", progress=False)
        calls.clear()
        patch.setattr(module, "prepare_case", lambda *a: (calls.append(1), original(*a))[1])
        resumed = prepare(raw, SETTINGS, tmp_path / "out", progress=False)
    assert len(calls) == 3
    _assert_same(resumed, prepare(raw, SETTINGS, progress=False))


@pytest.mark.parametrize("kind", ["manifest", "frame", "cohort"])
def test_the_error_policy_is_the_same_for_all(cohort_folder, tmp_path, kind):
    csv = cohort_folder / "manifest.csv"
    for i in (1, 4):
        (cohort_folder / f"p{i}_PET.nii.gz").write_text("broken")
    source = {
        "manifest": lambda: csv,
        "frame": lambda: _frame(cohort_folder),
        "cohort": lambda: Cohort.from_manifest(csv),
    }[kind]()
    with pytest.raises(ValueError, match="Patient 'p1', column 'PET': "):
        prepare(source, SETTINGS, tmp_path / "out", progress=False)
    assert not list(tmp_path.glob("out*"))
    with pytest.raises(ValueError, match="2 of 6 patients cannot be prepared; the others") as error:
        prepare(source, SETTINGS, tmp_path / "out", on_error="continue", progress=False)
    assert "'p4'" in str(error.value)
    assert len(list((tmp_path / "out.partial" / "done").iterdir())) == 4


def test_a_folder_of_dicom_is_a_source(shared_dir, tmp_path):
    pytest.importorskip("pydicom")
    archive = tmp_path / "archive" / "STS_001"
    archive.mkdir(parents=True)
    for name in ("image", "mask"):
        shutil.copytree(shared_dir / "data" / "dicom_sts001_pet" / name, archive / name)
    settings = Preparation(shape=(24, 24, 24), spacing=6.0, label="GTV_Mass")
    cohort = prepare(tmp_path / "archive", settings, tmp_path / "out", progress=False)
    assert cohort.channel_names == ("PET",)
    assert cohort.mask(0).any()


def test_what_belongs_to_another_source_is_refused(cohort_folder):
    raw = Cohort.from_manifest(cohort_folder / "manifest.csv")
    with pytest.raises(ValueError, match="modalities is for manifests and folders"):
        prepare(raw, SETTINGS, modalities=["PET"], progress=False)
    with pytest.raises(ValueError, match="clinical is for a folder of DICOM"):
        prepare(raw, SETTINGS, clinical="table.csv", progress=False)
    with pytest.raises(ValueError, match="label is 2; the masks of the cohort are read with label"):
        prepare(raw, Preparation(shape=(8, 8, 8), label=2), progress=False)
    with pytest.raises(ValueError, match="a column 'patient_id'"):
        prepare(pd.DataFrame({"PET": ["a.nii"]}), SETTINGS, progress=False)


def test_a_raw_cohort_keeps_each_modality_on_its_own_grid(cohort_folder):
    patient = Cohort.from_manifest(cohort_folder / "manifest.csv").patient(0)
    pet, ct = patient.images()
    assert pet.spacing == pytest.approx((4.0, 3.0, 3.0))
    assert ct.spacing == pytest.approx((2.0, 2.0, 2.0))


@pytest.mark.parametrize(
    ("channel", "change", "message"),
    [
        ("PET", lambda a: a * 4000, r"p2 \(PET from .* mean \d+: SUV has about 1 in a body"),
        ("PET", lambda a: a - 30, r"p2 \(PET from -2.* SUV is not negative"),
        ("PET", lambda a: (a - a.mean()) / a.std(), r"p2 \(PET from -.* SD 1: normalised already"),
        ("PET", lambda a: (a - a.min()) / np.ptp(a), r"p2 \(PET from 0 to 1,.* normalised already"),
        ("CT", lambda a: np.where(a == a.min(), -32768, a), r"p2 \(CT from -32768 .* padding"),
        ("CT", lambda a: a + 1024, r"p2 \(CT from .* a lost rescale intercept"),
        ("CT", lambda a: a / 100, r"p2 \(CT from -3.* normalised already"),
    ],
)
def test_images_that_cannot_be_in_their_unit_are_named_with_their_range(
    cohort_folder, channel, change, message
):
    path = cohort_folder / f"p2_{channel}.nii.gz"
    image = read_image(path)
    write_image(path, change(image.array), image)
    with pytest.warns(UserWarning, match="1 patient.* hardly SUV") as caught:
        prepare(cohort_folder / "manifest.csv", SETTINGS, progress=False)
    assert re.search(message, str(caught[0].message))
