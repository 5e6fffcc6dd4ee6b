"""The readers agree with SimpleITK and nibabel on every valid variation of their formats."""

from __future__ import annotations

import gzip
import zlib

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from packaging.version import Version

from survimg.io import read_image

nibabel = pytest.importorskip("nibabel")

#: SimpleITK 2.3 misplaces NIfTI in metres or micrometres, and NRRD in left-anterior-superior.
MISPLACES = Version(sitk.Version.VersionString()) < Version("2.4")

TYPES = ("i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8")
MANY = settings(
    max_examples=60, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@st.composite
def grids(draw):
    """Voxels in a file's order (z, y, x), and where they lie: oblique, permuted, flipped."""
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    dtype = draw(st.sampled_from(TYPES))
    shape = draw(st.tuples(*[st.integers(1, 5)] * 3))
    array = np.round(rng.uniform(0, 100, shape)).astype(dtype)
    if dtype[0] in "if":
        array -= np.array(50, dtype)
    rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    if draw(st.booleans()):  # near the axes, as most images are
        rotation = np.linalg.qr(np.eye(3) + 0.1 * rng.normal(size=(3, 3)))[0]
    direction = rotation[:, rng.permutation(3)] * rng.choice([-1.0, 1.0], 3)
    return array, rng.uniform(0.5, 5, 3), rng.uniform(-300, 300, 3), direction


def _sitk(grid):
    array, spacing, origin, direction = grid
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(origin.tolist())
    image.SetDirection(direction.ravel().tolist())
    return image


def _equal(path, expected):
    """Compare what is read with what SimpleITK holds, turned to the canonical orientation."""
    oriented = sitk.DICOMOrient(expected, "LPS")
    image = read_image(path)
    np.testing.assert_array_equal(
        image.array, sitk.GetArrayFromImage(oriented).astype(np.float32)
    )
    np.testing.assert_allclose(image.spacing[::-1], oriented.GetSpacing(), rtol=1e-5)
    np.testing.assert_allclose(image.origin, oriented.GetOrigin(), rtol=1e-5, atol=1e-3)
    np.testing.assert_allclose(image.direction, oriented.GetDirection(), atol=2e-5)


@MANY
@given(
    grid=grids(),
    suffix=st.sampled_from(
        [".nii", ".nii.gz", ".hdr", ".img.gz", ".nrrd", ".nhdr", ".mha", ".mhd"]
    ),
    compress=st.booleans(),
)
def test_what_simpleitk_writes(tmp_path, grid, suffix, compress):
    path = tmp_path / f"a{suffix}"
    for old in tmp_path.iterdir():
        old.unlink()
    sitk.WriteImage(_sitk(grid), str(path), useCompression=compress)
    _equal(path, sitk.ReadImage(str(path)))


@MANY
@given(
    grid=grids(), order=st.sampled_from("<>"), kind=st.sampled_from(["1", "2", "pair", "pair 2"]),
    compress=st.booleans(), form=st.sampled_from(["q", "s", "both", "s of an atlas", "neither"]),
    scale=st.sampled_from([None, (2.0, 0.0), (0.5, -3.0)]),
    unit=st.sampled_from(["mm", "meter", "micron", "unknown"]),
)
def test_nifti(tmp_path, grid, order, kind, compress, form, scale, unit):
    array, spacing, origin, direction = grid
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = direction * spacing, origin
    classes = {"1": nibabel.Nifti1Image, "2": nibabel.Nifti2Image,
               "pair": nibabel.Nifti1Pair, "pair 2": nibabel.Nifti2Pair}
    made = classes[kind](array.T, affine, classes[kind].header_class(endianness=order))
    made.set_data_dtype(array.dtype)
    codes = {"q": (1, 0), "s": (0, 1), "both": (1, 1), "s of an atlas": (0, 4), "neither": (0, 0)}
    made.set_qform(affine, codes[form][0])
    made.set_sform(affine, codes[form][1])
    made.header.set_xyzt_units(unit)
    if scale is not None:
        made.header.set_slope_inter(*scale)
    for old in tmp_path.iterdir():
        old.unlink()
    path = tmp_path / (f"a{'.img' if 'pair' in kind else '.nii'}" + (".gz" if compress else ""))
    nibabel.save(made, path)
    stored = nibabel.load(path)
    image = read_image(path)
    voxels = np.asarray(stored.dataobj, np.float64).T
    factor = {"mm": 1.0, "meter": 1e3, "micron": 1e-3, "unknown": 1.0}[unit]
    if form == "neither":
        affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ np.diag([*spacing, 1.0])
    # every voxel lies where nibabel has it, with nibabel's value
    index = np.argwhere(np.ones(voxels.shape))
    ras = (affine @ np.column_stack([index[:, ::-1], np.ones(len(index))]).T)[:3].T * factor
    place = image.index(ras * [-1.0, -1.0, 1.0])
    np.testing.assert_allclose(place, np.rint(place), atol=2e-3)
    found = image.array[tuple(np.rint(place).astype(int).T)]
    np.testing.assert_allclose(found, voxels.ravel(), rtol=1e-5, atol=1e-4)
    if "2" not in kind and form != "s of an atlas" and not (MISPLACES and factor != 1):
        _close_to_sitk(path, image)


def _close_to_sitk(path, image):
    oriented = sitk.DICOMOrient(sitk.ReadImage(str(path)), "LPS")
    np.testing.assert_allclose(
        image.array, sitk.GetArrayFromImage(oriented), rtol=1e-5, atol=1e-4
    )
    np.testing.assert_allclose(image.spacing[::-1], oriented.GetSpacing(), rtol=1e-5)
    np.testing.assert_allclose(image.origin, oriented.GetOrigin(), rtol=1e-4, atol=2e-3)


NRRD_TYPES = {
    "i1": ("signed char", "int8", "int8_t"), "u1": ("uchar", "unsigned char", "uint8"),
    "i2": ("short", "signed short int", "int16_t"), "u2": ("ushort", "unsigned short", "uint16"),
    "i4": ("int", "signed int", "int32"), "u4": ("uint", "unsigned int", "uint32_t"),
    "i8": ("longlong", "long long int", "int64"), "u8": ("ulonglong", "unsigned long long int"),
    "f4": ("float",), "f8": ("double",),
}
SPACES = {"left-posterior-superior": (1, 1, 1), "RAS": (-1, -1, 1),
          "right-anterior-superior": (-1, -1, 1), "LPS": (1, 1, 1),
          "left-anterior-superior": (1, -1, 1)}


@MANY
@given(
    grid=grids(), order=st.sampled_from(["little", "big"]), space=st.sampled_from(sorted(SPACES)),
    encoding=st.sampled_from(["raw", "gzip", "gz"]), detached=st.booleans(),
    newline=st.sampled_from(["\n", "\r\n"]), alias=st.integers(0, 2), skip=st.integers(0, 9),
    from_end=st.booleans(),
)
def test_nrrd(
    tmp_path, grid, order, space, encoding, detached, newline, alias, skip, from_end
):
    array, spacing, origin, direction = grid
    signs = np.array(SPACES[space])
    steps = direction * spacing * signs[:, None]
    names = NRRD_TYPES[array.dtype.str[1:]]
    lines = [
        "NRRD0005", "# a comment", f"type: {names[alias % len(names)]}", "dimension: 3",
        f"space: {space}", f"sizes: {' '.join(map(str, array.shape[::-1]))}",
        "space directions: " + " ".join(
            f"({','.join(repr(float(v)) for v in column)})" for column in steps.T),
        "kinds: domain domain domain", f"endian: {order}", f"encoding: {encoding}",
        f"space origin: ({','.join(repr(float(v)) for v in origin * signs)})",
        'space units: "mm" "mm" "mm"', "note:=anything: at all",
    ]
    content = array.astype(array.dtype.newbyteorder("<" if order == "little" else ">")).tobytes()
    content = b"x" * skip + content
    if skip:
        lines.append(f"byte skip: {-1 if from_end and encoding == 'raw' else skip}")
    content = content if encoding == "raw" else gzip.compress(content)
    if detached:
        lines.append("data file: voxels.bin")
        (tmp_path / "voxels.bin").write_bytes(content)
    header = (newline.join(lines) + 2 * newline).encode()
    path = tmp_path / "a.nhdr"
    path.write_bytes(header + (b"" if detached else content))
    _equal(path, _sitk(grid))
    if not skip and not (MISPLACES and space == "left-anterior-superior"):
        _equal(path, sitk.ReadImage(str(path)))


META_TYPES = {"i1": "CHAR", "u1": "UCHAR", "i2": "SHORT", "u2": "USHORT", "i4": "INT", "u4": "UINT",
              "i8": "LONG_LONG", "u8": "ULONG_LONG", "f4": "FLOAT", "f8": "DOUBLE"}


@MANY
@given(
    grid=grids(), msb=st.booleans(), compress=st.booleans(), detached=st.booleans(),
    names=st.sampled_from([("Offset", "TransformMatrix"), ("Position", "Orientation"),
                           ("Origin", "Rotation"), ("ImagePosition", "TransformMatrix")]),
    skip=st.sampled_from([None, 0, 7, -1]), newline=st.sampled_from(["\n", "\r\n"]),
)
def test_metaimage(tmp_path, grid, msb, compress, detached, names, skip, newline):
    array, spacing, origin, direction = grid
    content = array.astype(array.dtype.newbyteorder(">" if msb else "<")).tobytes()
    content = zlib.compress(content) if compress else content
    lines = [
        "ObjectType = Image", "NDims = 3", "BinaryData = True",
        f"BinaryDataByteOrderMSB = {msb}", f"CompressedData = {compress}",
        *([f"CompressedDataSize = {len(content)}"] if compress else []),
        f"{names[1]} = {' '.join(repr(float(v)) for v in direction.T.ravel())}",
        f"{names[0]} = {' '.join(repr(float(v)) for v in origin)}",
        "CenterOfRotation = 0 0 0", "AnatomicalOrientation = RAI",
        f"ElementSpacing = {' '.join(repr(float(v)) for v in spacing)}",
        "0008|0060 = CT", f"DimSize = {' '.join(map(str, array.shape[::-1]))}",
        f"ElementType = MET_{META_TYPES[array.dtype.str[1:]]}",
    ]
    if detached and skip is not None and not compress:
        lines.append(f"HeaderSize = {skip}")
        content = b"y" * abs(skip) + content
    lines.append(f"ElementDataFile = {'voxels.raw' if detached else 'LOCAL'}")
    if detached:
        (tmp_path / "voxels.raw").write_bytes(content)
    path = tmp_path / "a.mhd"
    path.write_bytes((newline.join(lines) + newline).encode() + (b"" if detached else content))
    _equal(path, _sitk(grid))
    _equal(path, sitk.ReadImage(str(path)))


@pytest.mark.parametrize("suffix", [".nrrd", ".mha", ".nii"])
def test_a_fourth_axis_of_length_one_is_dropped(tmp_path, suffix):
    array = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    sitk.WriteImage(sitk.JoinSeries([sitk.GetImageFromArray(array)]), str(tmp_path / f"a{suffix}"))
    path = tmp_path / f"a{suffix}"
    if suffix == ".nrrd":  # it has four axes of space, none of which is the patient's left
        with pytest.raises(ValueError, match="space must be one of"):
            read_image(path)
    else:
        _equal(path, sitk.GetImageFromArray(array))


def test_a_gzip_stream_of_several_members(tmp_path):
    image = _sitk((np.arange(60, dtype=np.int16).reshape(3, 4, 5), np.ones(3), np.zeros(3),
                   np.eye(3)))
    sitk.WriteImage(image, str(tmp_path / "a.nii"))
    content = (tmp_path / "a.nii").read_bytes()
    parts = [content[:100], content[100:400], content[400:]]
    (tmp_path / "a.nii.gz").write_bytes(b"".join(map(gzip.compress, parts)))
    _equal(tmp_path / "a.nii.gz", image)


def test_the_name_of_a_file_does_not_matter(tmp_path):
    image = _sitk((np.arange(24, dtype=np.int16).reshape(2, 3, 4), np.ones(3), np.zeros(3),
                   np.eye(3)))
    for suffix, name in (
        (".nrrd", "a.nii"), (".mha", "b.nrrd"), (".nii.gz", "c.mha"), (".nii", "d.dcm")
    ):
        sitk.WriteImage(image, str(tmp_path / f"x{suffix}"))
        (tmp_path / f"x{suffix}").rename(tmp_path / name)
        _equal(tmp_path / name, image)


@pytest.mark.parametrize("slope", [0.0, np.nan])
def test_an_intercept_without_a_slope_is_refused(tmp_path, slope):
    """nibabel leaves the voxels as they are, ITK adds the intercept."""
    path = tmp_path / "a.nii"
    voxels = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), path)
    content = bytearray(path.read_bytes())
    for inter in (0.0, np.nan):
        content[112:120] = np.array([slope, inter], "<f4").tobytes()
        path.write_bytes(content)
        np.testing.assert_array_equal(np.sort(read_image(path).array.ravel()), np.arange(24))
    content[112:120] = np.array([slope, 5.0], "<f4").tobytes()
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"scl_slope .* and scl_inter 5"):
        read_image(path)


