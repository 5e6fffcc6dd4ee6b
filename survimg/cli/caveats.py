"""What a comparison of the command line cannot show, in sentences for its report."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING

from survimg.suites import LABEL_MASK_READERS, MASK_READERS

if TYPE_CHECKING:
    from survimg.cohort import Cohort

__all__ = ["control_caveat", "ensemble_caveats", "mask_caveats"]


def control_caveat(seed: int) -> str:
    """Say what permuted outcomes must give."""
    return (
        f"NEGATIVE CONTROL: the outcomes were permuted among the patients (seed {seed}), so every "
        "interval should contain 0.5; by chance about one in ten does not, because all folds share "
        "one set of permuted outcomes."
    )


def mask_caveats(names: list[str], cohort: Cohort) -> list[str]:
    """Say which models use the masks of test patients: new patients would need masks too."""
    if not cohort.has_masks.any():
        return []
    ways = []
    readers = [name for name in names if name in MASK_READERS | LABEL_MASK_READERS]
    if readers:
        ways.append(f"{' and '.join(readers)}: the risk is computed from the mask")
    parts = [cohort.settings, *cohort.settings.values()]  # a joined cohort has one part for each
    if any(isinstance(part, Mapping) and part.get("crop") == "mask" for part in parts):
        ways.append("every model: volumes are cropped around the mask, which shows the tumour")
    if not ways:
        return []
    return [
        "How models rank patients without a tumour mask: the masks of test patients, usually "
        f"drawn by hand, are used ({'; '.join(ways)})."
    ]


def ensemble_caveats(arguments: argparse.Namespace) -> list[str]:
    """Say that an ensemble was scaled by the patients it was tested on."""
    if arguments.ensemble_reference != "cohort":
        return []
    return [
        "How models rank a patient who comes alone: members of an ensemble were brought to one "
        "scale by the external cohort itself (transductive), so a patient's risk depends on who "
        "is tested beside them."
    ]
