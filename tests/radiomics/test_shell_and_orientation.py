"""Shells without air, bone and organs; features in the order of the file."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from survimg.cohort import Cohort
from survimg.io import Image, read_image, write_image
from survimg.io.images.image import as_stored
from survimg.preprocessing import Preparation, prepare
from survimg.radiomics import RadiomicsFeatures

SHELL = {"features": ("firstorder",), "image_types": ("original",), "shell_mm": 3.0}
ALL = {"image_types": ("original", "wavelet")}


def _thigh():
    """A tumour in fat (-100 HU) with air (-1000) above it and bone (900) below."""
    ct = np.full((12, 14, 14), -100.0, np.float32)
    ct += np.random.default_rng(0).normal(0, 5, ct.shape).astype(np.float32)
    ct[:, :4], ct[:, 10:] = -1000.0, 900.0
    mask = np.zeros(ct.shape, np.uint8)
    mask[4:8, 5:9, 5:9] = 1
    return ct, mask


def test_air_and_bone_are_left_out_of_the_shell_and_the_part_is_said():
    ct, mask = _thigh()
    cohort = Cohort(ct[None, None], masks=mask[None], spacing=1.0, channel_names=("CT",))
    clean, whole = RadiomicsFeatures(**SHELL), RadiomicsFeatures(**SHELL, shell_hu=None)
    inside, everything = (each.fit_transform(cohort).iloc[0] for each in (clean, whole))
    name = "shell-3mm_CT_original_firstorder_"
    assert inside[f"{name}Minimum"] > -130
    assert inside[f"{name}Maximum"] < -70
    assert everything[f"{name}Minimum"] == -1000
    assert everything[f"{name}Maximum"] == 900
    z, y, x = np.mgrid[: ct.shape[0], : ct.shape[1], : ct.shape[2]]
    near = sum(
        np.maximum(0, np.maximum(low - a, a - high)) ** 2
        for a, (low, high) in zip((z, y, x), ((4, 7), (5, 8), (5, 8)), strict=True)
    )
    shell = (near > 0) & (near <= 9)
    removed = 1 - (shell & (np.abs(ct) < 500)).sum() / shell.sum()
    assert clean.shell_removed(cohort).tolist() == pytest.approx([removed])
    assert whole.shell_removed(cohort).tolist() == [0.0]
    with pytest.raises(ValueError, match="There is no shell"):
        RadiomicsFeatures(features=("firstorder",)).fit(cohort).shell_removed(cohort)


def test_a_window_the_wrong_way_round_is_refused():
    ct, mask = _thigh()
    with pytest.raises(ValueError, match="shell_hu must be"):
        RadiomicsFeatures(**SHELL, shell_hu=(300, -200)).fit(ct[None], masks=mask[None])


def _write(folder, organs=True):
    ct, mask = _thigh()
    image = Image(ct, (1.0, 1.0, 1.0))
    bladder = np.zeros(ct.shape, np.uint8)
    bladder[:, :, 10:] = 7  # a label of its own
    for name, array in (("CT", ct), ("mask", mask), ("organs", bladder)):
        write_image(folder / f"{name}.nii.gz", array, image)
    cell = "organs.nii.gz" if organs else ""
    csv = folder / f"{organs}.csv"
    csv.write_text(f"patient_id,CT,mask,organs\na,CT.nii.gz,mask.nii.gz,{cell}\n")
    return csv


def test_organs_of_the_manifest_are_left_out_raw_prepared_finer_and_saved(tmp_path):
    csv = _write(tmp_path)
    settings = Preparation(shape=(12, 14, 14), normalise="none", features_spacing="native")
    prepared = prepare(csv, settings, tmp_path / "out", progress=False)
    memory = prepare(csv, settings, progress=False)
    saved = prepared[:].save(tmp_path / "saved")
    without = prepare(_write(tmp_path, organs=False), settings, progress=False)
    extractor = RadiomicsFeatures(**SHELL).fit(prepared)
    removed = extractor.shell_removed(prepared)["a"]
    assert removed > extractor.shell_removed(without)["a"] + 0.05
    for cohort in (memory, saved):
        assert extractor.shell_removed(cohort)["a"] == removed
        np.testing.assert_array_equal(cohort.mask(0), prepared.mask(0))
        np.testing.assert_array_equal(cohort.organs(0), prepared.organs(0))
    assert set(np.unique(prepared.mask(0))) == {0, 1}
    assert without.organs(0) is None
    raw = Cohort.from_manifest(csv)
    assert raw.organs(0)[0, 0, 12] == 1
    assert RadiomicsFeatures(**SHELL).fit(raw).shell_removed(raw)["a"] == pytest.approx(removed)


CODES = ("LPS", "RAS", "PSR")


def _stored(tmp_path, code):
    """A tumour written in another order of axes; the file's own arrays, and its manifest."""
    rng = np.random.default_rng(3)
    volume = rng.normal(0, 100, (14, 15, 16)).astype(np.float32)
    mask = np.zeros(volume.shape, np.uint8)
    mask[4:9, 5:11, 4:12] = rng.random((5, 6, 8)) < 0.9
    arrays = {}
    for name, array in (("MR", volume), ("mask", mask)):
        image = sitk.GetImageFromArray(array)
        image.SetSpacing((1.0, 1.5, 2.0))
        turned = sitk.DICOMOrient(image, code)
        sitk.WriteImage(turned, str(tmp_path / f"{name}.nii.gz"))
        arrays[name] = sitk.GetArrayFromImage(turned)
    (tmp_path / "m.csv").write_text("patient_id,MR,mask\na,MR.nii.gz,mask.nii.gz\n")
    return arrays, turned.GetSpacing()[::-1], tmp_path / "m.csv"


