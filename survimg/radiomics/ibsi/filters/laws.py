"""Laws' kernels (IBSI JTXT) and the texture energy of their responses."""

from __future__ import annotations

import re
from dataclasses import dataclass
from numbers import Integral
from typing import Any, ClassVar

import numpy as np
from sklearn.utils._param_validation import Interval

from survimg.radiomics.ibsi.filters.response import (
    BOUNDARY,
    BY_SLICE,
    POOLING,
    ResponseFilter,
    axes_of,
    convolve_axes,
    pool_rotations,
)

__all__ = ["LawsFilter"]

# Of length 1 in the Euclidean norm, once they are divided by it.
_KERNELS = {
    "L3": (1, 2, 1),
    "E3": (-1, 0, 1),
    "S3": (-1, 2, -1),
    "L5": (1, 4, 6, 4, 1),
    "E5": (-1, -2, 0, 2, 1),
    "S5": (-1, 0, 2, 0, -1),
    "W5": (-1, 2, 0, -2, 1),
    "R5": (1, -4, 6, -4, 1),
}


@dataclass(kw_only=True, eq=False, repr=False)
class LawsFilter(ResponseFilter):
    """Laws' kernels along the axes.

    Parameters
    ----------
    kernels : str
        Along x, y and z, out of L3, E3, S3, L5, E5, S5, W5 and R5: for example ``"L5S5E5"``, or
        ``"L5S5"`` by slice.
    pooling : {"max", "min", "mean"} or None, default=None
        How responses of the 24 rotations by right angles (4 by slice) become one; None does not
        rotate.
    energy_distance : int or None, default=None
        Give the texture energy instead of the (pooled) response: the mean of its magnitude over
        voxels up to this many steps away along each axis.
    boundary : {"mirror", "nearest", "periodic", "zero"}, default="mirror"
        As in `MeanFilter`.
    by_slice : bool, default=False
        Filter along x and y only.
    """

    kernels: str
    pooling: str | None = None
    energy_distance: int | None = None
    boundary: str = "mirror"
    by_slice: bool = False

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "kernels": [str],
        "pooling": POOLING,
        "energy_distance": [Interval(Integral, 1, None, closed="left"), None],
        "boundary": BOUNDARY,
        "by_slice": BY_SLICE,
    }

    @property
    def name(self) -> str:
        """The filter with its parameters."""
        energy = None if self.energy_distance is None else f"energy{self.energy_distance}"
        return self._name("laws", self.kernels, self.pooling, energy)

    def _respond(self, volume: np.ndarray, spacing: np.ndarray) -> np.ndarray:  # noqa: ARG002
        axes = axes_of(self.by_slice)
        names = re.findall("..", self.kernels)
        if len(self.kernels) != 2 * len(axes) or not set(names) <= set(_KERNELS):
            raise ValueError(
                f"kernels of a Laws filter must be {len(axes)} out of {list(_KERNELS)}, one after "
                f"the other; got {self.kernels!r}"
            )
        kernels = [np.array(_KERNELS[name]) / np.linalg.norm(_KERNELS[name]) for name in names]

        def respond(rotated: np.ndarray) -> np.ndarray:
            return convolve_axes(rotated, dict(zip(axes, kernels, strict=True)), self.boundary)

        response = pool_rotations(volume, respond, self.pooling, self.by_slice)
        if self.energy_distance is None:
            return response
        size = 2 * self.energy_distance + 1
        mean = dict.fromkeys(axes, np.full(size, 1 / size))
        return convolve_axes(np.abs(response), mean, self.boundary)
