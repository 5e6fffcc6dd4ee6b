"""Speed and memory of the native radiomics engine against PyRadiomics, on one thread.

    python benchmarks/speed/radiomics.py [--repeats 5] [--bins 64] [--volumes 1 25 150]
        [--sts51 FOLDER] [--json FILE]

One case of 2 x 128 x 128 x 112 voxels at 1 mm (PET in SUV, CT in HU) with lumpy tumours of 1, 25
and 150 ml; all 1456 features; runs alternate between the engines and their medians are compared.
Times are CPU seconds of the process, which other load on the machine stretches less than the
clock. Peak memory is what one extraction adds to the resident set, each engine in a process of
its own. PyRadiomics 3.0.1 must be installed. With ``--sts51`` the soft-tissue-sarcoma cohort is
extracted by both engines, and once more from the cache.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
os.environ.setdefault("ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", "1")
# This file has the name of PyRadiomics' package, which must not be found here.
sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != Path(__file__).parent]

import numpy as np  # noqa: E402
from scipy import ndimage  # noqa: E402

SHAPE = (112, 128, 128)
VOLUMES_ML = (1.0, 25.0, 150.0)
TARGETS = {1.0: 60, 25.0: 30, 150.0: 30}


def lumpy_case(millilitres: float, seed: int = 0):
    """Return volumes (2, z, y, x) float32 and a mask of that many voxels of 1 mm."""
    rng = np.random.default_rng(seed)
    grid = np.indices(SHAPE) - (np.array(SHAPE) / 2)[:, None, None, None]
    radius = (3 * millilitres * 1000 / (4 * np.pi)) ** (1 / 3)
    bumps = ndimage.gaussian_filter(rng.normal(size=SHAPE), 5)
    field = np.sqrt((grid**2).sum(axis=0)) - radius * 0.35 * bumps / bumps.std()
    n_voxels = round(millilitres * 1000)
    mask = field <= np.partition(field.ravel(), n_voxels)[n_voxels]
    inside = ndimage.gaussian_filter(mask.astype(float), 2)
    uptake = ndimage.gaussian_filter(rng.normal(size=SHAPE), 2)
    pet = 0.8 + inside * (6 + 3 * uptake / uptake.std()) + rng.normal(0, 0.15, SHAPE)
    tissue = ndimage.gaussian_filter(rng.normal(size=SHAPE), 1.5)
    ct = 20 + 30 * tissue / tissue.std() + 25 * inside + rng.normal(0, 8, SHAPE)
    return np.stack([np.maximum(pet, 0), ct]).astype(np.float32), mask.astype(np.uint8)


def make_cohort(millilitres: float):
    from survimg import Cohort

    volume, mask = lumpy_case(millilitres)
    return Cohort(volume[None], masks=mask[None], spacing=1.0, channel_names=("PET", "CT"))


def extractor(engine: str, bins: int):
    from survimg.radiomics import RadiomicsFeatures

    return RadiomicsFeatures(engine=engine, bin_count=bins)


def seconds(run) -> float:
    start = time.process_time()
    run()
    return time.process_time() - start


def compare_speed(millilitres: float, bins: int, repeats: int) -> dict:
    cohort = make_cohort(millilitres)
    engines = {name: extractor(name, bins).fit(cohort) for name in ("pyradiomics", "native")}
    values = {name: engine.transform(cohort).to_numpy() for name, engine in engines.items()}
    reference = values["pyradiomics"]
    difference = np.abs(values["native"] - reference) / np.maximum(np.abs(reference), 1e-9)
    times: dict[str, list[float]] = {"pyradiomics": [], "native": []}
    for _ in range(repeats):
        for name, engine in engines.items():
            times[name].append(seconds(lambda engine=engine: engine.transform(cohort)))
    medians = {name: statistics.median(each) for name, each in times.items()}
    return {
        "ml": millilitres,
        "bins": bins,
        "pyradiomics_s": medians["pyradiomics"],
        "native_s": medians["native"],
        "ratio": medians["pyradiomics"] / medians["native"],
        "target": TARGETS[millilitres],
        "worst_relative_difference": float(difference.max()),
    }


def added_memory_mb(engine: str, millilitres: float, bins: int) -> float:
    """Run one extraction in a fresh process and return the growth of its peak resident set."""
    with tempfile.TemporaryDirectory() as folder:
        volume, mask = lumpy_case(millilitres)
        np.save(Path(folder, "volume.npy"), volume)
        np.save(Path(folder, "mask.npy"), mask)
        command = [sys.executable, __file__, "--memory-of", engine, folder, str(bins)]
        return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def measure_memory(engine: str, folder: str, bins: int) -> float:
    from survimg import Cohort

    def cohort_of(volume, mask):
        return Cohort(volume[None], masks=mask[None], spacing=1.0, channel_names=("PET", "CT"))

    # A tiny case first: imports and compiled kernels are no part of the answer.
    small = np.random.default_rng(0).normal(size=(2, 8, 8, 8)).astype(np.float32)
    extractor(engine, bins).fit_transform(cohort_of(small, np.pad(np.ones((6, 6, 6), np.uint8), 1)))
    cohort = cohort_of(np.load(Path(folder, "volume.npy")), np.load(Path(folder, "mask.npy")))
    Path("/proc/self/clear_refs").write_text("5")
    before = _peak_kib()
    extractor(engine, bins).fit_transform(cohort)
    return (_peak_kib() - before) / 1024


def _peak_kib() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def sts51_cohort(folder: Path):
    import SimpleITK as sitk  # noqa: N813

    from survimg import Cohort

    ids = sorted(path.name[:7] for path in folder.glob("STS_*_mask.nii.gz"))
    volumes, masks, spacing = [], [], []
    for name in ids:
        images = [sitk.ReadImage(str(folder / f"{name}_{m}.nii.gz")) for m in ("PET", "CT", "mask")]
        pet, ct, mask = (sitk.GetArrayFromImage(image) for image in images)
        volumes.append(np.stack([pet, ct]).astype(np.float32))
        masks.append((mask > 0).astype(np.uint8))
        spacing.append(images[0].GetSpacing()[::-1])
    return Cohort(volumes, masks=masks, ids=ids, spacing=spacing, channel_names=("PET", "CT"))


def compare_sts51(folder: Path, bins: int) -> dict:
    cohort = sts51_cohort(folder)
    with tempfile.TemporaryDirectory() as cache:
        native = extractor("native", bins).set_params(memory=cache).fit(cohort)
        native_s = seconds(lambda: native.transform(cohort))
        start = time.perf_counter()
        found = native.transform(cohort).to_numpy()
        cached_s = time.perf_counter() - start
    reference = extractor("pyradiomics", bins).fit(cohort)
    start = time.process_time()
    expected = reference.transform(cohort).to_numpy()
    pyradiomics_s = time.process_time() - start
    difference = np.abs(found - expected) / np.maximum(np.abs(expected), 1e-9)
    return {
        "patients": len(cohort),
        "bins": bins,
        "pyradiomics_s": pyradiomics_s,
        "native_s": native_s,
        "ratio": pyradiomics_s / native_s,
        "second_run_from_cache_s": cached_s,
        "worst_relative_difference": float(difference.max()),
    }


def worst_by_class(cohort, bins: int, memory: Path | None) -> dict[str, float]:
    """Return the worst relative difference between the engines by feature class."""
    found = extractor("native", bins).fit_transform(cohort)
    expected = extractor("pyradiomics", bins).set_params(memory=memory).fit_transform(cohort)
    difference = ((found - expected).abs() / expected.abs().clip(lower=1e-9)).max()
    classes = [name.split("_")[1 if "_shape_" in name else 2] for name in found.columns]
    return difference.groupby(classes).max().to_dict()


def parity_cohorts(sts51: Path | None, ibsi: Path | None) -> dict:
    import SimpleITK as sitk  # noqa: N813

    from survimg import Cohort

    rng = np.random.default_rng(3)
    noise = rng.normal(size=(4, 2, 17, 20, 19)).astype(np.float32)
    density = np.array([0.05, 0.3, 0.6, 0.95])[:, None, None, None]
    scattered = rng.random((4, 17, 20, 19)) < density
    names = ("PET", "CT")
    cohorts = {
        "random": Cohort(noise, masks=scattered, spacing=(2.0, 1.1, 0.7), channel_names=names),
        "lumpy 1 ml": make_cohort(1.0),
    }
    if ibsi is not None:
        image = sitk.ReadImage(str(ibsi / "nifti" / "image" / "phantom.nii.gz"))
        mask = sitk.GetArrayFromImage(sitk.ReadImage(str(ibsi / "nifti" / "mask" / "mask.nii.gz")))
        voxels = sitk.GetArrayFromImage(image)[None, None].astype(np.float32)
        spacing = image.GetSpacing()[::-1]
        cohorts["IBSI phantom"] = Cohort(voxels, masks=mask[None] > 0, spacing=spacing)
    if sts51 is not None:
        cohorts["STS-51"] = sts51_cohort(sts51)
    return cohorts


def print_parity(sts51: Path | None, ibsi: Path | None, bins: int, memory: Path | None) -> dict:
    worst = {
        name: worst_by_class(cohort, bins, memory)
        for name, cohort in parity_cohorts(sts51, ibsi).items()
    }
    print("\nWorst relative difference between the engines:\n")
    print("| class | " + " | ".join(worst) + " |")
    print("|---|" + "---:|" * len(worst))
    for feature_class in next(iter(worst.values())):
        row = " | ".join(f"{each[feature_class]:.0e}" for each in worst.values())
        print(f"| {feature_class} | {row} |")
    return worst


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--bins", type=int, nargs="+", default=[32, 64])
    parser.add_argument("--volumes", type=float, nargs="+", default=VOLUMES_ML, help="in ml")
    parser.add_argument("--sts51", type=Path, help="folder of the STS-51 images")
    parser.add_argument("--parity", action="store_true", help="only the table of differences")
    parser.add_argument("--ibsi", type=Path, help="folder of the IBSI digital phantom")
    parser.add_argument("--memory", type=Path, help="cache of PyRadiomics' values for --parity")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    parser.add_argument("--memory-of", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.memory_of:
        engine, folder, bins = arguments.memory_of
        print(measure_memory(engine, folder, int(bins)))
        return
    if arguments.parity:
        bins = arguments.bins[0]
        print_parity(arguments.sts51, arguments.ibsi, bins, arguments.memory)
        return
    rows = []
    print(f"{platform.machine()}, Python {platform.python_version()}, NumPy {np.__version__}\n")
    head = ("mask", "bins", "PyRadiomics", "native", "ratio", "target", "memory", "difference")
    print("| " + " | ".join(head) + " |")
    print("|---:|---:|---:|---:|---:|---:|---:|---:|")
    for bins in arguments.bins:
        for millilitres in arguments.volumes:
            row = compare_speed(millilitres, bins, arguments.repeats)
            for engine in ("pyradiomics", "native"):
                row[f"{engine}_mb"] = added_memory_mb(engine, millilitres, bins)
            rows.append(row)
            print(
                f"| {row['ml']:g} ml | {bins} | {row['pyradiomics_s']:.2f} s | "
                f"{1000 * row['native_s']:.0f} ms | {row['ratio']:.1f}x | >= {row['target']} | "
                f"{row['pyradiomics_mb']:.0f} / {row['native_mb']:.0f} MB | "
                f"{row['worst_relative_difference']:.0e} |",
                flush=True,
            )
    report = {"cases": rows}
    if arguments.sts51:
        report["sts51"] = compare_sts51(arguments.sts51, arguments.bins[0])
        print("\nSTS-51:", json.dumps(report["sts51"], indent=1))
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
