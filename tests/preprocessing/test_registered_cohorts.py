"""Cohorts registered to a template: the block, the way back, failures, resuming, processes."""

from __future__ import annotations

import os
import shutil

import numpy as np
import pandas as pd
import pytest
from joblib.externals.loky import get_reusable_executor
from registration_phantom import NOWHERE, TUMOUR, dice, noise, rotation, write_cohort

from survimg.cohort import Cohort
from survimg.io import Image, read_image, read_mask
from survimg.preprocessing import (
    Preparation,
    Registration,
    WorldMap,
    prepare,
    resample_image,
    resample_mask,
    to_patient_space,
)
from survimg.preprocessing.alignment import mapped_grid

SETTINGS = {"shape": (26, 22, 26), "spacing": 4.0, "crop": "fixed", "normalise": "none"}
WHERE = {
    "far": WorldMap(rotation((1, 2, -1), 12), np.array([300.0, 40.0, -700.0])),
    "model": NOWHERE,
    "near": WorldMap(rotation((0, 1, 1), -7), np.array([4.0, -6.0, 9.0])),
}
REGISTERED = Preparation(**SETTINGS, registration=Registration("rigid", template="model"))


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return write_cohort(tmp_path_factory.mktemp("registration") / "data", WHERE).parent


@pytest.fixture(scope="module")
def store(images):
    out = images.parent / "store"
    prepare(images / "manifest.csv", REGISTERED, out, progress=False)
    return out


@pytest.fixture(scope="module")
def spoiled(tmp_path_factory):
    folder = tmp_path_factory.mktemp("spoiled") / "data"
    where = {name: WHERE[name] for name in ("model", "near")}
    return write_cohort(folder, {**where, "noise": NOWHERE}, noise=noise)


def test_patients_come_to_lie_on_the_template_in_all_modalities(store):
    cohort = Cohort.load(store)
    template = cohort.volume(1)
    for i in (0, 2):
        for channel in range(2):
            pair = cohort.volume(i)[channel].ravel(), template[channel].ravel()
            assert np.corrcoef(*pair)[0, 1] > 0.93
        centres = [np.argwhere(cohort.mask(k)).mean(axis=0) for k in (i, 1)]
        assert np.linalg.norm(np.subtract(*centres)) < 1.0  # voxels
        assert dice(cohort.mask(i), cohort.mask(1)) > 0.75  # two roundings to voxels of 4 and 5 mm
    assert not (store.parent / "store.registration").exists()


def test_registration_spacing_and_crop_are_one_interpolation(store, images):
    cohort = Cohort.load(store)
    place, pet = cohort.geometry[0], read_image(images / "far_PET.nii.gz")
    used = WorldMap.from_dict(place["registration"])
    block = cohort.geometry[1]  # the template lies where it lies
    empty = np.zeros(SETTINGS["shape"], np.float32)
    grid = mapped_grid(Image(empty, (4.0, 4.0, 4.0), tuple(block["origin"])), used)
    np.testing.assert_array_equal(cohort.volume(0)[0], resample_image(pet, grid).array)
    mask = read_image(images / "far_mask.nii.gz")
    np.testing.assert_array_equal(cohort.mask(0), resample_mask(mask, grid))


@pytest.mark.parametrize("patient", list(WHERE))
def test_masks_go_back_into_the_patients_own_image(store, images, patient):
    cohort = Cohort.load(store)
    i = cohort.ids.tolist().index(patient)
    pet = read_image(images / f"{patient}_PET.nii.gz")
    mask = read_mask(images / f"{patient}_mask.nii.gz", pet)
    back = to_patient_space(cohort, i, cohort.mask(i), interpolation="nearest")
    assert (back.shape, back.spacing) == (pet.shape, pet.spacing)
    np.testing.assert_allclose(back.origin, pet.origin)
    np.testing.assert_allclose(back.direction, pet.direction)
    assert dice(back.array, mask) > 0.9
    onto = to_patient_space(cohort, i, cohort.mask(i), like=pet, interpolation="nearest")
    np.testing.assert_array_equal(onto.array, back.array)
    smooth = to_patient_space(cohort[[i]], 0, cohort.mask(i))  # in a fold as in the cohort
    assert dice(smooth.array >= 0.5, mask) > 0.9


