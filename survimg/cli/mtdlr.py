"""Fit the MTDLR nomogram and its comparators, and write the tables and figures of their paper.

Tables 1 to 4, calibration, risk groups, ROC and Kaplan-Meier curves of the training, internal and
external patients, and the nomogram as a figure, as tables and as a page. Fitted networks and
features are kept in the folder, so that a run that was cut goes on where it was.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from survimg.cli.arguments import (
    add_empty_masks,
    add_preparation,
    at_least,
    clinical_columns,
    names,
)
from survimg.cli.cohorts import (
    Study,
    add_phantoms,
    find_cohort,
    outcome_of,
    with_external,
    without_empty_masks,
)
from survimg.cli.output import Answer, add_progress
from survimg.suites import MODELS, ModelSettings

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from survimg.cohort import Cohort
    from survimg.estimators import MTDLR
    from survimg.suites.mtdlr import MtdlrModels
    from survimg.suites.mtdlr_tables import ScoredCohort

__all__ = ["EXAMPLES", "SUMMARY", "add_arguments", "run"]

SUMMARY = "fit the MTDLR nomogram, and write the tables and figures of its paper"
EXAMPLES = (
    "survimg mtdlr --cohort hospital-a --external hospital-b --horizons 24 36 --out runs/mtdlr",
    "survimg mtdlr --cohort phantom --patients 60 --external phantom:30 --iterations 50 "
    "--out runs/trial",
)
_PHANTOM_HORIZONS = [24.0, 36.0]
_SETTINGS = "settings.json"
_MOST_LEVELS = 6  # a column with more values has a continuous axis


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "--cohort", required=True, metavar="COHORT",
        help="folder of a prepared cohort, manifest (.csv), sts51:FOLDER, or phantom",
    )
    parser.add_argument(
        "--external", metavar="COHORT",
        help="folder of a prepared cohort to test on, or phantom[:N]",
    )
    parser.add_argument(
        "--internal", type=at_least(0), metavar="N",
        help="patients of --cohort that are held out to test on, drawn at random with their share "
        "of events (default: a third)",
    )
    parser.add_argument("--out", required=True, metavar="FOLDER", help="folder of the results")
    parser.add_argument(
        "--horizons", type=float, nargs="+", metavar="TIME",
        help="times of calibration and nomogram, in the unit of the cohort (phantoms: 24 and 36)",
    )
    parser.add_argument(
        "--columns", type=names, metavar="COLUMNS",
        help="clinical columns of the models and tables, comma-separated (default: all)",
    )
    parser.add_argument(
        "--alpha", type=float, default=0.0,
        help="ridge penalty of the final Cox models, for few events (default: 0)",
    )
    parser.add_argument(
        "--folds", type=at_least(2), default=5,
        help="folds for the scores of training patients (default: 5)",
    )
    parser.add_argument(
        "--lasso-folds", type=at_least(2), default=10, metavar="N",
        help="folds that choose the penalty of the radiomic scores (default: 10); they need as "
        "many events among the patients of each of the --folds",
    )
    parser.add_argument(
        "--seed", type=at_least(0), nargs=1, default=[0], metavar="SEED",
        help="of the models, the held-out patients and phantoms (default: 0)",
    )
    parser.add_argument(
        "--iterations", type=at_least(1), metavar="N",
        help="training steps of networks (default: 400)",
    )
    parser.add_argument("--device", default="auto", help="of networks: auto (default), cpu, cuda")
    parser.add_argument("--threads", type=at_least(1), metavar="N", help="threads of a network")
    parser.add_argument(
        "--n-jobs", type=at_least(1), default=1, metavar="N",
        help="processes of the preparation (default: 1)",
    )
    add_phantoms(parser)
    add_empty_masks(parser)
    add_progress(parser)
    add_preparation(parser, required=False, label_flags=("--mask-label",))
    parser.set_defaults(centres=None, endpoint=None, label=None, label_at=None)


def run(arguments: argparse.Namespace) -> Answer:
    """Fit the models and write the analysis."""
    from survimg.files import locked

    source = find_cohort(arguments)
    outcome_of(source.cohort, arguments.cohort)
    columns = _columns(arguments, source.cohort)
    study = without_empty_masks(arguments, source.load())
    if arguments.external is not None:
        study = with_external(arguments, study)
    positions = _parts(arguments, study)
    horizons = _horizons(arguments, study.cohort[positions["training"]])
    out = Path(arguments.out)
    with locked(out):
        _check_folder(out, list(positions), horizons)
        return _analyse(arguments, study, positions, columns, horizons, out)


def _analyse(
    arguments: argparse.Namespace, study: Study, positions: Mapping[str, np.ndarray],
    columns: list[str], horizons: list[float], out: Path,
) -> Answer:  # fmt: skip
    from survimg.suites.mtdlr_tables import write_analysis

    cohorts = {name: study.cohort[rows] for name, rows in positions.items()}
    training = cohorts["training"]
    y = outcome_of(training, arguments.cohort)
    models = _models(arguments, columns, out / "cache").fit(training, y)
    scored = [models.training("training", training, horizons)]
    scored += [
        models.validation(name, cohort, horizons)
        for name, cohort in cohorts.items()
        if name != "training"
    ]
    pet, without_pet = _pet_parameters(cohorts)
    scored = [_joined(part, pet[part.name]) if pet else part for part in scored]
    (out / _SETTINGS).unlink(missing_ok=True)  # until the tables beside it are of one run again
    write_analysis(
        scored,
        out,
        time_unit=training.time_unit or "",
        variables=columns,
        measured=[str(name) for name in pet["training"].columns] if pet else [],
        random_state=arguments.seed[0],
    )
    fitted_on = f"Fitted on {y.size} patients with {int(y['event'].sum())} events."
    _write_nomogram(models.mtdlr, out, horizons, training.time_unit or "", fitted_on)
    scores = {part.name: _concordance(part.outcome, part.scores) for part in scored}
    record = {
        "folder": out,
        "patients": {name: len(cohort) for name, cohort in cohorts.items()},
        "horizons": horizons,
        "events": {part.name: int(part.outcome["event"].sum()) for part in scored},
        "c_index": scores,
        "c_index_of_true_risk": _oracle(study, positions),
        "dice": _dice(models.mtdlr, cohorts),
        "pet_parameters": list(pet["training"].columns) if pet else [],
        "no_pet_parameters": without_pet,
        "regions": {
            name: models.mtdlr.flags(cohort)["region"].value_counts().to_dict()
            for name, cohort in cohorts.items()
            if name != "training"
        },
    }
    _write_settings(arguments, study, record, out)
    remark = "" if without_pet is None else f"\nPET parameters in tables 1 and 2: {without_pet}\n"
    return Answer(f"{_table(scores)}\n{remark}\n{out / 'nomogram.html'}\n", record)


def _columns(arguments: argparse.Namespace, cohort: Cohort) -> list[str]:
    columns = clinical_columns(cohort, arguments.columns, "--columns")
    if not columns:
        raise ValueError("MTDLR joins clinical columns with its scores, and the cohort has none.")
    return arguments.columns or columns


def _parts(arguments: argparse.Namespace, study: Study) -> dict[str, np.ndarray]:
    """Positions of the training, internal and external patients; those there are."""
    import numpy as np
    from sklearn.model_selection import train_test_split

    every = np.arange(len(study.cohort))
    development, external = np.split(every, [study.n_training or every.size])
    event = outcome_of(study.cohort, arguments.cohort)["event"][development]
    held_out = development.size // 3 if arguments.internal is None else arguments.internal
    training, internal = development, development[:0]
    if held_out:
        smaller = min(np.count_nonzero(event), np.count_nonzero(~event))
        if smaller < 2 or not 2 <= held_out <= development.size - 2:
            raise ValueError(
                f"--internal {held_out}: {development.size} patients with "
                f"{np.count_nonzero(event)} events cannot be divided so that both parts have "
                "patients with and without an event."
            )
        training, internal = train_test_split(
            development, test_size=held_out, stratify=event, random_state=arguments.seed[0]
        )
    parts = {"training": training, "internal": internal, "external": external}
    return {name: np.sort(rows) for name, rows in parts.items() if rows.size}


def _horizons(arguments: argparse.Namespace, training: Cohort) -> list[float]:
    if arguments.horizons is None and arguments.cohort != "phantom":
        raise ValueError(
            "--horizons is needed: times of calibration and nomogram"
            f"{f', in {training.time_unit}' if training.time_unit else ''}, such as 24 36."
        )
    horizons = arguments.horizons or _PHANTOM_HORIZONS
    y = outcome_of(training, arguments.cohort)
    last = y["time"][y["event"]].max(initial=0)
    beyond = [horizon for horizon in horizons if not 0 < horizon <= last]
    if beyond:
        raise ValueError(
            f"--horizons {beyond[0]:g}: must lie above 0 and not beyond the last event of the "
            f"training patients, at {last:g}."
        )
    return sorted(horizons)


def _check_folder(out: Path, parts: list[str], horizons: list[float]) -> None:
    """Refuse a folder with results of patients or times that this command would leave there."""
    from survimg.files import read_json

    if not (out / _SETTINGS).is_file():
        return
    earlier = read_json(out / _SETTINGS)
    stale = [name for name in earlier.get("patients", {}) if name not in parts]
    stale += [f"horizon {time:g}" for time in earlier.get("horizons", []) if time not in horizons]
    if stale:
        raise ValueError(
            f"--out {out} holds results of another command ({', '.join(stale)}), which would stay "
            "beside those of this one. Choose another folder."
        )


def _models(arguments: argparse.Namespace, columns: list[str], cache: Path) -> MtdlrModels:
    """Build the suite's models; networks are fitted once and kept in the cache."""
    from survimg.estimators import FitOnce
    from survimg.estimators.mtdlr import default_radiomics_model
    from survimg.suites.mtdlr import MtdlrModels

    settings = ModelSettings(
        n_iterations=arguments.iterations,
        device=arguments.device,
        n_threads=arguments.threads,
        cache=cache,
        verbose=arguments.progress,
        inner_folds=arguments.folds,
    )
    kinds = ("mtdlr", "manual-radiomics-clinical", "single-task-clinical", "clinical-cox")
    models = [MODELS[kind](settings) for kind in kinds]
    for model in models:
        model.set_params(clinical_columns=columns, alpha=arguments.alpha)
    for model in models[:3]:
        model.set_params(random_state=arguments.seed[0])
    for model in models[:2]:
        lasso = default_radiomics_model().set_params(model__cv=arguments.lasso_folds)
        model.set_params(radiomics_model=lasso)
    for model in (models[0], models[2]):
        model.estimator.set_params(random_state=arguments.seed[0])
        model.set_params(estimator=FitOnce(model.estimator, memory=str(cache)))
    return MtdlrModels(*models)


