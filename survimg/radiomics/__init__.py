"""Radiomic features as scikit-learn transformers; importing survimg does not import this."""

from survimg.radiomics.extractor import FeatureExtractor, write_maps
from survimg.radiomics.features import RadiomicsFeatures
from survimg.radiomics.ibsi import IBSISettings

__all__ = ["FeatureExtractor", "IBSISettings", "RadiomicsFeatures", "write_maps"]
