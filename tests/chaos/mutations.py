"""Valid image files, and ways to damage them: byte-wise, and by the grammar of their headers."""

from __future__ import annotations

import gzip
import re
import struct
import tempfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import SimpleITK as sitk  # noqa: N813
from dicom_files import ORIGIN, SPACING, rtstruct, save_series, segmentation
from pydicom.uid import JPEGLSLossless, RLELossless

from survimg.io import Image

__all__ = ["FORMATS", "SECRET", "Format", "grid", "jpeg", "mutate", "rle"]

#: Value of every voxel of a file that must not be read; valid voxels are below 1000.
SECRET = 12345
_SHAPE = (4, 5, 6)
_LARGER = (3, 24, 40)  # encoders want some pixels
_NAMES = ("../secret.raw", "{root}/secret.raw", "link.raw", "./../secret.raw", "voxels.raw/../../"
          "secret.raw", "LIST", "LIST3", "secret%d.raw 1 2 1", "%s%n%s%n", "a%d 1 2000000000 1 2",
          "= ../secret.raw", "file:///etc/passwd", "/dev/zero", "pipe", ".", "voxels.raw\x00../x",
          "LOCAL ", "local", "..\\secret.raw", "~/secret.raw", "")
_VALUES = ("0", "-1", "1", "2", "3", "4", "5", "100", "2147483647", "4294967296", "1e308", "1e20",
           "-1e308", "nan", "inf", "-inf", "0x10", "1_000", "1e-320", "(1,0,0)", "(nan,0,0)",
           "none", "True", "False", "gzip", "raw", "txt", "bzip2", "hex", "little", "big", "block",
           "uchar", "double", "MET_DOUBLE", "MET_UCHAR", "MET_LONG", "MET_SHORT[3]", "\u0661", "")
_BREAKS = (b"\r", b"\x0b", b"\x0c", b"\x1c", b"\x85", b"\x00", b"\n\n", b"\r\n", b"\xe2\x80\xa8")
_KEYS = (b"space directions: (1,0,0) (0,1,0) (0,0,1)", b"data file: ../secret.raw",
         b"datafile: link.raw", b"byte skip: 3", b"line skip: 2", b"byte skip: -1",
         b"labels: " + b'"a" ' * 40, b"space units: " + b'"mm" ' * 40, b"encoding: raw",
         b"sizes: 6 5 4", b"spacings: 1 1 1", b"space: RAS", b"key:=value", b"content: x",
         b"ElementDataFile = ../secret.raw", b"HeaderSize = -1", b"HeaderSize = 9",
         b"CompressedData = True", b"ElementNumberOfChannels = 3", b"Offset = 1 2 3",
         b"Position = 1 2 3", b"ElementSpacing = 9 9 9", b"NDims = 4", b"Comment = x",
         b"TransformMatrix = 0 1 0 1 0 0 0 0 1", b"BinaryData = False", b"DimSize = 6 5 4",
         b"ElementByteOrderMSB = True", b"CompressedDataSize = 5")  # fmt: skip


@dataclass(frozen=True)
class Format:
    """A kind of file.

    Attributes
    ----------
    name : str
    write : callable
        Writes a valid file into an empty folder; returns what is read, and the files to damage.
    header : {"text", "nifti", "dicom"}
    share : int
        Of the trials: a series costs five times a file, one that needs a decoder ten times.
    mask : {"", "RTSTRUCT", "SEG"}
        A mask on `grid` rather than an image.
    """

    name: str
    write: Callable[[Path, np.random.Generator], tuple[Path, list[Path]]]
    header: str
    share: int = 12
    mask: str = ""


def _image(rng: np.random.Generator) -> sitk.Image:
    kind = rng.choice(["u1", "i2", "u2", "i4", "f4", "f8"])
    high = 250 if kind == "u1" else 1000
    image = sitk.GetImageFromArray(rng.integers(0, high, _SHAPE).astype(kind))
    image.SetSpacing(rng.uniform(0.5, 4, 3).round(3).tolist())
    image.SetOrigin(rng.uniform(-200, 200, 3).round(2).tolist())
    turn = rng.uniform(-0.4, 0.4) * rng.integers(0, 2)
    cosine, sine = float(np.cos(turn)), float(np.sin(turn))
    image.SetDirection((cosine, -sine, 0, sine, cosine, 0, 0, 0, float(rng.choice([-1, 1]))))
    return image


