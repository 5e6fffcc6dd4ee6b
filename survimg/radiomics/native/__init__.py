"""The native radiomics engine: NumPy and Numba, no compiler needed to install it.

One pass over the region per image fills the co-occurrence counts and notes which neighbours share
a voxel's grey level; runs, zones and dependences all follow from those notes. Counts stay integers
until the formulas. The Laplacian of Gaussian alone is SimpleITK's.
"""
