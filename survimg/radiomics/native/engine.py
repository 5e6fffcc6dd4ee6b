"""The native engine: one case in, its features out."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from survimg.radiomics.case import CaseFeatures, RadiomicsCase
from survimg.radiomics.finite_voxels import check_filter_reach, check_region_values, name_image
from survimg.radiomics.names import ExtractionSettings
from survimg.radiomics.native.geometry import RegionGeometry, region_geometry
from survimg.radiomics.native.laplacian import laplacian_of_gaussian
from survimg.radiomics.native.shape import shape_features
from survimg.radiomics.native.textures import ImageMeasurement
from survimg.radiomics.native.wavelet import filter_support, wavelet_bands

__all__ = ["ENGINE_VERSION", "extract_case"]

#: Part of every cache key: raise it with any change that moves a value.
ENGINE_VERSION = "native-4"


def extract_case(case: RadiomicsCase, settings: ExtractionSettings) -> CaseFeatures:
    """Compute the features of one case; filtered images are held one at a time.

    Parameters
    ----------
    case : RadiomicsCase
    settings : ExtractionSettings

    Raises
    ------
    ValueError
        Voxels that are not finite where a feature class needs them, a volume too small for a
        filter, or too many grey levels; the message names patient, channel and image.
    """
    geometry = region_geometry(case.region, settings.texture)
    values: list[float] = []
    if settings.shape_names:
        shape = shape_features(geometry, case.spacing)
        values.extend(shape[name] for name in settings.shape_names)
    n_images = len(settings.filtered_image_types)
    n_levels = np.zeros((len(case.channel_names), n_images), dtype=np.int64)
    measure = ImageMeasurement(geometry, case.spacing, settings)
    for c in range(len(case.channel_names)):
        features: dict[str, np.ndarray] = {}
        if case.present[c] and n_images:
            for image_type, voxels in _region_values(case, c, geometry, settings):
                try:
                    features[image_type], levels = measure(voxels)
                except ValueError as error:
                    raise ValueError(f"{name_image(case, c, image_type)}: {error}.") from error
                n_levels[c, settings.image_types.index(image_type)] = levels
        missing = np.full(settings.n_per_image, np.nan)
        for image_type in settings.filtered_image_types:
            values.extend(features.get(image_type, missing))
    return CaseFeatures(np.array(values, dtype=np.float64), n_levels)


def _region_values(
    case: RadiomicsCase, c: int, geometry: RegionGeometry, settings: ExtractionSettings
) -> Iterator[tuple[str, np.ndarray]]:
    volume = case.volume[c]
    box = volume[geometry.window].reshape(-1)
    original = box[geometry.in_box].astype(np.float64)
    check_region_values(original, case, c, settings)
    if "original" in settings.image_types:
        yield "original", original
    if any(name.startswith("wavelet") for name in settings.image_types):
        support = filter_support(volume, geometry.window)
        check_filter_reach(support, case, c, "wavelet")
        for name, band in wavelet_bands(support, volume.shape, geometry.window):
            yield f"wavelet-{name}", band.reshape(-1)[geometry.in_box]
    log_names = [name for name in settings.image_types if name.startswith("log")]
    if log_names:
        check_filter_reach(volume, case, c, "log")
        for name, sigma in zip(log_names, settings.log_sigma, strict=True):
            try:
                filtered = laplacian_of_gaussian(volume, geometry.window, case.spacing, sigma)
            except ValueError as error:
                raise ValueError(f"{name_image(case, c, name)}: {error}.") from error
            yield name, filtered.reshape(-1)[geometry.in_box].astype(np.float64)
