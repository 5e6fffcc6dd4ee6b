"""Cohorts to try things on: PET/CT phantoms with a known hazard, and public patients."""

from survimg.datasets.anatomy import Tissue
from survimg.datasets.hazard import PHANTOM_TRUTHS
from survimg.datasets.phantom import Phantom, make_phantom_cohort, write_phantom_manifest
from survimg.datasets.public_cohorts import (
    PUBLIC_COHORTS,
    from_head_neck_pet_ct,
    from_hecktor,
    from_nsclc_radiomics,
    from_sts,
)
from survimg.datasets.sts51 import load_sts51

__all__ = [
    "PHANTOM_TRUTHS",
    "PUBLIC_COHORTS",
    "Phantom",
    "Tissue",
    "from_head_neck_pet_ct",
    "from_hecktor",
    "from_nsclc_radiomics",
    "from_sts",
    "load_sts51",
    "make_phantom_cohort",
    "write_phantom_manifest",
]
