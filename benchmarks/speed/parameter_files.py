"""Speed of `FeatureExtractor` against PyRadiomics, on one thread: CPU seconds, alternating runs.

    python benchmarks/speed/parameter_files.py [--repeats 3] [--json FILE] [--only TASK ...]

A CT of 128 x 128 x 112 voxels at 1 mm in int16 with lumpy tumours of 1, 25 and 150 ml, all features
with a bin width of 25: original and wavelet; all image types (without local binary patterns, which
PyRadiomics leaves out here); maps in windows of radius 1 of the tumour of 1 ml. Each engine runs
once before it is timed. Peak memory is what a run adds to the resident set, in a process
of its own.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import resource
import statistics
import subprocess
import sys
import time
import warnings
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
os.environ.setdefault("ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", "1")
# A neighbour of this file has the name of PyRadiomics' package, which must not be found here.
sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != Path(__file__).parent]

import numpy as np  # noqa: E402
import SimpleITK as sitk  # noqa: E402, N813
from scipy import ndimage  # noqa: E402

SHAPE = (112, 128, 128)
CLASSES = ("shape", "firstorder", "glcm", "glrlm", "glszm", "gldm", "ngtdm")
SOME = {"Original": {}, "Wavelet": {}}
EVERY = {
    **SOME,
    "LoG": {"sigma": [1.0, 2.0, 3.0, 4.0, 5.0]},
    "Square": {},
    "SquareRoot": {},
    "Logarithm": {},
    "Exponential": {},
    "Gradient": {},
}
#: Task -> (volume in ml, image types, whether maps).
TASKS = {
    **{f"original and wavelet, {ml} ml": (ml, SOME, False) for ml in (1, 25, 150)},
    **{f"all image types, {ml} ml": (ml, EVERY, False) for ml in (1, 25, 150)},
    "maps, 1 ml": (1, {"Original": {}}, True),
}


def case(ml: float) -> tuple[sitk.Image, sitk.Image]:
    """CT and a lumpy region of a volume."""
    rng = np.random.default_rng(0)
    field = ndimage.gaussian_filter(rng.normal(size=SHAPE), 4.0)
    offset = np.moveaxis(np.indices(SHAPE), 0, -1) - (np.array(SHAPE) - 1) / 2
    score = np.linalg.norm(offset, axis=-1) - 3 * field / field.std()
    region = score <= np.partition(score.ravel(), int(ml * 1000))[int(ml * 1000)]
    values = 40 + 60 * ndimage.gaussian_filter(rng.normal(size=SHAPE), 1.0) / 0.15
    values += 20 * rng.normal(size=SHAPE)
    image = sitk.GetImageFromArray(values.astype(np.int16))
    return image, sitk.GetImageFromArray(region.astype(np.uint8))


def runner(engine: str, task: str):
    """Return a function that runs a task once."""
    ml, image_types, maps = TASKS[task]
    classes = [name for name in CLASSES if not (maps and name == "shape")]
    parameters = {
        "setting": {"binWidth": 25, "additionalInfo": False},
        "imageType": image_types,
        "featureClass": {name: [] for name in classes},
    }
    if engine == "survimg":
        from survimg.radiomics import FeatureExtractor as Extractor
    else:
        from radiomics.featureextractor import RadiomicsFeatureExtractor as Extractor

        logging.getLogger("radiomics").setLevel(logging.CRITICAL)
    extractor, (image, mask) = Extractor(parameters), case(ml)
    return lambda: extractor.execute(image, mask, voxelBased=maps)


def seconds(run) -> float:
    start = time.process_time()
    run()
    return time.process_time() - start


def memory(engine: str, task: str) -> float:
    """Peak of the resident set that a run adds, in MiB, in a process of its own."""
    command = [sys.executable, __file__, "--memory", engine, "--only", task]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--only", nargs="+", default=list(TASKS))
    parser.add_argument("--memory")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    np.seterr(all="ignore")
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    if arguments.memory:
        run = runner(arguments.memory, arguments.only[0])
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        run()
        print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
        return
    results = {}
    for task in arguments.only:
        runs = {engine: runner(engine, task) for engine in ("survimg", "pyradiomics")}
        runs["survimg"]()  # compiles
        times: dict[str, list[float]] = {engine: [] for engine in runs}
        for _ in range(arguments.repeats):
            for engine, run in runs.items():
                times[engine].append(seconds(run))
        medians = {engine: statistics.median(values) for engine, values in times.items()}
        peaks = {engine: memory(engine, task) for engine in runs}
        results[task] = {"seconds": medians, "peak_mib": peaks}
        print(
            f"{task:30} survimg {medians['survimg']:7.3f} s, PyRadiomics "
            f"{medians['pyradiomics']:8.2f} s, ratio "
            f"{medians['pyradiomics'] / medians['survimg']:5.1f}; peak "
            f"{peaks['survimg']:.0f} and {peaks['pyradiomics']:.0f} MiB",
            flush=True,
        )
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
