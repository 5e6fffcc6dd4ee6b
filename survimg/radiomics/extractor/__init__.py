"""One case at a time, as PyRadiomics does it."""

from survimg.radiomics.extractor.feature_extractor import FeatureExtractor
from survimg.radiomics.extractor.voxel_maps import write_maps

__all__ = ["FeatureExtractor", "write_maps"]
