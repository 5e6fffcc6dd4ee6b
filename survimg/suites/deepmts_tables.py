"""Tables II to V of the DeepMTS paper, with the numbers that it reports.

C-indices are means of its 5-fold cross-validation over 170 patients with nasopharyngeal carcinoma
(48 events), ``test_c_index`` those on its 23 test patients (14 events), and Dice coefficients come
from the cross-validation too. The paper gives no standard deviations that we know of.
"""

from __future__ import annotations

from typing import Any

from survimg.suites.suite import Suite

__all__ = ["DEEPMTS_SUITES"]

CITATION = (
    "Meng M, Gu B, Bi L, Song S, Feng DD, Kim J. DeepMTS: Deep multi-task learning for survival "
    "prediction in patients with advanced nasopharyngeal carcinoma using pretreatment PET/CT. IEEE "
    "J Biomed Health Inform 26(9):4497-4507, 2022."
)


def _reported(
    table: str, c_index: float | None, *, test: float | None = None, dice: float | None = None
) -> dict[str, Any]:
    row = {"c_index": c_index, "sd": None, "dice": dice, "source": f"Meng et al. 2022, {table}"}
    return row if test is None else {**row, "test_c_index": test}


_COMPARISON = Suite(
    name="comparison",
    title="DeepMTS against radiomics, deep features and other deep survival models",
    models=(
        "clinical-volume-cox",
        "radiomics-lasso-cox",
        "radiomics-rsf",
        "radiomics-deepsurv",
        "radiomics-icare",
        "deep-features-lasso-cox",
        "deep-features-rsf",
        "deep-features-deepsurv",
        "cnn-survival",
        "mdsn",
        "dlpm",
        "deepmts",
    ),
    reference="clinical-volume-cox",
    published={
        "radiomics-lasso-cox": _reported("Table II", 0.696, test=0.675),
        "radiomics-rsf": _reported("Table II", 0.691, test=0.673),
        "radiomics-deepsurv": _reported("Table II", 0.687, test=0.666),
        "deep-features-lasso-cox": _reported("Table II", 0.711, test=0.692),
        "deep-features-rsf": _reported("Table II", 0.707, test=0.688),
        "deep-features-deepsurv": _reported("Table II", 0.716, test=0.694),
        "cnn-survival": _reported("Table II", 0.658, test=0.628),
        "mdsn": _reported("Table II", 0.675, test=0.639),
        "dlpm": _reported("Table II", 0.667, test=0.642),
        "deepmts": _reported("Table II", 0.722, test=0.698, dice=0.760),
    },
    citation=CITATION,
    pairs=(
        ("deepmts", "radiomics-lasso-cox"),
        ("deep-features-lasso-cox", "radiomics-lasso-cox"),
        ("deep-features-rsf", "radiomics-rsf"),
        ("deep-features-deepsurv", "radiomics-deepsurv"),
    ),
)

# "Using segmentation" multiplies PET and CT by the manual mask.
_ABLATION = Suite(
    name="ablation",
    title="Parts of DeepMTS, alone and together",
    models=(
        "seg-backbone",
        "sur-hs",
        "sur-hs-masked",
        "sur-casnet",
        "sur-casnet-masked",
        "mt-hs",
        "mt-casnet",
        "deepmts",
    ),
    reference="deepmts",
    published={
        "seg-backbone": _reported("Table III", None, dice=0.758),
        "sur-hs": _reported("Table III", 0.678),
        "sur-hs-masked": _reported("Table III", 0.657),
        "sur-casnet": _reported("Table III", 0.674),
        "sur-casnet-masked": _reported("Table III", 0.652),
        "mt-hs": _reported("Table III", 0.706, dice=0.763),
        "mt-casnet": _reported("Table III", 0.698, dice=0.754),
        "deepmts": _reported("Table III", 0.722, dice=0.760),
    },
    citation=CITATION,
    pairs=(
        ("sur-hs", "sur-hs-masked"),
        ("sur-casnet", "sur-casnet-masked"),
        ("mt-hs", "sur-hs"),
        ("mt-casnet", "sur-casnet"),
        ("deepmts", "mt-hs"),
        ("deepmts", "mt-casnet"),
    ),
)

# The text of the paper gives 0.744 for the Dice coefficient of the U-net, its table 0.743.
_BACKBONE = Suite(
    name="backbone",
    title="Residual backbone against plain 3D U-net, in each model that has one",
    models=(
        "seg-backbone-unet",
        "seg-backbone",
        "sur-hs-unet",
        "sur-hs",
        "mt-hs-unet",
        "mt-hs",
        "mt-casnet-unet",
        "mt-casnet",
        "deepmts-unet",
        "deepmts",
    ),
    reference="deepmts",
    published={
        "seg-backbone-unet": _reported("Table IV", None, dice=0.743),
        "seg-backbone": _reported("Table IV", None, dice=0.758),
        "sur-hs-unet": _reported("Table IV", 0.655),
        "sur-hs": _reported("Table IV", 0.678),
        "mt-hs-unet": _reported("Table IV", 0.680, dice=0.747),
        "mt-hs": _reported("Table IV", 0.706, dice=0.763),
        "mt-casnet-unet": _reported("Table IV", 0.696, dice=0.740),
        "mt-casnet": _reported("Table IV", 0.698, dice=0.754),
        "deepmts-unet": _reported("Table IV", 0.704, dice=0.745),
        "deepmts": _reported("Table IV", 0.722, dice=0.760),
    },
    citation=CITATION,
    pairs=(
        ("sur-hs", "sur-hs-unet"),
        ("mt-hs", "mt-hs-unet"),
        ("mt-casnet", "mt-casnet-unet"),
        ("deepmts", "deepmts-unet"),
    ),
)

# Two tasks that share every feature map disturb each other: without the 1x1x1 convolutions the
# multi-task model ranks worse than the survival network alone, while its masks stay as they are;
# with them both tasks gain. Each row is one network of the other tables, except the baseline.
_INTERFERENCE = Suite(
    name="interference",
    title="What sharing a backbone costs each task, with and without 1x1x1 convolutions between",
    models=("seg-backbone", "sur-hs", "mt-hs-baseline", "mt-hs"),
    reference="sur-hs",
    published={
        "seg-backbone": _reported("Table V", None, dice=0.758),
        "sur-hs": _reported("Table V", 0.678),
        "mt-hs-baseline": _reported("Table V", 0.662, dice=0.760),
        "mt-hs": _reported("Table V", 0.706, dice=0.763),
    },
    citation=CITATION,
    pairs=(("mt-hs", "mt-hs-baseline"), ("mt-hs", "sur-hs"), ("mt-hs-baseline", "sur-hs")),
)

DEEPMTS_SUITES = (_COMPARISON, _ABLATION, _BACKBONE, _INTERFERENCE)
