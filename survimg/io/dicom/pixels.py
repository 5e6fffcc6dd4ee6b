"""Pixels of DICOM objects, by place and length; what only native code can decode, in a process.

Uncompressed and RLE pixels are read here, and what their lengths do not fit is refused. JPEG,
JPEG-LS and JPEG 2000 need GDCM's decoders, which are native code: they run in a process of their
own with limits of memory and time (`survimg.io.dicom.decoder`), so that their death is an error of
one patient. That process gets the compressed frame in a new header made from what was parsed here,
never the file: one parser, one truth.
"""

from __future__ import annotations

import struct
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from survimg.io.dicom.objects import (
    DicomError,
    content_of,
    damage_refused,
    import_pydicom,
    parsed,
)

__all__ = ["PixelData", "check_shrinkage", "read_frames", "read_with_pixels"]

_NATIVE = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2")
_BIG_ENDIAN, _IMPLICIT = "1.2.840.10008.1.2.2", "1.2.840.10008.1.2"
_RLE = "1.2.840.10008.1.2.5"
#: JPEG baseline, extended, lossless; JPEG-LS; JPEG 2000.
_BY_GDCM = tuple(
    f"1.2.840.10008.1.2.4.{kind}" for kind in (50, 51, 57, 70, 80, 81, 90, 91)
)
#: No detector or reconstruction has so many pixels; a damaged header would ask for their memory.
_MAX_PIXELS = 2**26
_MAX_VOXELS = 2**30
#: Compressed frames that claim more bytes than this, and shrink by more than this, are not decoded.
_SHRUNK_MAX, _SHRUNK_RATIO = 640 << 20, 50
#: Elements behind the pixels: digital signatures, padding.
_AFTER_PIXELS = ((0xFFFA, 0xFFFA), (0xFFFC, 0xFFFC))
_DECODER = Path(__file__).with_name("decoder.py")
#: Limits of the decoding process: to start and per frame in s, beside the frames' own in bytes.
_SECONDS, _SECONDS_PER_FRAME, _BYTES = 60.0, 0.5, 4 << 30
_HEAD = struct.Struct("<qqq")  # of a decoded frame: status, rows, columns


@dataclass(frozen=True)
class PixelData:
    """Where the pixels of an object are, and how they are stored.

    Attributes
    ----------
    path : Path
    start : int
        Place of the first byte in the file.
    length : int or None
        In bytes; None for compressed frames.
    n_frames, rows, columns : int
    allocated, stored : int
        Bits per pixel.
    signed : bool
    syntax : str
        UID of the transfer syntax.
    """

    path: Path
    start: int
    length: int | None
    n_frames: int
    rows: int
    columns: int
    allocated: int
    stored: int
    signed: bool
    syntax: str

    @property
    def dtype(self) -> np.dtype:
        """Type of the stored numbers."""
        order = ">" if self.syntax == _BIG_ENDIAN else "<"
        return np.dtype(f"{order}{'i' if self.signed else 'u'}{self.allocated // 8}")


