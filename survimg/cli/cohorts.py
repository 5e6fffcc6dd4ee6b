"""The cohorts that ``survimg benchmark --cohort`` takes."""

from __future__ import annotations

import argparse
import hashlib
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from survimg.cli.arguments import (
    PREPARATION,
    at_least,
    manifest_reading,
    names,
    preparation,
    refuse,
)
from survimg.cli.labels import label_patients, label_wanted
from survimg.cli.output import note

if TYPE_CHECKING:
    import numpy as np

    from survimg.cohort import Cohort

__all__ = [
    "EXTERNAL_PHANTOMS",
    "PHANTOM_PATIENTS",
    "PHANTOM_SHAPE",
    "Source",
    "Study",
    "add_phantoms",
    "check_empty_masks",
    "find_cohort",
    "outcome_of",
    "with_external",
    "with_labels",
    "without_empty_masks",
]

PHANTOM_PATIENTS = 120
EXTERNAL_PHANTOMS = 60
PHANTOM_SHAPE = (32, 32, 32)

_TRUTH = ("truth", "effects", "strand_gap")
_READING = ("modalities", "mask_label", "time_unit", "allow_outside", "na_values", "kinds")
_PREPARATION = PREPARATION[1:]  # phantoms have a shape, too
# What options are for, in errors.
_PHANTOMS, _STS51 = "phantoms (--cohort phantom)", "the public cohort (sts51:FOLDER)"
_MANIFEST, _IMAGES = "a manifest (.csv)", "images: a manifest (.csv) or sts51:FOLDER"


@dataclass(frozen=True)
class Study:
    """A cohort ready for models, with information for the report.

    Attributes
    ----------
    cohort : Cohort
    label : str
    oracle_risk : ndarray of shape (n,), or None
        True risk of phantoms.
    settings : dict
    caveats : tuple of str
    n_training : int or None
        Number of training patients, which come first, if there are external patients.
    label_name : str or None
        What the labels say of a patient that the outcome of the cohort stands for
        (`survimg.cli.labels`); None for events and times.
    sample_weight : ndarray of shape (n,), or None
        Weights of patients with labels.
    """

    cohort: Cohort
    label: str
    oracle_risk: np.ndarray | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    caveats: tuple[str, ...] = ()
    n_training: int | None = None
    label_name: str | None = None
    sample_weight: np.ndarray | None = None


@dataclass(frozen=True)
class Source:
    """A cohort before its preparation, so that errors in its outcome are raised first.

    Attributes
    ----------
    cohort : Cohort
        The same patients in the same order as after the preparation.
    load : callable
        Prepares it if need be; returns `Study`.
    """

    cohort: Cohort
    load: Callable[[], Study]


def find_cohort(arguments: argparse.Namespace) -> Source:
    """Find, or make, the cohort of the command line.

    Raises
    ------
    ValueError, OSError
        No such cohort, or arguments that do not apply to it.
    """
    kind, _, where = arguments.cohort.partition(":")
    if arguments.cohort == "phantom":
        refuse(arguments, "phantom", "endpoint", meant_for=_STS51)
        refuse(arguments, "phantom", *_PREPARATION, meant_for=_IMAGES)
        refuse(arguments, "phantom", *_READING, meant_for=_MANIFEST)
        return _phantom(arguments)
    of_phantoms = "patients", "centres", *_shift(arguments), *_TRUTH
    refuse(arguments, arguments.cohort, *of_phantoms, meant_for=_PHANTOMS)
    if kind == "sts51" and where:
        refuse(arguments, "sts51", *_READING, meant_for=_MANIFEST)
        return _sts51(arguments, Path(where))
    refuse(arguments, arguments.cohort, "endpoint", meant_for=_STS51)
    path = Path(arguments.cohort)
    if path.suffix.lower() == ".csv":
        return _manifest(arguments, path)
    refuse(arguments, "a prepared cohort", "shape", *_PREPARATION, meant_for=_IMAGES)
    refuse(arguments, "a prepared cohort", *_READING, meant_for=_MANIFEST)
    if not path.is_dir():
        raise ValueError(
            f"--cohort {arguments.cohort}: no such folder. Give a prepared cohort's folder, a "
            "manifest (.csv), sts51:FOLDER, or phantom."
        )
    from survimg.cohort import Cohort

    cohort = Cohort.load(path)
    patients = Study(cohort, path.name, settings={"prepared": cohort.settings})
    return Source(cohort, lambda: patients)


