"""The mean filter (IBSI S60F)."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral
from typing import Any, ClassVar

import numpy as np
from sklearn.utils._param_validation import Interval

from survimg.radiomics.ibsi.filters.response import (
    BOUNDARY,
    BY_SLICE,
    ResponseFilter,
    axes_of,
    convolve_axes,
)

__all__ = ["MeanFilter"]


@dataclass(kw_only=True, eq=False, repr=False)
class MeanFilter(ResponseFilter):
    """Mean of the voxels around each voxel.

    Parameters
    ----------
    support : int
        Voxels along each axis, an odd number.
    boundary : {"mirror", "nearest", "periodic", "zero"}, default="mirror"
        What lies beyond the image: the image mirrored, with its border repeated; its border; the
        image again; zeros.
    by_slice : bool, default=False
        Filter along x and y only.
    """

    support: int
    boundary: str = "mirror"
    by_slice: bool = False

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "support": [Interval(Integral, 1, None, closed="left")],
        "boundary": BOUNDARY,
        "by_slice": BY_SLICE,
    }

    @property
    def name(self) -> str:
        """The filter with its parameters."""
        return self._name("mean", self.support)

    def _respond(self, volume: np.ndarray, spacing: np.ndarray) -> np.ndarray:  # noqa: ARG002
        if self.support % 2 == 0:
            raise ValueError(f"support of a mean filter must be odd; got {self.support}")
        kernel = np.full(self.support, 1 / self.support)
        axes = axes_of(self.by_slice)
        return convolve_axes(volume, dict.fromkeys(axes, kernel), self.boundary)
