"""Deterministic preparation of volumes: resample, crop, normalise, store."""

from survimg.preprocessing.case import PreparedCase, prepare_case
from survimg.preprocessing.from_cohort import prepare_cohort
from survimg.preprocessing.from_manifest import prepare
from survimg.preprocessing.settings import Preparation
from survimg.preprocessing.steps import (
    crop,
    mask_centre,
    pet_peak,
    resample,
    window,
    zscore,
)

__all__ = [
    "Preparation",
    "PreparedCase",
    "crop",
    "mask_centre",
    "pet_peak",
    "prepare",
    "prepare_case",
    "prepare_cohort",
    "resample",
    "window",
    "zscore",
]
