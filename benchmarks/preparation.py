"""What a preparation keeps: noise of coarser grids, volumes of small tumours, features, time, disk.

::

    python benchmarks/preparation.py noise
    python benchmarks/preparation.py masks
    python benchmarks/preparation.py features --sts51 FOLDER
    python benchmarks/preparation.py scores --sts51 FOLDER
    python benchmarks/preparation.py cost --sts51 FOLDER --n-jobs 2
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from joblib.externals.loky import get_reusable_executor
from sklearn.model_selection import cross_val_score

from survimg.cohort import Cohort
from survimg.datasets import load_sts51
from survimg.estimators import ClinicalVolumeCox, radiomics_lasso_cox
from survimg.features import TumourVolume
from survimg.io import Image
from survimg.model_selection import EventStratifiedKFold
from survimg.preprocessing import Preparation, prepare, resample, resample_mask
from survimg.preprocessing.steps import resampled_grid
from survimg.radiomics import RadiomicsFeatures

CT = (3.0, 0.98, 0.98)
BEFORE = {"antialias": False, "mask_interpolation": "nearest"}
GRIDS = {6.0: (48,) * 3, 12.0: (24,) * 3}


def noise(_: argparse.Namespace) -> Iterator[str]:
    """SD of white noise of 25 HU in a CT on coarser grids."""
    values = np.random.default_rng(0).normal(0, 25, size=(100, 260, 260)).astype(np.float32)
    inner = (slice(1, -1), slice(2, -2), slice(2, -2))
    for step in (4.0, 6.0, 12.0):
        after, before = (
            resample(Image(values, CT), step, antialias=blur).array[inner].std()
            for blur in (True, False)
        )
        yield f"{step:g} mm: {before:.1f} HU before, {after:.1f} HU with the blur"


def masks(_: argparse.Namespace) -> Iterator[str]:
    """Volume of spheres of 6 mm radius, drawn on the CT's grid at random places."""
    rng = np.random.default_rng(0)
    shape = np.array((24, 64, 64))
    axes = np.meshgrid(*map(np.arange, shape), indexing="ij")
    for step in (2.0, 4.0, 8.0, 12.0):
        ratios: dict[str, list[float]] = {"nearest": [], "linear": [], "volume": []}
        for _ in range(200):
            centre = (shape - 1) / 2 + rng.uniform(-6, 6, 3) / CT
            far = sum(((a - c) * s) ** 2 for a, c, s in zip(axes, centre, CT, strict=True))
            mask = Image((far <= 36).astype(np.uint8), CT)
            grid = resampled_grid(mask, step)
            own = mask.array.sum() * np.prod(CT)
            for how, values in ratios.items():
                values.append(float(resample_mask(mask, grid, how).sum() * step**3 / own))
        told = [
            f"{how} {100 * np.sqrt(np.mean((np.array(v) - 1) ** 2)):.0f} % (SD "
            f"{100 * np.std(v):.0f} %, lost {100 * np.mean(np.array(v) == 0):.0f} %)"
            for how, v in ratios.items()
        ]
        yield f"{step:g} mm, root mean square error of the volume: {', '.join(told)}"


def _prepared(options: argparse.Namespace, spacing: float, **more: object) -> Cohort:
    settings = Preparation(shape=GRIDS[spacing], spacing=spacing, **more)  # type: ignore[arg-type]
    return prepare(load_sts51(options.sts51), settings, progress=False)


def features(options: argparse.Namespace) -> Iterator[str]:
    """Spearman correlation of each feature between cohorts on two networks' grids."""
    ways = {"before": BEFORE, "now, networks' grid": {}, "finer": {"features_spacing": "native"}}
    tables, volumes = {}, {}
    for way, more in ways.items():
        for spacing in GRIDS:
            cohort = _prepared(options, spacing, **more)
            tables[way, spacing] = RadiomicsFeatures(on_empty_mask="nan").fit_transform(cohort)
            volumes[way, spacing] = TumourVolume(log=False).fit_transform(cohort).iloc[:, 0]
    own = volumes["finer", 6.0]
    for way in ways:
        pair = [tables[way, spacing] for spacing in GRIDS]
        named = [name for name in pair[0] if all(table[name].nunique() > 1 for table in pair)]
        textures = ("glcm", "glrlm", "glszm", "ngtdm")
        for what, names in (
            ("all features", named),
            ("CT texture", [n for n in named if n[:2] == "CT" and any(t in n for t in textures)]),
        ):
            r = np.array([pair[0][n].corr(pair[1][n], method="spearman") for n in names])
            yield (
                f"{way}, {what}: median Spearman {np.median(r):.3f} between 6 and 12 mm, "
                f"{np.mean(r < 0.8):.0%} below 0.8"
            )
        off = [np.sqrt(np.mean((volumes[way, s] / own - 1) ** 2)) for s in GRIDS]
        yield f"{way}: tumour volumes off by {off[0]:.1%} at 6 mm and {off[1]:.1%} at 12 mm"


def scores(options: argparse.Namespace) -> Iterator[str]:
    """C of two models on the same folds, by the voxels that are measured."""
    ways = {"before": BEFORE, "now, networks' grid": {}, "finer": {"features_spacing": "native"}}
    with tempfile.TemporaryDirectory() as memory:
        for spacing in GRIDS:
            for way, more in ways.items():
                cohort = _prepared(options, spacing, **more)
                extractor = RadiomicsFeatures(memory=memory)
                for name, model in (
                    ("clinical-volume", ClinicalVolumeCox()),
                    ("radiomics_lasso_cox",
                     radiomics_lasso_cox(extractor=extractor, clinical_columns=[])),
                ):
                    values = np.concatenate([
                        cross_val_score(
                            model, cohort, cohort.outcome,
                            cv=EventStratifiedKFold(5, shuffle=True, random_state=seed),
                        ) for seed in range(3)
                    ])
                    c = f"C {values.mean():.3f} ± {values.std():.3f}"
                    yield f"{spacing:g} mm, {way}, {name}: {c}"


def cost(options: argparse.Namespace) -> Iterator[str]:
    """CPU time, memory and disk of a preparation."""
    raw = load_sts51(options.sts51)
    for finer in (None, "native", 1.0):
        with tempfile.TemporaryDirectory() as folder:
            settings = Preparation(shape=(48,) * 3, spacing=4.0, features_spacing=finer)  # type: ignore[arg-type]
            before = _cpu()
            prepare(raw, settings, Path(folder) / "out", n_jobs=options.n_jobs, progress=False)
            size = sum(path.stat().st_size for path in Path(folder).rglob("*.npz"))
            if options.n_jobs > 1:  # workers count when they have ended, with their start
                get_reusable_executor().shutdown(wait=True)
            used = 1000 * (_cpu() - before) / len(raw)
            yield (
                f"features_spacing={finer}: {used:.0f} ms of CPU and "
                f"{size / len(raw) / 1e6:.2f} MB of finer voxels a patient, at most "
                f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB so far"
            )


def _cpu() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def main() -> None:
    """Run one measurement and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    tasks = {each.__name__: each for each in (noise, masks, features, scores, cost)}
    parser.add_argument("task", choices=tasks)
    parser.add_argument("--sts51", help="folder of the STS-51 cohort")
    parser.add_argument("--n-jobs", type=int, default=1)
    options = parser.parse_args()
    warnings.simplefilter("ignore", UserWarning)  # tumours that reach beyond the block
    for line in tasks[options.task](options):
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
