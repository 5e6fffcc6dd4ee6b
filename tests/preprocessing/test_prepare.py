"""From manifest to store: values, resuming, processes, bad input, constant memory."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import textwrap
import tracemalloc

import numpy as np
import pytest
from joblib.externals.loky import get_reusable_executor

from survimg.io import (
    Image,
    read_image,
    read_mask,
    read_store,
    resample_like,
    write_image,
)
from survimg.preprocessing import (
    Preparation,
    crop,
    mask_centre,
    prepare,
    resample,
    resample_image,
    resample_mask,
    zscore,
)

SETTINGS = {"shape": (8, 10, 12), "spacing": 3.0}
RUN = ("n_jobs", "on_error", "overwrite", "time_unit", "progress")


def _content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def _prepare(folder, out, **more):
    run = {"progress": False, **{name: more.pop(name) for name in RUN if name in more}}
    settings = Preparation(**{**SETTINGS, **more})
    return prepare(folder / "manifest.csv", settings, out, **run)


def test_a_patient_is_what_the_single_steps_make_of_it(cohort_folder, tmp_path):
    _prepare(cohort_folder, tmp_path / "out")
    stored = read_store(tmp_path / "out")
    volumes, masks = np.load(stored.volumes), np.load(stored.masks)
    assert volumes.shape == (6, 2, 8, 10, 12)
    pet = read_image(cohort_folder / "p1_PET.nii.gz")
    ct = read_image(cohort_folder / "p1_CT.nii.gz")
    mask = read_mask(cohort_folder / "p1_mask.nii.gz", pet)
    whole = resample(pet, 3.0)
    tumour = Image(mask, pet.spacing, pet.origin)
    centre = whole.index(mask_centre(tumour))
    block = crop(whole, centre, (8, 10, 12), padding=pet.array.min())
    np.testing.assert_allclose(volumes[1, 0], zscore(block.array), atol=1e-4)
    np.testing.assert_allclose(volumes[1, 1], zscore(resample_image(ct, block).array), atol=1e-4)
    np.testing.assert_array_equal(masks[1], resample_mask(tumour, block))
    np.testing.assert_allclose(stored.spacing, 3.0)
    np.testing.assert_allclose(stored.header.geometry[1]["origin"], block.origin)


def test_the_table_and_the_missing_modality_are_kept(cohort_folder, tmp_path):
    _prepare(cohort_folder, tmp_path / "out", time_unit="months")
    stored = read_store(tmp_path / "out")
    assert stored.ids.tolist() == [f"p{i}" for i in range(6)]
    assert stored.outcome["time"].tolist() == [10, 11, 12, 13, 14, 15]
    assert stored.outcome["event"].tolist() == [False, True] * 3
    assert stored.groups.tolist() == ["c0", "c1"] * 3
    assert stored.clinical["age"].tolist() == [50, 51, 52, 53, 54, 55]
    assert stored.time_unit == "months"
    assert stored.present.tolist() == [[True, i != 4] for i in range(6)]
    assert not np.load(stored.volumes)[4, 1].any()
    assert stored.settings["shape"] == [8, 10, 12]


def test_masks_go_back_to_the_patients_own_image(cohort_folder, tmp_path):
    _prepare(cohort_folder, tmp_path / "out", shape=(16, 16, 16))
    header = read_store(tmp_path / "out").header
    masks = np.load(header.masks_path)
    pet = read_image(cohort_folder / "p2_PET.nii.gz")
    mask = read_mask(cohort_folder / "p2_mask.nii.gz", pet)
    back = resample_like(header.image(2, masks[2]), pet, interpolation="nearest", padding=0.0)
    agreement = 2 * (mask * back.array).sum() / (mask.sum() + back.array.sum())
    assert agreement > 0.85


@pytest.mark.parametrize(
    "change",
    [{"shape": (9, 10, 12)}, {"spacing": 2.5}, {"crop": "fixed"},
     {"crop": "whole", "spacing": None}, {"normalise": "none"}, {"spacing": None},
     {"normalise": {"PET": ("window", 0.0, 20.0), "CT": "none"}},
     {"normalise": "none", "padding": 99.0, "shape": (40, 10, 12)},
     {"interpolation": "cubic"}, {"antialias": False}],
)
def test_every_setting_changes_the_result(cohort_folder, tmp_path, change):
    _prepare(cohort_folder, tmp_path / "a")
    _prepare(cohort_folder, tmp_path / "b", **change)
    assert _content(tmp_path / "a")["volumes.npy"] != _content(tmp_path / "b")["volumes.npy"]


def test_the_fixed_crop_moves_with_its_centre(cohort_folder, tmp_path):
    options = {"crop": "fixed", "normalise": "none", "shape": (4, 4, 4), "spacing": None}
    path = cohort_folder / "manifest.csv"
    path.write_text(re.sub(r"p\d_mask.nii.gz", "", path.read_text()))
    _prepare(cohort_folder, tmp_path / "a", **options)
    _prepare(cohort_folder, tmp_path / "b", **options, centre=(4.0, -3.0, 6.0))
    pet = read_image(cohort_folder / "p0_PET.nii.gz").array
    first, second = (np.load(tmp_path / name / "volumes.npy")[0, 0] for name in "ab")
    np.testing.assert_array_equal(first, pet[4:8, 5:9, 6:10])
    np.testing.assert_array_equal(second, pet[5:9, 4:8, 8:12])


def test_the_pet_peak_crop_needs_no_mask(cohort_folder, tmp_path):
    path = cohort_folder / "manifest.csv"
    path.write_text(re.sub(r"p\d_mask.nii.gz", "", path.read_text()))
    pet = read_image(cohort_folder / "p0_PET.nii.gz")
    pet.array[8:11, 1:4, 11:14] = 90.0
    write_image(cohort_folder / "p0_PET.nii.gz", pet.array, pet)
    _prepare(
        cohort_folder, tmp_path / "out", crop="pet_peak", normalise="none", spacing=None,
        shape=(3, 3, 3),
    )
    stored = read_store(tmp_path / "out")
    assert (np.load(stored.volumes)[0, 0] == 90.0).all()
    assert stored.masks is None


@pytest.fixture
def own_workers():
    """Workers of this test alone: loky takes a worker that later loads torch for a leak."""
    yield
    get_reusable_executor().shutdown(wait=True)


@pytest.mark.usefixtures("own_workers")
def test_two_processes_give_the_same_bytes_as_one(cohort_folder, tmp_path):
    _prepare(cohort_folder, tmp_path / "one")
    _prepare(cohort_folder, tmp_path / "two", n_jobs=2)
    assert _content(tmp_path / "one") == _content(tmp_path / "two")
    # and an error in a worker ends in the same clean state
    (cohort_folder / "p3_CT.nii.gz").write_text("broken")
    with pytest.raises(ValueError, match=r"Patient 'p3', column 'CT': .*p3_CT\.nii\.gz"):
        _prepare(cohort_folder, tmp_path / "three", n_jobs=2)
    assert sorted(os.listdir(tmp_path)) == ["data", "one", "two"]


KILLED = """
    import os, signal, sys
    from pathlib import Path
    import survimg.io.store.store as store
    from survimg.preprocessing import Preparation, prepare

    # die when the record of the third patient is about to be written, or after everything
    def dying(original):
        def write(path, content):
            if path.name == sys.argv[3]:
                os.kill(os.getpid(), signal.SIGKILL)
            original(path, content)
        return write
    store.write_json = dying(store.write_json)
    settings = Preparation(shape=(8, 10, 12), spacing=3.0)
    prepare(sys.argv[1], settings, sys.argv[2], progress=False)
