"""The cohort of patients that every estimator takes as ``X``, and the stores behind it."""

from survimg.cohort.cohort import Cohort
from survimg.cohort.conversion import as_cohort
from survimg.cohort.joining import concatenate_cohorts
from survimg.cohort.stores import ArrayStore, ImageFileStore, MaskFileStore, MemmapStore, Store

__all__ = [
    "ArrayStore",
    "Cohort",
    "ImageFileStore",
    "MaskFileStore",
    "MemmapStore",
    "Store",
    "as_cohort",
    "concatenate_cohorts",
]