@pytest.mark.parametrize("code", CODES)
def test_as_stored_measures_the_array_of_the_file(tmp_path, code):
    arrays, spacing, csv = _stored(tmp_path, code)
    own = Cohort(
        arrays["MR"][None, None], masks=arrays["mask"][None], spacing=spacing,
        channel_names=("MR",),
    )
    raw = Cohort.from_manifest(csv)
    np.testing.assert_array_equal(
        as_stored(raw.volume(0)[0], read_image(tmp_path / "MR.nii.gz").stored), arrays["MR"]
    )
    expected = RadiomicsFeatures(**ALL).fit_transform(own).iloc[0]
    stored = RadiomicsFeatures(**ALL, orientation="as-stored").fit_transform(raw).iloc[0]
    np.testing.assert_allclose(stored, expected, rtol=1e-6, atol=1e-9)
    turned = RadiomicsFeatures(**ALL).fit_transform(raw).iloc[0]
    differ = ~np.isclose(turned, expected, rtol=1e-6, atol=1e-9)
    wavelet = np.array(["wavelet" in name for name in expected.index])
    assert not differ[~wavelet & np.array(["shape" not in n for n in expected.index])].any()
    assert differ[wavelet].any() == (code != "LPS")
    settings = Preparation(
        shape=(6, 8, 9), normalise="none", features_spacing="native",
        features_margin=100.0,
    )
    prepared = prepare(csv, settings, progress=False)
    finer = RadiomicsFeatures(**ALL, orientation="as-stored").fit_transform(prepared).iloc[0]
    np.testing.assert_allclose(finer, expected, rtol=1e-4, atol=1e-6)


def test_what_does_not_know_its_file_refuses_as_stored():
    ct, mask = _thigh()
    cohort = Cohort(ct[None, None], masks=mask[None], spacing=1.0)
    with pytest.raises(ValueError, match="does not say how the axes"):
        RadiomicsFeatures(**ALL, orientation="as-stored").fit_transform(cohort)
    with pytest.raises(ValueError, match="orientation.*must be"):
        RadiomicsFeatures(**ALL, orientation="RAS").fit(cohort)


def test_a_normalised_ct_cannot_limit_the_shell_and_says_so():
    ct, mask = _thigh()
    cohort = Cohort(ct[None, None], masks=mask[None], spacing=1.0, channel_names=("CT",))
    scored = prepare(cohort, Preparation(shape=(12, 14, 14)), progress=False)
    with pytest.warns(UserWarning, match="CT was normalised .* cannot be left out of the shell"):
        extractor = RadiomicsFeatures(**SHELL).fit(scored)
    assert extractor.shell_removed(scored).tolist() == [0.0]
