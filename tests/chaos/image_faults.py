"""Bad NIfTI, NRRD and MetaImage files."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import SimpleITK as sitk  # noqa: N813
from fault import PATIENT, Fault, at_the_door, blob

from survimg.io import Image, read_image, write_image
from survimg.io.images.image import same_grid, to_sitk

__all__ = ["FAULTS"]

_NIFTI, _NRRD, _MHD, _FILE = "NIfTI", "NRRD", "MetaImage", "Any image file"
_AT = {"dim": 40, "datatype": 70, "bitpix": 72, "pixdim": 76, "vox_offset": 108, "scl_slope": 112,
       "scl_inter": 116, "qform_code": 252, "sform_code": 254, "quatern_b": 256, "qoffset_x": 268,
       "srow_x": 280, "magic": 344}


def _written(folder: Path, name: str) -> Path:
    image = blob()
    write_image(folder / name, image.array, image)
    return folder / name


def _content(path: Path) -> bytearray:
    opened = gzip.open if path.name.endswith(".gz") else open
    with opened(path, "rb") as file:
        return bytearray(file.read())


def _write(path: Path, content: bytes) -> None:
    opened = gzip.open if path.name.endswith(".gz") else open
    with opened(path, "wb") as file:
        file.write(content)


def _file(group: str, name: str, make: Callable[[Path, np.random.Generator], Path],
          *named: str, trials: int = 1) -> Fault:
    def run(folder: Path, rng: np.random.Generator) -> None:
        path = make(folder, rng)
        at_the_door(folder, path.name)

    return Fault(group, name, run, (PATIENT, *named), trials)


def _header(name: str, field: str, values: tuple, kind: str, *named: str, at: int = 0) -> Fault:
    def make(folder: Path, rng: np.random.Generator) -> Path:
        path = _written(folder, "image.nii.gz" if rng.random() < 0.5 else "image.nii")
        content = _content(path)
        start = _AT[field] + at
        new = np.array(values, dtype=f"<{kind}").tobytes()
        content[start : start + len(new)] = new
        _write(path, bytes(content))
        return path

    return _file(_NIFTI, name, make, "image.nii", *named, trials=2)


def _cut(name: str, suffix: str, group: str) -> Fault:
    def make(folder: Path, rng: np.random.Generator) -> Path:
        path = _written(folder, f"image{suffix}")
        content = path.read_bytes()
        path.write_bytes(content[: int(rng.integers(1, len(content) - 9))])
        return path

    return _file(group, name, make, f"image{suffix}", trials=20)


def _cut_pair(folder: Path, rng: np.random.Generator) -> Path:
    _written(folder, "image.hdr")
    voxels = folder / "image.img"
    if not voxels.exists():
        voxels = folder / "image.img.gz"
    voxels.write_bytes(voxels.read_bytes()[:-100])
    return folder / "image.hdr"


def _values(name: str, array: np.ndarray, suffix: str, group: str, *named: str) -> Fault:
    def make(folder: Path, rng: np.random.Generator) -> Path:
        path = folder / f"image{suffix}"
        sitk.WriteImage(to_sitk(Image(array, (3.0, 2.0, 1.5))), str(path))
        return path

    return _file(group, name, make, f"image{suffix}", *named)


def _raw(name: str, image: sitk.Image, suffix: str, group: str, *named: str) -> Fault:
    def make(folder: Path, rng: np.random.Generator) -> Path:
        sitk.WriteImage(image, str(folder / f"image{suffix}"))
        return folder / f"image{suffix}"

    return _file(group, name, make, f"image{suffix}", *named)


def _with(value: float) -> np.ndarray:
    array = blob().array.copy()
    array[2, 3, 4] = value
    return array


def _text(name: str, suffix: str, group: str, old: bytes, new: bytes, *named: str) -> Fault:
    """Change the text header of an uncompressed NRRD or MetaImage file."""

    def make(folder: Path, rng: np.random.Generator) -> Path:
        path = folder / f"image{suffix}"
        sitk.WriteImage(to_sitk(blob()), str(path), useCompression=False)
        content = path.read_bytes()
        assert old in content, content[:400]
        path.write_bytes(content.replace(old, new, 1))
        return path

    return _file(group, name, make, f"image{suffix}", *named)


def _detached(suffix: str, group: str, where: str) -> Fault:
    """A header whose voxels lie outside the folder of the manifest."""

    def run(folder: Path, rng: np.random.Generator) -> None:
        (folder / "data").mkdir()
        sitk.WriteImage(to_sitk(blob()), str(folder / f"image{suffix}"), useCompression=False)
        content = (folder / f"image{suffix}").read_bytes()
        voxels = next(p for p in folder.iterdir() if p.suffix == ".raw")
        target = {"..": f"../{voxels.name}", "absolute": str(voxels), "link": "link.raw"}[where]
        if where == "link":
            (folder / "data" / "link.raw").symlink_to(voxels)
        changed = content.replace(voxels.name.encode(), target.encode())
        (folder / "data" / f"image{suffix}").write_bytes(changed)
        at_the_door(folder / "data", f"image{suffix}")

    how = {"..": "by ..", "absolute": "by an absolute path", "link": "through a link"}[where]
    return Fault(group, f"voxels in another folder {how}", run, (PATIENT, "outside"))


def _plain(folder: Path, rng: np.random.Generator) -> Path:
    path = folder / "image.nii.gz"
    path.write_text("this is not an image")
    return path


def _empty(folder: Path, rng: np.random.Generator) -> Path:
    (folder / "image.nii").touch()
    return folder / "image.nii"


def _folder(folder: Path, rng: np.random.Generator) -> Path:
    (folder / "image.nii.gz").mkdir()
    return folder / "image.nii.gz"


def _pipe(folder: Path, rng: np.random.Generator) -> Path:
    os.mkfifo(folder / "image.nii")
    return folder / "image.nii"


def _zip(folder: Path, rng: np.random.Generator) -> Path:
    import zipfile

    with zipfile.ZipFile(folder / "image.nrrd", "w") as file:
        file.writestr("../../image.nrrd", "x")
    return folder / "image.nrrd"


def _more(folder: Path, rng: np.random.Generator) -> Path:
    path = _written(folder, "image.nii")
    path.write_bytes(path.read_bytes() + b"\0" * 240)
    return path


def _bomb(folder: Path, rng: np.random.Generator) -> Path:
    """A header of 8 x 10^12 voxels before a few bytes of zeros, ten thousandfold compressed."""
    path = _written(folder, "image.nii.gz")
    content = _content(path)[:352]
    content[_AT["dim"] + 2 : _AT["dim"] + 8] = np.array([20000] * 3, "<i2").tobytes()
    with gzip.open(path, "wb") as file:
        file.write(bytes(content))
        for _ in range(20):
            file.write(bytes(1 << 20))
    return path


def _conflict(folder: Path, rng: np.random.Generator) -> Path:
    path = _written(folder, "image.nii")
    nifti = nibabel.load(path)
    moved = nifti.affine.copy()
    moved[:3, 3] += (9.0, 0.0, 0.0)
    changed = nibabel.Nifti1Image(np.asarray(nifti.dataobj), nifti.affine)
    changed.set_qform(moved, code=1)
    changed.set_sform(nifti.affine, code=1)
    nibabel.save(changed, path)
    return path


def _flip(folder: Path, rng: np.random.Generator) -> Path:
    """The classical conflict: one of the two says that left is right."""
    path = _written(folder, "image.nii")
    nifti = nibabel.load(path)
    mirror = nifti.affine @ np.diag([-1.0, 1.0, 1.0, 1.0])
    changed = nibabel.Nifti1Image(np.asarray(nifti.dataobj), nifti.affine)
    changed.set_qform(mirror, code=1)
    changed.set_sform(nifti.affine, code=1)
    nibabel.save(changed, path)
    return path


def _damaged(suffix: str, group: str) -> Fault:
    def run(folder: Path, rng: np.random.Generator) -> None:
        path = _written(folder, f"image{suffix}")
        content = bytearray(path.read_bytes())
        last = 348 if suffix == ".nii" else len(content)
        for place in rng.integers(0, last, size=3):
            content[int(place)] = int(rng.integers(256))
        path.write_bytes(bytes(content))
        image = read_image(path)
        assert np.isfinite(image.array).all()
        assert image.array.size < 10_000

    return Fault(group, f"random bytes ({suffix})", run, (), 100, either=True)


def _oblique(folder: Path, rng: np.random.Generator) -> None:
    turn = rng.uniform(-0.4, 0.4)
    cosine, sine = float(np.cos(turn)), float(np.sin(turn))
    tilted = Image(blob().array, (3.0, 2.0, 1.5), (-20.0, 7.0, 100.0),
                   (cosine, -sine, 0.0, sine, cosine, 0.0, 0.0, 0.0, 1.0))
    for suffix in (".nii.gz", ".nrrd", ".mha"):
        write_image(folder / f"a{suffix}", tilted.array, tilted)
        again = read_image(folder / f"a{suffix}")
        np.testing.assert_array_equal(again.array, tilted.array)
        assert same_grid(again, tilted)


def _scaled(folder: Path, rng: np.random.Generator) -> None:
    stored = rng.integers(-1000, 1000, size=(4, 5, 6)).astype(np.int16)
    nifti = nibabel.Nifti1Image(stored, np.eye(4))
    nifti.header.set_slope_inter(0.5, -3.0)
    nibabel.save(nifti, folder / "a.nii")
    expected = np.asarray(nibabel.load(folder / "a.nii").dataobj)
    np.testing.assert_allclose(np.sort(read_image(folder / "a.nii").array.ravel()),
                               np.sort(expected.ravel()))


def _swapped(folder: Path, rng: np.random.Generator) -> None:
    nifti = nibabel.load(_written(folder, "a.nii"))
    nibabel.save(nibabel.Nifti1Image(np.asarray(nifti.dataobj), nifti.affine,
                                     nifti.header.as_byteswapped()), folder / "b.nii")
    assert _content(folder / "b.nii")[:4] == b"\x00\x00\x01\x5c"
    again = read_image(folder / "b.nii")
    np.testing.assert_array_equal(again.array, read_image(folder / "a.nii").array)


def _second(folder: Path, rng: np.random.Generator) -> None:
    nifti = nibabel.load(_written(folder, "a.nii"))
    nibabel.save(nibabel.Nifti2Image(np.asarray(nifti.dataobj), nifti.affine), folder / "b.nii")
    again = read_image(folder / "b.nii")
    np.testing.assert_array_equal(again.array, read_image(folder / "a.nii").array)


_COMPLEX = sitk.Cast(to_sitk(blob()), sitk.sitkComplexFloat32)
FAULTS = [
    _cut("truncated (.nii)", ".nii", _NIFTI),
    _cut("truncated (.nii.gz)", ".nii.gz", _NIFTI),
    _file(_NIFTI, "voxels of a .hdr/.img pair truncated", _cut_pair, "image."),
    _values("NaN", _with(np.nan), ".nii.gz", _NIFTI, "finite"),
    _values("infinity", _with(np.inf), ".nii", _NIFTI, "finite"),
    _values("beyond float32", _with(1.0).astype(np.float64) * 1e300, ".nii.gz", _NIFTI, "finite"),
    _raw("four-dimensional", sitk.Image([4, 4, 4, 3], sitk.sitkFloat32), ".nii", _NIFTI),
    _raw("vectors", sitk.Image([4, 4, 4], sitk.sitkVectorFloat32, 3), ".nii.gz", _NIFTI),
    _raw("complex numbers", _COMPLEX, ".nii", _NIFTI),
    _raw("two-dimensional", sitk.Image(5, 5, sitk.sitkFloat32), ".nii", _NIFTI),
    _header("more voxels in the header than there are", "dim", (3, 80, 70, 60), "i2"),
    _header("fewer voxels in the header than there are", "dim", (3, 8, 7, 5), "i2"),
    _header("negative sizes", "dim", (3, -8, -7, 6), "i2"),
    _header("seven axes", "dim", (7, 2, 2, 2, 2, 3, 7, 1), "i2"),
    _header("a claim of 2.7 x 10^13 voxels", "dim", (3, 30000, 30000, 30000), "i2"),
    _header("bits that do not fit the type", "bitpix", (8,), "i2"),
    _header("an unknown type", "datatype", (999,), "i2"),
    _header("voxels that begin at NaN", "vox_offset", (np.nan,), "f4"),
    _header("voxels that begin at infinity", "vox_offset", (np.inf,), "f4"),
    _header("voxels that begin inside the header", "vox_offset", (100.0,), "f4"),
    _header("voxels that begin before the file", "vox_offset", (-400.0,), "f4"),
    _header("voxel size 0", "pixdim", (0.0, 0.0, 0.0), "f4", at=4),
    _header("voxel size below 0", "pixdim", (2.0, 2.0, -3.0), "f4", at=4),
    _header("voxel size NaN", "pixdim", (np.nan,) * 3, "f4", at=4),
    _header("infinite scale", "scl_slope", (np.inf,), "f4"),
    _header("NaN in the sform", "srow_x", (np.nan,) * 4, "f4"),
    _header("a singular sform", "srow_x", (0.0,) * 12, "f4"),
    _file(_NIFTI, "qform and sform at different places", _conflict, "qform", "sform"),
    _file(_NIFTI, "qform and sform mirror each other", _flip, "qform", "sform"),
    _file(_NIFTI, "a compressed bomb", _bomb, "image.nii.gz"),
    _damaged(".nii", _NIFTI),
    _damaged(".nii.gz", _NIFTI),
    Fault(_NIFTI, "integers with a scale", _scaled),
    Fault(_NIFTI, "the other byte order", _swapped),
    Fault(_NIFTI, "NIfTI-2", _second),
    _cut("truncated", ".nrrd", _NRRD),
    _values("NaN", _with(np.nan), ".nrrd", _NRRD, "finite"),
    _raw("four-dimensional", sitk.Image([4, 4, 4, 3], sitk.sitkFloat32), ".nrrd", _NRRD),
    _raw("vectors", sitk.Image([4, 4, 4], sitk.sitkVectorFloat32, 3), ".nrrd", _NRRD),
    _text("more voxels in the header than there are", ".nrrd", _NRRD, b"sizes: 8 7 6",
          b"sizes: 8 7 60"),
    _text("fewer voxels in the header than there are", ".nrrd", _NRRD, b"sizes: 8 7 6",
          b"sizes: 8 7 4"),
    _text("a claim of 2.7 x 10^13 voxels", ".nrrd", _NRRD, b"sizes: 8 7 6",
          b"sizes: 30000 30000 30000"),
    _text("voxel size 0", ".nrrd", _NRRD, b"(1.5,0,0)", b"(0,0,0)"),
    _text("voxel size NaN", ".nrrd", _NRRD, b"(1.5,0,0)", b"(nan,0,0)"),
    _text("an unknown encoding", ".nrrd", _NRRD, b"encoding: raw", b"encoding: zip"),
    _text("no orientation in the header", ".nrrd", _NRRD, b"space directions", b"space nothings"),
    _detached(".nhdr", _NRRD, ".."),
    _detached(".nhdr", _NRRD, "absolute"),
    _detached(".nhdr", _NRRD, "link"),
    _damaged(".nrrd", _NRRD),
    _cut("truncated", ".mha", _MHD),
    _text("more voxels in the header than there are", ".mha", _MHD, b"DimSize = 8 7 6",
          b"DimSize = 8 7 60"),
    _text("fewer voxels in the header than there are", ".mha", _MHD, b"DimSize = 8 7 6",
          b"DimSize = 8 7 4"),
    _text("voxel size 0", ".mha", _MHD, b"ElementSpacing = 1.5", b"ElementSpacing = 0"),
    _detached(".mhd", _MHD, ".."),
    _detached(".mhd", _MHD, "absolute"),
    _detached(".mhd", _MHD, "link"),
    _damaged(".mha", _MHD),
    _file(_FILE, "text", _plain, "image.nii.gz"),
    _file(_FILE, "empty", _empty, "image.nii"),
    _file(_FILE, "a folder of that name", _folder, "image.nii.gz"),
    _file(_FILE, "a named pipe, which would wait for ever", _pipe, "image.nii"),
    _file(_FILE, "a zip file", _zip, "image.nrrd"),
    _file(_FILE, "bytes behind the voxels", _more, "image.nii"),
    Fault(_FILE, "an oblique image", _oblique, trials=10),
]
