"""Images: canonical orientation, world coordinates, masks, damaged files."""

from __future__ import annotations

import gzip
import itertools

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from survimg.io import Image, read_image, read_mask, resample_like, write_image
from survimg.io.images.image import same_grid


def _grid(array, spacing=(3.0, 2.0, 1.5), origin=(-20.0, 7.0, 100.0), **more):
    return Image(np.asarray(array, dtype=np.float32), spacing, origin, **more)


def _blob(rng, shape=(6, 7, 8)):
    return rng.normal(size=shape).astype(np.float32)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".nrrd", ".mha"])
def test_write_and_read_give_the_same_voxels_and_place(tmp_path, rng, suffix):
    image = _grid(_blob(rng))
    path = tmp_path / f"image{suffix}"
    write_image(path, image.array, image)
    again = read_image(path)
    np.testing.assert_array_equal(again.array, image.array)
    assert again.array.dtype == np.float32
    np.testing.assert_allclose(again.spacing, image.spacing, rtol=1e-6)
    np.testing.assert_allclose(again.origin, image.origin, rtol=1e-6)
    assert same_grid(again, image)


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd"])
def test_what_is_not_finite_is_written_too(tmp_path, rng, suffix):
    image = _grid(_blob(rng))
    image.array[0, 0, :3] = np.nan, np.inf, -np.inf
    write_image(tmp_path / f"image{suffix}", image.array, image)
    assert [path.name for path in tmp_path.iterdir()] == [f"image{suffix}"]


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".nrrd", ".mha", ".mhd"])
def test_a_full_disk_is_an_error_and_leaves_no_file(tmp_path, rng, suffix):
    resource = pytest.importorskip("resource")
    image = _grid(_blob(rng))
    whole, full = tmp_path / "whole", tmp_path / "full"
    write_image(whole / f"image{suffix}", image.array, image)
    largest = max(path.stat().st_size for path in whole.iterdir())
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for limit in (largest - 300, largest - 1):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        try:
            with pytest.raises((OSError, ValueError), match=r"image.* could not be written"):
                write_image(full / f"image{suffix}", image.array, image)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert not list(full.iterdir())


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("flips", [(False, False, False), (True, False, True), (True, True, True)])
def test_any_axis_order_in_the_file_lands_in_the_same_array(tmp_path, rng, order, flips):
    image = _grid(_blob(rng))
    raw = sitk.GetImageFromArray(image.array)
    raw.SetSpacing(image.spacing[::-1])
    raw.SetOrigin(image.origin)
    shuffled = sitk.Flip(sitk.PermuteAxes(raw, order), flips)
    sitk.WriteImage(shuffled, str(tmp_path / "a.nii.gz"))
    again = read_image(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(again.array, image.array)
    np.testing.assert_allclose(again.spacing, image.spacing, rtol=1e-6)
    np.testing.assert_allclose(again.origin, image.origin, rtol=1e-5)
    np.testing.assert_allclose(again.direction, image.direction, atol=1e-6)


def test_axis_x_runs_to_the_patients_left(tmp_path):
    # an independent reader (nibabel, world axes right-anterior-superior) marks the leftmost voxel
    nibabel = pytest.importorskip("nibabel")
    data = np.zeros((5, 6, 7), dtype=np.float32)
    data[4, 2, 3] = 1.0  # nibabel's first index; its affine below makes it run to the right
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    nibabel.save(nibabel.Nifti1Image(data, affine), tmp_path / "ras.nii.gz")
    image = read_image(tmp_path / "ras.nii.gz")
    z, y, x = np.argwhere(image.array == 1.0)[0]
    assert (z, y, x) == (3, 5 - 2, 0)  # rightmost in the patient is x = 0
    np.testing.assert_allclose(image.world([z, y, x]), [-8.0, -4.0, 6.0])  # RAS 8, 4, 6 in LPS


def test_world_and_index_are_inverse_and_agree_with_simpleitk(rng):
    turn = 0.2
    direction = (np.cos(turn), -np.sin(turn), 0.0, np.sin(turn), np.cos(turn), 0.0, 0.0, 0.0, 1.0)
    image = _grid(_blob(rng), direction=direction)
    index = rng.uniform(-3, 9, size=(20, 3))
    np.testing.assert_allclose(image.index(image.world(index)), index, atol=1e-10)
    raw = sitk.GetImageFromArray(image.array)
    raw.SetSpacing(image.spacing[::-1])
    raw.SetOrigin(image.origin)
    raw.SetDirection(direction)
    for zyx in index:
        expected = raw.TransformContinuousIndexToPhysicalPoint(zyx[::-1].tolist())
        np.testing.assert_allclose(image.world(zyx), expected, atol=1e-9)


def test_an_oblique_image_keeps_its_rotation_and_is_not_interpolated(tmp_path, rng):
    turn = 0.3
    direction = (np.cos(turn), -np.sin(turn), 0.0, np.sin(turn), np.cos(turn), 0.0, 0.0, 0.0, 1.0)
    image = _grid(_blob(rng), direction=direction)
    write_image(tmp_path / "oblique.nrrd", image.array, image)
    again = read_image(tmp_path / "oblique.nrrd")
    np.testing.assert_array_equal(again.array, image.array)
    np.testing.assert_allclose(again.direction, direction, atol=1e-9)


def test_a_mask_on_another_grid_is_resampled_by_world_coordinates(tmp_path, rng):
    # mask: a block of world space, drawn on a shifted, coarser and flipped grid
    image = Image(np.zeros((20, 20, 20), np.float32), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))
    raw = sitk.Image(10, 10, 10, sitk.sitkUInt8)
    raw.SetSpacing((2.0, 2.0, 2.0))
    raw.SetOrigin((18.5, 18.5, 0.5))
    raw.SetDirection((-1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 1.0))
    raw[1, 2, 3] = 1  # world x 16.5, y 14.5, z 6.5, 2 mm wide
    sitk.WriteImage(raw, str(tmp_path / "mask.nii.gz"))
    mask = read_mask(tmp_path / "mask.nii.gz", image)
    expected = np.zeros((20, 20, 20), np.uint8)
    expected[6:8, 14:16, 16:18] = 1
    np.testing.assert_array_equal(mask, expected)
    assert mask.dtype == np.uint8


