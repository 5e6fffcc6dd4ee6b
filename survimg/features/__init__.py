"""Columns for estimators of tables: clinical columns, volume, PET parameters, selection, ComBat."""

from survimg.features.clinical import ClinicalFeatures, TumourVolume
from survimg.features.combat import ComBat
from survimg.features.pet import PETParameters
from survimg.features.selection import ForestSelector, SpearmanFilter

__all__ = [
    "ClinicalFeatures",
    "ComBat",
    "ForestSelector",
    "PETParameters",
    "SpearmanFilter",
    "TumourVolume",
]
