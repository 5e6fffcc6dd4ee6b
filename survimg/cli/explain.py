"""Map where in the image a network's prediction comes from: one NIfTI and one picture per patient.

For networks over volumes; for models on tables use survimg.explain in Python.

Maps have the grid of each patient's own image. Positive values raise the risk (with --horizon:
raise survival; of a classifier: raise the log-odds of its label). Needs Captum (pip install
captum).
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from survimg.cli.arguments import at_least
from survimg.cli.labels import label_of_model
from survimg.cli.output import Answer, counted
from survimg.cli.trust import add_trust, trusted

if TYPE_CHECKING:
    from survimg.cohort import Cohort

__all__ = ["EXAMPLES", "SUMMARY", "add_arguments", "run"]

SUMMARY = "saliency maps of a saved network, as images"
EXAMPLES = ("survimg explain --model model --cohort cohort --out maps --patients P001 P002",)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "--model", required=True, metavar="FOLDER",
        help="model written by survimg fit or survimg.save",
    )
    parser.add_argument(
        "--cohort", required=True, metavar="FOLDER",
        help="a cohort prepared with the settings of the training cohort",
    )
    parser.add_argument(
        "--out", required=True, metavar="FOLDER", help="folder of the maps; must not exist"
    )
    parser.add_argument(
        "--patients", nargs="+", metavar="ID", help="patients to explain (default: all)"
    )
    parser.add_argument(
        "--method", choices=("integrated_gradients", "occlusion", "grad_cam"),
        default="integrated_gradients",
    )
    parser.add_argument(
        "--horizon", type=float, metavar="T", help="explain survival at T instead of the risk"
    )
    parser.add_argument(
        "--samples", type=at_least(1), default=1, metavar="N",
        help="number of noisy copies of the image over which the map is averaged (SmoothGrad; "
        "default: 1)",
    )
    parser.add_argument("--seed", type=at_least(0), default=0, help="seed of noise (default: 0)")
    parser.add_argument("--device", help="cpu, cuda (default: as in training)")
    add_trust(parser)


def run(arguments: argparse.Namespace) -> Answer:
    """Explain all patients, then write all maps."""
    import survimg
    from survimg.cohort import Cohort
    from survimg.explain import plot_saliency, saliency, write_saliency
    from survimg.files import writing

    out = Path(arguments.out)
    if out.exists():
        raise FileExistsError(f"--out {out} exists; give another folder.")
    model = survimg.load(
        arguments.model, device=arguments.device, trusted=trusted(arguments)
    )
    _check_network(model, arguments.model)
    cohort = _patients(Cohort.load(arguments.cohort), arguments.patients)
    maps = saliency(
        model,
        cohort,
        method=arguments.method,
        horizon=arguments.horizon,
        n_samples=arguments.samples,
        random_state=arguments.seed,
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as folder:
        partial = Path(folder) / "maps"
        paths = write_saliency(cohort, maps, partial)
        label = _label(model, arguments)
        for i, (path, values) in enumerate(zip(paths, maps, strict=True)):
            if values.any():  # a flat network has nothing to draw
                figure = plot_saliency(cohort, i, values, label=label)
                with writing(partial / f"{path.name.removesuffix('.nii.gz')}.png") as picture:
                    figure.savefig(picture, dpi=120)
        os.replace(partial, out)  # and not into the folder of another run
    return Answer(
        f"{out}: maps of {counted(len(paths), 'patient')}\n",
        {
            "folder": out,
            "method": arguments.method,
            "horizon": arguments.horizon,
            "maps": [
                {"patient_id": patient, "map": out / path.name}
                for patient, path in zip(cohort.ids, paths, strict=True)
            ],
        },
    )


def _label(model: Any, arguments: argparse.Namespace) -> str:
    """Say what the colours of the pictures mean."""
    from survimg.explain import name_of_score

    score = name_of_score(model, arguments.horizon)
    if hasattr(model, "predict_proba") and (positive := label_of_model(arguments.model)):
        score = f"log-odds of {positive}"
    kind = "Grad-CAM for" if arguments.method == "grad_cam" else "contribution to"
    return f"{kind} the {score}"


def _check_network(model: Any, folder: str) -> None:
    from survimg.estimators import FoldEnsemble
    from survimg.estimators.deep import VolumeClassifier, VolumeSurvivalEstimator

    members = model.members_ if isinstance(model, FoldEnsemble) else [model]
    kinds = VolumeSurvivalEstimator | VolumeClassifier
    if not all(isinstance(member, kinds) for member in members):
        raise ValueError(
            f"--model {folder}: {type(members[0]).__name__} is not a network over volumes, which "
            "saliency maps need. For models on tables use survimg.explain.family_importance or "
            "shapley_values in Python."
        )


def _patients(cohort: Cohort, ids: list[str] | None) -> Cohort:
    if ids is None:
        return cohort
    position = {name: i for i, name in enumerate(cohort.ids.tolist())}
    unknown = [name for name in ids if name not in position]
    if unknown:
        raise ValueError(f"--patients {unknown[0]}: the cohort has no such patient.")
    return cohort[[position[name] for name in ids]]
