"""Files that lie: other formats, other folders, damaged streams, claims without voxels."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
import zlib

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from survimg.io import Image, read_image, read_mask, write_image

VOXELS = np.random.default_rng(0).integers(-500, 500, (6, 7, 8)).astype(np.int16)
META = (
    "ObjectType = Image\nNDims = 3\nDimSize = 8 7 6\nElementSpacing = 1 1 1\n"
    "ElementType = MET_SHORT\nElementDataFile = {}\n"
)
NRRD = (
    "NRRD0004\ntype: short\ndimension: 3\nspace: left-posterior-superior\nsizes: 8 7 6\n"
    "space directions: (1,0,0) (0,1,0) (0,0,1)\nendian: little\nencoding: raw\n"
    "space origin: (0,0,0)\n"
)


def _written(folder, name, compress=True):
    image = sitk.GetImageFromArray(VOXELS)
    image.SetSpacing((2.0, 2.0, 3.0))
    sitk.WriteImage(image, str(folder / name), useCompression=compress)
    return folder / name


@pytest.mark.parametrize(("content", "what"), [
    (b"\x89HDF\r\n\x1a\n" + bytes(600), "HDF5"), (b"CDF\x01" + bytes(600), "MINC"),
    (b"# vtk DataFile Version 3.0\n", "VTK"), (bytes(208) + b"MAP " + bytes(600), "MRC"),
    (b"\x89PNG" + bytes(600), "PNG"), (b"II*\x00" + bytes(600), "TIFF"),
    (b"PK\x03\x04" + bytes(600), "zip"), (b"\x93NUMPY" + bytes(600), "NumPy"),
    (b"\x5c\x01\x00\x00" + bytes(600), "Analyze"), (bytes(600), "no image format"),
    (gzip.compress(NRRD.encode()), "no image format"), (b"", "no image format"),
])  # fmt: skip
@pytest.mark.parametrize("suffix", [".nii", ".nrrd", ".mha", ".h5", ".dcm"])
def test_other_formats_are_refused_by_name_whatever_the_suffix(tmp_path, content, what, suffix):
    (tmp_path / f"a{suffix}").write_bytes(content)
    with pytest.raises(ValueError, match=f"it is .*{what}.* Only NIfTI, NRRD, MetaImage and DICOM"):
        read_image(tmp_path / f"a{suffix}")


def _meta(folder, where):
    (folder / "a.mhd").write_text(META.format(where))
    return folder / "a.mhd"


def _nrrd(folder, where):
    (folder / "a.nhdr").write_text(f"{NRRD}data file: {where}\n\n")
    return folder / "a.nhdr"


@pytest.mark.parametrize("header", [_meta, _nrrd])
def test_voxels_outside_the_root_are_refused_unless_allowed(tmp_path, header):
    folder = tmp_path / "patient"
    folder.mkdir()
    VOXELS.astype("<i2").tofile(tmp_path / "elsewhere.raw")
    (folder / "link.raw").symlink_to(tmp_path / "elsewhere.raw")
    for where in ("../elsewhere.raw", str(tmp_path / "elsewhere.raw"), "link.raw"):
        path = header(folder, where)
        with pytest.raises(ValueError, match=r"lies outside the folder .*allow_outside"):
            read_image(path)
        for allowed in ({"root": tmp_path}, {"allow_outside": True}):
            np.testing.assert_array_equal(read_image(path, **allowed).array, VOXELS)
        with pytest.raises(ValueError, match="outside"):
            read_image(path, root=folder)


def test_the_other_file_of_a_pair_must_lie_inside_too(tmp_path):
    folder = tmp_path / "patient"
    folder.mkdir()
    _written(folder, "a.hdr", compress=False)
    (folder / "a.img").rename(tmp_path / "b.img")
    (folder / "a.img").symlink_to(tmp_path / "b.img")
    for name in ("a.hdr", "a.img"):
        with pytest.raises(ValueError, match="outside the folder"):
            read_image(folder / name, root=folder)
        np.testing.assert_array_equal(read_image(folder / name, root=tmp_path).array, VOXELS)


@pytest.mark.parametrize("where", ["/dev/zero", "pipe", ".", "LIST", "a%d.raw 1 9 1", "nowhere"])
def test_what_is_no_single_file_is_refused(tmp_path, where):
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
    for path in (_meta(tmp_path, where), _nrrd(tmp_path, where)):
        with pytest.raises(ValueError, match=r"a\.(mhd|nhdr)"):
            read_image(path, allow_outside=True)


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
def test_one_flipped_bit_in_a_compressed_stream_is_never_silent(tmp_path, suffix):
    path = _written(tmp_path, f"a{suffix}")
    content = path.read_bytes()
    start = {".nii.gz": 0, ".nrrd": content.find(b"\n\n"), ".mha": content.find(b"LOCAL\n")}[suffix]
    expected = read_image(path).array
    rng = np.random.default_rng(1)
    refused = 0
    for _ in range(150):
        damaged = bytearray(content)
        damaged[int(rng.integers(start, len(content)))] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        try:
            image = read_image(path)
        except ValueError:
            refused += 1
        else:
            np.testing.assert_array_equal(image.array, expected)
    assert refused >= 100


@pytest.mark.parametrize("break_", ["\r", "\x0b", "\x0c", "\x1c", "\x1e", "\x85", "\u2028", "\x00"])
def test_nothing_but_a_newline_ends_a_line(tmp_path, break_):
    VOXELS.astype("<i2").tofile(tmp_path / "a.raw")
    text = NRRD.replace("encoding", f"content: x{break_}byte skip: 3\nencoding")
    (tmp_path / "a.nhdr").write_text(f"{text}data file: a.raw\n\n", "utf-8", newline="")
    text = META.replace("NDims", f"Comment = x{break_}HeaderSize = 3\nNDims").format("a.raw")
    (tmp_path / "a.mhd").write_text(text, "utf-8", newline="")
    for name in ("a.nhdr", "a.mhd"):
        if break_ in ("\x85", "\u2028"):  # letters of a comment, whose line goes on
            np.testing.assert_array_equal(read_image(tmp_path / name).array, VOXELS)
        else:
            with pytest.raises(ValueError, match="control characters"):
                read_image(tmp_path / name)


@pytest.mark.parametrize(("old", "new"), [
    ("sizes: 8 7 6\n", "sizes: 8 7 6\nsizes: 8 7 6\n"), ("type: short", "type: block"),
    ("encoding: raw", "encoding: ascii"), ("encoding: raw", "encoding: bzip2"),
    ("endian: little\n", ""), ("dimension: 3", "dimension: 100"), ("(1,0,0)", "(1e308,0,0)"),
    ("(1,0,0)", "(1,0.5,0)"), ("(1,0,0)", "(0x1,0,0)"), ("(1,0,0)", "(1_0,0,0)"),
    ("sizes: 8 7 6", "sizes: 8 7 -6"), ("sizes: 8 7 6", "sizes: 2000000000 2000000000 2"),
    ("space: left-posterior-superior", "space: scanner-xyz"), ("space origin: (0,0,0)\n", ""),
    ("endian", "whatever: x\nendian"), ("endian", 'space units: "m" "m" "m"\nendian'),
    ("endian", "line skip: 1\nendian"), ("kinds", "kinds"),
])  # fmt: skip
def test_nrrd_headers_outside_the_grammar(tmp_path, old, new):
    text = NRRD.replace(old, new) if old in NRRD else f"{NRRD}kinds: vector domain domain\n"
    (tmp_path / "a.nrrd").write_bytes(text.encode() + b"\n" + VOXELS.astype("<i2").tobytes())
    with pytest.raises(ValueError, match=r"a\.nrrd"):
        read_image(tmp_path / "a.nrrd")


@pytest.mark.parametrize(("old", "new"), [
    ("NDims = 3", "NDims = 100"), ("NDims = 3", "NDims = -3"),
    ("NDims = 3", "NDims = 3\nNDims = 3"),
    ("ElementSpacing = 1 1 1", "ElementSpacing = 1 1 0"), ("MET_SHORT", "MET_LONG"),
    ("MET_SHORT", "MET_SHORT_ARRAY"),
    ("ElementType", "TransformMatrix = 1 0 0 0 1 0 0 0 1e308\nElementType"),
    ("ElementType", "TransformMatrix = 1e20 0 0 0 1 0 0 0 1\nElementType"),
    ("ElementType", "TransformMatrix = 1 0 0 1 0 0 0 0 1\nElementType"),
    ("ElementType", "ElementNumberOfChannels = 3\nElementType"),
    ("ElementType", "BinaryData = False\nElementType"), ("ElementType", "What = x\nElementType"),
    ("ElementType", "HeaderSize = 4\nElementType"),
    ("ElementType", "DistanceUnits = cm\nElementType"),
    ("ElementType", "Offset = 0 0 0\nPosition = 1 1 1\nElementType"),
    ("ElementType", "Offset = 0 0 0\nImagePosition = 1 1 1\nElementType"),
    ("ElementType", "ElementToIntensityFunctionSlope = 2\nElementType"),
    ("ElementType", "CompressedData = True\nElementType"),
    ("ElementType", "CompressedData = True\nCompressedDataSize = 672\nElementType"),
    # ITK would take what is missing from the next line, and lose the field that stands there
    ("ElementSpacing", "CenterOfRotation = 0\nElementSpacing"),
    ("ElementSpacing", "ElementSize = 1 1\nElementSpacing"),
    ("ElementSpacing", "SequenceID = 1\nElementSpacing"),
    ("ElementSpacing", "Color = 1 1 1\nElementSpacing"), ("ElementSpacing", "ID =\nElementSpacing"),
    ("ElementSpacing", "ElementMin = x\nElementSpacing"),
])  # fmt: skip
def test_metaimage_headers_outside_the_grammar(tmp_path, old, new):
    text = META.format("LOCAL").replace(old, new)
    (tmp_path / "a.mha").write_bytes(text.encode() + VOXELS.astype("<i2").tobytes())
    with pytest.raises(ValueError, match=r"a\.mha"):
        read_image(tmp_path / "a.mha")


BOMB = """
import resource, sys, time
from survimg.io import read_image
before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
try:
    read_image(sys.argv[1])
