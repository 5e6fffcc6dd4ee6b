"""DICOM series: geometry from positions, every kind of damaged stack refused."""

from __future__ import annotations

import numpy as np
import pytest

from survimg.io import read_image


@pytest.fixture
def volume():
    return np.random.default_rng(3).normal(scale=100, size=(7, 5, 6)).astype(np.float32)


def test_a_series_is_sorted_by_position_and_rescaled_slice_by_slice(dicom_series, volume):
    image = read_image(dicom_series(volume))
    np.testing.assert_allclose(image.array, volume, atol=0.02)
    np.testing.assert_allclose(image.spacing, (3.0, 2.0, 1.5))
    np.testing.assert_allclose(image.origin, (-10.0, -20.0, 50.0))


def test_feet_first_order_gives_the_same_volume(dicom_series, volume):
    image = read_image(dicom_series(volume, change=lambda slices: slices[::-1]))
    np.testing.assert_allclose(image.array, volume, atol=0.02)


def test_a_sagittal_series_lands_on_canonical_axes(dicom_series, volume):
    def turn(slices):
        for i, dataset in enumerate(slices):
            dataset.ImageOrientationPatient = [0, 1, 0, 0, 0, -1]
            dataset.ImagePositionPatient = [10.0 - 3.0 * i, -20.0, 50.0]

    image = read_image(dicom_series(volume, change=turn))
    # slice -> patient's right, row course (columns) -> back, column course (rows) -> feet
    np.testing.assert_allclose(image.array, volume.transpose(1, 2, 0)[::-1, :, ::-1], atol=0.02)
    np.testing.assert_allclose(image.spacing, (2.0, 1.5, 3.0))


def _drop(slices):
    return slices[:3] + slices[4:]


def _duplicate(slices):
    slices[3].ImagePositionPatient = slices[2].ImagePositionPatient


def _jitter(slices):
    slices[3].ImagePositionPatient = [-10.0, -20.0, 50.0 + 3 * 3.0 + 0.4]


def _creep(slices):
    for i, dataset in enumerate(slices):
        dataset.ImagePositionPatient = [-10.0, -20.0, 50.0 + 3.0 * i + 0.04 * i**2]


def _tilt(slices):
    for i, dataset in enumerate(slices):
        dataset.ImagePositionPatient = [-10.0, -20.0 + 0.3 * i, 50.0 + 3.0 * i]


def _other_orientation(slices):
    slices[2].ImageOrientationPatient = [0, 1, 0, 0, 0, -1]


def _other_spacing(slices):
    slices[2].PixelSpacing = [4.0, 4.0]


def _no_position(slices):
    del slices[2].ImagePositionPatient


def _single(slices):
    return slices[:1]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_drop, r"not evenly spaced: 6\.000 mm between"),
        (_duplicate, "lie at the same position"),
        (_jitter, "not evenly spaced"),
        (_creep, "not evenly spaced"),
        (_tilt, "tilted gantry"),
        (_other_orientation, "different orientations"),
        (_other_spacing, "differ in size"),
        (_no_position, "lacks ImagePositionPatient"),
        (_single, "has one slice"),
    ],
)
def test_a_damaged_stack_is_refused(dicom_series, volume, damage, message):
    folder = dicom_series(volume, change=damage)
    with pytest.raises(ValueError, match=message) as raised:
        read_image(folder)
    assert "series" in str(raised.value)


def test_two_series_in_one_folder_are_listed(dicom_series, volume):
    dicom_series(volume)
    folder = dicom_series(volume, modality="MR")
    with pytest.raises(ValueError, match="holds 2 DICOM series") as raised:
        read_image(folder)
    assert "CT, 7 slices" in str(raised.value)
    assert "MR, 7 slices" in str(raised.value)


def test_a_folder_without_a_series_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("no image here")
    with pytest.raises(ValueError, match="holds no DICOM image series"):
        read_image(tmp_path)


def test_one_slice_is_not_a_volume(dicom_series, volume):
    path = next(iter(dicom_series(volume).glob("*.dcm")))
    with pytest.raises(ValueError, match="is one DICOM file, .*; give the folder"):
        read_image(path)


@pytest.mark.parametrize("position", [0, 3, 6])
@pytest.mark.parametrize("lost", [4, 40, 500])
def test_truncated_slices_are_refused_wherever_they_lie(dicom_series, volume, position, lost):
    folder = dicom_series(volume)
    path = sorted(folder.glob("*.dcm"), key=lambda p: (int(p.name[:3]) * 279) % 1000)[position]
    path.write_bytes(path.read_bytes()[:-lost])
    with pytest.raises(ValueError, match=f"{path.name}.* truncated"):
        read_image(folder)