def _pet_parameters(cohorts: Mapping[str, Cohort]) -> tuple[dict[str, pd.DataFrame], str | None]:
    """PET parameters of the paper's tables 1 and 2, or the reason why there are none.

    Clinical columns of the same name stay in their place.
    """
    from survimg.features import PETParameters

    pet = PETParameters(relative_threshold=None)
    try:
        pet.fit(cohorts["training"])
        tables = {name: pet.transform(cohort) for name, cohort in cohorts.items()}
    except ValueError as reason:
        return {}, f"none: {reason}"
    clinical = cohorts["training"].clinical
    beside = [name for name in tables["training"] if clinical is None or name not in clinical]
    return {name: table[beside] for name, table in tables.items()}, None


def _joined(part: ScoredCohort, table: pd.DataFrame) -> ScoredCohort:
    return replace(part, clinical=part.clinical.join(table.set_axis(part.clinical.index)))


def _write_nomogram(
    model: MTDLR, out: Path, horizons: list[float], unit: str, fitted_on: str
) -> None:
    """Draw the nomogram of the final model over the range of its training patients."""
    from matplotlib.figure import Figure

    from survimg.evaluation import Nomogram
    from survimg.evaluation.plots import plot_nomogram
    from survimg.files import write_atomically
    from survimg.report.nomogram_page import write_nomogram_page

    table = model.training_covariates_
    nomogram = Nomogram(model, {name: _range(table[name]) for name in model.cox_.names})
    figure = Figure(figsize=(9, 0.65 * (len(nomogram.axes) + 2 + len(horizons))), layout="tight")
    plot_nomogram(nomogram, figure.subplots(), horizons=horizons, time_unit=unit)
    picture = BytesIO()
    figure.savefig(picture, dpi=150, format="png")
    write_atomically(out / "nomogram.png", picture.getvalue())
    tables = {
        "nomogram_points": nomogram.points_table(),
        "nomogram_survival": nomogram.survival_table(horizons),
    }
    for name, content in tables.items():
        write_atomically(out / f"{name}.csv", content.to_csv().encode())
    write_nomogram_page(
        nomogram,
        out / "nomogram.html",
        horizons=horizons,
        time_unit=unit,
        title="MTDLR nomogram",
        notes=[fitted_on, "For research, not for the care of patients."],
    )


