"""How matrices of textures are made: distances, planes, weights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["TextureDefinition"]


@dataclass(frozen=True)
class TextureDefinition:
    """What PyRadiomics lets its users choose about texture matrices; the defaults are its own.

    Parameters
    ----------
    distances : tuple of int, default=(1,)
        Between the voxels of a pair, in voxels by the maximum norm: GLCM, GLDM and NGTDM.
    flat_axis : int or None, default=None
        Axis that no direction follows: 0 (z), 1 (y) or 2 (x) for textures in planes, None for
        textures in space.
    weighting : {"euclidean", "manhattan", "infinity", "no_weighting"} or None, default=None
        Norm by which GLCM and GLRLM weight the directions before they add them up; None averages
        the features of the directions instead.
    symmetrical : bool, default=True
        Whether GLCM counts each pair both ways.
    dependence_tolerance : int, default=0
        Largest difference of grey levels that GLDM takes for dependence.
    array_shift : float, default=0.0
        Added to values before first-order Energy, TotalEnergy and RootMeanSquared.
    """

    distances: tuple[int, ...] = (1,)
    flat_axis: int | None = None
    weighting: str | None = None
    symmetrical: bool = True
    dependence_tolerance: int = 0
    array_shift: float = 0.0

    def pair_weights(self, steps: np.ndarray, spacing: np.ndarray) -> np.ndarray:
        """Return the weight of each step in GLCM: exp(-d^2), d its length in mm by the norm.

        Parameters
        ----------
        steps : ndarray of shape (n, 3), int
        spacing : ndarray of shape (3,)
            Voxel size in mm, (z, y, x).
        """
        if self.weighting == "no_weighting":
            return np.ones(len(steps))
        return np.exp(-(self._lengths(steps, spacing) ** 2))

    def run_weights(self, steps: np.ndarray, spacing: np.ndarray) -> np.ndarray:
        """Return the weight of each direction in GLRLM: its length in mm by the norm."""
        if self.weighting == "no_weighting":
            return np.ones(len(steps))
        return self._lengths(steps, spacing)

    def _lengths(self, steps: np.ndarray, spacing: np.ndarray) -> np.ndarray:
        order = {"euclidean": 2, "manhattan": 1, "infinity": np.inf}[str(self.weighting)]
        return np.asarray(np.linalg.norm(np.abs(steps) * spacing, ord=order, axis=1))