def _itk(suffix: str, compress: bool) -> Callable[..., tuple[Path, list[Path]]]:
    def write(folder: Path, rng: np.random.Generator) -> tuple[Path, list[Path]]:
        path = folder / f"image{suffix}"
        sitk.WriteImage(_image(rng), str(path), useCompression=compress)
        files = sorted(folder.glob("image*"))
        return path, files

    return write


def _nifti_2(folder: Path, rng: np.random.Generator) -> tuple[Path, list[Path]]:
    sitk.WriteImage(_image(rng), str(folder / "first.nii"))
    first = nibabel.load(folder / "first.nii")
    path = folder / f"image.nii{rng.choice(['', '.gz'])}"
    nibabel.save(nibabel.Nifti2Image(np.asarray(first.dataobj), first.affine), path)
    (folder / "first.nii").unlink()
    return path, [path]


def _series(
    change: Callable | None, shape: tuple[int, int, int] = _SHAPE
) -> Callable[..., tuple[Path, list[Path]]]:
    def write(folder: Path, rng: np.random.Generator) -> tuple[Path, list[Path]]:
        volume = rng.uniform(1, 999, shape).astype(np.float32)
        path = save_series(folder / "image", volume, change, str(rng.choice(["CT", "PT"])))
        return path, sorted(path.iterdir())

    return write


def rle(slices: list) -> None:
    for dataset in slices:
        dataset.compress(RLELossless, generate_instance_uid=False)


def jpeg(compressor: str) -> Callable[[list], None]:
    """Compress the slices by GDCM, or as JPEG-LS by pydicom."""

    def change(slices: list) -> None:
        for dataset in slices:
            if compressor == "JPEG-LS":
                dataset.compress(JPEGLSLossless, generate_instance_uid=False)
                continue
            words = np.frombuffer(dataset.PixelData, "<i2").reshape(1, *_LARGER[1:])
            with tempfile.TemporaryDirectory() as name:
                path = Path(name) / "slice.dcm"
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


def grid() -> Image:
    """Return the image that masks are drawn on."""
    return Image(np.zeros((7, 20, 24), np.float32), SPACING, ORIGIN)


def _regions(folder: Path, rng: np.random.Generator) -> tuple[Path, list[Path]]:
    """Write a region that is round, with a hole in some planes."""
    angles = np.linspace(0, 2 * np.pi, 9)[:-1]
    contours = []
    for z in range(2, 5):
        for radius in (6.7, 2.9)[: int(rng.integers(1, 3))]:
            radii = radius + rng.uniform(-1, 1, angles.size)
            index = np.column_stack([np.full(angles.size, z), 9.6 + radii * np.sin(angles),
                                     11.3 + radii * np.cos(angles)])
            contours.append(grid().world(index).round(3))
    path = rtstruct(folder / "mask.dcm", {"GTV": contours})
    return path, [path]


def _segments(folder: Path, rng: np.random.Generator) -> tuple[Path, list[Path]]:
    mask = np.zeros(grid().shape, np.uint8)
    mask[2:5, 5:12, 6:14] = rng.random((3, 7, 8)) < 0.8
    kind = str(rng.choice(["BINARY", "FRACTIONAL"]))
    path = segmentation(folder / "mask.dcm", {"GTV": mask}, kind=kind)
    return path, [path]


FORMATS = (
    Format("NIfTI (.nii)", _itk(".nii", False), "nifti"),
    Format("NIfTI (.nii.gz)", _itk(".nii.gz", True), "nifti"),
    Format("NIfTI-2", _nifti_2, "nifti"),
    Format("NIfTI pair", _itk(".hdr", False), "nifti"),
    Format("NIfTI pair, gzip", _itk(".img.gz", True), "nifti"),
    Format("NRRD, raw", _itk(".nrrd", False), "text"),
    Format("NRRD, gzip", _itk(".nrrd", True), "text"),
    Format("NRRD, detached", _itk(".nhdr", False), "text"),
    Format("NRRD, detached, gzip", _itk(".nhdr", True), "text"),
    Format("MetaImage, raw", _itk(".mha", False), "text"),
    Format("MetaImage, zlib", _itk(".mha", True), "text"),
    Format("MetaImage, detached", _itk(".mhd", False), "text"),
    Format("MetaImage, detached, zlib", _itk(".mhd", True), "text"),
    Format("DICOM series", _series(None), "dicom", 4),
    Format("DICOM series, RLE", _series(rle), "dicom", 4),
    Format("DICOM series, JPEG", _series(jpeg("JPEG"), _LARGER), "dicom", 4),
    Format("DICOM series, JPEG-LS", _series(jpeg("JPEG-LS"), _LARGER), "dicom", 4),
    Format("DICOM series, JPEG 2000", _series(jpeg("JPEG2000"), _LARGER), "dicom", 4),
    Format("RTSTRUCT", _regions, "dicom", mask="RTSTRUCT"),
    Format("SEG", _segments, "dicom", mask="SEG"),
)


