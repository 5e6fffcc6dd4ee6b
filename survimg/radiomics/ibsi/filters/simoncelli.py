"""Simoncelli's wavelet, which is not separable (IBSI PRT7)."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral
from typing import Any, ClassVar

import numpy as np
from sklearn.utils._param_validation import Interval

from survimg.radiomics.ibsi.filters.response import BY_SLICE, ResponseFilter, axes_of

__all__ = ["SimoncelliWavelet"]


@dataclass(kw_only=True, eq=False, repr=False)
class SimoncelliWavelet(ResponseFilter):
    """Band-pass filter of the Fourier transform, the same in all directions.

    Frequencies of magnitude f, as a part of the highest one, are multiplied by
    ``cos(pi / 2 log2(2 f / m))`` between ``m / 4`` and ``m = 2**(1 - level)``, all others by 0. The
    frequencies of n voxels are n numbers from -1 to 1, both included, as in MIRP. The transform
    continues the image periodically.

    Parameters
    ----------
    level : int, default=1
    by_slice : bool, default=False
        Filter along x and y only.
    """

    level: int = 1
    by_slice: bool = False

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "level": [Interval(Integral, 1, None, closed="left")],
        "by_slice": BY_SLICE,
    }

    @property
    def name(self) -> str:
        """The filter with its parameters."""
        return self._name("simoncelli", self.level)

    def _respond(self, volume: np.ndarray, spacing: np.ndarray) -> np.ndarray:  # noqa: ARG002
        axes = axes_of(self.by_slice)
        square = np.zeros((1, 1, 1))
        for axis in axes:
            frequencies = np.fft.ifftshift(np.linspace(-1, 1, volume.shape[axis]))
            square = square + np.moveaxis(frequencies[np.newaxis, np.newaxis] ** 2, 2, axis)
        highest = 2.0 ** (1 - self.level)
        part = np.sqrt(square) / highest
        passed = np.zeros_like(part)
        inside = (part > 0.25) & (part <= 1)
        passed[inside] = np.cos(np.pi / 2 * np.log2(2 * part[inside]))
        return np.asarray(np.fft.ifftn(np.fft.fftn(volume, axes=axes) * passed, axes=axes).real)
