"""Radiomic features as scikit-learn transformers; importing survimg does not import this."""

from survimg.radiomics.features import RadiomicsFeatures
from survimg.radiomics.pet import PETParameters

__all__ = ["PETParameters", "RadiomicsFeatures"]
