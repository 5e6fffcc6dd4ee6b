"""RTSTRUCT: a real region to the voxel, holes, and what must be refused."""

from __future__ import annotations

import numpy as np
import pytest

from survimg.io import Image, read_image, read_mask, read_rtstruct

pydicom = pytest.importorskip("pydicom")


def test_a_real_region_reproduces_its_reference_mask(shared_dir):
    folder = shared_dir / "data" / "dicom_sts001_pet"
    image = read_image(folder / "reference_SUV.nii.gz")
    reference = read_mask(folder / "reference_mask.nii.gz", image)
    path = folder / "mask" / "1-1.dcm"
    mask = read_rtstruct(path, image, roi="GTV_Mass")
    assert mask.sum() == 5095
    np.testing.assert_array_equal(mask, reference)
    np.testing.assert_array_equal(read_mask(path, image, label="GTV_Mass"), reference)
    with pytest.raises(ValueError, match=r"Say which region.*'GTV_Edema', 'GTV_Mass'"):
        read_rtstruct(path, image)
    with pytest.raises(ValueError, match="not exactly one region 'Liver'"):
        read_rtstruct(path, image, roi="Liver")


@pytest.fixture
def write(tmp_path):
    def write(contours, kind="CLOSED_PLANAR", modality="RTSTRUCT"):
        dataset = pydicom.Dataset()
        dataset.file_meta = pydicom.dataset.FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = (
            pydicom.uid.RTStructureSetStorage
        )
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
        dataset.Modality = modality
        roi, entry = pydicom.Dataset(), pydicom.Dataset()
        roi.ROINumber, roi.ROIName, entry.ReferencedROINumber = 1, "GTV", 1
        entry.ContourSequence = []
        for points in contours:
            contour = pydicom.Dataset()
            contour.ContourGeometricType = kind
            contour.ContourData = [f"{value:g}" for value in np.ravel(points)]
            entry.ContourSequence.append(contour)
        dataset.StructureSetROISequence, dataset.ROIContourSequence = [roi], [entry]
        dataset.save_as(tmp_path / "rt.dcm", enforce_file_format=True)
        return tmp_path / "rt.dcm"

    return write


def _square(low, high, z):
    return [(low, low, z), (high, low, z), (high, high, z), (low, high, z)]


def _image(shape=(4, 12, 12), spacing=(2.0, 1.0, 1.0)):
    return Image(np.zeros(shape, np.float32), spacing)


def test_an_inner_contour_is_a_hole(write):
    mask = read_rtstruct(write([_square(0.5, 9.5, 2.0), _square(3.5, 6.5, 2.0)]), _image())
    expected = np.zeros((4, 12, 12), np.uint8)
    expected[1, 1:10, 1:10] = 1
    expected[1, 4:7, 4:7] = 0
    np.testing.assert_array_equal(mask, expected)


def test_the_area_of_a_polygon_is_found(write):
    angle = np.linspace(0, 2 * np.pi, 200, endpoint=False)
    circle = np.column_stack([20 + 15 * np.cos(angle), 20 + 15 * np.sin(angle), 0 * angle])
    mask = read_rtstruct(write([circle]), _image((1, 40, 40)))
    assert mask.sum() == pytest.approx(np.pi * 15**2, rel=0.02)


def test_planes_apply_to_a_finer_grid(write):
    contours = [_square(0.5, 4.5, z) for z in (2.0, 4.0)]
    mask = read_rtstruct(write(contours), _image((9, 12, 12), (1.0, 1.0, 1.0)))
    filled = np.flatnonzero(mask.any(axis=(1, 2)))
    assert filled.tolist() == [1, 2, 3, 4, 5]  # half the distance between planes to each side
    assert (mask[filled].sum(axis=(1, 2)) == 16).all()


def test_a_region_partly_outside_the_image_is_cut_at_its_border(write):
    mask = read_rtstruct(write([_square(-5.5, 3.5, 0.0)]), _image())
    assert mask[0, :4, :4].all()
    assert mask.sum() == 16


@pytest.mark.parametrize(
    ("contours", "options", "message"),
    [
        ([], {}, "has no contours"),
        ([_square(0, 5, 0)], {"kind": "POINT"}, "only CLOSED_PLANAR encloses a volume"),
        ([_square(0, 5, 0)], {"modality": "RTPLAN"}, "modality is 'RTPLAN'"),
        ([[(0, 0, 0), (5, 0, 0), (5, 5, 6)]], {}, "crosses 3.0 slices"),
        ([_square(50, 55, 0)], {}, "contains no voxel of its image"),
        ([[(0, 0, 0), (1, 1, 0)]], {}, "a contour with 6 coordinates"),
    ],
)
def test_regions_that_enclose_nothing_are_refused(write, contours, options, message):
    path = write(contours, **options)
    with pytest.raises(ValueError, match=message) as raised:
        read_rtstruct(path, _image())
    assert "rt.dcm" in str(raised.value)


def test_a_file_that_is_not_dicom_is_refused(tmp_path):
    (tmp_path / "rt.dcm").write_text("not DICOM")
    with pytest.raises(ValueError, match="is not a DICOM file"):
        read_mask(tmp_path / "rt.dcm", _image())