def _range(values: pd.Series) -> tuple[float, float] | dict[str, dict[str, float]]:
    """Levels of a covariate with few values; else from its 1st to its 99th percentile."""
    import numpy as np

    levels = np.unique(values)
    if 1 < levels.size <= _MOST_LEVELS:
        return {f"{level:g}": {str(values.name): float(level)} for level in levels}
    low, high = np.quantile(values, [0.01, 0.99])
    if not low < high:  # nearly all patients have one value
        low, high = levels[0], levels[-1]
    decimals = int(np.ceil(2 - np.log10(high - low)))
    return round(float(low), decimals), round(float(high), decimals)


def _concordance(outcome: np.ndarray, scores: pd.DataFrame) -> dict[str, float]:
    from survimg.evaluation import concordance_index

    return {str(name): concordance_index(outcome, risk) for name, risk in scores.items()}


def _dice(model: MTDLR, cohorts: Mapping[str, Cohort]) -> dict[str, float]:
    """Mean Dice of the predicted masks of test cohorts, over their patients with a mask."""
    import numpy as np

    from survimg.evaluation import dice

    means = {}
    for name, cohort in cohorts.items():
        rows = np.flatnonzero(cohort.has_masks)
        if name != "training" and rows.size:
            masked = cohort[rows]
            pairs = zip(model.predict_mask(masked), range(len(masked)), strict=True)
            means[name] = float(np.mean([dice(mask, masked.mask(i)) for mask, i in pairs]))
    return means