def read_with_pixels(
    path: Path, not_images: tuple[str, ...] = ()
) -> tuple[Any, PixelData | None]:
    """Read the header of an image object, and find its pixels.

    Parameters
    ----------
    path : Path
    not_images : tuple of str, optional
        Beginnings of the UIDs of classes for which None is returned instead of pixels.

    Raises
    ------
    ImportError
        pydicom is not installed.
    ValueError
        Not DICOM, damaged or truncated; colours; a transfer syntax that is not supported; sizes
        that no image has, or that do not fit the length of the pixels.
    """
    content = content_of(path)
    dataset, at = parsed(path, content, stop_before_pixels=True)
    with damage_refused(path):
        if not_images and str(dataset.get("SOPClassUID", "")).startswith(not_images):
            return dataset, None
        syntax = str(dataset.file_meta.TransferSyntaxUID)
        if syntax not in (*_NATIVE, _RLE, *_BY_GDCM):
            raise DicomError(
                f"{path} has the transfer syntax {syntax}, which is not read: convert it with "
                "gdcmconv --raw, or dcmdjpeg of DCMTK."
            )
        samples, colours = int(dataset.SamplesPerPixel), str(dataset.PhotometricInterpretation)
        if samples != 1 or colours not in ("MONOCHROME1", "MONOCHROME2"):
            raise DicomError(
                f"{path} has SamplesPerPixel {samples} and PhotometricInterpretation {colours[:20]}"
                "; a slice has one grey value per pixel."
            )
        start, length = _pixel_element(content, at, syntax, path)
        if length is not None:
            _check_end(content, start + length, syntax, path)
        pixels = PixelData(
            path, start, length,
            n_frames=int(dataset.get("NumberOfFrames") or 1),
            rows=int(dataset.Rows),
            columns=int(dataset.Columns),
            allocated=int(dataset.BitsAllocated),
            stored=int(dataset.BitsStored),
            signed=int(dataset.PixelRepresentation) == 1,
            syntax=syntax,
        )
        if syntax == _BIG_ENDIAN and pixels.allocated < 16 and content[at + 4 : at + 6] == b"OW":
            raise DicomError(
                f"{path} has pixels of {pixels.allocated} bits in big-endian words, whose order "
                "readers take differently: convert it with dcmconv +te of DCMTK."
            )
        high, representation = int(dataset.HighBit), int(dataset.PixelRepresentation)
        if pixels.allocated not in (1, 8, 16, 32) or not 1 <= pixels.stored <= pixels.allocated:
            raise DicomError(f"{path} has {pixels.stored} of {pixels.allocated} bits per pixel.")
        impossible = representation not in (0, 1) or (pixels.signed and pixels.allocated == 1)
        if high != pixels.stored - 1 or impossible:
            raise DicomError(f"{path}: HighBit or PixelRepresentation do not fit BitsStored.")
    _check_size(pixels)
    return dataset, pixels


def read_frames(images: Sequence[PixelData]) -> list[np.ndarray]:
    """Read the stored numbers of objects.

    Parameters
    ----------
    images : sequence of PixelData

    Returns
    -------
    list of ndarray of shape (frames, rows, columns)
        Whole numbers.

    Raises
    ------
    ValueError
        Damaged or truncated; the decoding process died, or needed too much memory or time.
    """
    check_shrinkage(images)
    frames = []
    compressed: list[tuple[int, bytes]] = []
    for i, image in enumerate(images):
        if image.length is not None:
            frames.append(_native(image))
            continue
        encoded = _encoded_frames(image)
        if image.syntax == _RLE:
            frames.append(np.stack([_rle(frame, image) for frame in encoded]))
        else:
            frames.append(np.empty(0))
            compressed += [(i, frame) for frame in encoded]
    if compressed:
        decoded = iter(_by_gdcm([(images[i], frame) for i, frame in compressed]))
        for i in dict.fromkeys(i for i, _ in compressed):
            frames[i] = np.stack([next(decoded) for _ in range(images[i].n_frames)])
    return frames


def _pixel_element(
    content: bytes, at: int, syntax: str, path: Path
) -> tuple[int, int | None]:
    order = ">" if syntax == _BIG_ENDIAN else "<"
    element = content[at : at + 12]
    if len(element) < 12 or struct.unpack_from(f"{order}HH", element) != (0x7FE0, 0x0010):
        raise DicomError(f"{path} has no pixels; it is truncated, or its header is damaged.")
    implicit = syntax == _IMPLICIT
    if not implicit and element[4:6] not in (b"OB", b"OW"):
        raise DicomError(f"{path} is damaged: its pixels have an unknown representation.")
    start = at + (8 if implicit else 12)
    (length,) = struct.unpack_from(f"{order}I", content, start - 4)
    encapsulated = length == 0xFFFFFFFF
    if encapsulated == (syntax in _NATIVE):
        raise DicomError(f"{path} is damaged: its pixels do not fit its transfer syntax.")
    return start, None if encapsulated else length


def _check_end(content: bytes, end: int, syntax: str, path: Path) -> None:
    """Refuse what follows the pixels, unless the standard has an element there."""
    order = ">" if syntax == _BIG_ENDIAN else "<"
    rest = content[end : end + 4]
    if rest and (len(rest) < 4 or struct.unpack(f"{order}HH", rest) not in _AFTER_PIXELS):
        raise DicomError(f"{path} is damaged: something follows its pixels.")