@pytest.mark.parametrize(("shift", "refused"), [(0.05, False), (0.3, True)])
def test_qform_and_sform_that_differ_by_a_part_of_a_voxel(tmp_path, shift, refused):
    path = tmp_path / "a.nii"
    image = nibabel.Nifti1Image(np.zeros((4, 5, 6), np.int16), np.diag([2.0, 2.0, 2.0, 1.0]))
    moved = image.affine.copy()
    moved[1, 3] += shift * 2.0
    image.set_qform(image.affine, 1)
    image.set_sform(moved, 1)
    nibabel.save(image, path)
    if refused:
        with pytest.raises(ValueError, match=r"place its voxels up to 0\.6 mm apart"):
            read_image(path)
    else:
        assert read_image(path).shape == (6, 5, 4)


def test_a_slightly_sheared_sform_yields_to_the_qform(tmp_path):
    path = tmp_path / "a.nii"
    image = nibabel.Nifti1Image(np.zeros((4, 5, 6), np.int16), np.diag([2.0, 2.0, 2.0, 1.0]))
    sheared = image.affine.copy()
    sheared[0, 1], sheared[1, 3] = 8e-4, 0.1
    image.set_qform(image.affine, 1)
    image.set_sform(sheared, 1)
    nibabel.save(image, path)
    _equal(path, sitk.ReadImage(str(path)))
    assert read_image(path).direction == (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