def test_resampling_to_another_grid_is_exact_for_a_linear_function():
    source = _grid(np.zeros((9, 10, 11)), spacing=(2.0, 3.0, 1.5), origin=(0.0, 0.0, 0.0))
    index = np.stack(np.meshgrid(*map(np.arange, source.shape), indexing="ij"), axis=-1)
    weights = np.array([0.7, -1.1, 0.3])
    source = Image((source.world(index) @ weights).astype(np.float32), source.spacing)
    turn = 0.1
    target = Image(
        np.zeros((5, 6, 7), np.float32), (1.7, 1.3, 0.9), (4.0, 8.0, 4.0),
        (np.cos(turn), -np.sin(turn), 0.0, np.sin(turn), np.cos(turn), 0.0, 0.0, 0.0, 1.0),
    )
    index = np.stack(np.meshgrid(*map(np.arange, target.shape), indexing="ij"), axis=-1)
    moved = resample_like(source, target)
    np.testing.assert_allclose(moved.array, target.world(index) @ weights, atol=1e-4)


def test_outside_the_field_of_view_is_the_padding_or_the_lowest_value():
    source = Image(np.full((4, 4, 4), 5.0, np.float32), (1.0, 1.0, 1.0))
    source.array[0, 0, 0] = -7.0
    far = Image(np.zeros((2, 2, 2), np.float32), (1.0, 1.0, 1.0), (50.0, 0.0, 0.0))
    assert (resample_like(source, far).array == -7.0).all()
    assert (resample_like(source, far, padding=-1000.0).array == -1000.0).all()
    with pytest.raises(ValueError, match="interpolation must be one of"):
        resample_like(source, far, interpolation="quintic")


def test_labels_are_listed_unless_one_is_chosen(tmp_path):
    image = _grid(np.zeros((4, 4, 4)))
    labels = np.zeros((4, 4, 4), np.uint8)
    labels[1], labels[2] = 1, 255
    write_image(tmp_path / "m.nrrd", labels, image)
    with pytest.raises(ValueError, match=r"m\.nrrd holds the labels \[0, 1, 255\]"):
        read_mask(tmp_path / "m.nrrd", image)
    np.testing.assert_array_equal(read_mask(tmp_path / "m.nrrd", image, label=255), labels == 255)
    with pytest.raises(ValueError, match=r"has no label 3; it holds \[0, 1, 255\]"):
        read_mask(tmp_path / "m.nrrd", image, label=3)
    with pytest.raises(ValueError, match="names a region, which only an RTSTRUCT has"):
        read_mask(tmp_path / "m.nrrd", image, label="GTV")


def test_an_empty_mask_is_read_as_empty(tmp_path):
    image = _grid(np.zeros((4, 4, 4)))
    write_image(tmp_path / "m.nrrd", np.zeros((4, 4, 4), bool), image)
    assert not read_mask(tmp_path / "m.nrrd", image).any()


def test_a_mask_elsewhere_is_refused_by_name(tmp_path):
    image = _grid(np.zeros((4, 4, 4)))
    ones = np.ones((4, 4, 4), np.uint8)
    write_image(tmp_path / "far.nrrd", ones, _grid(ones, origin=(500.0, 0.0, 0.0)))
    with pytest.raises(ValueError, match=r"far\.nrrd marks nothing inside its image"):
        read_mask(tmp_path / "far.nrrd", image)


