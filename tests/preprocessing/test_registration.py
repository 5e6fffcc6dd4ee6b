"""Registration against known displacements, and garbage that must be recognised."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from registration_phantom import NOWHERE, dice, draw, noise, rotation, upside_down

from survimg import Cohort
from survimg.features import PETParameters, TumourVolume
from survimg.io import Image, read_image, resample_like
from survimg.io.images.image import to_sitk
from survimg.model_selection import join_cohorts
from survimg.preprocessing import (
    Alignment,
    Preparation,
    Registration,
    RegistrationLimits,
    WorldMap,
    judge,
    make_template,
    prepare_case,
    register,
    to_patient_space,
)
from survimg.preprocessing.alignment import mapped_grid, mutual_information, voxels_of
from survimg.preprocessing.records import case_record, geometry_of
from survimg.target import make_outcome

POINTS = np.random.default_rng(1).uniform(-30, 30, (200, 3))
SHEARED = rotation((1, 2, -1), 6) @ np.array([[1.08, 0.06, 0], [0, 0.94, 0.03], [0, 0, 1.05]])


@pytest.fixture(scope="module")
def template():
    return make_template(draw())


def _error(alignment, truth):
    return np.linalg.norm(alignment.result(POINTS) - truth(POINTS), axis=1)


@pytest.mark.parametrize(
    ("degrees", "shift", "shape", "spacing"),
    [(8, (10, -7, 12), (24, 24, 24), (5.0, 5.0, 5.0)),
     (18, (400, 30, -900), (26, 30, 28), (5.0, 4.0, 4.5))],
)
def test_a_known_rigid_displacement_is_found(template, degrees, shift, shape, spacing):
    truth = WorldMap(rotation((1, 2, -1), degrees), np.array(shift, dtype=float))
    found = register(template, draw(truth, shape=shape, spacing=spacing, seed=3))
    assert _error(found, truth).max() < 2.5  # half a voxel
    assert judge(found, RegistrationLimits()) == []
    assert found.rotation_deg == pytest.approx(degrees, abs=2)
    assert found.volume_factor == pytest.approx(1.0)
    assert found.mi_after > 1.1 * found.mi_before


def test_a_known_affine_displacement_is_found_and_a_rigid_map_cannot(template):
    truth = WorldMap(SHEARED, np.array([6.0, -4.0, 8.0]))
    image = draw(truth, seed=3)
    affine = register(template, image, "affine")
    assert _error(affine, truth).mean() < 2.5
    assert _error(affine, truth).max() < 5.0  # a voxel
    assert affine.volume_factor == pytest.approx(np.linalg.det(SHEARED), rel=0.06)
    assert judge(affine, RegistrationLimits()) == []
    rigid = register(template, image)
    assert rigid.mi_after < affine.mi_after
    assert rigid.scale_max == pytest.approx(1.0)


def test_the_same_images_give_the_same_map_whatever_the_threads(template):
    image = draw(WorldMap(rotation((0, 1, 1), 10), np.zeros(3)), seed=2)
    threads = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    maps = []
    try:
        for n in (1, 4):
            sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(n)
            maps.append(register(template, image).to_dict())
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)
    assert maps[0] == maps[1]


def test_the_template_is_registered_to_itself_by_the_identity(template):
    itself = register(template, draw(), "affine")
    np.testing.assert_array_equal(itself.result.matrix, np.eye(3))
    assert itself.overlap_after == itself.mi_share == 1.0
    assert judge(itself, RegistrationLimits()) == []


@pytest.mark.parametrize("spoil", [noise, upside_down], ids=["noise", "upside_down"])
def test_what_cannot_be_registered_is_recognised(template, spoil):
    image = spoil(draw(WorldMap(rotation((1, 0, 0), 5), np.array([5.0, 0, 0])), seed=1))
    assert judge(register(template, image), RegistrationLimits())


def test_an_empty_image_is_recognised(template):
    empty = Image(np.zeros((8, 8, 8), np.float32), (5.0, 5.0, 5.0))
    alignment = register(template, empty)
    assert alignment.result is None
    assert judge(alignment, RegistrationLimits()) == ["the image holds one value only (0)"]
    with pytest.raises(ValueError, match="one value only"):
        make_template(empty)


GOOD = Alignment(
    NOWHERE, NOWHERE, mi_before=0.5, mi_after=0.8, mi_share=0.4, overlap_before=0.9,
    overlap_after=0.95, coverage=0.9, rotation_deg=12, shear_deg=5, scale_min=0.9, scale_max=1.1,
    volume_factor=1.0, shift_mm=20, corner_shift_mm=40,
)


@pytest.mark.parametrize(
    ("limits", "message"),
    [({"similarity": 0.5}, "similarity 0.400"), ({"overlap": 0.96}, "overlap of the bodies 0.95"),
     ({"coverage": 0.95}, "90% of the template"), ({"rotation_deg": 10}, "rotation 12"),
     ({"shift_mm": 10}, "shift 20"), ({"scale": 1.05}, "scale 0.90 to 1.10"),
     ({"shear_deg": 3}, "shear 5")],
)
def test_every_limit_decides(limits, message):
    assert judge(GOOD, RegistrationLimits()) == []
    (reason,) = judge(GOOD, RegistrationLimits(**limits))
    assert message in reason


@pytest.mark.parametrize(
    "change",
    [{"mi_after": 0.4}, {"flipped": "z"}, {"volume_factor": -1.0}, {"error": "gave up"},
     {"mi_share": np.nan}, {"overlap_after": np.nan}],
)
def test_what_no_limit_allows(change):
    assert judge(replace(GOOD, **change), RegistrationLimits(0, 0, 0, 180, 1e9, 1e9, 90))


def test_an_alignment_survives_json():
    for alignment in (GOOD, Alignment(None, WorldMap.shift((1, 2, 3)), "nothing there")):
        assert Alignment.from_dict(alignment.to_dict()).to_dict() == alignment.to_dict()


def test_a_map_says_what_it_does():
    turned = WorldMap(1.2 * rotation((1, 2, 3), 25), np.array([1.0, 2.0, 3.0]))
    assert turned.rotation_deg == pytest.approx(25)
    assert turned.scales == pytest.approx((1.2, 1.2))
    assert turned.volume_factor == pytest.approx(1.2**3)
    assert turned.shear_deg == pytest.approx(0, abs=1e-5)
    slant = np.tan(np.radians(10))
    skewed = WorldMap(np.array([[1, slant, 0], [0, 1, 0], [0, 0, 1]]), np.zeros(3))
    assert skewed.shear_deg == pytest.approx(10)
    np.testing.assert_allclose(turned.inverse()(turned(POINTS)), POINTS, atol=1e-9)


def test_resampling_to_a_mapped_grid_is_simpleitks_resampling_with_the_transform():
    image = draw(kind="CT", shape=(20, 22, 24))
    block = Image(np.zeros((12, 13, 14), np.float32), (4.0, 3.0, 3.5), (-20.0, -18.0, -22.0))
    world_map = WorldMap(SHEARED, np.array([3.0, -2.0, 5.0]))
    transform = sitk.AffineTransform(3)
    transform.SetMatrix(SHEARED.ravel().tolist())
    transform.SetTranslation((3.0, -2.0, 5.0))
    expected = sitk.Resample(to_sitk(image), to_sitk(block), transform, sitk.sitkLinear, -1000.0)
    grid = mapped_grid(block, world_map)
    np.testing.assert_allclose(
        resample_like(image, grid, padding=-1000.0).array, sitk.GetArrayFromImage(expected),
        atol=0.05,
    )
    index = np.argwhere(np.ones((3, 3, 3)))
    np.testing.assert_allclose(voxels_of(grid, grid.world(index)), index, atol=1e-9)


def _prepared(case, image, registration=None, **parts):
    cohort = Cohort(case.volume[np.newaxis], spacing=[case.spacing], **parts)
    place = geometry_of(case_record(case, {"CT": image}, registration))
    cohort._table = replace(cohort.table, geometry=(place,))
    return cohort


def test_a_sheared_block_goes_back_and_its_volumes_by_the_volume_factor():
    truth = WorldMap(SHEARED, np.array([40.0, -20.0, 8.0]))
    ct, mask = draw(truth), draw(truth, "mask")
    block = Image(np.zeros((30, 26, 30), np.float32), (4.0, 4.0, 4.0), (-50.0, -58.0, -58.0))
    settings = Preparation(
        shape=block.shape, spacing=4.0, crop="fixed", normalise="none",
        registration=Registration("affine"),
    )
    case = prepare_case([ct], mask, ["CT"], settings, mapped_grid(block, truth))
    assert case.mask_cut == 0.0
    prepared_ml, own_ml = case.mask.sum() * 4.0**3, mask.array.sum() * 5.0**3
    assert prepared_ml * truth.volume_factor == pytest.approx(own_ml, rel=0.06)
    cohort = _prepared(case, ct, channel_names=("CT",))
    back = to_patient_space(cohort, 0, case.mask, interpolation="nearest")
    assert back.shape == mask.shape
    assert dice(back.array, mask.array) > 0.9
    again = to_patient_space(cohort, 0, case.volume[0], outside=-1000.0).array
    body = (ct.array > -300) & (again > -300)
    assert np.corrcoef(again[body], ct.array[body])[0, 1] > 0.9


def test_a_tumour_volume_in_ml_is_that_of_the_patient_after_an_affine_registration():
    truth = WorldMap(np.diag([1.2, 1.15, 1.1]), np.array([40.0, -20.0, 8.0]))
    ct, mask = draw(truth), draw(truth, "mask")
    block = Image(np.zeros((30, 26, 30), np.float32), (4.0, 4.0, 4.0), (-50.0, -58.0, -58.0))
    settings = Preparation(
        shape=block.shape, spacing=4.0, crop="fixed", normalise="none",
        registration=Registration("affine"),
    )
    case = prepare_case([ct], mask, ["CT"], settings, mapped_grid(block, truth))
    case = replace(case, volume=(case.volume + 1100) / 100)  # as SUV
    cohort = _prepared(
        case, ct, {"status": "x", **truth.to_dict()}, masks=case.mask[np.newaxis],
        channel_names=("PET",), outcome=make_outcome([1], [5.0]),
    )
    own_ml = mask.array.sum() * 5.0**3 / 1000
    found = TumourVolume(log=False).fit_transform(cohort).iloc[0, 0]
    assert found == pytest.approx(own_ml, rel=0.06)
    assert case.mask.sum() * 4.0**3 / 1000 < 0.75 * own_ml
    pet = PETParameters(fixed_threshold=None, relative_threshold=1e-3).fit_transform(cohort)
    assert pet["Volume"][0] == pytest.approx(found)
    assert pet["MTV_0.1pct"][0] <= found
    assert pet["MTV_0.1pct"][0] == pytest.approx(
        found * (case.volume[0][case.mask > 0] >= 1e-3 * pet["SUVmax"][0]).mean()
    )
    joined = join_cohorts(cohort, cohort, prefix="external-")
    np.testing.assert_allclose(TumourVolume(log=False).fit_transform(joined), found)


def test_a_thin_image_is_a_failed_registration_and_not_the_end_of_a_cohort(template):
    thin = Image(np.random.default_rng(0).normal(size=(3, 40, 40)).astype(np.float32), (1, 1, 1))
    alignment = register(template, thin)
    assert alignment.result is None
    assert judge(alignment, RegistrationLimits()) == [
        "the image has 3 voxels along z, and registration needs 4 or more"
    ]
    with pytest.raises(ValueError, match="3 voxels along z"):
        make_template(thin)


def test_mutual_information_of_known_tables():
    bits = np.array([0.0, 0.0, 1.0, 1.0])
    assert mutual_information(bits, bits) == pytest.approx(np.log(2))
    assert mutual_information(bits, [0.0, 1.0, 0.0, 1.0]) == pytest.approx(0, abs=1e-12)
    assert np.isnan(mutual_information([], []))


@pytest.mark.parametrize(
    ("change", "message"),
    [({"transform": "elastic"}, "transform of a registration must be"),
     ({"on_failure": "ignore"}, "on_failure of a registration must be"),
     ({"template": "a", "template_image": "b.nii"}, "not both"),
     ({"template_seed": -1}, "template_seed"),
     ({"limits": {"overlap": 2}}, "limit overlap must be a number from 0 to 1"),
     ({"limits": {"scale": 0.5}}, "limit scale must be"),
     ({"limits": {"twist": 1}}, "no limit 'twist'")],
)
def test_bad_settings_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        Registration(**change)


@pytest.mark.slow
def test_sarcomas_of_other_limbs_are_flagged(shared_dir):
    folder = shared_dir / "data" / "sts51_petgrid"
    template = make_template(read_image(folder / "STS_001_CT.nii.gz"))
    for patient in ("STS_002", "STS_005", "STS_010", "STS_030"):
        found = register(template, read_image(folder / f"{patient}_CT.nii.gz"))
        assert judge(found, RegistrationLimits()), patient