def _check_size(image: PixelData) -> None:
    path, n_pixels = image.path, image.rows * image.columns
    if not 1 <= n_pixels <= _MAX_PIXELS or not 1 <= image.n_frames * n_pixels <= _MAX_VOXELS:
        raise ValueError(
            f"{path} claims {image.n_frames} x {image.rows} x {image.columns} pixels; its header "
            "is damaged."
        )
    if image.length is None:
        return
    # a few bytes more are padding, a row more is another image
    expected = -(-image.n_frames * n_pixels * image.allocated // 8)
    row = max(image.columns * image.allocated // 8, 2)
    there = path.stat().st_size - image.start
    if not 0 <= image.length - expected < row or there < image.length:
        raise ValueError(
            f"{path} is truncated, or its header does not fit its pixels: there are "
            f"{min(there, image.length)} bytes, and {expected} for {image.n_frames} x {image.rows} "
            f"x {image.columns} pixels."
        )


def check_shrinkage(images: Sequence[PixelData]) -> None:
    """Refuse compressed frames that claim far more than is there, as `stream.inflated` does.

    Parameters
    ----------
    images : sequence of PixelData
        All that become one volume.

    Raises
    ------
    ValueError
        More than 640 MiB, decoded, in less than a fiftieth of that.
    """
    decoded_size = stored_size = 0
    for image in images:
        if image.length is None:
            decoded_size += 4 * image.n_frames * image.rows * image.columns
            stored_size += image.path.stat().st_size - image.start
    if decoded_size > _SHRUNK_MAX and decoded_size > _SHRUNK_RATIO * stored_size:
        raise ValueError(
            f"{images[0].path} and the slices beside it claim {decoded_size} bytes of pixels in "
            f"{stored_size} compressed ones. What shrinks by more than {_SHRUNK_RATIO} is read "
            f"up to {_SHRUNK_MAX >> 20} MiB; decompress it with gdcmconv --raw."
        )


def _native(image: PixelData) -> np.ndarray:
    shape = (image.n_frames, image.rows, image.columns)
    count = int(np.prod(shape, dtype=object))
    if image.allocated == 1:
        packed = np.fromfile(image.path, np.uint8, -(-count // 8), offset=image.start)
        return np.unpackbits(packed, bitorder="little", count=count).reshape(shape)
    values = np.fromfile(image.path, image.dtype, count, offset=image.start)
    if values.size != count:
        raise ValueError(f"{image.path} is truncated.")
    return _stored_bits(values.reshape(shape), image)


def _stored_bits(values: np.ndarray, image: PixelData) -> np.ndarray:
    """Blank the bits that are allocated, but not stored; some hold overlays."""
    spare = image.allocated - image.stored
    if not spare:
        return values
    return np.right_shift(np.left_shift(values, spare), spare)


def _encoded_frames(image: PixelData) -> list[bytes]:
    """Return the compressed frames of an object (PS3.5 A.4)."""
    with open(image.path, "rb") as file:
        file.seek(image.start)
        content = file.read()
    items, at = [], 0
    while content[at : at + 4] == b"\xfe\xff\x00\xe0":
        (length,) = struct.unpack_from("<I", content.ljust(at + 8, b"\xff"), at + 4)
        items.append(content[at + 8 : at + 8 + length])
        at += 8 + length
    fragments = items[1:]  # the first one is a table of offsets
    ended = content[at : at + 8] == b"\xfe\xff\xdd\xe0\0\0\0\0"
    _check_end(content, at + 8, image.syntax, image.path)
    if not ended or len(fragments) < image.n_frames:
        raise ValueError(f"{image.path} is truncated: its compressed pixels have no end.")
    if image.n_frames == 1:
        return [b"".join(fragments)]
    if len(fragments) > image.n_frames:
        raise ValueError(
            f"{image.path} has frames in several fragments, which is not supported; decompress it "
            "with gdcmconv --raw."
        )
    return fragments


def _rle(frame: bytes, image: PixelData) -> np.ndarray:
    """Decode run lengths (PS3.5 G): one segment per byte of a pixel, the highest first."""
    n_pixels, n_bytes = image.rows * image.columns, image.allocated // 8
    if len(frame) < 64 or n_bytes < 1:
        raise ValueError(f"{image.path} is damaged: its RLE header is too short.")
    n_segments, *starts = struct.unpack_from("<16I", frame)
    ends = [*starts[1:n_segments], len(frame)]
    if n_segments != n_bytes or starts[0] != 64 or any(
        low > high for low, high in zip(starts, ends, strict=False)
    ):
        raise ValueError(f"{image.path} is damaged: its RLE header is wrong.")
    planes = [
        _unpacked(frame[low:high], n_pixels, image.path)
        for low, high in zip(starts[:n_segments], ends, strict=True)
    ]
    values = np.stack(planes, axis=-1).view(image.dtype.newbyteorder(">"))
    return _stored_bits(values.reshape(image.rows, image.columns), image)


def _unpacked(segment: bytes, n_pixels: int, path: Path) -> np.ndarray:
    parts, at, length = [], 0, 0
    while length < n_pixels and at < len(segment):
        count = segment[at]
        if count < 128:
            part = segment[at + 1 : at + 2 + count]
            at += 2 + count
        else:
            part = segment[at + 1 : at + 2] * (257 - count) if count > 128 else b""
            at += 2 if count > 128 else 1
        parts.append(part)
        length += len(part)
    if length != n_pixels or at > len(segment) or len(segment) - at > 1:  # one byte of padding
        raise ValueError(f"{path} is damaged: an RLE segment does not hold {n_pixels} pixels.")
    return np.frombuffer(b"".join(parts), dtype=np.uint8)


def _by_gdcm(frames: Sequence[tuple[PixelData, bytes]]) -> list[np.ndarray]:
    """Decode frames in a process of their own; its death is an error that names the file."""
    with tempfile.TemporaryDirectory(prefix="survimg-") as name:
        for i, (image, frame) in enumerate(frames):
            _write_frame(Path(name) / f"{i}.dcm", image, frame)
        n_bytes = sum(4 * image.rows * image.columns for image, _ in frames)
        seconds = _SECONDS + _SECONDS_PER_FRAME * len(frames)
        limits = [str(len(frames)), str(_BYTES + 4 * n_bytes), str(int(seconds))]
        try:
            output = subprocess.run(
                [sys.executable, str(_DECODER), name, *limits], stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=seconds, check=False,
            ).stdout
        except subprocess.TimeoutExpired as error:
            output = error.stdout or b""
    decoded = []
    at = 0
    for image, _ in frames:
        status, rows, columns = _HEAD.unpack_from(output.ljust(at + _HEAD.size, b"\xff"), at)
        at += _HEAD.size
        n_pixels = image.rows * image.columns
        if (status, rows, columns) != (0, image.rows, image.columns) or (
            len(output) - at < 4 * n_pixels
        ):
            raise ValueError(
                f"{image.path} cannot be decoded: its compressed pixels are damaged, or need more "
                "than the memory and time that a decoder may take."
            )
        values = np.frombuffer(output, "<i4", n_pixels, at)
        decoded.append(values.reshape(image.rows, image.columns))
        at += 4 * n_pixels
    return decoded


def _write_frame(path: Path, image: PixelData, frame: bytes) -> None:
    """Write one frame as a DICOM file with nothing but what its pixels need."""
    if image.allocated not in (8, 16):
        raise ValueError(f"{image.path} has {image.allocated} bits per pixel, and is compressed.")
    pydicom = import_pydicom("read compressed DICOM")
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = image.syntax
    storage = pydicom.uid.CTImageStorage
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = storage
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    dataset.Modality, dataset.SamplesPerPixel = "CT", 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = image.rows, image.columns
    dataset.BitsAllocated, dataset.BitsStored = image.allocated, image.stored
    dataset.HighBit, dataset.PixelRepresentation = image.stored - 1, int(image.signed)
    dataset.PixelData = pydicom.encaps.encapsulate([frame])
    dataset["PixelData"].VR = "OB"
    dataset.save_as(path, enforce_file_format=True)