def test_a_mask_of_another_shape_at_the_same_place_is_refused(tmp_path):
    image = _grid(np.zeros((4, 4, 4)))
    ones = np.ones((4, 4, 3), np.uint8)
    write_image(tmp_path / "cut.nrrd", ones, _grid(ones))
    with pytest.raises(ValueError, match=r"cut\.nrrd has shape \(4, 4, 3\) and its image \(4"):
        read_mask(tmp_path / "cut.nrrd", image)


def _placed(rng):
    image = _grid(_blob(rng, (12, 14, 16)), spacing=(4.0, 3.0, 3.0), origin=(-24.0, -20.0, -30.0))
    mask = np.zeros(image.shape, np.uint8)
    mask[4:8, 4:9, 6:11] = 1
    return image, mask


def test_a_mask_that_lost_its_header_is_refused_though_its_voxels_are_right(tmp_path, rng):
    image, mask = _placed(rng)
    write_image(tmp_path / "lost.nii.gz", mask, Image(mask, (1.0, 1.0, 1.0)))
    with pytest.raises(ValueError, match=r"lost\.nii\.gz has the shape of its image.*lost its"):
        read_mask(tmp_path / "lost.nii.gz", image)
    # the tumour would otherwise still mark something in the image
    assert resample_like(Image(mask, (1.0, 1.0, 1.0)), image, interpolation="nearest").array.any()


def test_headers_rounded_by_a_converter_are_accepted(tmp_path, rng):
    image, mask = _placed(rng)
    rounded = _grid(mask, spacing=(4.0, 3.0, 3.001), origin=(-24.05, -20.0, -30.0))
    assert not same_grid(rounded, image)
    write_image(tmp_path / "m.nrrd", mask, rounded)
    np.testing.assert_array_equal(read_mask(tmp_path / "m.nrrd", image), mask)


def test_a_mask_at_the_default_place_is_refused_unless_its_image_lies_there_too(tmp_path, rng):
    image, _ = _placed(rng)
    block = np.ones((9, 9, 9), np.uint8)
    write_image(tmp_path / "default.nii.gz", block, Image(block, (1.0, 1.0, 1.0)))
    with pytest.raises(ValueError, match=r"default\.nii\.gz lies at the origin with voxels of 1"):
        read_mask(tmp_path / "default.nii.gz", image)
    # an axis that runs the other way starts at the origin as well
    raw = sitk.GetImageFromArray(block)
    raw.SetDirection((-1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 1.0))
    sitk.WriteImage(raw, str(tmp_path / "turned.nrrd"))
    with pytest.raises(ValueError, match=r"turned\.nrrd lies at the origin with voxels of 1"):
        read_mask(tmp_path / "turned.nrrd", image)


def test_a_tumour_that_reaches_out_of_its_image_is_refused(tmp_path, rng):
    image, _ = _placed(rng)
    block = np.ones((4, 4, 4), np.uint8)
    write_image(tmp_path / "out.nrrd", block, _grid(block, (4.0, 3.0, 3.0), (-27.0, -20.0, -28.0)))
    with pytest.raises(ValueError, match=r"out\.nrrd marks 16 of 64 voxels outside its image"):
        read_mask(tmp_path / "out.nrrd", image)
    block[:, :, 0] = 0  # the image ends here: a grid may reach further than its image
    write_image(tmp_path / "in.nrrd", block, _grid(block, (4.0, 3.0, 3.0), (-27.0, -20.0, -28.0)))
    assert read_mask(tmp_path / "in.nrrd", image).sum() == 48


def test_a_tumour_whose_volume_changes_by_more_than_half_is_refused(tmp_path):
    image = Image(np.zeros((8, 8, 8), np.float32), (4.0, 4.0, 4.0), (10.0, 10.0, 10.0))
    fine = Image(np.zeros((32, 32, 32), np.uint8), (1.0, 1.0, 1.0), (8.5, 8.5, 8.5))
    fine.array[9:11, 9:11, 9:11] = 1  # 8 mm^3 around the centre of a voxel of 64 mm^3
    write_image(tmp_path / "small.nrrd", fine.array, fine)
    with pytest.raises(ValueError, match=r"small\.nrrd has 0\.008 ml, and 0\.064 ml on the voxels"):
        read_mask(tmp_path / "small.nrrd", image)
    fine.array[4:20, 4:20, 4:18] = 1
    write_image(tmp_path / "large.nrrd", fine.array, fine)
    moved = read_mask(tmp_path / "large.nrrd", image)
    assert moved.sum() * 64 == pytest.approx(fine.array.sum(), rel=0.2)