def outcome_of(cohort: Cohort, name: str) -> np.ndarray:
    """Return the outcome of a cohort.

    Raises
    ------
    ValueError
        It has none.
    """
    if cohort.outcome is None:
        raise ValueError(f"--cohort {name} has no outcome (columns time and event).")
    return cohort.outcome


def check_empty_masks(arguments: argparse.Namespace, cohort: Cohort) -> np.ndarray:
    """Find the patients with empty masks before any model does.

    Returns
    -------
    ndarray of shape (m,), int
        Positions of the patients that stay.

    Raises
    ------
    ValueError
        There are such patients, and nothing says what is to become of them.
    """
    import numpy as np

    from survimg.io.patients import listed

    every = np.arange(len(cohort))
    if arguments.empty_masks == "keep":
        return every
    masked = np.flatnonzero(cohort.has_masks).tolist()
    empty = [i for i in masked if not cohort.mask(i).any()]
    names = listed([str(cohort.ids[i]) for i in empty])
    finding = f"{len(empty)} patient(s) have an empty tumour mask: {names}"
    if empty and arguments.empty_masks == "refuse":
        raise ValueError(
            f"{finding}. Repair the masks; or --empty-masks leave-out goes on without these "
            "patients (keep: with them, for models that read no masks)."
        )
    if empty:
        note("warning", f"{finding}; they are left out.")
    return np.setdiff1d(every, empty)


def without_empty_masks(arguments: argparse.Namespace, study: Study) -> Study:
    """Leave out patients with empty masks, where that is asked for; see `check_empty_masks`."""
    positions = check_empty_masks(arguments, study.cohort)
    if len(positions) == len(study.cohort):
        return study
    risk = None if study.oracle_risk is None else study.oracle_risk[positions]
    left_out = {"left_out_for_empty_masks": len(study.cohort) - len(positions)}
    return replace(
        study,
        cohort=study.cohort[positions],
        oracle_risk=risk,
        settings={**study.settings, **left_out},
    )


def with_external(arguments: argparse.Namespace, training: Study) -> Study:
    """Put the patients of ``--external`` behind those of the cohort.

    Raises
    ------
    ValueError, OSError
        No such cohort, or one that does not fit to the other.
    """
    import numpy as np

    from survimg.model_selection import join_cohorts

    external = without_empty_masks(arguments, _external(arguments, training))
    external = with_labels(arguments, external)
    prefix = "external-" if external.oracle_risk is not None else ""  # phantoms are all named alike
    risks = [risk for risk in (training.oracle_risk, external.oracle_risk) if risk is not None]
    weights = [w for w in (training.sample_weight, external.sample_weight) if w is not None]
    return Study(
        join_cohorts(training.cohort, external.cohort, prefix=prefix),
        f"{training.label}; tested on {external.label}",
        np.concatenate(risks) if len(risks) == 2 else None,
        {**training.settings, "external": external.settings},
        (*training.caveats, *(text for text in external.caveats if text not in training.caveats)),
        n_training=len(training.cohort),
        label_name=training.label_name,
        sample_weight=np.concatenate(weights) if len(weights) == 2 else None,
    )


def with_labels(arguments: argparse.Namespace, study: Study) -> Study:
    """Take the patients who have a label, where labels are asked for.

    Raises
    ------
    ValueError
        See `survimg.cli.labels.label_patients`.
    """
    if not label_wanted(arguments):
        return study
    labelled = label_patients(arguments, study.cohort)
    risk = None if study.oracle_risk is None else study.oracle_risk[labelled.positions]
    return replace(
        study,
        cohort=labelled.cohort,
        oracle_risk=risk,
        settings={**study.settings, **labelled.settings},
        caveats=(*study.caveats, *labelled.caveats),
        label_name=labelled.name,
        sample_weight=labelled.sample_weight,
    )


