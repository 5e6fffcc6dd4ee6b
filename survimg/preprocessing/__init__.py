"""Deterministic preparation of volumes: register, resample, crop, normalise, store."""

from survimg.io.images.resampling import resample_image, resample_mask
from survimg.preprocessing.alignment import Alignment, WorldMap, judge
from survimg.preprocessing.case import PreparedCase, prepare_case
from survimg.preprocessing.patient_space import to_patient_space
from survimg.preprocessing.preparing import prepare
from survimg.preprocessing.pseudonyms import pseudonyms, read_key
from survimg.preprocessing.registration import Registration, RegistrationLimits
from survimg.preprocessing.settings import Preparation
from survimg.preprocessing.steps import (
    crop,
    mask_centre,
    pet_peak,
    resample,
    window,
    zscore,
)
from survimg.preprocessing.template import make_template, register

__all__ = [
    "Alignment",
    "Preparation",
    "PreparedCase",
    "Registration",
    "RegistrationLimits",
    "WorldMap",
    "crop",
    "judge",
    "make_template",
    "mask_centre",
    "pet_peak",
    "prepare",
    "prepare_case",
    "pseudonyms",
    "read_key",
    "register",
    "resample",
    "resample_image",
    "resample_mask",
    "to_patient_space",
    "window",
    "zscore",
]
