"""Compressed DICOM: what native code decodes, and that its death is an error of one patient."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from survimg.io import read_image
from survimg.io.dicom import pixels

pydicom = pytest.importorskip("pydicom")

VOLUME = np.random.default_rng(4).normal(scale=100, size=(3, 24, 40)).astype(np.float32)


def _by_itk(compressor):
    """Return a change of a series' slices to frames that GDCM has encoded."""

    def change(slices):
        for i, dataset in enumerate(slices):
            words = np.frombuffer(dataset.PixelData, "<i2").reshape(1, *VOLUME.shape[1:])
            path = Path(change.folder) / f"{i}.dcm"
            writer = sitk.ImageFileWriter()
            writer.SetImageIO("GDCMImageIO")
            writer.SetFileName(str(path))
            writer.UseCompressionOn()
            writer.SetCompressor(compressor)
            writer.Execute(sitk.GetImageFromArray(words))
            encoded = pydicom.dcmread(path)
            dataset.file_meta.TransferSyntaxUID = encoded.file_meta.TransferSyntaxUID
            dataset.PixelData = encoded.PixelData
            dataset["PixelData"].VR = "OB"

    return change


@pytest.fixture
def compressed(dicom_series, tmp_path):
    def write(compressor="JPEG2000"):
        change = _by_itk(compressor)
        change.folder = tmp_path
        return dicom_series(VOLUME, change=change)

    return write


@pytest.mark.parametrize("compressor", ["JPEG2000", "JPEG"])
def test_what_gdcm_has_compressed_is_read(compressed, compressor):
    folder = compressed(compressor)
    path = next(iter(folder.glob("*.dcm")))
    assert ".1.2.4." in str(pydicom.dcmread(path).file_meta.TransferSyntaxUID)
    np.testing.assert_allclose(read_image(folder).array, VOLUME, atol=0.02)


@pytest.mark.parametrize("death", [
    "import os; os.kill(os.getpid(), 11)", "while True: pass", "bytearray(1 << 40)",
    "import sys; sys.stdout.write('x')", "",
])  # fmt: skip
def test_a_decoder_that_dies_or_does_not_end_is_an_error_that_names_the_slice(
    compressed, tmp_path, monkeypatch, death
):
    folder = compressed()
    script = tmp_path / "decoder.py"
    script.write_text(death)
    monkeypatch.setattr(pixels, "_DECODER", script)
    monkeypatch.setattr(pixels, "_SECONDS", 3.0)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    with pytest.raises(ValueError, match=r"\.dcm cannot be decoded"):
        read_image(folder)
    assert not list(temporary.iterdir())


def test_a_damaged_frame_is_refused(compressed):
    folder = compressed()
    path = sorted(folder.glob("*.dcm"))[1]
    dataset = pydicom.dcmread(path)
    dataset.PixelData = pydicom.encaps.encapsulate([b"\xff\x4f\xff\x51" + bytes(200)])
    dataset["PixelData"].VR = "OB"
    dataset.save_as(path, enforce_file_format=True)
    with pytest.raises(ValueError, match=f"{path.name} cannot be decoded"):
        read_image(folder)


