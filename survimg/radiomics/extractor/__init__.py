"""One case at a time, as PyRadiomics does it."""

from survimg.radiomics.extractor.feature_extractor import FeatureExtractor

__all__ = ["FeatureExtractor"]
