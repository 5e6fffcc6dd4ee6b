"""Separable wavelets, not decimated (IBSI 25BO)."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral
from typing import Any, ClassVar

import numpy as np
import pywt
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

__all__ = ["SeparableWavelet"]


@dataclass(kw_only=True, eq=False, repr=False)
class SeparableWavelet(ResponseFilter):
    """A band of the stationary decomposition by a separable wavelet.

    Each level filters the low-pass band of the level before it, with zeros put between the elements
    of the kernels.

    Parameters
    ----------
    wavelet : str
        Name of a discrete wavelet of PyWavelets.
    band : str
        Low (L) or high (H) pass along x, y and z: for example ``"LHL"``, or ``"LH"`` by slice.
    level : int, default=1
    pooling : {"max", "min", "mean"} or None, default=None
        As in `LawsFilter`.
    boundary : {"mirror", "nearest", "periodic", "zero"}, default="mirror"
        As in `MeanFilter`.
    by_slice : bool, default=False
        Filter along x and y only.
    """

    wavelet: str
    band: str
    level: int = 1
    pooling: str | None = None
    boundary: str = "mirror"
    by_slice: bool = False

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "wavelet": [str],
        "band": [str],
        "level": [Interval(Integral, 1, None, closed="left")],
        "pooling": POOLING,
        "boundary": BOUNDARY,
        "by_slice": BY_SLICE,
    }

    @property
    def name(self) -> str:
        """The filter with its parameters."""
        return self._name("wavelet", self.wavelet, self.band, self.level, self.pooling)

    def _respond(self, volume: np.ndarray, spacing: np.ndarray) -> np.ndarray:  # noqa: ARG002
        axes = axes_of(self.by_slice)
        if len(self.band) != len(axes) or not set(self.band) <= {"L", "H"}:
            raise ValueError(
                f"band of a separable wavelet must be {len(axes)} letters L or H; got {self.band!r}"
            )
        if self.wavelet not in pywt.wavelist(kind="discrete"):
            raise ValueError(
                f"wavelet must be a discrete one of PyWavelets (pywt.wavelist(kind='discrete')); "
                f"got {self.wavelet!r}"
            )

        def respond(rotated: np.ndarray) -> np.ndarray:
            for level in range(1, self.level + 1):
                letters = self.band if level == self.level else "L" * len(axes)
                kernels = {
                    axis: self._kernel(letter, level)
                    for axis, letter in zip(axes, letters, strict=True)
                }
                rotated = convolve_axes(rotated, kernels, self.boundary)
            return rotated

        return pool_rotations(volume, respond, self.pooling, self.by_slice)

    def _kernel(self, letter: str, level: int) -> np.ndarray:
        wavelet = pywt.Wavelet(self.wavelet)
        taps = wavelet.dec_lo if letter == "L" else wavelet.dec_hi
        kernel = np.zeros(len(taps) * 2 ** (level - 1))
        kernel[:: 2 ** (level - 1)] = taps
        return kernel