@pytest.mark.skipif(sys.platform == "win32", reason="no limits of memory there")
def test_the_decoder_keeps_its_limits(tmp_path):
    import subprocess

    code = (
        f"import runpy; module = runpy.run_path({str(pixels._DECODER)!r});"
        "module['_limit'](1 << 30, 5); bytearray(2 << 30)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert b"MemoryError" in done.stderr


def _rle(slices):
    for dataset in slices:
        dataset.compress(pydicom.uid.RLELossless, generate_instance_uid=False)


def test_run_lengths_that_do_not_fill_the_slice_are_refused(dicom_series):
    folder = dicom_series(VOLUME, change=_rle)
    path = sorted(folder.glob("*.dcm"))[0]
    dataset = pydicom.dcmread(path)
    frame = bytearray(pydicom.encaps.get_frame(dataset.PixelData, 0, number_of_frames=1))
    frame[64] = 128  # the first run becomes nothing
    dataset.PixelData = pydicom.encaps.encapsulate([bytes(frame)])
    dataset.save_as(path, enforce_file_format=True)
    with pytest.raises(ValueError, match=f"{path.name} is damaged: an RLE segment"):
        read_image(folder)


def test_deflated_dicom_is_refused_with_the_way_out(dicom_series):
    folder = dicom_series(VOLUME)
    path = sorted(folder.glob("*.dcm"))[0]
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
    dataset.save_as(path, enforce_file_format=True)
    with pytest.raises(ValueError, match="is deflated DICOM.*dcmconv"):
        read_image(folder)


@pytest.mark.parametrize("n_bytes", [1 << 20, 1 << 30])
def test_a_slice_that_goes_on_in_zeros_is_refused_at_once(dicom_series, n_bytes):
    folder = dicom_series(VOLUME)
    path = sorted(folder.glob("*.dcm"))[0]
    header = path.read_bytes()[:400]
    with open(path, "wb") as file:
        file.write(header)
        file.truncate(n_bytes)  # a gigabyte that takes no room on the disk
    with pytest.raises(ValueError, match=f"{path.name} (is not a readable|has 1024 MiB)"):
        read_image(folder)


def test_each_header_is_parsed_once(dicom_series, monkeypatch):
    seen, parsed = [], pixels.parsed

    def counted(path, *rest, **more):
        seen.append(path)
        return parsed(path, *rest, **more)

    monkeypatch.setattr(pixels, "parsed", counted)
    folder = dicom_series(VOLUME)
    read_image(folder)
    assert sorted(seen) == sorted(folder.glob("*.dcm"))


def test_an_element_twice_is_refused(dicom_series):
    folder = dicom_series(VOLUME)
    path = sorted(folder.glob("*.dcm"))[0]
    content = path.read_bytes()
    at = content.index(b"\x28\x00\x53\x10DS")  # RescaleSlope
    end = at + 8 + int.from_bytes(content[at + 6 : at + 8], "little")
    path.write_bytes(content[:end] + content[at:end] + content[end:])
    with pytest.raises(ValueError, match=f"{path.name} is damaged: .*00281053 twice"):
        read_image(folder)


def test_bits_that_are_not_stored_do_not_count(dicom_series):
    stored = np.arange(-30, 30, dtype=np.int16).reshape(3, 4, 5) * 60

    def twelve(slices):
        for i, dataset in enumerate(slices):
            dataset.BitsStored, dataset.HighBit = 12, 11
            dataset.RescaleSlope = "1"
            words = (stored[i].astype("<u2") & 0x0FFF) | 0xA000  # overlays in the upper bits
            dataset.PixelData = words.astype("<u2").tobytes()

    image = read_image(dicom_series(np.ones((3, 4, 5)), change=twelve))
    np.testing.assert_array_equal(image.array, stored)


def test_a_link_out_of_the_folder_is_refused_unless_allowed(dicom_series, tmp_path):
    folder = dicom_series(VOLUME)
    path = sorted(folder.glob("*.dcm"))[0]
    path.rename(tmp_path / "elsewhere.dcm")
    path.symlink_to(tmp_path / "elsewhere.dcm")
    with pytest.raises(ValueError, match="outside the folder"):
        read_image(folder)
    np.testing.assert_allclose(
        read_image(folder, allow_outside=True).array, read_image(folder, root=tmp_path).array
    )


def test_a_series_of_tiny_frames_that_claim_gigabytes_is_refused(compressed, monkeypatch):
    folder = compressed()
    monkeypatch.setattr(pixels, "_SHRUNK_MAX", 1000)
    assert read_image(folder).shape == VOLUME.shape  # noise does not shrink
    monkeypatch.setattr(pixels, "_SHRUNK_RATIO", 0.1)
    with pytest.raises(ValueError, match="claim 11520 bytes of pixels in"):
        read_image(folder)


def test_bytes_in_big_endian_words_are_refused(dicom_series):
    def change(slices):
        for dataset in slices:
            dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRBigEndian
            dataset.BitsAllocated = dataset.BitsStored = 8
            dataset.HighBit, dataset.PixelRepresentation = 7, 0
            dataset.PixelData = bytes(range(24 * 40 % 256)) + bytes(24 * 40 - 24 * 40 % 256)
            dataset["PixelData"].VR = "OW"

    with pytest.raises(ValueError, match="big-endian words"):
        read_image(dicom_series(VOLUME, change=change))
