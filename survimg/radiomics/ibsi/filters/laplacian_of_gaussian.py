"""The Laplacian of Gaussian (IBSI L6PA)."""

from __future__ import annotations

from dataclasses import dataclass
from math import pi
from numbers import Real
from typing import Any, ClassVar

import numpy as np
from sklearn.utils._param_validation import Interval

from survimg.radiomics.ibsi.filters.response import (
    BOUNDARY,
    BY_SLICE,
    ResponseFilter,
    convolve,
    voxel_size,
)

__all__ = ["LaplacianOfGaussian"]


@dataclass(kw_only=True, eq=False, repr=False)
class LaplacianOfGaussian(ResponseFilter):
    """Laplacian of Gaussian, sampled at the voxels and cut off.

    With ``s`` the width in voxels and D axes, the kernel is
    ``-(1 / s**2) (2 pi s**2)**(-D / 2) (D - r**2 / s**2) exp(-r**2 / (2 s**2))``. PyRadiomics' is
    another one: recursive, not cut off, and multiplied by ``s**2``.

    Parameters
    ----------
    sigma_mm : float
        Width in mm.
    cutoff : float, default=4
        In widths; the kernel has ``1 + 2 floor(cutoff * s + 0.5)`` voxels along each axis.
    boundary : {"mirror", "nearest", "periodic", "zero"}, default="mirror"
        As in `MeanFilter`.
    by_slice : bool, default=False
        Filter along x and y only.
    """

    sigma_mm: float
    cutoff: float = 4.0
    boundary: str = "mirror"
    by_slice: bool = False

    in_mm: ClassVar[bool] = True

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "sigma_mm": [Interval(Real, 0, None, closed="neither")],
        "cutoff": [Interval(Real, 0, None, closed="neither")],
        "boundary": BOUNDARY,
        "by_slice": BY_SLICE,
    }

    @property
    def name(self) -> str:
        """The filter with its parameters."""
        cutoff = None if self.cutoff == 4 else f"cutoff{self.cutoff:g}"
        return self._name("log", f"{self.sigma_mm:g}mm", cutoff)

    def _respond(self, volume: np.ndarray, spacing: np.ndarray) -> np.ndarray:
        sigma = self.sigma_mm / voxel_size(spacing, self.by_slice)
        reach = int(self.cutoff * sigma + 0.5)
        n_axes = 2 if self.by_slice else 3
        steps = np.arange(-reach, reach + 1.0)
        square = np.add.reduce(np.meshgrid(*[steps**2] * n_axes, indexing="ij")) / sigma**2
        scale = -1 / sigma**2 * (2 * pi * sigma**2) ** (-n_axes / 2)
        kernel = scale * (n_axes - square) * np.exp(-square / 2)
        return convolve(volume, kernel[np.newaxis] if self.by_slice else kernel, self.boundary)
