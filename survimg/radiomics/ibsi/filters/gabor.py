"""The Gabor filter (IBSI Q88H)."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real
from typing import Any, ClassVar

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions

from survimg.radiomics.ibsi.filters.response import (
    BOUNDARY,
    ResponseFilter,
    convolve,
    pool,
    voxel_size,
)

__all__ = ["GaborFilter"]

# The envelope is cut off at this many widths, where it is 1e-8.
_CUTOFF = 6.0


@dataclass(kw_only=True, eq=False, repr=False)
class GaborFilter(ResponseFilter):
    """Magnitude of the response to a wave in a Gaussian envelope, in planes.

    With ``u = x cos(t) + y sin(t)`` and ``v = y cos(t) - x sin(t)`` in voxels, x to the right and y
    downwards in the array, the kernel is
    ``exp(-(u**2 + gamma**2 v**2) / (2 sigma**2) + 2 pi i u / wavelength)``.

    Parameters
    ----------
    sigma_mm : float
        Width of the envelope in mm.
    wavelength_mm : float
        In mm.
    gamma : float, default=1
        Width of the envelope along the wave, over its width across.
    angle : float, default=0
        Of the wave, t, in degrees from x to y.
    angle_step : float or None, default=None
        Pool over angles in steps of this size, from `angle` on over a full turn.
    all_planes : bool, default=False
        Pool over the three families of planes along the axes; otherwise the planes are slices.
    pooling : {"max", "min", "mean"}, default="mean"
    boundary : {"mirror", "nearest", "periodic", "zero"}, default="mirror"
        As in `MeanFilter`.
    """

    sigma_mm: float
    wavelength_mm: float
    gamma: float = 1.0
    angle: float = 0.0
    angle_step: float | None = None
    all_planes: bool = False
    pooling: str = "mean"
    boundary: str = "mirror"

    in_mm: ClassVar[bool] = True

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "sigma_mm": [Interval(Real, 0, None, closed="neither")],
        "wavelength_mm": [Interval(Real, 0, None, closed="neither")],
        "gamma": [Interval(Real, 0, None, closed="neither")],
        "angle": [Interval(Real, None, None, closed="neither")],
        "angle_step": [Interval(Real, 0, 360, closed="right"), None],
        "all_planes": ["boolean"],
        "pooling": [StrOptions({"max", "min", "mean"})],
        "boundary": BOUNDARY,
    }

    @property
    def name(self) -> str:
        """The filter with its parameters."""
        step = None if self.angle_step is None else f"step{self.angle_step:g}"
        planes = "planes" if self.all_planes else None
        pooling = self.pooling if step or planes else None
        lengths = f"{self.sigma_mm:g}mm", f"{self.wavelength_mm:g}mm"
        return self._name(
            "gabor", *lengths, f"{self.gamma:g}", f"{self.angle:g}", step, planes, pooling
        )

    def _respond(self, volume: np.ndarray, spacing: np.ndarray) -> np.ndarray:
        size = voxel_size(spacing, by_slice=not self.all_planes)
        step = self.angle_step or 360.0
        n_angles = round(360 / step)
        if abs(n_angles * step - 360) > 1e-6:
            raise ValueError(f"angle_step of a Gabor filter must divide 360; got {step:g}")
        responses = []
        for k in range(n_angles):
            kernel = self._kernel(np.deg2rad(self.angle + k * step), size)
            for plane in range(3 if self.all_planes else 1):
                across = np.expand_dims(kernel, plane)
                responses.append(np.abs(convolve(volume, across, self.boundary)))
        return pool(responses, self.pooling)

    def _kernel(self, angle: float, size: float) -> np.ndarray:
        sigma, wavelength = self.sigma_mm / size, self.wavelength_mm / size
        reach = int(np.ceil(_CUTOFF * sigma * max(1.0, 1.0 / self.gamma)))
        y, x = np.indices((2 * reach + 1, 2 * reach + 1)) - reach
        along = x * np.cos(angle) + y * np.sin(angle)
        across = y * np.cos(angle) - x * np.sin(angle)
        envelope = np.exp(-(along**2 + self.gamma**2 * across**2) / (2 * sigma**2))
        return np.asarray(envelope * np.exp(2j * np.pi * along / wavelength))
