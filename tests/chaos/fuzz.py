"""Mutate valid image files and read them, in processes with limits of memory and time.

    python tests/chaos/fuzz.py [NUMBER] [FORMAT ...]

Of every file that is read, voxels and geometry must be those of an independent reader (SimpleITK;
nibabel where that refuses); everything else must be a refusal that names the file. What is counted:
crashes of the process, files that took too long, silent differences, voxels of a file outside the
folder, files left behind.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import io
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import SimpleITK as sitk  # noqa: N813
from fault import PATIENT, manifest
from mutations import FORMATS, SECRET, Format, mutate

from survimg.io import Image, read_image
from survimg.preprocessing import Preparation, prepare

__all__ = ["OUTCOMES", "main", "run", "trial"]

_RESULTS = Path(__file__).parent / "results" / "mutations.csv"
_SECONDS, _BATCH, _MEMORY = 10, 1000, 3 << 30
OUTCOMES = ("equal", "refused", "unchecked", "WRONG", "LEAK", "UNNAMED", "LEFT", "HANG", "CRASH")
#: Every so many files go the whole road of `prepare`, whose refusal must name the patient.
_WHOLE_ROAD = 50


class _TooLong(BaseException):
    """A file took too long."""


def trial(kind: Format, seed: int, folder: Path) -> tuple[str, str]:
    """Make, damage and read one file; return what happened and the details."""
    rng = np.random.default_rng(seed)
    data = folder / "data" / PATIENT
    data.mkdir(parents=True)
    secret = np.full(4096, SECRET, "<i2").tobytes()
    (folder / "data" / "secret.raw").write_bytes(secret)
    (data / "link.raw").symlink_to(folder / "data" / "secret.raw")
    path, files = kind.write(data, rng)
    how = mutate(kind, files, data, rng)
    before = sorted(map(str, folder.rglob("*")))
    try:
        if seed % _WHOLE_ROAD == 0:
            _whole_road(folder, path)
        image = read_image(path)
    except (ValueError, FileNotFoundError) as error:
        named = PATIENT in str(error)
        left = sorted(map(str, folder.rglob("*"))) != before
        return "LEFT" if left else "refused" if named else "UNNAMED", f"{how}: {error}"
    if (image.array == SECRET).any():
        return "LEAK", how
    if path.is_dir():  # the independent reader knows no SUV
        image = read_image(path, pet_units="stored")
    return _compare(path, image, how)


def _whole_road(folder: Path, path: Path) -> None:
    road = folder.parent / f"{folder.name}-road"
    road.mkdir()
    try:
        shutil.copytree(folder / "data", road, symlinks=True, dirs_exist_ok=True)
        csv = manifest(road, f"{PATIENT}/{path.name}")
        settings = Preparation(shape=(4, 4, 4), crop="whole", normalise="none")
        prepare(csv, settings, road / "out", progress=False)
    except ValueError as error:
        if f"Patient {PATIENT!r}" not in str(error):
            raise AssertionError(f"no patient in {error}") from None
    finally:
        shutil.rmtree(road)


def _compare(path: Path, image: Image, how: str) -> tuple[str, str]:
    try:
        other = _series(path) if path.is_dir() else sitk.ReadImage(str(path))
    except RuntimeError as error:
        if path.is_dir():
            return _compare_pydicom(path, image, how)
        return _compare_nibabel(path, image, f"{how}: {str(error)[-200:]}")
    if other.GetDimension() == 4:
        other = other[:, :, :, 0]
    other = sitk.DICOMOrient(other, "LPS")
    with np.errstate(all="ignore"):
        array = sitk.GetArrayFromImage(other).astype(np.float32)
    same = array.shape == image.array.shape and np.allclose(
        array, image.array, rtol=1e-5, atol=1e-3 if path.is_dir() else 1e-20
    )
    place = np.allclose(other.GetSpacing(), image.spacing[::-1], rtol=1e-3) and np.allclose(
        other.GetOrigin(), image.origin, rtol=1e-4, atol=2e-2
    ) and np.allclose(other.GetDirection(), image.direction, atol=2e-3)
    return "equal" if same and place else "WRONG", how


def _compare_nibabel(path: Path, image: Image, how: str) -> tuple[str, str]:
    import nibabel

    try:
        nifti = nibabel.load(path)
        voxels = np.asarray(nifti.dataobj, np.float64)
    except Exception as error:
        return "unchecked", f"{how}; {error}"
    voxels = voxels.reshape(voxels.shape[:3])
    index = np.argwhere(np.ones(voxels.shape))
    scale = {"mm": 1.0, "meter": 1e3, "micron": 1e-3}.get(nifti.header.get_xyzt_units()[0], 1.0)
    ras = index @ nifti.affine[:3, :3].T + nifti.affine[:3, 3]
    place = image.index(ras * scale * [-1, -1, 1])
    near = np.abs(place - np.rint(place)).max() < 0.5
    nearest = np.rint(place).astype(int)
    inside = (nearest >= 0).all() and (nearest < image.array.shape).all()
    same = near and inside and np.allclose(
        image.array[tuple(nearest.T)], voxels.ravel(), rtol=1e-5
    )
    return "equal" if same else "WRONG", how


def _compare_pydicom(folder: Path, image: Image, how: str) -> tuple[str, str]:
    """Compare the voxels of a series that GDCM does not read, such as the RLE of a few pixels."""
    import pydicom

    slices = sorted(
        (pydicom.dcmread(io.BytesIO(path.read_bytes())) for path in folder.iterdir()),
        key=lambda dataset: float(dataset.ImagePositionPatient[2]),
    )
    try:
        voxels = np.stack([
            dataset.pixel_array * float(dataset.get("RescaleSlope", 1))
            + float(dataset.get("RescaleIntercept", 0))
            for dataset in slices
        ])
    except Exception as error:
        return "unchecked", f"{how}; {error}"
    same = voxels.shape == image.array.shape and np.allclose(voxels, image.array, rtol=1e-5)
    return "equal" if same else "WRONG", how


def _series(folder: Path) -> sitk.Image:
    """Read a series slice by slice with GDCM; geometry from its own headers."""
    slices = []
    for path in sorted(folder.iterdir()):
        reader = sitk.ImageFileReader()
        reader.SetFileName(str(path))
        reader.SetOutputPixelType(sitk.sitkFloat32)
        pixels = reader.Execute()
        slices.append((pixels.GetOrigin()[2], pixels))
    slices.sort(key=lambda pair: pair[0])
    image = sitk.GetImageFromArray(
        np.concatenate([sitk.GetArrayFromImage(pixels) for _, pixels in slices])
    )
    first = slices[0][1]
    x, y, _ = first.GetSpacing()
    gap = (slices[-1][0] - slices[0][0]) / (len(slices) - 1)
    image.SetSpacing((x, y, gap))
    image.SetOrigin(first.GetOrigin())
    image.SetDirection(first.GetDirection())
    return image


def _work(name: str, start: int, stop: int, log: Path) -> None:
    """Run trials in this process, and note each before and after it."""
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    warnings.simplefilter("ignore")
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    kind = next(kind for kind in FORMATS if kind.name == name)

    def too_long(*_: object) -> None:
        raise _TooLong

    signal.signal(signal.SIGALRM, too_long)
    with open(log, "a", encoding="utf-8") as file:
        for seed in range(start, stop):
            file.write(json.dumps([seed, "begun", ""]) + "\n")
            file.flush()
            with tempfile.TemporaryDirectory() as temporary:
                tempfile.tempdir = temporary
                folder = Path(temporary) / "case"
                signal.alarm(_SECONDS)
                try:
                    what, details = trial(kind, seed, folder)
                except _TooLong:
                    what, details = "HANG", ""
                except Exception as error:
                    what, details = "UNNAMED", f"{type(error).__name__}: {error}"
                finally:
                    signal.alarm(0)
                if sorted(path.name for path in Path(temporary).iterdir()) not in ([], ["case"]):
                    what = "LEFT"
                tempfile.tempdir = None
            file.write(json.dumps([seed, what, details[:500]]) + "\n")
            file.flush()


def run(kind: Format, number: int, seed: int = 0) -> dict[str, object]:
    """Run trials of one format in other processes; return how often each outcome was seen."""
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as name:
        log = Path(name) / "log"
        at = seed
        while at < seed + number:
            stop = min(at + _BATCH, seed + number)
            log.write_text("")
            command = [sys.executable, __file__, "--work", kind.name, str(at), str(stop), str(log)]
            try:
                subprocess.run(
                    command, check=False, timeout=_SECONDS * 360, stderr=subprocess.DEVNULL
                )
                died = "CRASH"
            except subprocess.TimeoutExpired:
                died = "HANG"
            last = {}
            for line in log.read_text("utf-8").splitlines():
                case, what, details = json.loads(line)
                last[case] = (what, details)
            for case, (what, details) in last.items():
                outcome = died if what == "begun" else what
                counts[outcome] += 1
                if outcome not in ("equal", "refused"):
                    sys.stderr.write(f"{kind.name}, {case}: {outcome} {details}\n")
            at = max(last, default=at - 1) + 1 if last else stop
    return {"format": kind.name, "files": sum(counts.values())} | {
        what: counts[what] for what in OUTCOMES
    }


def main(number: int, names: list[str]) -> int:
    """Run all formats, and write the table."""
    kinds = [kind for kind in FORMATS if not names or kind.name in names]
    # a series costs five times a file
    shares = [1 if kind.header == "dicom" else 3 for kind in kinds]
    rows = [
        run(kind, -(-number * share // sum(shares)))
        for kind, share in zip(kinds, shares, strict=True)
    ]
    table = pd.DataFrame(rows)
    if _RESULTS.is_file():
        before = pd.read_csv(_RESULTS)
        table = pd.concat([before[~before["format"].isin(table["format"])], table])
    _RESULTS.parent.mkdir(exist_ok=True)
    table.to_csv(_RESULTS, index=False)
    sys.stdout.write(f"{table.to_string(index=False)}\n")
    return int(table[list(OUTCOMES[3:])].to_numpy().sum())


if __name__ == "__main__":
    if sys.argv[1:2] == ["--work"]:
        _work(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), Path(sys.argv[5]))
    else:
        sys.exit(bool(main(int((sys.argv[1:] or ["50000"])[0]), sys.argv[2:])))