def test_other_dicom_objects_in_the_folder_are_no_slices(dicom_series, volume, shared_dir):
    folder = dicom_series(volume)
    region = shared_dir / "data" / "dicom_sts001_pet" / "mask" / "1-1.dcm"
    (folder / "region.dcm").write_bytes(region.read_bytes())
    assert read_image(folder).shape == volume.shape


@pytest.mark.parametrize("syntax", ["RLELossless", "ExplicitVRBigEndian"])
def test_compressed_and_big_endian_slices_are_decoded(dicom_series, syntax):
    import pydicom

    volume = np.random.default_rng(4).normal(scale=100, size=(3, 64, 64)).astype(np.float32)

    def encode(slices):
        for dataset in slices:
            if syntax == "RLELossless":
                dataset.compress(pydicom.uid.RLELossless, generate_instance_uid=False)
            else:
                dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRBigEndian
                words = np.frombuffer(dataset.PixelData, "<i2")
                dataset.PixelData = words.astype(">i2").tobytes()

    image = read_image(dicom_series(volume, change=encode))
    np.testing.assert_allclose(image.array, volume, atol=0.02)


def _of(name, *values):
    """Return a change that gives the slices the values in turn, in blocks of equal length."""

    def change(slices):
        for i, dataset in enumerate(slices):
            setattr(dataset, name, values[i * len(values) // len(slices)])

    return change


@pytest.mark.parametrize(("name", "values"), [
    ("PatientID", ("A", "B")), ("StudyInstanceUID", ("1.2", "1.3")),
    ("FrameOfReferenceUID", ("1.2", "1.3")), ("RescaleType", ("HU", "US")),
    ("SOPClassUID", ("1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4")),
])  # fmt: skip
def test_slices_of_two_volumes_under_one_number_are_refused(dicom_series, volume, name, values):
    assert read_image(dicom_series(volume, change=_of(name, values[0]))).shape == volume.shape
    folder = dicom_series(volume, change=_of(name, *values), name="two")
    with pytest.raises(ValueError, match=f"two differ in {name}") as raised:
        read_image(folder)
    assert "'A'" not in str(raised.value)


def test_acquisitions_that_alternate_are_refused_and_those_in_a_row_are_not(dicom_series, volume):
    in_a_row = dicom_series(volume, change=_of("AcquisitionNumber", 1, 2, 3), name="row")
    assert read_image(in_a_row).shape == volume.shape
    two_scans = dicom_series(volume, change=_of("AcquisitionNumber", 1, 2, 1, 2, 1, 2, 1))
    with pytest.raises(ValueError, match="2 acquisitions that alternate"):
        read_image(two_scans)


@pytest.mark.parametrize("lacking", [slice(None), slice(2, 3)])
def test_a_ct_without_its_rescaling_has_no_unit(dicom_series, volume, lacking):
    def change(slices):
        for dataset in slices[lacking]:
            del dataset.RescaleSlope, dataset.RescaleIntercept

    with pytest.raises(ValueError, match="lacks RescaleSlope"):
        read_image(dicom_series(volume, change=change))


def test_slices_with_and_without_rescaling_do_not_make_a_volume(dicom_series, volume):
    def change(slices):
        del slices[2].RescaleSlope, slices[2].RescaleIntercept

    with pytest.raises(ValueError, match="lacks RescaleSlope, which other slices have"):
        read_image(dicom_series(volume, change=change, modality="MR"))


def test_studies_written_slice_by_slice_are_told_what_to_do(dicom_series, volume):
    def change(slices):
        for i, dataset in enumerate(slices):
            dataset.StudyInstanceUID = f"1.2.{i}"

    with pytest.raises(ValueError, match="in StudyInstanceUID: .*write them again with one"):
        read_image(dicom_series(volume, change))


def test_hundreds_of_series_are_not_all_listed(dicom_series):
    def change(slices):
        for i, dataset in enumerate(slices):
            dataset.SeriesInstanceUID = f"1.2.{i}"

    with pytest.raises(ValueError, match=r"holds 12 DICOM series.*; \.\.\.\.$"):
        read_image(dicom_series(np.ones((12, 5, 6), np.float32), change))


def test_the_colour_of_high_values_does_not_change_them(dicom_series, volume):
    def change(slices):
        for dataset in slices:
            dataset.PhotometricInterpretation = "MONOCHROME1"

    inverted = read_image(dicom_series(volume, change, name="inverted")).array
    np.testing.assert_array_equal(inverted, read_image(dicom_series(volume)).array)