def test_a_point_goes_forth_and_back_to_within_a_voxel(store):
    cohort = Cohort.load(store)
    for i, patient in enumerate(cohort.ids):
        saliency = np.zeros(cohort.shape[2:], np.float32)
        at = np.array([12, 9, 14])
        saliency[tuple(at)] = 1.0
        back = to_patient_space(cohort, i, saliency)
        weights = back.array / back.array.sum()
        centre = back.world((np.argwhere(weights > 0).T * weights[weights > 0]).sum(axis=1))
        place = cohort.geometry[i]
        used = WorldMap.from_dict(place["registration"])
        origin = np.asarray(cohort.geometry[1]["origin"])
        assert np.linalg.norm(used(origin + at[::-1] * 4.0) - centre) < 5.0
        # and the tumour's middle is where it was drawn
        assert np.linalg.norm(used(TUMOUR) - WHERE[patient](TUMOUR)) < 5.0


def test_the_report_and_the_settings_say_what_was_done(store, images):
    table = pd.read_csv(store / "registration.csv", keep_default_na=False).set_index("patient_id")
    assert table["status"].to_dict() == {
        "far": "registered", "model": "template", "near": "registered"
    }
    assert (table["reasons"] == "").all()
    assert (table.loc[["far", "near"], "mi_after"] > table.loc[["far", "near"], "mi_before"]).all()
    assert table.loc["far", "rotation_deg"] == pytest.approx(12, abs=2.5)
    said = Cohort.load(store).settings
    assert said["registered"]["template"] == "model"
    assert said["registered"]["channel"] == "CT"
    assert said["registered"]["failed"] == {}
    assert said["registration"]["transform"] == "rigid"


@pytest.mark.usefixtures("own_workers")
def test_two_processes_and_an_outside_template_give_the_same_block(store, images, tmp_path):
    prepare(images / "manifest.csv", REGISTERED, tmp_path / "two", n_jobs=2, progress=False)
    for name in ("volumes.npy", "masks.npy", "registration.csv", "cohort.json"):
        assert (tmp_path / "two" / name).read_bytes() == (store / name).read_bytes()
    outside = Registration(template_image=images / "model_CT.nii.gz")
    (images / "one.csv").write_text(
        "\n".join((images / "manifest.csv").read_text().splitlines()[:2]).replace(",time,event", "")
        .replace(",10,1", "")
    )
    external = prepare(
        images / "one.csv", Preparation(**SETTINGS, registration=outside), tmp_path / "external",
        progress=False,
    )
    np.testing.assert_array_equal(external.volume(0), Cohort.load(store).volume(0))
    assert external.settings["registration"]["template_image"] == "model_CT.nii.gz"
    ours = Cohort.load(store).settings["registered"]["template_digest"]
    assert external.settings["registered"]["template_digest"] == ours


@pytest.fixture
def own_workers():
    """Workers of this test alone: loky takes a worker that later loads torch for a leak."""
    yield
    get_reusable_executor().shutdown(wait=True)


