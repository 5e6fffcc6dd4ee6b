"""IBSI: all features of chapter 1 and their aggregations, and filters of chapter 2.

One file per family; kernels that IBSI and PyRadiomics share are in `survimg.radiomics.native`.
"""

from survimg.radiomics.ibsi.settings import IBSISettings

__all__ = ["IBSISettings"]
