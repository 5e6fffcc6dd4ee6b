"""Laplacian of Gaussian of a whole volume, with the recursive filter that PyRadiomics uses."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk  # noqa: N813  # the name its own documentation uses

__all__ = ["laplacian_of_gaussian"]


def laplacian_of_gaussian(volume: np.ndarray, spacing: np.ndarray, sigma: float) -> np.ndarray:
    """Filter a volume with a scale-normalised Laplacian of Gaussian.

    Parameters
    ----------
    volume : ndarray of shape (z, y, x), float64
    spacing : ndarray of shape (3,)
        Voxel size in mm, (z, y, x).
    sigma : float
        Width in mm.

    Returns
    -------
    ndarray of shape (z, y, x), float64

    Raises
    ------
    ValueError
        The volume has fewer than 4, or fewer than sigma/spacing + 1, voxels along an axis.
    """
    size = np.array(volume.shape)
    needed = np.maximum(4, np.ceil(sigma / spacing) + 1)
    if (size < needed).any():
        raise ValueError(
            f"a Laplacian of Gaussian of {sigma:g} mm needs at least {needed.astype(int).tolist()} "
            f"voxels along (z, y, x); the volume has {size.tolist()}"
        )
    image = sitk.GetImageFromArray(volume)
    image.SetSpacing([float(s) for s in spacing[::-1]])
    # The response of a recursive filter reaches through the volume, so it is not cropped.
    smooth = sitk.LaplacianRecursiveGaussianImageFilter()
    smooth.SetNormalizeAcrossScale(True)
    smooth.SetSigma(sigma)
    return sitk.GetArrayFromImage(smooth.Execute(image)).astype(np.float64, copy=False)
