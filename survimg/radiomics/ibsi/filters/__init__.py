"""Filters of IBSI chapter 2: an image in, a response map out.

Definitions are those of the reference manual (Depeursinge A. et al., "Standardised convolutional
filtering for radiomics", arXiv:2006.05470); one file per filter.
"""

from survimg.radiomics.ibsi.filters.gabor import GaborFilter
from survimg.radiomics.ibsi.filters.laplacian_of_gaussian import LaplacianOfGaussian
from survimg.radiomics.ibsi.filters.laws import LawsFilter
from survimg.radiomics.ibsi.filters.mean import MeanFilter
from survimg.radiomics.ibsi.filters.separable_wavelet import SeparableWavelet
from survimg.radiomics.ibsi.filters.simoncelli import SimoncelliWavelet

__all__ = [
    "GaborFilter",
    "LaplacianOfGaussian",
    "LawsFilter",
    "MeanFilter",
    "SeparableWavelet",
    "SimoncelliWavelet",
]
