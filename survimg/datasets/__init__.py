"""Cohorts to try things on: PET/CT phantoms with a known hazard, and public patients."""

from survimg.datasets.anatomy import Tissue
from survimg.datasets.hazard import PHANTOM_TRUTHS
from survimg.datasets.phantom import Phantom, make_phantom_cohort, write_phantom_manifest
from survimg.datasets.sts51 import load_sts51

__all__ = [
    "PHANTOM_TRUTHS",
    "Phantom",
    "Tissue",
    "load_sts51",
    "make_phantom_cohort",
    "write_phantom_manifest",
]
