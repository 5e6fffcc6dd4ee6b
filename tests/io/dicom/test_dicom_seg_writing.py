"""Segmentation objects written: what survimg and highdicom read back, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from survimg.io import Image, read_image, read_mask
from survimg.io.dicom.seg_writing import write_segmentation

pydicom = pytest.importorskip("pydicom")
highdicom = pytest.importorskip("highdicom")


def _with_study(slices):
    """Add what a segmentation object must refer to, and no patient."""
    frame = pydicom.uid.generate_uid()
    for i, dataset in enumerate(slices):
        dataset.FrameOfReferenceUID, dataset.InstanceNumber = frame, i + 1
        dataset.SliceThickness = 3.0


def _feet_first(slices):
    _with_study(slices)
    for dataset in slices:
        dataset.ImageOrientationPatient = [-1, 0, 0, 0, 1, 0]


def _sagittal(slices):
    _with_study(slices)
    for i, dataset in enumerate(slices):
        dataset.ImageOrientationPatient = [0, 1, 0, 0, 0, -1]
        dataset.ImagePositionPatient = [-10.0 + 3.0 * i, -20.0, 50.0]


@pytest.fixture
def volume():
    return np.random.default_rng(0).normal(size=(5, 8, 6)).astype(np.float32)


def _mask(like):
    mask = np.random.default_rng(1).random(like.shape) < 0.3
    mask[0] = False  # a slice of any series, or a row of each slice, is empty
    return mask.astype(np.uint8)


@pytest.mark.parametrize("change", [_with_study, _feet_first, _sagittal])
def test_what_is_written_is_read_back_to_the_voxel(dicom_series, volume, tmp_path, change):
    series, path = dicom_series(volume, change=change), tmp_path / "seg.dcm"
    like = read_image(series)
    mask = _mask(like)
    write_segmentation(path, mask, like, series, algorithm="DeepMTS")
    np.testing.assert_array_equal(read_mask(path, like), mask)


def test_another_implementation_reads_the_same(dicom_series, volume, tmp_path):
    series, path = dicom_series(volume, change=_with_study), tmp_path / "seg.dcm"
    like = read_image(series)
    mask = _mask(like)
    write_segmentation(path, mask, like, series, algorithm="DeepMTS", label="GTV")
    written = highdicom.seg.segread(path)
    slices = [pydicom.dcmread(file) for file in series.iterdir()]
    slices.sort(key=lambda dataset: dataset.ImagePositionPatient[2])
    pixels = written.get_pixels_by_source_instance(
        [dataset.SOPInstanceUID for dataset in slices], assert_missing_frames_are_empty=True
    )
    np.testing.assert_array_equal(pixels[..., 0], mask)
    description = written.get_segment_description(1)
    assert description.segment_label == "GTV"
    assert description.algorithm_type.value == "AUTOMATIC"
    assert description.algorithm_identification[0].AlgorithmName == "DeepMTS"
    assert written.StudyInstanceUID == slices[0].StudyInstanceUID
    assert written.FrameOfReferenceUID == slices[0].FrameOfReferenceUID
    assert written.SeriesInstanceUID != slices[0].SeriesInstanceUID
    assert written.PatientID == "ANON"
    assert written.PatientName == ""


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda mask, like: (mask * 2, like), "0 and 1"),
        (lambda mask, like: (mask[1:], like), "on the grid of `like`"),
        (lambda mask, like: (mask * 0, like), "marks nothing"),
        (
            lambda mask, like: (mask, Image(like.array, like.spacing, (0.0, 0.0, 0.0))),
            "does not lie on the voxels",
        ),
    ],
)
def test_masks_that_cannot_belong_to_the_series_are_refused(
    dicom_series, volume, tmp_path, change, message
):
    series = dicom_series(volume, change=_with_study)
    like = read_image(series)
    mask, where = change(_mask(like), like)
    with pytest.raises(ValueError, match=message):
        write_segmentation(tmp_path / "seg.dcm", mask, where, series, algorithm="x")
    assert not (tmp_path / "seg.dcm").exists()


def test_a_series_without_a_frame_of_reference_is_refused(dicom_series, volume, tmp_path):
    series = dicom_series(volume)
    like = read_image(series)
    with pytest.raises(ValueError, match="lacks FrameOfReferenceUID"):
        write_segmentation(tmp_path / "seg.dcm", _mask(like), like, series, algorithm="x")


@pytest.mark.slow
def test_real_pet_with_its_contour(shared_dir, tmp_path):
    folder = shared_dir / "data" / "dicom_sts001_pet"
    like = read_image(folder / "image")
    mask = read_mask(folder / "reference_mask.nii.gz", like)
    write_segmentation(tmp_path / "seg.dcm", mask, like, folder / "image", algorithm="contour")
    found = read_mask(tmp_path / "seg.dcm", like)
    assert found.sum() == mask.sum() > 5000
    np.testing.assert_array_equal(found, mask)
