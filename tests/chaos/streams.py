"""Compressed voxels: one flipped bit in each file, and what refusing a bomb costs.

    python tests/chaos/streams.py flips|bombs

A flipped bit must be refused, or change nothing. DICOM has no checksum: the figures of its formats
say what that means.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import gzip
import json
import subprocess
import sys
import tempfile
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import SimpleITK as sitk  # noqa: N813
from dicom_files import rtstruct, save_series
from forked import forked_decoder
from mutations import jpeg, rle
from pydicom.uid import ImplicitVRLittleEndian

from survimg.io import read_image

__all__ = ["bombs", "flips"]

_SHAPE = (24, 24, 24)
_SERIES = (2, 24, 40)
_TRIALS = 1000
_MIB = 1 << 20


def _voxels() -> np.ndarray:
    return np.random.default_rng(0).normal(0, 50, _SHAPE).astype(np.int16)


def _itk(name: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        image = sitk.GetImageFromArray(_voxels())
        image.SetSpacing((2.0, 2.0, 3.0))
        sitk.WriteImage(image, str(folder / name), useCompression=True)
        return folder / name

    return write


def _nifti_2(folder: Path) -> Path:
    image = nibabel.Nifti2Image(_voxels().T, np.diag([-2, -2, 3, 1]))
    nibabel.save(image, folder / "a.nii.gz")
    return folder / "a.nii.gz"


def _series(change: Callable | None) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        volume = np.random.default_rng(0).uniform(1, 999, _SERIES).astype(np.float32)
        return save_series(folder / "series", volume, change)

    return write


#: Name, writer, the file with the stream, what comes before it.
_FORMATS = (
    ("NIfTI-1 (.nii.gz)", _itk("a.nii.gz"), "a.nii.gz", b""),
    ("NIfTI-2 (.nii.gz)", _nifti_2, "a.nii.gz", b""),
    ("NIfTI pair (.img.gz)", _itk("a.img.gz"), "a.img.gz", b""),
    ("NRRD (.nrrd, gzip)", _itk("a.nrrd"), "a.nrrd", b"\n\n"),
    ("NRRD, detached (.raw.gz)", _itk("a.nhdr"), "a.raw.gz", b""),
    ("MetaImage (.mha, zlib)", _itk("a.mha"), "a.mha", b"LOCAL\n"),
    ("MetaImage, detached (.zraw)", _itk("a.mhd"), "a.zraw", b""),
    ("DICOM, RLE", _series(rle), "series", b"\xe0\x7f\x10\x00"),
    ("DICOM, JPEG", _series(jpeg("JPEG")), "series", b"\xe0\x7f\x10\x00"),
    ("DICOM, JPEG-LS", _series(jpeg("JPEG-LS")), "series", b"\xe0\x7f\x10\x00"),
    ("DICOM, JPEG 2000", _series(jpeg("JPEG2000")), "series", b"\xe0\x7f\x10\x00"),
)


def flips() -> list[dict]:
    """Flip one bit in the compressed voxels of each format, many times."""
    with forked_decoder():
        return [_flipped(*kind) for kind in _FORMATS]


def _flipped(name: str, write: Callable[[Path], Path], stream: str, mark: bytes) -> dict:
    rng = np.random.default_rng(1)
    row = {"format": name, "trials": _TRIALS, "refused": 0, "right": 0, "different": 0}
    with tempfile.TemporaryDirectory() as folder:
        image = write(Path(folder))
        path = Path(folder) / stream
        path = sorted(path.iterdir())[0] if path.is_dir() else path
        content, right = path.read_bytes(), read_image(image).array
        start = content.find(mark) + len(mark)
        for _ in range(_TRIALS):
            damaged = bytearray(content)
            damaged[int(rng.integers(start, len(content)))] ^= 1 << int(rng.integers(8))
            path.write_bytes(damaged)
            try:
                same = np.array_equal(read_image(image).array, right)
            except ValueError:
                row["refused"] += 1
            else:
                row["right" if same else "different"] += 1
    return row


_READ = """
import json, re, sys, time
import numpy as np
from survimg.io import Image, read_image, read_mask
def peak():  # ru_maxrss would begin with what the parent had
    return int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0]) / 1024
before, start, said = peak(), time.process_time(), ""
grid = Image(np.zeros((7, 20, 24), np.float32), (3.0, 2.0, 1.5), (-10.0, -20.0, 50.0))
try:
    read_mask(sys.argv[1], grid) if sys.argv[1].endswith(".dcm") else read_image(sys.argv[1])
except ValueError as error:
    said = str(error)
used = time.process_time() - start
print(json.dumps({"seconds": round(used, 2), "above": round(peak() - before), "peak": round(peak()),
                  "said": re.sub(r"^/\\S* |/\\S*/", "", said)}))