def _external(arguments: argparse.Namespace, training: Study) -> Study:
    import numpy as np

    from survimg.cohort import Cohort
    from survimg.datasets import make_phantom_cohort

    kind, _, number = arguments.external.partition(":")
    if kind != "phantom":
        path = Path(arguments.external)
        if not path.is_dir():
            raise ValueError(
                f"--external {arguments.external}: no such folder. Give a prepared cohort's folder "
                "(survimg prepare, with the settings of the training cohort) or phantom[:N]."
            )
        cohort = Cohort.load(path)
        return Study(cohort, path.name, settings={"prepared": cohort.settings})
    if training.oracle_risk is None:
        raise ValueError("--external phantom needs --cohort phantom.")
    try:
        n = at_least(2)(number) if number else EXTERNAL_PHANTOMS
    except (ValueError, argparse.ArgumentTypeError):
        raise ValueError(
            f"--external {arguments.external}: phantom:N takes a whole number N of at least 2."
        ) from None
    # A seed of its own: phantoms of one seed are the same patients in a cohort of any size.
    seed = int(np.random.SeedSequence([arguments.seed[0], 1]).generate_state(1)[0] >> 1)
    shift = 1.0 if arguments.shift is None else arguments.shift
    shape = training.cohort.shape[2:]
    phantom = make_phantom_cohort(
        n=n, shape=shape, random_state=seed, shift=shift, **_truth(arguments)  # type: ignore[arg-type]
    )
    settings = {"phantom_seed": seed, "phantom_shift": shift}
    label = "phantoms of another scanner" if shift else f"{n} other phantoms"
    return Study(phantom.cohort, label, phantom.oracle_risk, settings)


def _shift(arguments: argparse.Namespace) -> tuple[str, ...]:
    """Name the option unless it belongs to external phantoms."""
    external = (arguments.external or "").partition(":")[0] == "phantom"
    return () if external else ("shift",)


def _phantom(arguments: argparse.Namespace) -> Source:
    from survimg.datasets import make_phantom_cohort

    n = arguments.patients or PHANTOM_PATIENTS
    shape = tuple(arguments.shape or PHANTOM_SHAPE)
    shift = 0.0 if arguments.shift is None or arguments.external else arguments.shift
    phantom = make_phantom_cohort(
        n=n,
        shape=shape,
        random_state=arguments.seed[0],
        n_centres=arguments.centres or 1,
        shift=shift,
        **_truth(arguments),
    )
    patients = Study(
        phantom.cohort,
        "Phantom cohort",
        oracle_risk=phantom.oracle_risk,
        settings={
            "phantom_seed": arguments.seed[0],
            **({"phantom_centres": arguments.centres} if arguments.centres else {}),
            **({"phantom_shift": shift} if shift else {}),
            **_truth_settings(arguments),
        },
        caveats=(
            "Anything about patients: these are phantoms, drawn by a program from a known hazard.",
        ),
    )
    return Source(phantom.cohort, lambda: patients)


