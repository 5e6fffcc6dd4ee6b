"""Train one model on all patients of a prepared cohort, and save it.

Scores of the training patients are not shown, because they say nothing about new patients: use
`survimg benchmark` to estimate how well a model ranks new patients.
"""

from __future__ import annotations

import argparse
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from survimg.cli.arguments import add_empty_masks, at_least
from survimg.cli.cohorts import check_empty_masks
from survimg.cli.labels import (
    add_label,
    check_label,
    label_patients,
    label_wanted,
    tell_of_left_out,
)
from survimg.cli.model_parameters import set_parameters
from survimg.cli.output import Answer, add_progress, counted, note
from survimg.cli.remedies import with_options
from survimg.cli.trust import add_trust, trusted
from survimg.suites import ModelSettings, build_models

if TYPE_CHECKING:
    import numpy as np

    from survimg.cohort import Cohort

__all__ = ["EXAMPLES", "SUMMARY", "add_arguments", "run"]

SUMMARY = "train a model on a prepared cohort, and save it"
EXAMPLES = (
    "survimg fit --cohort cohort --model radiomics-lasso-cox --out models/radiomics",
    "survimg fit --cohort cohort --model deepmts --out models/deepmts",
    "survimg fit --cohort cohort --model radiomics-forest --label-at 36 --out models/by-36",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "--cohort", required=True, metavar="FOLDER", help="a prepared cohort (survimg prepare)"
    )
    parser.add_argument(
        "--model", required=True, metavar="NAME",
        help="a name that survimg models lists, or module:callable, which is imported and run",
    )
    parser.add_argument("--out", required=True, metavar="FOLDER", help="folder of the model")
    parser.add_argument(
        "--set", action="append", default=[], metavar="PARAMETER=VALUE",
        help="set a parameter of the model, such as learning_rate=1e-3; may be repeated",
    )
    parser.add_argument(
        "--iterations", type=at_least(1), metavar="N",
        help="training steps of a network (default: 400)",
    )
    parser.add_argument(
        "--published", action="store_true",
        help="train a network as in its paper: 15,000 steps, days on a CPU",
    )
    parser.add_argument("--seed", type=at_least(0), default=0, metavar="SEED", help="default: 0")
    parser.add_argument(
        "--device", default="auto", help="device of networks: auto (default), cpu, cuda"
    )
    parser.add_argument("--threads", type=at_least(1), metavar="N", help="threads of a network")
    parser.add_argument("--overwrite", action="store_true", help="replace the model at --out")
    add_label(parser)
    add_trust(parser)
    add_empty_masks(parser)
    add_progress(parser)


def run(arguments: argparse.Namespace) -> Answer:
    """Train and save the model."""
    import numpy as np

    import survimg
    from survimg.benchmark.identity import seeded_clone
    from survimg.cohort import Cohort

    out = Path(arguments.out)
    if out.exists() and any(out.iterdir()) and not arguments.overwrite:
        raise FileExistsError(f"--out {out} exists; give another folder, or --overwrite.")
    cohort = Cohort.load(arguments.cohort)
    cohort = cohort[check_empty_masks(arguments, cohort)]
    check_label(arguments)
    cohort, y, target, sample_weight = _target(arguments, cohort)
    settings = ModelSettings(
        n_iterations=arguments.iterations,
        published=arguments.published,
        device=arguments.device,
        n_threads=arguments.threads,
        verbose=arguments.progress,
        clinical=cohort.clinical is not None,
    )
    classifiers = label_wanted(arguments)
    model = build_models([arguments.model], settings, classifiers=classifiers)[arguments.model]
    model = seeded_clone(model, arguments.seed)
    set_parameters(model, arguments.model, arguments.set)
    classes = trusted(arguments)
    _check_saved(model, classes)
    weights = _weights(model, arguments.model, sample_weight)
    try:
        model.fit(cohort, y, **weights)
    except ValueError as error:
        raise ValueError(with_options(str(error), arguments, {"": model})) from error
    notes = {} if target is None else {"label": target}
    survimg.save(model, out, overwrite=arguments.overwrite, trusted=classes, notes=notes)
    events = int(np.sum(y if classifiers else y["event"]))
    of_these = f"{events} of them with {target}" if classifiers else counted(events, "event")
    return Answer(
        f"{out}: {arguments.model}, trained on {counted(len(cohort), 'patient')}"
        f"{', ' if classifiers else ' with '}{of_these}\n",
        {
            "folder": out,
            "model": arguments.model,
            "patients": len(cohort),
            "positive" if classifiers else "events": events,
            **({"label": target} if classifiers else {}),
            **({} if sample_weight is None else {"weighted": bool(weights)}),
        },
    )


def _weights(model: Any, name: str, sample_weight: np.ndarray | None) -> dict[str, Any]:
    """Return the weights of the patients as the model takes them; say if it takes none."""
    from survimg.benchmark.sample_weight import weight_name

    if sample_weight is None:
        return {}
    keyword = weight_name(model)
    if keyword is None:
        note("warning", f"{name} takes no weights: it is trained as with --label-censoring drop.")
        return {}
    return {keyword: sample_weight}


def _target(
    arguments: argparse.Namespace, cohort: Cohort
) -> tuple[Cohort, np.ndarray, str | None, np.ndarray | None]:
    """Return the patients, their events and times or labels, what labels say, and weights."""
    if label_wanted(arguments):
        labelled = label_patients(arguments, cohort)
        tell_of_left_out(labelled.settings)
        return labelled.cohort, labelled.labels, labelled.name, labelled.sample_weight
    if cohort.outcome is None:
        raise ValueError(
            f"--cohort {arguments.cohort} has no outcome: its manifest lacks the columns time and "
            "event."
        )
    return cohort, cohort.outcome, None, None


def _check_saved(model: Any, classes: list[Any]) -> None:
    """Refuse before the training what could not be saved after it."""
    import survimg

    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # given when the fitted model is saved
        survimg.save(model, Path(folder) / "model", trusted=classes)