def test_a_tumour_smaller_than_the_voxels_of_its_image_is_refused(tmp_path):
    image = Image(np.zeros((4, 4, 4), np.float32), (10.0, 10.0, 10.0))
    fine = Image(np.zeros((40, 40, 40), np.uint8), (1.0, 1.0, 1.0), (-4.5, -4.5, -4.5))
    fine.array[10, 10, 10] = 1
    write_image(tmp_path / "tiny.nrrd", fine.array, fine)
    with pytest.raises(ValueError, match=r"tiny\.nrrd lies between the voxels"):
        read_mask(tmp_path / "tiny.nrrd", image)


def _write_truncated(path, image):
    write_image(path, np.random.default_rng(1).normal(size=image.shape), image)
    path.write_bytes(path.read_bytes()[:-200])


def _write_text(path, image):
    path.write_text("this is not an image")


def _write_nan(path, image):
    array = np.zeros(image.shape, np.float32)
    array[0, 0, 0] = np.nan
    write_image(path, array, image)


def _write_beyond_float32(path, image):
    write_image(path, np.full(image.shape, 1e300), image)


def _write_2d(path, image):
    sitk.WriteImage(sitk.Image(5, 5, sitk.sitkFloat32), str(path))


def _write_4d(path, image):
    sitk.WriteImage(sitk.Image([4, 4, 4, 3], sitk.sitkFloat32), str(path))


def _write_vectors(path, image):
    sitk.WriteImage(sitk.Image([4, 4, 4], sitk.sitkVectorFloat32, 3), str(path))


def _write_huge_claim(path, image):
    write_image(path, np.zeros((4, 4, 4), np.uint8), image)
    opened = gzip.open if path.name.endswith(".gz") else open
    with opened(path, "rb") as file:
        content = bytearray(file.read())
    if b"NRRD" in content[:8]:
        content = content.replace(b"sizes: 4 4 4", b"sizes: 30000 30000 30000")
    else:
        content[42:48] = np.array([30000, 30000, 30000], "<i2").tobytes()
    with opened(path, "wb") as file:
        file.write(content)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd"])
@pytest.mark.parametrize(
    "write",
    [_write_truncated, _write_text, _write_nan, _write_beyond_float32, _write_4d, _write_vectors,
     _write_huge_claim],
)
def test_damaged_files_are_refused_by_name(tmp_path, write, suffix, capfd):
    path = tmp_path / f"broken{suffix}"
    write(path, _grid(np.zeros((4, 4, 4))))
    with pytest.raises(ValueError, match="broken"):
        read_image(path)


def test_a_flat_image_is_refused(tmp_path):
    _write_2d(tmp_path / "flat.nrrd", None)
    with pytest.raises(ValueError, match=r"flat\.nrrd .* it must be one three-dimensional volume"):
        read_image(tmp_path / "flat.nrrd")


def test_a_fourth_axis_of_length_one_is_dropped(tmp_path, rng):
    raw = sitk.JoinSeries([sitk.GetImageFromArray(_blob(rng))])
    sitk.WriteImage(raw, str(tmp_path / "series.nii"))
    assert read_image(tmp_path / "series.nii").shape == (6, 7, 8)


def test_scaled_integers_are_unscaled(tmp_path):
    nibabel = pytest.importorskip("nibabel")
    nifti = nibabel.Nifti1Image(np.arange(64, dtype=np.int16).reshape(4, 4, 4), np.eye(4))
    nifti.header.set_slope_inter(0.5, -3.0)
    nibabel.save(nifti, tmp_path / "scaled.nii")
    stored = np.asarray(nibabel.load(tmp_path / "scaled.nii").dataobj)
    image = read_image(tmp_path / "scaled.nii")
    np.testing.assert_allclose(np.sort(image.array.ravel()), np.sort(stored.ravel()))


def test_missing_files_and_unknown_units_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing\.nii"):
        read_image(tmp_path / "nothing.nii")
    with pytest.raises(ValueError, match="pet_units must be"):
        read_image(tmp_path / "nothing.nii", pet_units="kBq")


def test_writing_another_shape_or_format_is_refused(tmp_path):
    image = _grid(np.zeros((4, 4, 4)))
    with pytest.raises(ValueError, match=r"array has shape \(4, 4\)"):
        write_image(tmp_path / "a.nrrd", np.zeros((4, 4)), image)
    with pytest.raises(ValueError, match=r"a\.what could not be written"):
        write_image(tmp_path / "a.what", image.array, image)


def test_nothing_is_lost_between_two_channels_on_one_grid(tmp_path, rng):
    image = _grid(_blob(rng))
    assert resample_like(image, _grid(np.zeros(image.shape))) is image