"""


@pytest.mark.parametrize("point", ["begun.json", "0.json", "2.json", "cohort.json"])
def test_a_killed_run_is_continued_to_the_same_bytes(cohort_folder, tmp_path, point):
    out = tmp_path / "out"
    command = [sys.executable, "-c", textwrap.dedent(KILLED), str(cohort_folder / "manifest.csv")]
    killed = subprocess.run([*command, str(out), point], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert not out.exists()
    partial = tmp_path / "out.partial" / "done"
    finished = {path: path.stat().st_mtime_ns for path in partial.glob("*.json")}
    assert len(finished) == {"begun.json": 0, "0.json": 0, "2.json": 2, "cohort.json": 6}[point]
    if finished:
        with pytest.raises(ValueError, match="begun with settings.normalise = 'zscore', and this"):
            _prepare(cohort_folder, out, normalise="none")
        with pytest.raises(ValueError, match=r"begun with settings.shape = \[8, 10, 12\]"):
            _prepare(cohort_folder, out, shape=(8, 8, 8))
    _prepare(cohort_folder, out)
    _prepare(cohort_folder, tmp_path / "whole")
    assert _content(out) == _content(tmp_path / "whole")
    assert not partial.exists()


def _interrupt(cohort_folder, out, monkeypatch, after):
    import survimg.preprocessing.preparing as module

    original, calls = module.prepare_case, []

    def interrupted(*arguments):
        if len(calls) == after:
            raise KeyboardInterrupt
        calls.append(1)
        return original(*arguments)

    monkeypatch.setattr(module, "prepare_case", interrupted)
    with pytest.raises(KeyboardInterrupt):
        _prepare(cohort_folder, out)
    calls.clear()
    monkeypatch.setattr(module, "prepare_case", lambda *a: (calls.append(1), original(*a))[1])
    return calls


def test_finished_patients_are_not_done_again_unless_their_files_changed(
    cohort_folder, tmp_path, monkeypatch
):
    calls = _interrupt(cohort_folder, tmp_path / "out", monkeypatch, after=4)
    pet = read_image(cohort_folder / "p0_PET.nii.gz")
    write_image(cohort_folder / "p1_PET.nii.gz", pet.array + 3.0, pet)
    _prepare(cohort_folder, tmp_path / "out")
    assert len(calls) == 3  # p4, p5, and p1 again
    monkeypatch.undo()
    _prepare(cohort_folder, tmp_path / "whole")
    assert _content(tmp_path / "out") == _content(tmp_path / "whole")


def test_an_outcome_corrected_in_between_is_the_one_that_counts(
    cohort_folder, tmp_path, monkeypatch
):
    _interrupt(cohort_folder, tmp_path / "out", monkeypatch, after=2)
    path = cohort_folder / "manifest.csv"
    path.write_text(path.read_text().replace("10,0,c0", "99,0,c0"))
    _prepare(cohort_folder, tmp_path / "out")
    assert read_store(tmp_path / "out").outcome["time"][0] == 99


def test_another_list_of_patients_is_refused_for_a_half_written_folder(
    cohort_folder, tmp_path, monkeypatch
):
    _interrupt(cohort_folder, tmp_path / "out", monkeypatch, after=2)
    path = cohort_folder / "manifest.csv"
    path.write_text(path.read_text().replace("p5,", "q5,"))
    with pytest.raises(ValueError, match="begun with patients"):
        _prepare(cohort_folder, tmp_path / "out")


def _text(path):
    path.write_text("no image")


def _truncate(path):
    path.write_bytes(path.read_bytes()[:-100])


def _nan(path):
    image = read_image(path)
    image.array[2, 2, 2] = np.nan
    write_image(path, image.array, image)


def _constant(path):
    image = read_image(path)
    write_image(path, np.full(image.shape, 7.0, np.float32), image)


def _zeros(path):
    image = read_image(path)
    write_image(path, np.zeros(image.shape, np.uint8), image)


def _labels(path):
    image = read_image(path)
    write_image(path, image.array.astype(np.uint8) * 3, image)


def _smaller(path):
    image = read_image(path)
    write_image(path, image.array[:-1], Image(image.array[:-1], image.spacing, image.origin))


def _far(path):
    image = read_image(path)
    write_image(path, image.array, Image(image.array, image.spacing, (900.0, 0.0, 0.0)))


def _lost_header(path):
    image = read_image(path)
    write_image(path, image.array, Image(image.array, (1.0, 1.0, 1.0)))


def _flat(path):
    image = read_image(path)
    write_image(path, image.array[:1], Image(image.array[:1], image.spacing, image.origin))


def _remove(path):
    path.unlink()


@pytest.mark.parametrize(
    ("column", "damage", "message"),
    [
        ("PET", _remove, "there is no file"),
        ("PET", _text, "p3_PET"),
        ("CT", _truncate, "p3_CT"),
        ("CT", _nan, "not finite"),
        ("PET", _constant, "one value only"),
        ("mask", _remove, "there is no file"),
        ("mask", _text, "p3_mask"),
        ("mask", _zeros, r"column 'mask': \S*p3_mask\.nii\.gz: the tumour mask is empty \(correct"),
        ("mask", _lost_header, r"p3_mask\.nii\.gz has the shape of its image"),
        ("mask", _labels, r"labels \[0, 3\]"),
        ("mask", _smaller, "has shape"),
        ("mask", _far, "marks nothing inside"),
    ],
)
def test_bad_files_are_refused_and_leave_nothing(cohort_folder, tmp_path, column, damage, message):
    damage(cohort_folder / f"p3_{column}.nii.gz")
    with pytest.raises(ValueError, match=message) as raised:
        _prepare(cohort_folder, tmp_path / "out")
    assert "atient 'p3'" in str(raised.value)
    assert column in str(raised.value)
    assert os.listdir(tmp_path) == ["data"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"normalise": {"PET": "zscore"}}, "normalise names the channels"),
        ({"shape": (8, 8)}, "shape must be three"),
        ({"on_error": "ignore"}, "on_error must be"),
        ({"crop": "fixed", "centre": (500.0, 0.0, 0.0)}, "Patient 'p0', channel 'PET': the crop"),
        ({"crop": "fixed", "centre": (0.0, -5.0, 500.0)},
         r"crop lies outside the image: centre \(0, -5, 500\) counts in mm from the middle of the "
         r"first channel's field of view, which measures \(48, 42, 48\) mm"),
        ({"crop": "fixed", "centre": (500.0, 0.0, 0.0), "normalise": "none"}, "outside the image"),
        ({"crop": "fixed", "shape": (2, 2, 2), "normalise": "none", "centre": (-20.0, -18.0, 20.0)},
         r"column 'mask': \S*p0_mask\.nii\.gz: the tumour mask lies outside the crop"),
    ],
)
def test_bad_settings_are_refused_and_leave_nothing(cohort_folder, tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        _prepare(cohort_folder, tmp_path / "out", **change)
    assert os.listdir(tmp_path) == ["data"]


def test_missing_parents_of_the_output_go_with_a_failure_and_stay_with_a_success(
    cohort_folder, tmp_path
):
    out = tmp_path / "new" / "deep" / "out"
    content = (cohort_folder / "p3_CT.nii.gz").read_bytes()
    (cohort_folder / "p3_CT.nii.gz").write_text("broken")
    (tmp_path / "was_here").mkdir()
    for folder in (out, tmp_path / "was_here" / "out"):
        with pytest.raises(ValueError, match="'p3'"):
            _prepare(cohort_folder, folder)
    assert sorted(os.listdir(tmp_path)) == ["data", "was_here"]
    (cohort_folder / "p3_CT.nii.gz").write_bytes(content)
    _prepare(cohort_folder, out)
    assert os.listdir(out.parent) == ["out"]


def test_crops_that_need_what_a_patient_lacks_name_the_patient(cohort_folder, tmp_path):
    path = cohort_folder / "manifest.csv"
    original = path.read_text()
    path.write_text(original.replace("p2_mask.nii.gz", ""))
    with pytest.raises(ValueError, match="1 have none in column 'mask': 'p2'"):
        _prepare(cohort_folder, tmp_path / "out")
    path.write_text(original.replace("p2_PET.nii.gz", ""))
    with pytest.raises(ValueError, match="Patient 'p2', there is no PET"):
        _prepare(cohort_folder, tmp_path / "out", crop="pet_peak")
    assert os.listdir(tmp_path) == ["data"]


def test_continuing_past_errors_lists_them_and_keeps_the_rest(cohort_folder, tmp_path):
    good = {i: (cohort_folder / f"p{i}_PET.nii.gz").read_bytes() for i in (1, 4)}
    for i in good:
        (cohort_folder / f"p{i}_PET.nii.gz").write_text("broken")
    with pytest.raises(ValueError, match="2 of 6 patients cannot be prepared") as raised:
        _prepare(cohort_folder, tmp_path / "out", on_error="continue")
    assert "'p1'" in str(raised.value)
    assert "'p4'" in str(raised.value)
    assert not (tmp_path / "out").exists()
    kept = {path.name for path in (tmp_path / "out.partial" / "done").glob("*.json")}
    assert kept == {"0.json", "2.json", "3.json", "5.json"}
    for i, content in good.items():
        (cohort_folder / f"p{i}_PET.nii.gz").write_bytes(content)
    _prepare(cohort_folder, tmp_path / "out")
    assert read_store(tmp_path / "out").has_mask.all()


def test_an_error_in_a_continued_run_keeps_what_was_there(cohort_folder, tmp_path, monkeypatch):
    _interrupt(cohort_folder, tmp_path / "out", monkeypatch, after=2)
    (cohort_folder / "p4_PET.nii.gz").write_text("broken")
    with pytest.raises(ValueError, match="'p4'"):
        _prepare(cohort_folder, tmp_path / "out")
    assert len(list((tmp_path / "out.partial" / "done").glob("*.json"))) == 4


def test_cut_tumours_are_reported(cohort_folder, tmp_path):
    with pytest.warns(UserWarning, match=r"tumour of 6 patient\(s\): p0 \(\d+%\), p1"):
        _prepare(cohort_folder, tmp_path / "out", shape=(2, 2, 2), spacing=None)


def test_nothing_is_overwritten_unless_asked(cohort_folder, tmp_path):
    _prepare(cohort_folder, tmp_path / "out")
    with pytest.raises(FileExistsError, match="already holds a prepared cohort"):
        _prepare(cohort_folder, tmp_path / "out", normalise="none")
    _prepare(cohort_folder, tmp_path / "out", normalise="none", overwrite=True)
    assert read_store(tmp_path / "out").settings["normalise"] == "none"


def test_a_read_only_folder_is_an_error(cohort_folder, tmp_path):
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    (tmp_path / "ro").mkdir(mode=0o500)
    with pytest.raises(PermissionError):
        _prepare(cohort_folder, tmp_path / "ro" / "out")


def test_memory_does_not_grow_with_the_cohort(tmp_path):
    folder = tmp_path / "many"
    folder.mkdir()
    rng = np.random.default_rng(0)
    image = Image(rng.normal(size=(48, 48, 48)).astype(np.float32), (1.0, 1.0, 1.0))
    write_image(folder / "a.nii", image.array, image)
    peaks = []
    for n in (2, 12):
        lines = [f"p{i},a.nii" for i in range(n)]
        (folder / "manifest.csv").write_text("\n".join(["patient_id,PET", *lines]))
        tracemalloc.start()
        _prepare(folder, tmp_path / f"out{n}", shape=(32, 32, 32), spacing=1.0, crop="fixed")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    volume = 32**3 * 4
    assert peaks[1] - peaks[0] < volume  # ten more patients cost less than one volume


def test_progress_goes_to_standard_error(cohort_folder, tmp_path, capsys):
    _prepare(cohort_folder, tmp_path / "out", progress=True)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Preparing" in captured.err
    assert "6/6" in captured.err


def test_a_dicom_series_and_an_rtstruct_are_prepared_like_their_nifti_copies(shared_dir, tmp_path):
    pytest.importorskip("pydicom")
    source = shared_dir / "data" / "dicom_sts001_pet"
    rows = {
        "dicom": f"{source / 'image'},{source / 'mask' / '1-1.dcm'}",
        "nifti": f"{source / 'reference_SUV.nii.gz'},{source / 'reference_mask.nii.gz'}",
    }
    blocks = {}
    for name, row in rows.items():
        (tmp_path / f"{name}.csv").write_text(f"patient_id,PET,mask\nSTS_001,{row}\n")
        settings = Preparation(
            shape=(34, 24, 24), normalise="none", label="GTV_Mass" if name == "dicom" else None
        )
        cohort = prepare(
            tmp_path / f"{name}.csv", settings, tmp_path / name, allow_outside=True, progress=False
        )
        blocks[name] = cohort.volume(0)[0], cohort.mask(0)
    np.testing.assert_allclose(blocks["dicom"][0], blocks["nifti"][0], atol=2e-3)
    np.testing.assert_array_equal(blocks["dicom"][1], blocks["nifti"][1])