def add_phantoms(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that say how phantoms are drawn."""
    size = "x".join(str(s) for s in PHANTOM_SHAPE)
    parser.add_argument(
        "--patients", type=at_least(6), metavar="N",
        help=f"number of phantom patients (default: {PHANTOM_PATIENTS}, with {size} voxels)",
    )
    parser.add_argument(
        "--shift", type=float, metavar="S",
        help="difference between scanners of phantoms: between centres (default: 0), or between "
        "training and external phantoms (default: 1)",
    )
    hazard = parser.add_mutually_exclusive_group()
    hazard.add_argument(
        "--truth", metavar="NAME",
        help="on what the hazard of phantoms depends: mask (default; volume, uptake, "
        "heterogeneity, infiltration and stage alike) or outside (mostly on infiltration, which "
        "the mask leaves out)",
    )
    hazard.add_argument(
        "--effects", type=_effects, metavar="EFFECTS",
        help="the same in numbers, such as infiltration=1.5,stage=0.4; those not named are 0",
    )
    parser.add_argument(
        "--strand-gap", type=float, metavar="MM",
        help="healthy fat between the tumour of phantoms and its infiltration (default: 0): at 24 "
        "mm, filters of radiomics that reach over the mask's edge do not see it",
    )


def _effects(text: str) -> dict[str, float]:
    pairs = [part.partition("=") for part in names(text)]
    try:
        return {name.strip(): float(value) for name, _, value in pairs}
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"must be like infiltration=1.5,stage=0.4; got {text!r}"
        ) from None


def _truth(arguments: argparse.Namespace) -> dict[str, Any]:
    given = {name: getattr(arguments, name) for name in _TRUTH}
    return {name: value for name, value in given.items() if value is not None}


def _truth_settings(arguments: argparse.Namespace) -> dict[str, Any]:
    hazard = {} if arguments.effects is not None else {"truth": "mask"}
    return {f"phantom_{name}": value for name, value in {**hazard, **_truth(arguments)}.items()}


def _sts51(arguments: argparse.Namespace, folder: Path) -> Source:
    from survimg.datasets import load_sts51

    endpoint = arguments.endpoint or "dfs"
    if arguments.features_spacing is None:  # 0.2 MB a patient, and features that no grid changes
        arguments.features_spacing = "native"
    return _raw(
        arguments,
        load_sts51(folder, endpoint=endpoint),
        "Soft-tissue sarcoma, STS-51",
        settings={"endpoint": endpoint},
        caveats=(
            "Anything about other tumours, scanners or treatments: this is one retrospective "
            "cohort of soft-tissue sarcoma from one centre.",
        ),
    )


def _manifest(arguments: argparse.Namespace, csv: Path) -> Source:
    from survimg.cohort import Cohort

    return _raw(arguments, Cohort.from_manifest(csv, **manifest_reading(arguments)), csv.stem)


def _raw(
    arguments: argparse.Namespace,
    raw: Cohort,
    name: str,
    settings: Mapping[str, Any] | None = None,
    caveats: tuple[str, ...] = (),
) -> Source:
    """Prepare a raw cohort into a folder of the run, unless an earlier run has done it."""
    from survimg.preprocessing import Preparation, prepare

    if arguments.shape is None:
        raise ValueError(
            "--shape Z Y X is needed: raw volumes of different sizes have to be prepared first."
        )
    steps = Preparation(**preparation(arguments))
    # another folder if an image or a setting changes
    key = hashlib.sha256(f"{raw.fingerprint()}\n{steps.key()}".encode()).hexdigest()[:16]
    store = Path(arguments.out) / "cohort" / key

    def load() -> Study:
        if not store.is_dir():
            more = {"n_jobs": arguments.n_jobs, "progress": arguments.progress}
            _prepare_and_note(store, lambda: prepare(raw, steps, store, **more))
        cohort, prepared = _open(store)
        return Study(cohort, name, settings={**(settings or {}), **prepared}, caveats=caveats)

    return Source(raw, load)


def _prepare_and_note(store: Path, prepare: Callable[[], object]) -> None:
    """Prepare a cohort and store its warnings beside it, for the reports of later runs."""
    from survimg.files import write_json

    notes = _notes(store)
    notes.unlink(missing_ok=True)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        prepare()
    texts = [str(warning.message) for warning in caught]
    write_json(notes, {"warnings": texts})
    for text in texts:
        warnings.warn(text, UserWarning, stacklevel=2)


def _open(store: Path) -> tuple[Cohort, dict[str, Any]]:
    from survimg.cohort import Cohort

    cohort = Cohort.load(store)
    settings: dict[str, Any] = {"prepared": cohort.settings}
    if _notes(store).is_file():
        texts = _read_notes(store)
        settings.update({"preparation_warning": " ".join(texts)} if texts else {})
    return cohort, settings


def _read_notes(store: Path) -> list[str]:
    from survimg.files import read_json

    try:
        return list(read_json(_notes(store))["warnings"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"The warnings of the preparation cannot be read ({error}). Delete {_notes(store)} and "
            f"{store}, and run again."
        ) from None


def _notes(store: Path) -> Path:
    return store.with_name(f"{store.name}.warnings.json")