def mutate(kind: Format, files: list[Path], folder: Path, rng: np.random.Generator) -> str:
    """Damage one of the files of an image; return how."""
    path = files[int(rng.integers(len(files)))]
    content = path.read_bytes()
    inner = content
    packed = content[:2] == b"\x1f\x8b"
    recompressed = packed and rng.random() < 0.5  # damage below a right checksum
    if recompressed:
        inner = gzip.decompress(content)
    ways: list[Callable[[bytes, np.random.Generator], bytes]] = [*_BYTES]
    if kind.header == "text" and (b"NRRD" in inner[:4] or b"ObjectType" in inner[:20]):
        ways += 3 * [lambda data, rng: _text(data, folder, rng), _line, _break, _recompressed]
    if kind.header == "nifti" and inner[:4] in (b"\x5c\x01\0\0", b"\x1c\x02\0\0"):
        ways += 4 * [_nifti_field]
    if kind.header == "dicom":
        ways += 3 * [_dicom_header]
    way = ways[int(rng.integers(len(ways)))]
    changed = way(inner, rng)
    path.write_bytes(gzip.compress(changed, 1) if recompressed else changed)
    return f"{getattr(way, '__name__', 'text')} of {path.name}"


def _flip(data: bytes, rng: np.random.Generator) -> bytes:
    changed = bytearray(data)
    changed[int(rng.integers(len(data)))] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def _random(data: bytes, rng: np.random.Generator) -> bytes:
    changed = bytearray(data)
    for place in rng.integers(0, len(data), int(rng.integers(1, 6))):
        changed[int(place)] = int(rng.integers(256))
    return bytes(changed)


def _early(data: bytes, rng: np.random.Generator) -> bytes:
    last = min(len(data), 700)
    return _random(data[:last], rng) + data[last:]


def _cut(data: bytes, rng: np.random.Generator) -> bytes:
    return data[: int(rng.integers(len(data)))]


def _more(data: bytes, rng: np.random.Generator) -> bytes:
    return data + rng.bytes(int(rng.integers(1, 50)))


def _without(data: bytes, rng: np.random.Generator) -> bytes:
    at = int(rng.integers(len(data)))
    return data[:at] + data[at + int(rng.integers(1, 40)) :]


def _twice(data: bytes, rng: np.random.Generator) -> bytes:
    at, size = int(rng.integers(len(data))), int(rng.integers(1, 40))
    return data[: at + size] + data[at:]


_BYTES = (_flip, _random, _early, _cut, _more, _without, _twice)


def _parts(data: bytes) -> tuple[list[bytes], bytes]:
    """Lines of a text header, and what follows it."""
    if data.startswith(b"NRRD"):
        end = data.find(b"\n\n")
        return (data if end < 0 else data[:end]).split(b"\n"), b"" if end < 0 else data[end:]
    last = re.search(rb"ElementDataFile[^\n]*", data)
    end = len(data) if last is None else last.end()
    return data[:end].split(b"\n"), data[end:]


def _text(data: bytes, folder: Path, rng: np.random.Generator) -> bytes:
    """Give a field another value: a number, a word, the name of a file."""
    lines, rest = _parts(data)
    i = int(rng.integers(len(lines)))
    if rng.random() < 0.3:
        i = next((k for k, line in enumerate(lines) if b"file" in line.lower()), i)
    name, mark, value = re.match(rb"([^:=]*)([:=]? ?)(.*)", lines[i], re.S).groups()
    values = _NAMES if b"file" in name.lower() else _VALUES
    new = str(rng.choice(values)).replace("{root}", str(folder.parent)).encode()
    words = value.split(b" ")
    if rng.random() < 0.5 and values is _VALUES:
        words[int(rng.integers(len(words)))] = new
        new = b" ".join(words)
    lines[i] = name + mark + new
    return b"\n".join(lines) + rest