except ValueError as error:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print((peak - before) // 1024, time.process_time() - start, "|", error)
"""


def _claiming(folder, kind, n_slices, packed):
    """Write a header that claims slices of 2 MiB, and a compressed stream."""
    size = f"1024 1024 {n_slices}"
    if kind == "mha":
        text = META.format("LOCAL").replace("8 7 6", size)
        more = f"CompressedData = True\nCompressedDataSize = {len(packed)}\nElementType"
        head = text.replace("ElementType", more).encode()
    else:
        head = NRRD.replace("8 7 6", size).replace("raw", "gzip").encode() + b"\n"
    (folder / f"bomb.{kind}").write_bytes(head + packed)
    return folder / f"bomb.{kind}"


def _bomb(folder, kind):
    zeros = zlib.compressobj(1, zlib.DEFLATED, 15 if kind == "mha" else 31)
    packed = b"".join(zeros.compress(bytes(1 << 20)) for _ in range(300)) + zeros.flush()
    return _claiming(folder, kind, 149, packed)


@pytest.mark.skipif(sys.platform == "win32", reason="no measure of memory there")
@pytest.mark.parametrize("kind", ["mha", "nrrd"])
def test_a_bomb_is_refused_without_its_memory(tmp_path, kind):
    path = _bomb(tmp_path, kind)
    done = subprocess.run(
        [sys.executable, "-c", BOMB, str(path)], capture_output=True, text=True, check=True
    )
    numbers, _, message = done.stdout.partition("|")
    assert int(numbers.split()[0]) < 60
    assert "holds more than the" in message


@pytest.mark.parametrize("kind", ["mha", "nrrd"])
def test_a_claim_that_takes_seconds_to_disprove_is_refused_at_once(tmp_path, kind):
    path = _claiming(tmp_path, kind, 321, b"\x1f\x8b" + bytes(1 << 20))
    with pytest.raises(ValueError, match=r"claims 673185792 bytes .* without compression"):
        read_image(path)


def test_a_gzip_stream_of_empty_parts_is_refused_and_one_of_many_parts_read(tmp_path):
    plain = _written(tmp_path, "plain.nii").read_bytes()
    path = tmp_path / "a.nii.gz"
    blocks = [gzip.compress(plain[i : i + 64]) for i in range(0, len(plain), 64)]
    path.write_bytes(b"".join([*blocks, gzip.compress(b"")]))  # as bgzip writes it
    np.testing.assert_array_equal(read_image(path).array, VOXELS)
    path.write_bytes(b"".join([blocks[0], 2000 * gzip.compress(b""), *blocks[1:]]))
    with pytest.raises(ValueError, match=r"a.nii.gz is damaged: .*empty parts"):
        read_image(path)


def test_labels_are_printed_so_that_they_can_be_given_back(tmp_path):
    image = Image(np.zeros((4, 4, 4), np.float32), (1.5, 1.5, 1.5))
    labels = np.zeros((4, 4, 4))
    labels[1], labels[2] = 1 / 255, 1 / 3
    for kind in (np.float32, np.float64):
        write_image(tmp_path / "m.nrrd", labels.astype(kind), image)
        with pytest.raises(ValueError, match="holds the labels") as raised:
            read_mask(tmp_path / "m.nrrd", image)
        printed = str(raised.value).split("[")[1].split("]")[0].split(", ")
        for text, expected in zip(printed, (labels == 0, labels == 1 / 255, labels == 1 / 3),
                                  strict=True):
            np.testing.assert_array_equal(read_mask(tmp_path / "m.nrrd", image, text), expected)
        np.testing.assert_array_equal(
            read_mask(tmp_path / "m.nrrd", image, 1 / 255), labels == 1 / 255
        )


def test_large_labels_are_compared_before_any_cast(tmp_path):
    image = Image(np.zeros((4, 4, 4), np.float32), (1.5, 1.5, 1.5))
    labels = np.zeros((4, 4, 4), np.int64)
    labels[1], labels[2], labels[3] = 2**24, 2**24 + 1, 2**60 + 1
    write_image(tmp_path / "m.nrrd", labels, image)
    for label in (2**24, 2**24 + 1, str(2**60 + 1)):
        np.testing.assert_array_equal(
            read_mask(tmp_path / "m.nrrd", image, label), labels == int(label)
        )
    both = read_mask(tmp_path / "m.nrrd", image, [2**24, 2**60 + 1])
    np.testing.assert_array_equal(both, (labels == 2**24) | (labels == 2**60 + 1))
    with pytest.raises(ValueError, match="has no label 3"):
        read_mask(tmp_path / "m.nrrd", image, [2**24, 3])
    with pytest.raises(ValueError, match="the list is empty"):
        read_mask(tmp_path / "m.nrrd", image, [])