@pytest.mark.filterwarnings("ignore:1 patient.* hardly SUV")  # noise
def test_a_failed_registration_stops_is_left_out_or_only_translated(spoiled, tmp_path):
    def run(on_failure, **more):
        registration = Registration(template="model", on_failure=on_failure, **more)
        settings = Preparation(**SETTINGS, registration=registration)
        return prepare(spoiled, settings, tmp_path / "out", progress=False)

    with pytest.raises(ValueError, match="1 of 3 patients to patient 'model' failed") as raised:
        run("raise")
    assert "Patient 'noise': " in str(raised.value)
    kept = tmp_path / "out.registration"
    assert sorted(os.listdir(tmp_path)) == ["out.registration"]
    assert "failed" in (kept / "registration.csv").read_text()
    before = {path.name: path.stat().st_mtime_ns for path in kept.glob("*.json")}
    assert len(before) == 3
    # other limits and another decision cost no second registration
    with pytest.raises(ValueError, match="2 of 3 patients"):
        run("raise", limits={"similarity": 0.99})
    assert {path.name: path.stat().st_mtime_ns for path in kept.glob("*.json")} == before
    copy = shutil.copytree(kept, tmp_path / "copy")
    with pytest.warns(UserWarning, match="failed; they are left out.\nPatient 'noise'"):
        cohort = run("exclude")
    assert cohort.ids.tolist() == ["model", "near"]
    assert cohort.settings["registered"]["excluded"] == ["noise"]
    assert "excluded" in (tmp_path / "out" / "registration.csv").read_text()
    assert sorted(os.listdir(tmp_path)) == ["copy", "out"]
    shutil.rmtree(tmp_path / "out")
    copy.rename(kept)
    with pytest.warns(UserWarning, match="by a translation alone"):
        cohort = run("translate")
    assert cohort.ids.tolist() == ["model", "near", "noise"]
    used = cohort.geometry[2]["registration"]
    assert used["status"] == "translated"
    np.testing.assert_array_equal(np.reshape(used["matrix"], (3, 3)), np.eye(3))
    assert list(cohort.settings["registered"]["failed"]) == ["noise"]


def test_a_cohort_in_memory_is_registered_like_its_files(store, images):
    raw = Cohort.from_manifest(images / "manifest.csv")
    prepared = prepare(raw[[1, 2]], REGISTERED, progress=False)
    np.testing.assert_array_equal(prepared.volume(1), Cohort.load(store).volume(2))
    assert prepared.geometry[1] == Cohort.load(store).geometry[2]
    back = to_patient_space(prepared, 1, prepared.mask(1), interpolation="nearest")
    assert dice(back.array, raw.mask(2)) > 0.9
    assert prepared.settings["registered"]["template"] == "model"


def test_a_drawn_template_depends_on_the_seed_and_not_on_the_order():
    from survimg.preprocessing.cohort_registration import choose_template

    ids = [f"p{i}" for i in range(20)]
    has = [i != 3 for i in range(20)]

    def draw(seed, ids=ids, has=has):
        return choose_template(Registration(template_seed=seed), ids, has, "CT")

    assert draw(1) == draw(1, ids[::-1], has[::-1])
    assert 5 < len({draw(seed) for seed in range(40)}) < 20
    assert "p3" not in {draw(seed) for seed in range(200)}
    for template, message in (("q", "not a patient of the cohort"), ("p3", "has no CT")):
        with pytest.raises(ValueError, match=message):
            choose_template(Registration(template=template), ids, has, "CT")


def test_a_patient_without_the_driving_modality_is_a_failure(images, tmp_path):
    text = (images / "manifest.csv").read_text().replace("near_CT.nii.gz", "")
    (images / "lacks.csv").write_text(text.replace(text.splitlines()[1] + "\n", ""))
    with pytest.raises(ValueError, match="Patient 'near': there is no CT, which drives"):
        prepare(images / "lacks.csv", REGISTERED, tmp_path / "out", progress=False)


def test_bad_requests_cost_no_registration(images, store, tmp_path):
    with pytest.raises(FileExistsError, match="already holds a prepared cohort"):
        prepare(images / "manifest.csv", REGISTERED, store, progress=False)
    settings = Preparation(**SETTINGS, registration=Registration(template="x"))
    with pytest.raises(ValueError, match="not a patient of the cohort"):
        prepare(images / "manifest.csv", settings, tmp_path / "out", progress=False)
    assert not os.listdir(tmp_path)
    cohort = Cohort.load(store)
    with pytest.raises(ValueError, match="array has shape"):
        to_patient_space(cohort, 0, np.zeros((2, 2, 2)))
    bare = Cohort(np.zeros((1, 1, 4, 4, 4), np.float32))
    with pytest.raises(ValueError, match=r"does not .* \(survimg prepare, or in Python survimg\.p"):
        to_patient_space(bare, 0, np.zeros((4, 4, 4)))
