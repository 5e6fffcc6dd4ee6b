"""What a setting may be: PyRadiomics' schema as plain functions."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import pywt

__all__ = ["DEFAULTS", "IMAGE_TYPES", "SETTINGS", "VOXEL_DEFAULTS", "VOXEL_SETTINGS", "Rule"]

# Of SimpleITK, in the order of the numbers from 1 to 10, which PyRadiomics takes as well.
_INTERPOLATORS = (
    "sitkNearestNeighbor",
    "sitkLinear",
    "sitkBSpline",
    "sitkGaussian",
    "sitkLabelGaussian",
    "sitkHammingWindowedSinc",
    "sitkCosineWindowedSinc",
    "sitkWelchWindowedSinc",
    "sitkLanczosWindowedSinc",
    "sitkBlackmanWindowedSinc",
)

#: The image types, in the order in which PyRadiomics lists them.
IMAGE_TYPES = (
    "Exponential",
    "Gradient",
    "LBP2D",
    "LBP3D",
    "LoG",
    "Logarithm",
    "Original",
    "Square",
    "SquareRoot",
    "Wavelet",
)


@dataclass(frozen=True)
class Rule:
    """One setting.

    Parameters
    ----------
    allowed : str
        What it may be, for messages.
    read : callable
        Returns the value in its own type, or raises ValueError.
    """

    allowed: str
    read: Callable[[Any], Any]


def _number(value: Any) -> float | int:
    # Text such as "1e-6", which YAML does not take for a number, is one in PyRadiomics too.
    if isinstance(value, bool) or not isinstance(value, Real | str):
        raise ValueError
    return value if isinstance(value, int) else float(value)


def _finite(value: Any) -> float | int:
    number = _number(value)
    if not math.isfinite(number):
        raise ValueError
    return number


def _above_zero(value: Any) -> float | int:
    number = _finite(value)
    if number <= 0:
        raise ValueError
    return number


def _not_negative(value: Any) -> float | int:
    number = _finite(value)
    if number < 0:
        raise ValueError
    return number


def _whole(low: int, high: int | None = None) -> Rule:
    def read(value: Any) -> int:
        number = _read_integer(value)
        if number < low or (high is not None and number > high):
            raise ValueError
        return number

    return Rule(f"a whole number from {low}" + ("" if high is None else f" to {high}"), read)


def _read_integer(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError
    return value


def _read_truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError
    return value


def _text(options: Sequence[str]) -> Rule:
    def read(value: Any) -> str:
        if value not in options:
            raise ValueError
        return str(value)

    return Rule("one of " + ", ".join(options), read)


def _several(
    allowed: str, read: Callable[[Any], Any], lengths: tuple[int, ...] | None = None
) -> Rule:
    def read_all(values: Any) -> list[Any]:
        if isinstance(values, str) or not isinstance(values, Sequence) or not values:
            raise ValueError
        if lengths is not None and len(values) not in lengths:
            raise ValueError
        return [read(value) for value in values]

    return Rule(allowed, read_all)


def _read_interpolator(value: Any) -> str:
    if isinstance(value, str) and value in _INTERPOLATORS:
        return value
    # Numbers are those of PyRadiomics' time: SimpleITK has given B-splines another one since.
    return _INTERPOLATORS[_whole(1, 10).read(value) - 1]


def _read_wavelet(value: Any) -> str | list[str]:
    names = [value] if isinstance(value, str) else list(value)
    if not names or len(set(names)) < len(names):
        raise ValueError
    if not set(names) <= set(pywt.wavelist(kind="discrete")):
        raise ValueError
    return value if isinstance(value, str) else names


_TRUTH = Rule("true or false", _read_truth)
_POSITIVE = Rule("a number above 0", _above_zero)

#: Every key of `setting`, which an entry of `imageType` may carry as well.
SETTINGS: Mapping[str, Rule] = {
    "minimumROIDimensions": _whole(1, 3),
    "minimumROISize": _whole(1),
    "geometryTolerance": _POSITIVE,
    "correctMask": _TRUTH,
    "additionalInfo": _TRUTH,
    "label": _whole(1),
    "label_channel": _whole(0),
    "binWidth": _POSITIVE,
    "binCount": _whole(1),
    "normalize": _TRUTH,
    "normalizeScale": _POSITIVE,
    "removeOutliers": _POSITIVE,
    "resampledPixelSpacing": _several(
        "three sizes in mm (x, y, z), where 0 keeps that of the mask", _not_negative, (3,)
    ),
    "interpolator": Rule("a number from 1 to 10 or one of " + ", ".join(_INTERPOLATORS),
                         _read_interpolator),
    "padDistance": _whole(0),
    "distances": _several("a list of whole numbers from 1, in voxels", _whole(1).read),
    "force2D": _TRUTH,
    "force2Ddimension": _whole(0, 2),
    "resegmentRange": _several("a list of one or two numbers", _number, (1, 2)),
    "resegmentMode": _text(("absolute", "relative", "sigma")),
    "resegmentShape": _TRUTH,
    "preCrop": _TRUTH,
    "sigma": _several("a list of widths above 0, in mm", _above_zero),
    "start_level": _whole(0),
    "level": _whole(1),
    "wavelet": Rule("a discrete wavelet of PyWavelets (pywt.wavelist(kind='discrete')), or a list "
                    "of different ones", _read_wavelet),
    "gradientUseSpacing": _TRUTH,
    "lbp2DRadius": _POSITIVE,
    "lbp2DSamples": _whole(1),
    "lbp2DMethod": _text(("default", "ror", "uniform", "var")),
    "lbp3DLevels": _whole(1),
    "lbp3DIcosphereRadius": _POSITIVE,
    "lbp3DIcosphereSubdivision": _whole(0),
    "voxelArrayShift": Rule("a whole number", _read_integer),
    "symmetricalGLCM": _TRUTH,
    "weightingNorm": _text(("euclidean", "manhattan", "infinity", "no_weighting")),
    "gldm_a": _whole(0),
}

#: Every key of `voxelSetting`.
VOXEL_SETTINGS: Mapping[str, Rule] = {
    "kernelRadius": _whole(1),
    "maskedKernel": _TRUTH,
    "initValue": Rule("a number or nan", _number),
    "voxelBatch": _whole(1),
}

#: What a setting is where a file does not say; None where the step does not take place.
DEFAULTS: Mapping[str, Any] = {
    "minimumROIDimensions": 2,
    "minimumROISize": None,
    "geometryTolerance": None,
    "correctMask": False,
    "additionalInfo": True,
    "label": 1,
    "label_channel": 0,
    "binWidth": 25,
    "binCount": None,
    "normalize": False,
    "normalizeScale": 1,
    "removeOutliers": None,
    "resampledPixelSpacing": None,
    "interpolator": "sitkBSpline",
    "padDistance": 5,
    "distances": [1],
    "force2D": False,
    "force2Ddimension": 0,
    "resegmentRange": None,
    "resegmentMode": "absolute",
    "resegmentShape": False,
    "preCrop": False,
    "sigma": None,
    "start_level": 0,
    "level": 1,
    "wavelet": "coif1",
    "gradientUseSpacing": True,
    "lbp2DRadius": 1,
    "lbp2DSamples": 8,
    "lbp2DMethod": "uniform",
    "lbp3DLevels": 2,
    "lbp3DIcosphereRadius": 1,
    "lbp3DIcosphereSubdivision": 1,
    "voxelArrayShift": 0,
    "symmetricalGLCM": True,
    "weightingNorm": None,
    "gldm_a": 0,
}

#: The same for maps of voxels.
VOXEL_DEFAULTS: Mapping[str, Any] = {
    "kernelRadius": 1,
    "maskedKernel": True,
    "initValue": 0,
    "voxelBatch": None,
}
