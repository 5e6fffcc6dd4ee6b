"""Radiomic features as scikit-learn transformers; importing survimg does not import this."""

from survimg.radiomics.extractor import FeatureExtractor
from survimg.radiomics.features import RadiomicsFeatures

__all__ = ["FeatureExtractor", "RadiomicsFeatures"]
