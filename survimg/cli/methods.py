"""Write the text of a Methods section that fits what a run did, with versions and citations.

Every sentence comes from the run's records. What they do not hold (how patients were selected, the
scanners, the ethics vote) stays for the authors, and the text says where.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from survimg.cli.output import Answer, counted

if TYPE_CHECKING:
    from survimg.benchmark import Run

__all__ = ["EXAMPLES", "SUMMARY", "add_arguments", "run"]

SUMMARY = "write a Methods section that fits a run"
EXAMPLES = ("survimg methods runs/demo",)

#: Class of an estimator, wherever it is inside a model, to its source.
_SOURCES = {
    "DeepMTS": "Meng M, et al. DeepMTS. IEEE J Biomed Health Inform 2022;26:4497-4507.",
    "MTDLR": "Gu B, Meng M, et al. Multi-task deep learning-based radiomic nomogram. Eur J Nucl "
    "Med Mol Imaging 2023.",
    "CNNSurvival": "Zhang Y, et al. CNN-based survival model. BMC Med Imaging 2020;20:11.",
    "DeepSurv": "Katzman JL, et al. DeepSurv. BMC Med Res Methodol 2018;18:24.",
    "ICARE": "Rebaud L, et al. Simplicity is all you need. HECKTOR 2022, LNCS 13626:121-134, 2023.",
    "LassoCox": "Simon N, et al. Regularization paths for Cox's proportional hazards model. J Stat "
    "Softw 2011;39(5):1-13.",
    "RandomSurvivalForest": "Ishwaran H, et al. Random survival forests. Ann Appl Stat "
    "2008;2:841-860.",
    "RadiomicsFeatures": "van Griethuysen JJM, et al. Computational radiomics system to decode the "
    "radiographic phenotype. Cancer Res 2017;77:e104-e107.",
}
_HARRELL = (
    "Harrell FE, Lee KL, Mark DB. Multivariable prognostic models. Stat Med 1996;15:361-387."
)
_HOLM = (
    "Holm S. A simple sequentially rejective multiple test procedure. Scand J Statist 1979;6:65-70."
)
_SCIKIT_SURVIVAL = (
    "Poelsterl S. scikit-survival: a library for time-to-event analysis built on top of "
    "scikit-learn. J Mach Learn Res 2020;21(212):1-6."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("folder", metavar="RUN", help="folder of a run of survimg benchmark")


def run(arguments: argparse.Namespace) -> Answer:
    """Put the records into words."""
    from survimg.benchmark import read_run

    finished = read_run(arguments.folder)
    if not any(finished.successful_records(name) for name in finished.models):
        raise ValueError(f"{arguments.folder} holds no finished fit; there is nothing to describe.")
    parts = [_patients(finished), _images(finished), _models(finished), _evaluation(finished)]
    sources = _sources(finished)
    text = "\n\n".join([*parts, _software(finished), "References", "\n".join(sources)])
    return Answer(f"{text}\n", {"run": finished.folder, "text": parts, "references": sources})


def _patients(run: Run) -> str:
    from survimg.benchmark.follow_up import median_follow_up

    unit = run.plan["cohort"].get("time_unit") or "units of time"
    follow_up = median_follow_up(run.outcome)
    follow = (
        "the median follow-up (reverse Kaplan-Meier) was not reached"
        if follow_up is None
        else f"the median follow-up (reverse Kaplan-Meier) was {follow_up:.3g} {unit}"
    )
    clinical = run.plan["cohort"].get("clinical")
    tested = "" if run.tested.size == run.ids.size else (
        f" Models were tested on {run.counted(run.tested)}."
    )
    columns = f" Clinical variables were {', '.join(clinical)}." if clinical else ""
    endpoint = run.plan["settings"].get("endpoint", "[ENDPOINT]")
    if run.label is not None:
        return (
            f"Patients. We analysed {run.counted()}.{tested}{columns} [INCLUSION AND EXCLUSION "
            "CRITERIA, SCANNERS, TREATMENT, ETHICS]"
        )
    return (
        f"Patients. We analysed {counted(run.ids.size, 'patient')} with "
        f"{counted(int(run.outcome['event'].sum()), 'event')} ({endpoint}); {follow}.{tested}"
        f"{columns} [INCLUSION AND EXCLUSION CRITERIA, SCANNERS, TREATMENT, ETHICS]"
    )


def _images(run: Run) -> str:
    channels = run.plan["cohort"].get("channels")
    prepared = run.plan["settings"].get("prepared") or {}
    if not channels:
        return "Images. The models were given tables of features, not images."
    text = f"Images. Channels were {' and '.join(channels)}."
    if prepared.get("shape"):
        spacing = prepared.get("spacing")
        size = " x ".join(str(n) for n in prepared["shape"])
        grid = "their own spacing" if spacing is None else " x ".join(f"{s:g}" for s in spacing)
        text += (
            f" Volumes were resampled to {size} voxels (z, y, x) of {grid}"
            f"{'' if spacing is None else ' mm'}, cropped by the rule '{prepared.get('crop')}', "
            f"with intensities normalised by '{prepared.get('normalise')}'."
        )
    return text


def _models(run: Run) -> str:
    lines = []
    for name in run.models:
        records = run.successful_records(name)
        if not records:
            lines.append(f"{name} failed in every fit and is not reported")
            continue
        described = next(iter(records.values())).details["estimator"]
        classes = [c for c in dict.fromkeys(_classes(described)) if c in _SOURCES]
        lines.append(f"{name} ({', '.join(classes)})" if classes else name)
    seeds = ", ".join(str(seed) for seed in run.seeds)
    reference = f" The reference was {run.reference}." if run.reference else ""
    return f"Models. We compared {'; '.join(lines)}; random seeds {seeds}.{reference}"


def _evaluation(run: Run) -> str:
    protocol = {k: v for k, v in run.protocol.items() if v is not None and k != "name"}
    numbers = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in protocol.items())
    measure = (
        "Harrell's concordance index"
        if run.label is None
        else "the area under the ROC curve, over pairs of a positive and a negative patient"
    )
    if run.plan["settings"].get("label_censoring") == "weight":
        measure += (
            ", in which patients of known status were weighted by the inverse probability of "
            "censoring (Kaplan-Meier)"
        )
    suite = f" Models are those of the suite {run.suite}." if run.suite else ""
    return (
        f"Evaluation. The protocol was {run.protocol.get('name')} ({numbers}); all models were "
        f"trained and tested on the same patients. Discrimination was measured by {measure}, as "
        "the mean over folds and over all pairs of patients within folds, with 95 % intervals over "
        "patients. Differences from the reference were tested on the same patients, with Holm's "
        "correction for the number of models, and called significant only if a test over folds "
        f"agreed.{suite}"
    )


def _software(run: Run) -> str:
    record = next(r for name in run.models for r in run.successful_records(name).values())
    versions = record.details.get("environment", {}).get("versions", {})
    named = ", ".join(f"{name} {version}" for name, version in versions.items() if version)
    return f"Software. {named}."


def _sources(run: Run) -> list[str]:
    records = [r for name in run.models for r in run.successful_records(name).values()]
    classes = {c for r in records for c in _classes(r.details["estimator"])}
    sources = [source for name, source in _SOURCES.items() if name in classes]
    return [*sources, *([_HARRELL] if run.label is None else []), _HOLM, _SCIKIT_SURVIVAL]


def _classes(description: Any) -> Iterator[str]:
    """Names of the classes in the description of an estimator, the outermost first."""
    if isinstance(description, Mapping):
        if isinstance(description.get("class"), str):
            yield description["class"].rpartition(".")[2]
        for part in description.values():
            yield from _classes(part)
    elif isinstance(description, list | tuple):
        for part in description:
            yield from _classes(part)
