"""Protocols of the command line: splits, and searches or ensembles around the models."""

from __future__ import annotations

import argparse
import ast
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from survimg.cli.arguments import at_least
from survimg.cli.cohorts import Study, outcome_of
from survimg.cli.labels import label_wanted

if TYPE_CHECKING:
    import numpy as np

    from survimg.cohort import Cohort
    from survimg.model_selection import Protocol

__all__ = [
    "PROTOCOLS",
    "add_protocol",
    "check_protocol",
    "make_protocol",
    "permuted",
    "weights_of",
    "wrap_models",
]

PROTOCOLS = ("kfold", "repeated", "nested", "external", "leave-one-centre-out")
_FOLDS, _REPEATS = 5, 10
_INNER_FOLDS = {"nested": 3, "external": 5}
# Groups with more images than this on average are centres, not patients with several scans.
_IMAGES_PER_PATIENT = 20


def add_protocol(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the protocol."""
    group = parser.add_argument_group("protocol")
    group.add_argument("--protocol", choices=PROTOCOLS, default="kfold", help="default: kfold")
    group.add_argument("--folds", type=at_least(2), help=f"number of folds (default: {_FOLDS})")
    group.add_argument(
        "--repeats", type=at_least(2), metavar="R",
        help=f"with repeated: number of repeats (default: {_REPEATS})",
    )
    group.add_argument(
        "--inner-folds", type=at_least(1), metavar="K",
        help="folds inside the training part: with nested, for the search (default: 3); with "
        "external, for the ensemble (default: 5), where 1 trains each model once, on all training "
        "patients",
    )
    group.add_argument(
        "--grid", action="append", metavar="MODEL:PARAMETER=V1,V2",
        help="with nested: values to search; repeat for each parameter; models without a grid are "
        "not tuned",
    )
    group.add_argument(
        "--external", metavar="COHORT",
        help="with external: folder of a prepared cohort to test on, or phantom[:N]",
    )
    group.add_argument(
        "--ensemble-reference", choices=("training", "cohort"),
        help="with external: whose risks bring the members of the ensemble to one scale: each "
        "member's training patients (default), or the external cohort itself, as in the DeepMTS "
        "paper (transductive: a patient's risk depends on who is tested beside them)",
    )
    group.add_argument(
        "--keep-groups", choices=("auto", "yes", "no"), default="auto",
        help="keep the images of a group in one fold: yes if a group is a patient with several "
        f"scans, no if it is a centre; auto (default): no if groups have {_IMAGES_PER_PATIENT} or "
        "more images on average, otherwise you have to choose",
    )


def check_protocol(arguments: argparse.Namespace) -> None:
    """Refuse arguments that do not belong to the protocol, or are missing.

    Raises
    ------
    ValueError
        The message names the argument.
    """
    belongs = {
        "folds": ("kfold", "repeated", "nested"),
        "repeats": ("repeated",),
        "inner_folds": tuple(_INNER_FOLDS),
        "grid": ("nested",),
        "external": ("external",),
        "ensemble_reference": ("external",),
    }
    for name, protocols in belongs.items():
        if getattr(arguments, name) is not None and arguments.protocol not in protocols:
            raise ValueError(
                f"--{name.replace('_', '-')} needs --protocol {' or '.join(protocols)}; the "
                f"protocol is {arguments.protocol}."
            )
    if arguments.inner_folds == 1 and arguments.protocol == "nested":
        raise ValueError("--protocol nested needs --inner-folds of at least 2; got 1.")
    if arguments.ensemble_reference and (label_wanted(arguments) or arguments.inner_folds == 1):
        raise ValueError(
            "--ensemble-reference needs an ensemble of risks: none is made with --inner-folds 1, "
            "and the probabilities of --label and --label-at need no common scale."
        )
    for name in ("grid", "external"):
        if arguments.protocol in belongs[name] and getattr(arguments, name) is None:
            raise ValueError(f"--protocol {arguments.protocol} needs --{name}.")


def make_protocol(
    arguments: argparse.Namespace, cohort: Cohort, n_training: int | None = None
) -> Protocol:
    """Make the splits of the command line.

    Raises
    ------
    ValueError
        The cohort cannot be split in this way.
    """
    from survimg import model_selection as ms

    y = outcome_of(cohort, arguments.cohort)
    seed, folds = arguments.seed[0], arguments.folds or _FOLDS
    if arguments.protocol == "leave-one-centre-out":
        if cohort.groups is None:
            raise ValueError(
                "--protocol leave-one-centre-out needs the centre of each patient (column group of "
                "the manifest; --centres N for phantoms)."
            )
        return ms.leave_one_centre_out_protocol(cohort, y, cohort.groups)
    dealt: dict[str, Any] = {"groups": _kept_together(arguments, cohort), "random_state": seed}
    inner = arguments.inner_folds or _INNER_FOLDS.get(arguments.protocol, 0)
    if arguments.protocol == "external":
        return ms.external_protocol(
            cohort, y, n_training=int(n_training or 0), inner_folds=inner, **dealt
        )
    if arguments.protocol == "nested":
        return ms.nested_protocol(cohort, y, n_folds=folds, inner_folds=inner, **dealt)
    if arguments.protocol == "repeated":
        n_repeats = arguments.repeats or _REPEATS
        return ms.repeated_protocol(cohort, y, n_folds=folds, n_repeats=n_repeats, **dealt)
    return ms.k_fold_protocol(cohort, y, n_folds=folds, **dealt)


def wrap_models(
    arguments: argparse.Namespace, models: Mapping[str, Any], protocol: Protocol
) -> dict[str, Any]:
    """Wrap models with a grid in a search, or those of an external ensemble in `FoldEnsemble`.

    Raises
    ------
    ValueError
        A grid of an unknown model or parameter, an ensemble of a classifier without probabilities.
    """
    if arguments.protocol == "external" and protocol.inner_cv is not None:
        if label_wanted(arguments):
            return _classifier_ensembles(models, protocol.inner_cv)
        from survimg.estimators import FoldEnsemble

        scaled_by: Literal["training", "cohort"] = arguments.ensemble_reference or "training"
        return {
            name: FoldEnsemble(model, cv=protocol.inner_cv, reference=scaled_by)
            if hasattr(model, "predict")
            else model
            for name, model in models.items()
        }
    if arguments.protocol != "nested":
        return dict(models)
    from sklearn.model_selection import GridSearchCV

    from survimg.evaluation.scorers import SurvivalScorer

    grids = _grids(arguments.grid, models)
    scoring = "roc_auc" if label_wanted(arguments) else SurvivalScorer("concordance")
    search: dict[str, Any] = {"cv": protocol.inner_cv, "scoring": scoring}
    return {
        name: GridSearchCV(model, grids[name], error_score="raise", **search)
        if name in grids
        else model
        for name, model in models.items()
    }


def _classifier_ensembles(models: Mapping[str, Any], inner_cv: Any) -> dict[str, Any]:
    from survimg.estimators import FoldEnsembleClassifier

    without = [name for name, model in models.items() if not hasattr(model, "predict_proba")]
    if without:
        raise ValueError(
            f"{', '.join(without)}: no predict_proba, and the ensemble of --protocol external "
            "averages probabilities. Give --inner-folds 1, which trains each model once."
        )
    return {name: FoldEnsembleClassifier(model, cv=inner_cv) for name, model in models.items()}


def permuted(
    arguments: argparse.Namespace, cohort: Cohort, seed: int, n_training: int | None
) -> Cohort:
    """Return the patients with permuted outcomes.

    Outcomes are permuted within centres that are left out as a whole, and within the training and
    the external cohort, because the protocol depends on their numbers of events.
    """
    import numpy as np

    from survimg.model_selection import permute_outcome

    within = None
    if arguments.protocol == "leave-one-centre-out":
        within = cohort.groups
    elif n_training is not None:
        within = np.arange(len(cohort)) < n_training
    outcome = outcome_of(cohort, arguments.cohort)
    return cohort.with_outcome(permute_outcome(outcome, seed, within=within))


def weights_of(
    arguments: argparse.Namespace, patients: Study, permutation: int | None
) -> np.ndarray | None:
    """Return the weights of labels; permuted as the labels are, to which they belong."""
    from survimg.target import make_outcome

    weights = patients.sample_weight
    if weights is None or permutation is None:
        return weights
    labels = outcome_of(patients.cohort, arguments.cohort)["event"]
    cohort = patients.cohort.with_outcome(make_outcome(labels, weights))
    cohort = permuted(arguments, cohort, permutation, patients.n_training)
    return outcome_of(cohort, arguments.cohort)["time"]


def _kept_together(arguments: argparse.Namespace, cohort: Cohort) -> np.ndarray | None:
    import numpy as np

    groups, wish = cohort.groups, arguments.keep_groups
    if groups is None:
        if wish == "yes":
            raise ValueError("--keep-groups yes: the cohort has no groups (column group).")
        return None
    # Where one of two joined cohorts has no groups, its patients stand for themselves.
    alone = np.isin(groups, [f"{name} cohort" for name in ("training", "external")])
    groups = np.where(alone, cohort.ids, groups)
    n_groups = len(set(groups.tolist()))
    small = 1 < n_groups < len(cohort) < _IMAGES_PER_PATIENT * n_groups
    if wish == "auto" and small and arguments.cohort != "phantom":  # whose groups are centres
        raise ValueError(
            f"The cohort has {n_groups} groups for {len(cohort)} images: a patient with several "
            "scans must not be in both parts of a split, a centre may. Give --keep-groups yes if "
            "a group is a patient, --keep-groups no if it is a centre."
        )
    return groups if wish == "yes" else None


def _grids(texts: Sequence[str], models: Mapping[str, Any]) -> dict[str, dict[str, list[Any]]]:
    grids: dict[str, dict[str, list[Any]]] = {}
    for text in texts:
        place, equals, values = text.partition("=")
        name, colon, parameter = place.strip().rpartition(":")
        if not (equals and colon and parameter and values.strip()):
            raise ValueError(f"--grid is MODEL:PARAMETER=V1,V2; got {text!r}.")
        if name not in models:
            raise ValueError(f"--grid {text}: no model {name!r} in this run ({', '.join(models)}).")
        if parameter not in models[name].get_params(deep=True):
            raise ValueError(
                f"--grid {text}: {name} has no parameter {parameter!r}; it has "
                f"{', '.join(sorted(models[name].get_params(deep=True)))}."
            )
        grids.setdefault(name, {})[parameter] = [_value(part) for part in values.split(",")]
    return grids


def _value(text: str) -> Any:
    """Convert a number, True, False or None; everything else is text."""
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError):
        return text.strip()
