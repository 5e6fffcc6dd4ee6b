"""IBSI chapter 1: all families of features and their aggregations, as the manual defines them.

One file per family; kernels that IBSI and PyRadiomics share are in `survimg.radiomics.native`.
"""

from survimg.radiomics.ibsi.settings import IBSISettings

__all__ = ["IBSISettings"]
