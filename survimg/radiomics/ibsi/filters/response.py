"""What the filters share: boundaries, convolution, and pooling over right-angle rotations."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from itertools import permutations, product
from typing import Any, ClassVar

import numpy as np
from scipy import ndimage
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import StrOptions

__all__ = [
    "BOUNDARY",
    "BY_SLICE",
    "POOLING",
    "ResponseFilter",
    "axes_of",
    "convolve",
    "convolve_axes",
    "pool",
    "pool_rotations",
    "voxel_size",
]

#: Boundary by IBSI's name -> the name in scipy.ndimage, and in numpy.pad.
_BOUNDARIES = {
    "mirror": ("reflect", "symmetric"),
    "nearest": ("nearest", "edge"),
    "periodic": ("wrap", "wrap"),
    "zero": ("constant", "constant"),
}

#: Constraints of parameters that several filters have.
BOUNDARY = [StrOptions(set(_BOUNDARIES))]
BY_SLICE = ["boolean"]
POOLING = [StrOptions({"max", "min", "mean"}), None]

_Respond = Callable[[np.ndarray], np.ndarray]


class ResponseFilter(BaseEstimator):
    """A filter of IBSI chapter 2: a base class."""

    #: Whether a parameter is a length in mm.
    in_mm: ClassVar[bool] = False

    _parameter_constraints: ClassVar[dict[str, Any]] = {}

    def respond(self, volume: np.ndarray, spacing: np.ndarray) -> np.ndarray:
        """Return the response map.

        Parameters
        ----------
        volume : ndarray of shape (z, y, x), float64
            The whole image: its border is where the boundary condition applies.
        spacing : ndarray of shape (3,)
            Voxel size in mm, (z, y, x).

        Returns
        -------
        ndarray of shape (z, y, x), float64

        Raises
        ------
        ValueError
            A parameter has a value that is not allowed, or the filter is given in mm and voxels
            are of different sizes along its axes.
        """
        self._validate_params()
        return self._respond(volume, spacing)

    @property
    @abstractmethod
    def name(self) -> str:
        """The filter with its parameters, as it stands in names of columns."""

    @abstractmethod
    def _respond(self, volume: np.ndarray, spacing: np.ndarray) -> np.ndarray: ...

    def _name(self, *parts: object) -> str:
        # Parts that are None are left out; what differs from the usual is said.
        boundary = getattr(self, "boundary", "mirror")
        usual = None if boundary == "mirror" else boundary
        in_plane = "2D" if getattr(self, "by_slice", False) else None
        return "-".join(str(part) for part in (*parts, usual, in_plane) if part is not None)


def axes_of(by_slice: bool) -> tuple[int, ...]:
    """Return the axes of an array that a filter runs along, in IBSI's order: x, y, z."""
    return (2, 1) if by_slice else (2, 1, 0)


def voxel_size(spacing: np.ndarray, by_slice: bool) -> float:
    """Return the voxel size along all axes of a filter.

    Parameters
    ----------
    spacing : ndarray of shape (3,)
        In mm, (z, y, x).
    by_slice : bool

    Raises
    ------
    ValueError
        There are different sizes along these axes.
    """
    sizes = spacing[list(axes_of(by_slice))]
    if not np.allclose(sizes, sizes[0], rtol=1e-3):
        raise ValueError(
            f"filters in mm need voxels of one size along their axes; they are {sizes.tolist()} mm "
            "along x, y and z. Resample with resample_mm, or filter by slice with by_slice=True"
        )
    return float(sizes[0])


def convolve_axes(
    volume: np.ndarray, kernels: Mapping[int, np.ndarray], boundary: str
) -> np.ndarray:
    """Convolve along some axes, each with a kernel of its own.

    Parameters
    ----------
    volume : ndarray of shape (z, y, x)
    kernels : dict of int to ndarray of shape (n,)
        By axis; the centre of one of even length is the element after the middle.
    boundary : {"mirror", "nearest", "periodic", "zero"}
    """
    mode = _BOUNDARIES[boundary][0]
    for axis, kernel in kernels.items():
        volume = ndimage.convolve1d(volume, kernel, axis=axis, mode=mode)
    return volume


def convolve(volume: np.ndarray, kernel: np.ndarray, boundary: str) -> np.ndarray:
    """Convolve with a kernel that is no product of kernels along the axes.

    Parameters
    ----------
    volume : ndarray of shape (z, y, x)
    kernel : ndarray of shape (z, y, x), float64 or complex128
        Of odd sizes.
    boundary : {"mirror", "nearest", "periodic", "zero"}
    """
    # Imported here: it would be a large part of the time that `import survimg.estimators` takes.
    from scipy.signal import fftconvolve

    padding = [(size // 2, size // 2) for size in kernel.shape]
    padded = np.pad(volume, padding, mode=_BOUNDARIES[boundary][1])  # type: ignore[call-overload]
    return np.asarray(fftconvolve(padded, kernel, mode="valid"))


def pool(responses: list[np.ndarray], pooling: str) -> np.ndarray:
    """Return the largest, smallest or mean response in each voxel.

    Parameters
    ----------
    responses : list of ndarray of shape (z, y, x)
    pooling : {"max", "min", "mean"}
    """
    stack = np.array(responses)
    if pooling == "mean":
        return np.asarray(stack.mean(axis=0))
    return np.asarray(stack.max(axis=0) if pooling == "max" else stack.min(axis=0))


def pool_rotations(
    volume: np.ndarray, respond: _Respond, pooling: str | None, by_slice: bool
) -> np.ndarray:
    """Return a filter's response, pooled over all rotations by right angles.

    The volume is rotated, filtered and rotated back: 24 times in space, 4 times in slices. This is
    what IBSI's exchange and reversal of the kernels along the axes comes to.

    Parameters
    ----------
    volume : ndarray of shape (z, y, x)
    respond : callable
    pooling : {"max", "min", "mean"} or None
        None does not rotate.
    by_slice : bool
    """
    if pooling is None:
        return respond(volume)
    responses = []
    for order, signs in _rotations(by_slice):
        mirrored = tuple(axis for axis in range(3) if signs[axis] < 0)
        rotated = np.flip(volume.transpose(order), mirrored)
        back = np.flip(respond(np.ascontiguousarray(rotated)), mirrored)
        responses.append(back.transpose(np.argsort(order)))
    return pool(responses, pooling)


def _rotations(by_slice: bool) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    # Order of the axes and their signs, of determinant 1.
    rotations = []
    for order, signs in product(permutations(range(3)), product((1, -1), repeat=3)):
        turns = np.linalg.det(np.eye(3)[list(order)]) * np.prod(signs) > 0
        if turns and not (by_slice and (order[0] != 0 or signs[0] < 0)):
            rotations.append((order, signs))
    return rotations
