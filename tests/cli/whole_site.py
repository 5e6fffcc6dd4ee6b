"""Everything that survimg writes: each command with an output, and each function that writes.

A site has DICOM of its patients, whose headers hold names; what is written is what the site may
hand on. Tests ask which permissions it has, and what it tells about patients.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk  # noqa: N813  # the name its own documentation uses
from dicom_export import export_patient
from sklearn.base import BaseEstimator
from skorch.callbacks import Callback

import survimg
from survimg import Cohort
from survimg.benchmark import run_benchmark, write_tables
from survimg.cli import main
from survimg.datasets import write_phantom_manifest
from survimg.estimators import ClinicalVolumeCox, DeepMTS, FitOnce
from survimg.evaluation import Nomogram, fit_cox
from survimg.explain import write_saliency
from survimg.features import TumourVolume
from survimg.io import manifest_of_dicom, read_image, write_image
from survimg.io.dicom.seg_writing import write_segmentation
from survimg.model_selection import EventStratifiedKFold
from survimg.radiomics import RadiomicsFeatures, write_maps
from survimg.report import export_figures, render
from survimg.report.comparison import compare_runs
from survimg.report.comparison_page import render_comparison
from survimg.report.nomogram_page import write_nomogram_page
from survimg.suites.mtdlr_tables import SCORES, ScoredCohort, write_analysis
from survimg.target import make_outcome

__all__ = ["WRITING_COMMANDS", "Site", "make_site", "write_by_commands", "write_by_functions"]

#: Commands that leave files; the others print.
WRITING_COMMANDS = (
    "prepare", "radiomics", "benchmark", "report", "compare", "mtdlr", "fit", "predict", "explain",
)  # fmt: skip
N = 8
_SHAPE = ["--shape", "16", "16", "16", "--spacing", "8"]
_QUICK = [
    "--iterations", "1", "--threads", "1", "--set", "batch_size=4", "--set", "batch_norm_batches=1",
    "--set", "precision=float32",
]  # fmt: skip


@dataclass(frozen=True)
class Site:
    """Inputs: a manifest of NIfTI files, the same patients as DICOM, and a clinical table."""

    manifest: Path
    dicom: Path
    clinical: Path


def make_site(folder: Path, names: Sequence[str] | None = None) -> Site:
    """Make the inputs; `names` are patients' identifiers and folder names."""
    manifest = write_phantom_manifest(folder / "nifti", n=N, shape=(16, 16, 16), random_state=0)
    table = pd.read_csv(manifest, dtype=str).drop(columns="PET")
    table["patient_id"] = names or table["patient_id"]
    table.to_csv(manifest, index=False)
    for _, row in table.iterrows():
        paths = (manifest.parent / row["CT"], manifest.parent / row["mask"])
        export_patient(folder / "dicom" / row["patient_id"], *paths)
    clinical = folder / "clinical.csv"
    table.drop(columns=["CT", "mask"]).to_csv(clinical, index=False)
    return Site(manifest, folder / "dicom", clinical)


def write_by_commands(site: Site, out: Path, *options: str) -> None:
    """Call every command that writes; `options` go to ``survimg prepare``."""
    dicom = [site.dicom, "--clinical", site.clinical, "--label", "Tumour"]
    store, run = out / "cohort", out / "run"
    _call("prepare", *dicom, "--out", store, *_SHAPE, *options)
    register = ["--register", "rigid", "--crop", "fixed", "--on-failed-registration", "translate",
                "--features-spacing", "8"]
    _call("prepare", site.manifest, "--out", out / "registered", *_SHAPE, *register, *options)
    _call("radiomics", store, "--out", out / "features.csv", "--images", "original",
          "--cache", out / "cache")
    cases = pd.read_csv(site.manifest, dtype=str).rename(columns={"CT": "Image", "mask": "Mask"})
    cases[["patient_id", "Image", "Mask"]].to_csv(site.manifest.parent / "cases.csv", index=False)
    params = site.manifest.parent / "params.yaml"
    params.write_text("imageType: {Original: {}}\nfeatureClass: {shape: }\n")
    _call("radiomics", site.manifest.parent / "cases.csv", "--params", params,
          "--out", out / "cases.csv")
    params.write_text("featureClass: {firstorder: [Mean]}\n")
    cases[["Image", "Mask"]].head(1).to_csv(site.manifest.parent / "case.csv", index=False)
    _call("radiomics", site.manifest.parent / "case.csv", "--params", params,
          "--maps", out / "case-maps", "--out", out / "case-maps.csv")
    models = ["--models", "clinical-volume-cox,deepmts", "--folds", "2", "--iterations", "1"]
    quick = ["deepmts.batch_size=4", "deepmts.batch_norm_batches=1", "deepmts.precision=float32"]
    _call("benchmark", "--cohort", store, *models, *(w for s in quick for w in ("--set", s)),
          "--threads", "1", "--out", run)
    raw = ["--models", "clinical-volume-cox", "--folds", "2", "--negative-control"]
    _call("benchmark", "--cohort", site.manifest, *_SHAPE, *raw, "--out", out / "raw-run")
    _call("report", run, "--figures", out / "figures")
    _call("compare", run, out / "raw-run", "--html", out / "difference.html")
    with warnings.catch_warnings():  # a network of one step finds no tumour
        warnings.simplefilter("ignore", UserWarning)
        _call("mtdlr", "--cohort", "phantom", "--patients", "24", *_SHAPE[:4], "--internal", "8",
              "--horizons", "12", "--folds", "2", "--lasso-folds", "2", "--iterations", "1",
              "--threads", "1", "--out", out / "mtdlr")
    _call("fit", "--cohort", store, "--model", "deepmts", *_QUICK, "--out", out / "network")
    _call("fit", "--cohort", store, "--model", "clinical-volume-cox", "--out", out / "cox")
    new = ["--model", out / "network", "--cohort", *dicom, "--masks", "--horizons", "2"]
    _call("predict", *new, "--out", out / "predictions")
    _call("predict", *new, "--mask-format", "dicom-seg", "--out", out / "objects")
    # Integrated gradients of so few steps may warn, by rounding, that they miss their sum.
    _call("explain", "--model", out / "network", "--cohort", store, "--out", out / "maps",
          "--patients", str(Cohort.load(store).ids[0]), "--method", "grad_cam")