def _oracle(study: Study, positions: Mapping[str, np.ndarray]) -> dict[str, float] | None:
    from survimg.evaluation import concordance_index

    if study.oracle_risk is None:
        return None
    y = outcome_of(study.cohort, study.label)
    return {
        name: concordance_index(y[rows], study.oracle_risk[rows])
        for name, rows in positions.items()
    }


def _write_settings(
    arguments: argparse.Namespace, study: Study, record: Mapping[str, Any], out: Path
) -> None:
    """Keep what was run beside its tables, without the places of this machine, or patients' names.

    Warnings of the preparation name patients, as may the reason why there are no PET parameters.
    """
    from survimg.benchmark.environment import environment
    from survimg.benchmark.places import without_places
    from survimg.files import write_json

    content = {
        "command": arguments.command_line,
        "cohort": study.label,
        "settings": {k: v for k, v in study.settings.items() if k != "preparation_warning"},
        "caveats": list(study.caveats),
        **{k: v for k, v in record.items() if k not in ("folder", "no_pet_parameters")},
        "environment": environment(),
    }
    write_json(out / _SETTINGS, without_places(content))


def _table(scores: Mapping[str, Mapping[str, float]]) -> str:
    """C-index of each score in each cohort."""
    rows = [("score", *scores)]
    rows += [
        (name, *(f"{part[name]:.3f}" for part in scores.values()))
        for name in scores["training"]
    ]
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    lines = ("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)
