"""The C-index that a model can reach on phantoms if it knows some of their components, by truth.

The components are independent, so that no ranking by some of them is better than their part of the
log-hazard. Prints the table of ``docs/evaluation.md``; takes seconds::

    python benchmarks/phantom_ceilings.py
"""

from __future__ import annotations

import argparse

import numpy as np

from survimg.datasets import PHANTOM_TRUTHS
from survimg.datasets.hazard import (
    COMPONENTS,
    check_effects,
    draw_components,
    draw_event_and_time,
    end_of_accrual,
    log_hazard,
)
from survimg.evaluation import concordance_index
from survimg.target import make_outcome

KNOWLEDGE = {
    "volume and stage (the clinical baseline)": ("volume", "stage"),
    "and uptake": ("volume", "uptake", "stage"),
    "and heterogeneity: all that mask and stage hold": (
        "volume",
        "uptake",
        "heterogeneity",
        "stage",
    ),
    "volume, uptake, infiltration and stage": ("volume", "uptake", "infiltration", "stage"),
    "everything (the oracle)": COMPONENTS,
}


def ceilings(truth: str, n: int, censoring: float, seeds: int) -> dict[str, tuple[float, float]]:
    """Mean and standard deviation over draws of n patients of the C of each kind of knowledge."""
    effects = check_effects(None, truth)
    end = end_of_accrual(effects, censoring)
    draws: dict[str, list[float]] = {name: [] for name in KNOWLEDGE}
    for seed in range(seeds):
        disease, outcome = (s.spawn(n) for s in np.random.SeedSequence(seed).spawn(2))
        components = draw_components(disease)
        y = make_outcome(*draw_event_and_time(log_hazard(components, effects), end, outcome))
        for name, parts in KNOWLEDGE.items():
            part = check_effects({c: effects[COMPONENTS.index(c)] for c in parts})
            draws[name].append(concordance_index(y, log_hazard(components, part)))
    return {name: (float(np.mean(c)), float(np.std(c))) for name, c in draws.items()}


def main() -> None:
    """Print the table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--patients", type=int, default=6000)
    parser.add_argument("--censoring", type=float, default=0.3)
    parser.add_argument("--seeds", type=int, default=10)
    arguments = parser.parse_args()
    columns = {
        truth: ceilings(truth, arguments.patients, arguments.censoring, arguments.seeds)
        for truth in PHANTOM_TRUTHS
    }
    print("| what a model knows | " + " | ".join(f"truth {name}" for name in columns) + " |")
    print("|---" * (1 + len(columns)) + "|")
    for name in KNOWLEDGE:
        cells = [f"{mean:.3f} ± {sd:.3f}" for mean, sd in (c[name] for c in columns.values())]
        print(f"| {name} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
