"""The finer voxels beside the networks' grid: what they hold, and who measures them."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from survimg.cohort import Cohort
from survimg.features import PETParameters, TumourVolume
from survimg.io import Image, read_image, write_image
from survimg.model_selection import join_cohorts
from survimg.preprocessing import Preparation, prepare, resample_image
from survimg.preprocessing.agreement import preparation_of
from survimg.radiomics import RadiomicsFeatures

NETWORK = {"shape": (8, 8, 8), "spacing": 6.0}
FINER = Preparation(**NETWORK, features_spacing=1.5, features_margin=6.0)
FEATURES = {"features": ("shape", "firstorder"), "image_types": ("original",)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Four patients with a round tumour of 2 to 4 ml in a PET and a CT of unlike grids."""
    folder = tmp_path_factory.mktemp("finer")
    rows = ["patient_id,PET,CT,mask,time,event"]
    for i in range(4):
        rng = np.random.default_rng(i)
        pet = Image(rng.gamma(2.0, size=(16, 20, 20)).astype(np.float32), (3.0, 2.5, 2.5))
        ct = Image(
            rng.normal(0, 100, size=(48, 50, 50)).astype(np.float32), (1.0, 1.0, 1.0), (1, 0.5, 0)
        )
        points = pet.world(np.stack(np.meshgrid(*map(np.arange, pet.shape), indexing="ij"), -1))
        mask = (((points - np.array([25, 22, 24])) ** 2).sum(-1) < (8 + i) ** 2).astype(np.uint8)
        pet.array[mask > 0] += 8
        for name, array, like in (("PET", pet.array, pet), ("CT", ct.array, ct), ("m", mask, pet)):
            write_image(folder / f"{i}{name}.nii.gz", array, like)
        m = "" if i == 3 else f"{i}m.nii.gz"
        rows.append(f"{i},{i}PET.nii.gz,{i}CT.nii.gz,{m},{5 + i},{i % 2}")
    (folder / "all.csv").write_text("\n".join(rows))
    (folder / "masked.csv").write_text("\n".join(rows[:4]))
    return folder