"""


def _zeros(n_bytes: int, window: int) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, window)
    parts = [packer.compress(bytes(_MIB)) for _ in range(n_bytes // _MIB)]
    return b"".join(parts) + packer.flush()


def _mha(folder: Path, claim: int, packed: bytes, name: str = "LOCAL") -> Path:
    """Write a MetaImage that claims slices of 2 MiB."""
    head = (
        f"ObjectType = Image\nNDims = 3\nDimSize = 1024 1024 {claim}\nElementSpacing = 1 1 1\n"
        f"CompressedData = True\nCompressedDataSize = {len(packed)}\nElementType = MET_SHORT\n"
        f"ElementDataFile = {name}\n"
    )
    path = folder / ("a.mha" if name == "LOCAL" else "a.mhd")
    path.write_bytes(head.encode() + (packed if name == "LOCAL" else b""))
    if name != "LOCAL":
        (folder / name).write_bytes(packed)
    return path


def _nii(folder: Path, claim: int, length: int) -> Path:
    header = nibabel.Nifti1Header()
    header.set_data_shape((1024, 1024, claim))
    header.set_data_dtype(np.int16)
    header["vox_offset"], header["magic"] = 352, b"n+1"
    header["qform_code"] = 0
    first = header.binaryblock.ljust(352, b"\0")
    (folder / "a.nii.gz").write_bytes(gzip.compress(first) + _zeros(length, 31))
    return folder / "a.nii.gz"


def _wrong_sum(folder: Path) -> Path:
    packed = bytearray(_zeros(640 * _MIB, 15))
    packed[-1] ^= 1
    return _mha(folder, 320, bytes(packed))


def _empty_items(folder: Path) -> Path:
    """Write a CT with a sequence of 100,000 empty items in one slice."""
    path = sorted(_series(None)(folder).iterdir())[0]
    content = path.read_bytes()
    at = content.rindex(b"\xe0\x7f\x10\x00")
    sequence = b"\x50\x00\x10\x00SQ\0\0\xff\xff\xff\xff"
    items, end = 100_000 * b"\xfe\xff\x00\xe0\0\0\0\0", b"\xfe\xff\xdd\xe0\0\0\0\0"
    path.write_bytes(content[:at] + sequence + items + end + content[at:])
    return path.parent


def _coordinates(folder: Path) -> Path:
    """Write an RTSTRUCT with one contour of 24 MB, in implicit form, which has room for it."""

    def change(dataset: pydicom.Dataset) -> None:
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
        for owner, name in (
            (dataset, "ROIContourSequence"), (dataset.ROIContourSequence[0], "ContourSequence")
        ):
            owner[name].is_undefined_length = True
            owner[name].value[0].is_undefined_length_sequence_item = True

    path = rtstruct(folder / "rt.dcm", {"GTV": [_square(0, 0)]}, change)
    head, mark, rest = path.read_bytes().partition(b"\x06\x30\x50\x00")
    text = 4_000_000 * b"1\\2\\3\\" + b"4 "
    length = int.from_bytes(rest[:4], "little")
    path.write_bytes(head + mark + len(text).to_bytes(4, "little") + text + rest[4 + length :])
    return path


def _one_over_another(folder: Path) -> Path:
    shifts = np.random.default_rng(0).uniform(0, 9, (3000, 2))
    return rtstruct(folder / "rt.dcm", {"GTV": [_square(*shift) for shift in shifts]})


def _square(left: float, down: float) -> np.ndarray:
    """Return a square on the grid of `_READ`."""
    corners = [(-8, -15), (5, -15), (5, 5), (-8, 5)]
    return np.array([(x + left, y + down, 56.0) for x, y in corners])


_BOMBS: tuple[tuple[str, Callable[[Path], Path]], ...] = (
    (".mhd that claims 2 GiB beside 9 bytes", lambda f: _mha(f, 1023, bytes(9), "a.zraw")),
    (".nii.gz of 2 GiB that claims 2 MiB", lambda f: _nii(f, 1, 2048 * _MIB)),
    (".mha that claims and holds 1 GiB, shrunk by 1000",
     lambda f: _mha(f, 512, _zeros(1024 * _MIB, 15))),
    (".mha that claims 638 MiB and holds 640", lambda f: _mha(f, 319, _zeros(640 * _MIB, 15))),
    (".mha of 640 MiB with a wrong checksum", _wrong_sum),
    ("a DICOM slice with a sequence of 100,000 empty items", _empty_items),
    ("an RTSTRUCT with one contour of 24 MB", _coordinates),
    ("an RTSTRUCT with 3,000 contours over each other", _one_over_another),
)  # fmt: skip


def bombs() -> list[dict]:
    """Measure what refusing each bomb costs, in a process of its own."""
    rows = []
    for name, write in _BOMBS:
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-c", _READ, str(write(Path(folder)))]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
        rows.append({"bomb": name, **json.loads(done.stdout)})
    return rows


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    for row in {"flips": flips, "bombs": bombs}[sys.argv[1]]():
        sys.stdout.write(f"{row}\n")
