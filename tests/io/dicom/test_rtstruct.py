"""RTSTRUCT: a real region to the voxel, holes, and what must be refused."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from survimg.io import Image, read_image, read_mask, read_rtstruct
from survimg.io.dicom import rtstruct
from survimg.io.dicom.contours import filled

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
    def write(contours, kind="CLOSED_PLANAR", modality="RTSTRUCT", change=None):
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
        if change is not None:
            change(dataset)
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


@pytest.mark.parametrize(
    "outside",
    [_square(-5.5, 3.5, 0.0), _square(8.5, 13.5, 0.0), _square(1, 5, 8.0), _square(1, 5, -2.0)],
)
def test_a_region_partly_outside_the_image_is_refused(write, outside):
    contours = [_square(0.5, 4.5, 2.0), outside]
    with pytest.raises(ValueError, match="'GTV' .* 1 of 2 contours reach out of it"):
        read_rtstruct(write(contours), _image())


def test_a_region_that_ends_at_the_border_voxels_is_inside(write):
    assert read_rtstruct(write([_square(-0.5, 11.5, 6.0)]), _image()).sum() == 144


def _cross(shift):
    return [(y + shift, x + shift, 2.0) for y, x, _ in _square(0.5, 6.5, 2.0)]


@pytest.mark.parametrize("again", [
    lambda points: points,
    lambda points: points[2:] + points[:2],
    lambda points: points[::-1],
    lambda points: [(x + 0.04, y - 0.04, z) for x, y, z in points],
    lambda points: points + points[:1],
])  # fmt: skip
def test_a_contour_that_is_stored_twice_counts_once(write, again):
    square = _square(0.5, 9.5, 2.0)
    mask = read_rtstruct(write([square, again(square)]), _image())
    assert mask.sum() == 81


def test_an_island_in_a_hole(write):
    nested = [_square(2.5, 7.5, 2.0), _square(0.5, 9.5, 2.0), _square(3.5, 6.5, 2.0)]
    assert read_rtstruct(write(nested), _image()).sum() == 81 - 25 + 9


def test_thousands_of_islands_in_one_slice():
    square = np.array([(0.5, 0.5), (0.5, 3.5), (3.5, 3.5), (3.5, 0.5)])
    islands = [square + 8 * np.array(place) for place in np.ndindex(64, 64)]
    tile = np.zeros((8, 8), bool)
    tile[1:4, 1:4] = True
    parts = filled(islands, (512, 512), exclusive=False)  # whole slices would need 1 GB and minutes
    np.testing.assert_array_equal(parts.mask, np.tile(tile, (64, 64)))
    assert (parts.area, parts.crossing) == (9 * 64**2, False)


def test_contours_that_cross_are_united_and_said(write):
    with pytest.warns(UserWarning, match=r"contours that cross.* in 1 plane"):
        mask = read_rtstruct(write([_cross(0), _cross(3)]), _image())
    assert mask.sum() == 36 + 36 - 9


_SQUARE = _square(0.5, 9.5, 2.0)
_INNER = _square(3.5, 6.5, 2.0)


@pytest.mark.parametrize("contour", [
    _SQUARE + _SQUARE, _SQUARE + _SQUARE[:1] + _SQUARE + _SQUARE[:1], 3 * _SQUARE,
])  # fmt: skip
def test_a_contour_that_is_traced_twice_marks_what_it_encloses(write, contour):
    planes = [_square(0.5, 9.5, 0.0), contour, _square(0.5, 9.5, 4.0)]
    assert read_rtstruct(write(planes), _image()).sum() == 3 * 81


@pytest.mark.parametrize("hole", [_INNER, _INNER[::-1]])
def test_a_keyhole_is_a_hole_whichever_way_it_runs(write, hole):
    keyhole = [*_SQUARE, _SQUARE[0], *hole, hole[0]]
    assert read_rtstruct(write([keyhole]), _image()).sum() == 81 - 9


@pytest.mark.parametrize(("contour", "n_pixels"), [
    # whose end runs beyond its beginning, round a corner that would be a hole by the even-odd rule
    ([(0.5, 0.5, 2), (9.5, 0.5, 2), (9.5, 9.5, 2), (0.5, 9.5, 2), (0.5, 0.6, 2), (4.5, 0.4, 2),
      (4.5, 3.5, 2), (1.5, 3.5, 2)], 81),
    # two triangles, of one sense each
    ([(0.5, 0.2, 2), (9.5, 9.8, 2), (9.5, 0.2, 2), (0.5, 9.8, 2)], 2 * (3 + 5 + 7 + 9)),
])  # fmt: skip
def test_the_loops_of_a_contour_that_crosses_itself_are_united_and_said(write, contour, n_pixels):
    with pytest.warns(UserWarning, match="contours that cross"):
        mask = read_rtstruct(write([contour]), _image())
    assert mask.sum() == n_pixels


@pytest.mark.parametrize("again", [
    [(x + 0.3, y, z) for x, y, z in _SQUARE], [(x + 0.7, y + 0.3, z) for x, y, z in _SQUARE],
    _square(0.8, 9.2, 2.0),
])  # fmt: skip
def test_a_contour_that_is_drawn_again_is_no_hole_and_said(write, again):
    with pytest.warns(UserWarning, match="contours that cross, or run along each other"):
        mask = read_rtstruct(write([_SQUARE, again]), _image())
    assert 81 <= mask.sum() <= 90


def test_a_thin_wall_is_a_wall(write):
    mask = read_rtstruct(write([_SQUARE, _square(1.5, 8.5, 2.0)]), _image())
    assert mask.sum() == 81 - 49


def test_a_contour_with_an_offset_is_refused(write):
    def change(dataset):
        dataset.ROIContourSequence[0].ContourSequence[0].ContourOffsetVector = [0, 0, shift]

    for shift in (2, 0):
        path = write([_SQUARE], change=change)
        if shift:
            with pytest.raises(ValueError, match=r"rt\.dcm has a ContourOffsetVector"):
                read_rtstruct(path, _image())
    assert read_rtstruct(path, _image()).sum() == 81


def test_what_would_be_a_hole_but_leaves_its_outline_is_united_and_said(write):
    beyond = [(1.5, 2.5, 2), (11.2, 2.5, 2), (11.2, 8.5, 2), (1.5, 8.5, 2)]  # by a tenth of it
    contours = [_square(0.5, 10.5, 2.0), beyond]
    with pytest.warns(UserWarning, match="contours that cross"):
        mask = read_rtstruct(write(contours), _image())
    assert mask.sum() == 100 + 6


def test_exclusive_or_where_the_file_asks_for_it(write):
    path = write([_cross(0), _cross(3)], kind="CLOSEDPLANAR_XOR")
    assert read_rtstruct(path, _image()).sum() == 36 + 36 - 2 * 9


def test_lone_points_are_left_out_and_said(write):
    with pytest.warns(UserWarning, match="1 contour.* of one or two points"):
        mask = read_rtstruct(write([_square(0.5, 4.5, 2.0), [(8, 8, 2.0)]]), _image())
    assert mask.sum() == 16


def test_several_regions_are_merged_on_request(write):
    def add(dataset):
        roi, entry = pydicom.Dataset(), copy.deepcopy(dataset.ROIContourSequence[0])
        roi.ROINumber, roi.ROIName, entry.ReferencedROINumber = 2, "node", 2
        entry.ContourSequence[0].ContourData = [f"{v:g}" for v in np.ravel(_square(2.5, 9.5, 2.0))]
        dataset.StructureSetROISequence.append(roi)
        dataset.ROIContourSequence.append(entry)

    path = write([_square(0.5, 4.5, 2.0)], change=add)
    assert read_mask(path, _image(), label=["GTV", "node"]).sum() == 16 + 49 - 4
    assert read_mask(path, _image(), label=["node"]).sum() == 49
    with pytest.raises(ValueError, match="not exactly one region 'lung'"):
        read_mask(path, _image(), label=["GTV", "lung"])


def test_a_region_hardly_larger_than_a_voxel_is_refused(write):
    with pytest.raises(ValueError, match=r"has 0\.0005 ml, and 0\.002 ml"):
        read_rtstruct(write([_square(0.75, 1.25, 2.0)]), _image())


@pytest.mark.parametrize(
    ("contours", "options", "message"),
    [
        ([], {}, "has no contours"),
        ([_square(0, 5, 0)], {"kind": "POINT"}, "only CLOSED_PLANAR encloses a volume"),
        ([_square(0, 5, 0)], {"modality": "RTPLAN"}, "modality is 'RTPLAN'"),
        ([[(0, 0, 0), (5, 0, 0), (5, 5, 6)]], {}, "crosses 3.0 slices"),
        ([_square(50, 55, 0)], {}, "outside its image"),
        ([[(0, 0, 0), (1, 1, 0)]], {}, "only points"),
        ([_square(1.1, 1.9, 0)], {}, "lies between their centres"),
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


def test_a_structure_set_that_goes_on_in_zeros_is_refused_at_once(write):
    image = Image(np.zeros((6, 8, 8), np.float32), (1, 1, 1), (0, 0, 0))
    path = write([_square(1, 5, z) for z in range(5)])
    with open(path, "ab") as file:
        file.truncate(1 << 27)
    with pytest.raises(ValueError, match="zeros replace a part"):
        read_rtstruct(path, image)


def test_the_gap_between_two_lesions_stays_empty(write):
    image = _image((16, 12, 12))
    planes = (3, 4, 14)  # of the median distance, 5.5 slices, 12 slices were filled
    lesions = [_square(0.5, 4.5, 2.0 * z) if z < 9 else _square(6.5, 9.5, 28.0) for z in planes]
    mask = read_rtstruct(write(lesions), image)
    assert [z for z in range(16) if mask[z].any()] == [3, 4, 14]
    assert mask.sum() == 16 + 16 + 9


def test_planes_further_apart_than_any_slices_are_refused(write):
    path = write([_square(0.5, 4.5, 6.0), _square(0.5, 4.5, 26.0)])
    with pytest.raises(ValueError, match="planes that are 20 mm apart"):
        read_rtstruct(path, _image((16, 12, 12)))


def test_slices_that_were_skipped_in_drawing_are_said(write):
    path = write([_square(0.5, 4.5, 2.0 * z) for z in (3, 4, 6, 7)])
    with pytest.warns(UserWarning, match=r"has no contour on 1 slice\(s\) between others"):
        mask = read_rtstruct(path, _image((16, 12, 12)))
    assert mask.sum() == 4 * 16


@pytest.mark.parametrize("number", [3, 5])
def test_a_contour_that_lost_points_is_refused(write, number):
    def change(dataset):
        dataset.ROIContourSequence[0].ContourSequence[0].NumberOfContourPoints = number

    with pytest.raises(ValueError, match=f"12 coordinates, and {number} points"):
        read_rtstruct(write([_square(0.5, 4.5, 2.0)], change=change), _image())


def test_two_regions_of_one_number_are_refused(write):
    def change(dataset):
        other = copy.deepcopy(dataset.StructureSetROISequence[0])
        other.ROIName = "lung"
        dataset.StructureSetROISequence.append(other)

    with pytest.raises(ValueError, match="two regions of one ROINumber"):
        read_rtstruct(write([_square(0.5, 4.5, 2.0)], change=change), _image(), "GTV")


def test_millions_of_empty_items_are_refused_at_once(write):
    path = write([_square(0.5, 4.5, 2.0)])
    items = 250_001 * b"\xfe\xff\x00\xe0\0\0\0\0"
    head = b"\x06\x30\x80\x00SQ\0\0" + len(items).to_bytes(4, "little")
    path.write_bytes(path.read_bytes() + head + items)
    with pytest.raises(ValueError, match="more than 250000 items"):
        read_rtstruct(path, _image())


@pytest.mark.parametrize("item", [
    b"\xfe\xff\x00\xe0\0\0\0\0",
    b"\xfe\xff\x00\xe0\xff\xff\xff\xff\xfe\xff\x0d\xe0\0\0\0\0",
    b"\xfe\xff\x00\xe0\x08\0\0\0\x06\x30\x84\x00IS\0\0",
])  # fmt: skip
def test_items_that_hold_nothing_are_refused_before_they_are_parsed(write, item, monkeypatch):
    path = write([_square(0.5, 4.5, 2.0)])
    head = b"\x06\x30\x80\x00SQ\0\0\xff\xff\xff\xff"
    path.write_bytes(path.read_bytes() + head + 100_000 * item + b"\xfe\xff\xdd\xe0\0\0\0\0")
    monkeypatch.delattr(pydicom.filereader, "read_partial")
    with pytest.raises(ValueError, match=r"rt\.dcm is damaged: .* no room for what they hold"):
        read_rtstruct(path, _image())


@pytest.mark.parametrize("kind", [b"OS", b"LO"])
def test_coordinates_under_another_type_are_refused(write, kind):
    path = write([_SQUARE])
    content = path.read_bytes()
    assert content.count(b"\x06\x30\x50\x00DS") == 1
    path.write_bytes(content.replace(b"\x06\x30\x50\x00DS", b"\x06\x30\x50\x00" + kind))
    with pytest.raises(ValueError, match=r"rt\.dcm is not a readable DICOM object"):
        read_rtstruct(path, _image())


def test_coordinates_padded_with_a_zero_are_read(write):
    path = write([_SQUARE])
    content, text = path.read_bytes(), b"\\".join(f"{v:g}".encode() for v in np.ravel(_SQUARE))
    assert content.count(text + b" ") == 1
    mask = read_rtstruct(path, _image())
    path.write_bytes(content.replace(text + b" ", text + b"\0"))
    np.testing.assert_array_equal(read_rtstruct(path, _image()), mask)


def test_many_points_of_an_outline_mark_what_few_points_do(write):
    corners = np.array(_SQUARE)
    steps = np.linspace(0, 1, 500, endpoint=False)[:, None]
    dense = [start + steps * (end - start)
             for start, end in zip(corners, np.roll(corners, -1, axis=0), strict=True)]
    mask = read_rtstruct(write([np.concatenate(dense)]), _image())
    np.testing.assert_array_equal(mask, read_rtstruct(write([_SQUARE]), _image()))


def test_more_coordinates_than_any_region_has_are_not_converted(write, monkeypatch):
    path = write([_square(0.5, 4.5, 2.0 * z) for z in range(3)])
    for name, value in (("_MAX_CONTOUR", 10), ("_MAX_REGION", 60)):
        with monkeypatch.context() as limits:
            limits.setattr(rtstruct, name, value)
            with pytest.raises(ValueError, match=r"rt\.dcm is damaged: .*'GTV' has \d+ bytes"):
                read_rtstruct(path, _image())


def test_more_contours_over_each_other_than_anybody_draws_are_refused(write):
    shifts = 0.14 * np.indices((15, 15)).reshape(2, -1).T
    path = write([[(x + left, y + down, z) for x, y, z in _SQUARE] for left, down in shifts])
    with pytest.raises(ValueError, match=r"rt\.dcm has more contours over each other"):
        read_rtstruct(path, _image())