def _line(data: bytes, rng: np.random.Generator) -> bytes:
    """Drop, repeat, move or insert a line."""
    lines, rest = _parts(data)
    i, j = (int(k) for k in rng.integers(len(lines), size=2))
    way = rng.integers(4)
    if way == 0:
        del lines[i]
    elif way == 1:
        lines.insert(j, lines[i])
    elif way == 2:
        lines.insert(j, lines.pop(i))
    else:
        lines.insert(j, _KEYS[int(rng.integers(len(_KEYS)))])
    return b"\n".join(lines) + rest


def _break(data: bytes, rng: np.random.Generator) -> bytes:
    """End lines differently, or hide a line behind what only some take for an end."""
    lines, rest = _parts(data)
    mark = _BREAKS[int(rng.integers(len(_BREAKS)))]
    i = int(rng.integers(len(lines)))
    if rng.random() < 0.3:
        return mark.join(lines) + rest
    lines[i] += mark + (_KEYS[int(rng.integers(len(_KEYS)))] if rng.random() < 0.7 else b"")
    return b"\n".join(lines) + rest


def _recompressed(data: bytes, rng: np.random.Generator) -> bytes:
    """Put a stream of another length, kind or level behind a header."""
    lines, _ = _parts(data)
    body = rng.bytes(int(rng.integers(1, 2000)))
    packed = [zlib.compress(body), gzip.compress(body), gzip.compress(body) * 2, body]
    return b"\n".join(lines) + (b"\n\n" if data[:4] == b"NRRD" else b"\n") + packed[
        int(rng.integers(4))
    ]


_PLACES = {  # places of the fields of NIfTI-1 and their types; of NIfTI-2
    348: [(40 + 2 * i, "h") for i in range(8)] + [(70, "h"), (72, "h"), (252, "h"), (254, "h")]
    + [(76 + 4 * i, "f") for i in range(8)] + [(108, "f"), (112, "f"), (116, "f")]
    + [(256 + 4 * i, "f") for i in range(18)] + [(123, "B"), (0, "i"), (344, "i")],
    540: [(16 + 8 * i, "q") for i in range(8)] + [(12, "h"), (14, "h"), (344, "i"), (348, "i")]
    + [(104 + 8 * i, "d") for i in range(8)] + [(168, "q"), (176, "d"), (184, "d")]
    + [(352 + 8 * i, "d") for i in range(18)] + [(500, "i"), (0, "i"), (4, "i")],
}
_NUMBERS = {
    "h": (0, 1, -1, 2, 3, 4, 7, 8, 16, 64, 128, 255, 512, 1024, 1536, 2048, 32767, -32768),
    "i": (0, 1, 2, 3, 4, -1, 348, 540, 2**31 - 1), "B": (0, 1, 2, 3, 4, 7, 10, 255),
    "q": (0, 1, -1, 2, 5, 2**31, 2**40, 2**62, -(2**62), 352, 544, 560),
    "f": (0, 1, -1, 0.5, 2, 352, 353, 1e30, -1e30, 1e-30, float("nan"), float("inf"), 1e10),
}
_NUMBERS["d"] = _NUMBERS["f"]


def _nifti_field(data: bytes, rng: np.random.Generator) -> bytes:
    places = _PLACES[struct.unpack_from("<i", data)[0]]
    changed = bytearray(data)
    for _ in range(int(rng.integers(1, 3))):
        at, kind = places[int(rng.integers(len(places)))]
        value = _NUMBERS[kind][int(rng.integers(len(_NUMBERS[kind])))]
        if at + 8 <= len(changed):
            struct.pack_into(f"<{kind}", changed, at, value)
    return bytes(changed)


def _dicom_header(data: bytes, rng: np.random.Generator) -> bytes:
    changed = bytearray(data)
    end = data.rfind(b"\xe0\x7f\x10\x00")
    for place in rng.integers(128, max(end, 129), int(rng.integers(1, 4))):
        changed[int(place)] = int(rng.integers(256))
    return bytes(changed)
