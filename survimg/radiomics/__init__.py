"""Radiomic features as scikit-learn transformers; importing survimg does not import this."""

from survimg.radiomics.features import RadiomicsFeatures

__all__ = ["RadiomicsFeatures"]