@pytest.fixture(scope="module")
def cohort(folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("store") / "out"
    return prepare(folder / "masked.csv", FINER, out, progress=False)


def test_the_finer_block_is_the_patients_image_around_the_tumour_in_its_own_units(folder, cohort):
    finer = cohort.finer
    np.testing.assert_allclose(finer.spacing, 1.5)
    for i in range(3):
        place = finer.geometry[i]
        block = Image(finer.volume(i)[0], (1.5,) * 3, tuple(place["origin"]))
        pet = read_image(folder / f"{i}PET.nii.gz")
        np.testing.assert_array_equal(block.array, resample_image(pet, block).array)
        assert finer.volume(i)[0].max() > 8  # SUV, although the networks see z-scores
        marked = np.argwhere(finer.mask(i))
        last = np.array(finer.mask(i).shape) - 1
        room = np.minimum(marked.min(axis=0), last - marked.max(axis=0))
        assert (room * 1.5 >= 6.0 - 3.0).all()
        own = read_image(folder / f"{i}m.nii.gz").array.sum() * 3 * 2.5 * 2.5
        assert finer.mask(i).sum() * 1.5**3 == pytest.approx(own, rel=0.02)


def test_in_memory_on_disk_sliced_saved_and_loaded_it_is_the_same(folder, cohort, tmp_path):
    memory = prepare(folder / "masked.csv", FINER, progress=False)
    saved = cohort[[2, 0]].save(tmp_path / "saved")
    for one, positions in ((memory, [0, 1, 2]), (cohort[[1, 2]], [1, 2]), (saved, [2, 0])):
        assert one.finer.ids.tolist() == [str(i) for i in positions]
        for at, i in enumerate(positions):
            np.testing.assert_array_equal(one.finer.volume(at), cohort.finer.volume(i))
            np.testing.assert_array_equal(one.finer.mask(at), cohort.finer.mask(i))
        np.testing.assert_array_equal(one.finer.spacing, cohort.finer.spacing[positions])
    assert memory.fingerprint() != prepare(
        folder / "masked.csv", Preparation(**NETWORK), progress=False
    ).fingerprint()


def test_two_processes_write_the_same_blocks(folder, cohort, tmp_path):
    two = prepare(folder / "masked.csv", FINER, tmp_path / "two", n_jobs=2, progress=False)
    for i in range(3):
        np.testing.assert_array_equal(two.finer.volume(i), cohort.finer.volume(i))

    folder_of = two.finer._volumes._folder
    other = cohort.finer._volumes._folder
    for i in range(3):
        digests = {
            hashlib.sha256((where / f"{i}.npz").read_bytes()).hexdigest()
            for where in (folder_of, other)
        }
        assert len(digests) == 1


def test_features_are_measured_on_the_finer_voxels_and_say_so(cohort):
    alone = cohort.finer
    for extractor in (
        RadiomicsFeatures(**FEATURES), TumourVolume(), PETParameters(relative_threshold=None)
    ):
        values = extractor.fit_transform(cohort)
        assert extractor.measured_on_ == "finer voxels"
        np.testing.assert_array_equal(values, type(extractor)(**extractor.get_params())
                                      .fit_transform(alone))
    assert TumourVolume(unit="voxels").fit(cohort).measured_on_ == "cohort's voxels"


def test_volumes_are_nearer_to_the_patients_than_on_the_networks_grid(folder, cohort):
    own = [read_image(folder / f"{i}m.nii.gz").array.sum() * 3 * 2.5**2 / 1000 for i in range(3)]
    finer = TumourVolume(log=False).fit_transform(cohort).iloc[:, 0]
    np.testing.assert_allclose(finer, own, rtol=0.02)


def test_other_voxels_than_in_fit_are_refused(folder, cohort):
    plain = prepare(folder / "masked.csv", Preparation(**NETWORK), progress=False)
    coarser = prepare(
        folder / "masked.csv", Preparation(**NETWORK, features_spacing="native"), progress=False
    )
    for extractor in (
        RadiomicsFeatures(**FEATURES), TumourVolume(), PETParameters(relative_threshold=None)
    ):
        extractor.fit(cohort)
        with pytest.raises(ValueError, match="fitted on the finer voxels and would now measure"):
            extractor.transform(plain)
        with pytest.raises(ValueError, match=r"spacing = 'native', and in training \[1.5"):
            extractor.transform(coarser)
    assert preparation_of(cohort)["features_spacing"] == [1.5, 1.5, 1.5]


def test_native_keeps_the_voxels_as_they_are(folder):
    settings = Preparation(**NETWORK, features_spacing="native", features_margin=3.0)
    finer = prepare(folder / "masked.csv", settings, progress=False).finer
    np.testing.assert_allclose(finer.spacing, [(3.0, 2.5, 2.5)] * 3)
    pet = read_image(folder / "1PET.nii.gz")
    start = np.rint(pet.index(finer.geometry[1]["origin"])).astype(int)
    shape = finer.volume(1).shape[1:]
    block = pet.array[tuple(slice(a, a + n) for a, n in zip(start, shape, strict=True))]
    np.testing.assert_allclose(finer.volume(1)[0], block, atol=1e-5)


def test_a_patient_without_a_mask_has_no_finer_voxels_and_is_named(folder, tmp_path):
    settings = Preparation(**NETWORK, crop="fixed", features_spacing=2.0)
    cohort = prepare(folder / "all.csv", settings, tmp_path / "out", progress=False)
    assert cohort.finer.has_masks.tolist() == [True, True, True, False]
    with pytest.raises(ValueError, match="patient '3' is missing"):
        RadiomicsFeatures(**FEATURES).fit_transform(cohort)
    values = RadiomicsFeatures(**FEATURES, on_empty_mask="nan").fit_transform(cohort)
    assert values.isna().all(axis=1).tolist() == [False, False, False, True]


def test_a_shell_beyond_the_margin_is_refused(cohort):
    with pytest.raises(ValueError, match="reaches beyond the finer voxels, which end 6 mm"):
        RadiomicsFeatures(**FEATURES, shell_mm=9.0).fit(cohort)


def test_joined_cohorts_keep_them(cohort):
    joined = join_cohorts(cohort, cohort, prefix="external-")
    np.testing.assert_array_equal(joined.finer.volume(4), cohort.finer.volume(1))


def test_a_damaged_block_is_refused_by_name(folder, tmp_path):
    prepare(folder / "masked.csv", FINER, tmp_path / "out", progress=False)
    path = tmp_path / "out" / "finer" / "1.npz"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"1\.npz is damaged"):
        Cohort.load(tmp_path / "out").finer.volume(1)
    path.unlink()
    with pytest.raises(ValueError, match=r"1\.npz is missing"):
        Cohort.load(tmp_path / "out")


@pytest.mark.parametrize(
    "change", [{"features_spacing": 0}, {"features_spacing": "fine"}, {"features_margin": -1}]
)
def test_impossible_settings_are_refused(change):
    with pytest.raises(ValueError, match=next(iter(change))):
        Preparation(shape=(8, 8, 8), **change)