def _call(command: str, *arguments: object) -> None:
    assert command in WRITING_COMMANDS
    words = [command, *map(str, arguments), "-q"]
    assert main(words) == 0, words


class Bright(BaseEstimator):
    """The brightest voxel."""

    def fit(self, X: Cohort, y: np.ndarray) -> Bright:
        self.fitted_ = True
        return self

    def predict(self, X: Cohort) -> np.ndarray:
        return np.array([volume.max() for volume in X], dtype=float)


def write_by_functions(site: Site, out: Path, cohort: Cohort) -> None:
    """Call every function that writes; each leaves a file or a folder of its own name."""
    for name, write in _writers(site, cohort).items():
        write(out / name)
        assert (out / name).exists(), name


def _writers(site: Site, cohort: Cohort) -> dict[str, Callable[[Path], object]]:
    y = cohort.outcome
    image = read_image(next(site.dicom.iterdir()) / "scan 1")
    maps = np.zeros((len(cohort), *cohort.shape[2:]), np.float32)
    series = next(site.dicom.iterdir()) / "scan 1"
    frame = pd.DataFrame({"age": np.arange(len(y), dtype=float)})
    nomogram = Nomogram(fit_cox(y, frame), {"age": (0.0, 10.0)}, frame, y)
    return {
        "image.nii.gz": lambda path: write_image(path, image.array, image),
        "image.nrrd": lambda path: write_image(path, image.array, image),
        "image.mhd": lambda path: write_image(path, image.array, image),
        "mask.dcm": lambda path: write_segmentation(
            path, image.array > image.array.mean(), image, series, algorithm="A"
        ),
        "phantoms": lambda path: write_phantom_manifest(path, n=6, shape=(16, 16, 16)),
        "manifest": lambda path: _manifest(site, path),
        "cohort-saved": cohort.save,
        "saliency": lambda path: write_saliency(cohort, maps, path),
        "voxel-maps": _voxel_maps,
        "features": lambda path: RadiomicsFeatures(
            memory=path, image_types=["original"]
        ).fit_transform(cohort),
        "model": lambda path: survimg.save(ClinicalVolumeCox().fit(cohort, y), path),
        "fits": lambda path: FitOnce(TumourVolume(), memory=path).fit(cohort, y),
        "checkpoints": lambda path: _interrupted_training(path, cohort),
        "measured": lambda path: _measured(path, cohort),
        "figures-again": lambda path: export_figures(path.parent / "measured", path),
        "difference-again.html": lambda path: render_comparison(
            compare_runs([path.parent / "measured"] * 2), path
        ),
        "nomogram.html": lambda path: write_nomogram_page(nomogram, path, horizons=[2.0]),
        "analysis": lambda path: _analysis(path, cohort),
    }  # fmt: skip


def _manifest(site: Site, path: Path) -> None:
    path.mkdir()
    manifest_of_dicom(site.dicom, path, clinical=site.clinical)


def _voxel_maps(path: Path) -> None:
    path.mkdir()
    image = sitk.GetImageFromArray(np.zeros((4, 4, 4)))
    write_maps({"original_firstorder_Mean": image}, image, path)


class _Stop(Callback):
    """Interrupt the third epoch."""

    def on_epoch_begin(self, net: object, **_: object) -> None:
        if len(net.history) > 2:
            raise OSError("the disk is full")


def _interrupted_training(path: Path, cohort: Cohort) -> None:
    model = DeepMTS(
        n_iterations=4, iterations_per_epoch=1, batch_size=4, batch_norm_batches=1, n_threads=1,
        random_state=0, precision="float32", checkpoint_folder=path, checkpoint_every=1, verbose=0,
        callbacks=[_Stop()],
    )  # fmt: skip
    with pytest.raises(OSError, match="full"):
        model.fit(cohort, cohort.outcome)


def _measured(path: Path, cohort: Cohort) -> None:
    y = cohort.outcome
    splits = list(EventStratifiedKFold(2, shuffle=True, random_state=0).split(cohort, y))
    run = run_benchmark({"bright": Bright()}, cohort, y, splits=splits, out=path, progress=False)
    write_tables(run)
    render(path)


def _analysis(path: Path, cohort: Cohort) -> None:
    rng = np.random.default_rng(0)
    n = 40
    y = make_outcome(rng.random(n) < 0.7, rng.exponential(size=n) + 0.1)
    scores = pd.DataFrame(rng.normal(size=(n, len(SCORES))), columns=list(SCORES))
    clinical = pd.DataFrame({"age": rng.normal(size=n)})
    scored = ScoredCohort("training", y, scores, clinical, {1.0: rng.random(n)})
    write_analysis([scored], path, variables=["age"])
