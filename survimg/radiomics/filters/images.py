"""The image types of PyRadiomics: an image in, filtered images in a box around the region out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813  # the name its own documentation uses

from survimg.radiomics.filters.local_binary_patterns import patterns_in_planes, patterns_in_space
from survimg.radiomics.filters.undecimated import decomposed
from survimg.radiomics.native.geometry import Box, with_margin
from survimg.radiomics.native.laplacian import laplacian_of_gaussian

__all__ = ["cut", "filtered_images", "image_names"]


def image_names(image_type: str, settings: Mapping[str, Any]) -> list[str]:
    """Return the names of the images that an image type gives, as they stand in feature names.

    Parameters
    ----------
    image_type : str
    settings : dict
        All settings that apply to it, by PyRadiomics' names.
    """
    if image_type == "LoG":
        return [_log_name(sigma) for sigma in settings["sigma"]]
    if image_type == "LBP3D":
        return [f"lbp-3D-m{level + 1}" for level in range(settings["lbp3DLevels"])] + ["lbp-3D-k"]
    if image_type != "Wavelet":
        return ["lbp-2D" if image_type == "LBP2D" else image_type.lower()]
    n_axes = len(_wavelet_axes(settings))
    bands = [format(k, f"0{n_axes}b").replace("0", "L").replace("1", "H") for k in range(2**n_axes)]
    names = []
    for _, tag in _wavelets(settings):
        levels = range(1, settings["level"] + 1)
        names += [_wavelet_name(level, tag, band) for level in levels for band in bands[1:]]
        names.append(_wavelet_name(settings["level"], tag, bands[0]))
    return names


def filtered_images(
    image: sitk.Image, region: np.ndarray, window: Box, image_type: str, settings: Mapping[str, Any]
) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the images of one image type.

    Parameters
    ----------
    image : SimpleITK.Image
    region : ndarray of shape (z, y, x), bool
        Voxels that patterns in space are computed for.
    window : tuple of slice
        Box of the image in which filtered values are needed.
    image_type : str
    settings : dict
        All settings that apply to it, by PyRadiomics' names.

    Yields
    ------
    name : str
    values : ndarray of the shape of the box
        In the type of number in which PyRadiomics computes the image.

    Raises
    ------
    ValueError
        The filter is not defined for this image.
    ImportError
        A package that the filter needs is not installed.
    """
    volume = sitk.GetArrayViewFromImage(image)
    if image_type == "Original":
        yield "original", volume[window]
    elif image_type == "Wavelet":
        yield from _wavelet_bands(volume, window, settings)
    elif image_type == "LoG":
        for sigma in settings["sigma"]:
            yield _log_name(sigma), _laplacian(image, window, sigma)
    elif image_type == "Gradient":
        yield "gradient", _gradient(image, window, settings["gradientUseSpacing"])
    elif image_type == "LBP2D":
        yield "lbp-2D", _planar_patterns(volume, window, settings)
    elif image_type == "LBP3D":
        positions = np.argwhere(region)
        patterns = patterns_in_space(
            volume,
            positions,
            settings["lbp3DLevels"],
            settings["lbp3DIcosphereRadius"],
            settings["lbp3DIcosphereSubdivision"],
        )
        names = image_names(image_type, settings)
        for name, pattern in zip(names, patterns, strict=True):
            whole = np.zeros(region.shape)
            whole[region] = pattern
            yield name, whole[window]
    else:
        yield image_type.lower(), _rescaled(volume, window, image_type)


def _log_name(sigma: float) -> str:
    return f"log-sigma-{str(sigma).replace('.', '-')}-mm-3D"


def _wavelet_axes(settings: Mapping[str, Any]) -> tuple[int, ...]:
    left_out = settings["force2Ddimension"] if settings["force2D"] else None
    return tuple(axis for axis in (2, 1, 0) if axis != left_out)


def _wavelets(settings: Mapping[str, Any]) -> list[tuple[str, str]]:
    # Wavelets with what tells them apart in names: nothing for a single one, as in PyRadiomics.
    wavelet = settings["wavelet"]
    return [(wavelet, "")] if isinstance(wavelet, str) else [(name, f"-{name}") for name in wavelet]


def _wavelet_name(level: int, tag: str, band: str) -> str:
    return f"wavelet{'' if level == 1 else level}{tag}-{band}"


def _wavelet_bands(
    volume: np.ndarray, window: Box, settings: Mapping[str, Any]
) -> Iterator[tuple[str, np.ndarray]]:
    levels, axes = (settings["start_level"], settings["level"]), _wavelet_axes(settings)
    for wavelet, tag in _wavelets(settings):
        for level, band, values in decomposed(volume, window, wavelet, *levels, axes):
            yield _wavelet_name(level, tag, band), values


def _rescaled(volume: np.ndarray, window: Box, image_type: str) -> np.ndarray:
    # Pointwise functions whose largest magnitude is that of the whole image.
    largest = max(abs(float(volume.max())), abs(float(volume.min())))
    if largest == 0 or (image_type == "Exponential" and largest <= 0):
        raise ValueError(
            f"The image is 0 everywhere, so that {image_type} is undefined; leave it out of "
            "imageType."
        )
    values = volume[window].astype(np.float64)
    if image_type == "Square":
        return np.asarray((1 / np.sqrt(largest) * values) ** 2)
    if image_type == "SquareRoot":
        return np.asarray(np.sign(values) * np.sqrt(np.abs(values) * largest))
    if image_type == "Logarithm":
        magnitude = np.log(np.abs(values) + 1)
        return np.asarray(np.sign(values) * magnitude * (largest / np.log(largest + 1)))
    return np.asarray(np.exp(np.log(largest) / largest * values))


def _laplacian(image: sitk.Image, window: Box, sigma: float) -> np.ndarray:
    volume, spacing = sitk.GetArrayViewFromImage(image), np.array(image.GetSpacing()[::-1])
    try:
        return laplacian_of_gaussian(volume, window, spacing, sigma)
    except ValueError as error:
        raise ValueError(f"Image {_log_name(sigma)!r}: {error}.") from error


def cut(image: sitk.Image, box: Box) -> sitk.Image:
    """Return the part of an image in a box of (z, y, x)."""
    z, y, x = box
    return image[x.start : x.stop, y.start : y.stop, z.start : z.stop]


def _gradient(image: sitk.Image, window: Box, in_mm: bool) -> np.ndarray:
    # Central differences reach one voxel.
    wide, inner = with_margin(window, 1, image.GetSize()[::-1])
    gradient = sitk.GradientMagnitudeImageFilter()
    gradient.SetUseImageSpacing(in_mm)
    return np.asarray(sitk.GetArrayFromImage(gradient.Execute(cut(image, wide)))[inner])


def _planar_patterns(volume: np.ndarray, window: Box, settings: Mapping[str, Any]) -> np.ndarray:
    # Bilinear samples on a circle reach a voxel beyond its radius.
    radius = settings["lbp2DRadius"]
    wide, inner = with_margin(window, int(np.ceil(radius)) + 1, volume.shape)
    patterns = patterns_in_planes(
        volume[wide],
        settings["force2Ddimension"],
        settings["lbp2DSamples"],
        radius,
        settings["lbp2DMethod"],
    )
    return patterns[inner]
