"""The second engine: PyRadiomics itself behind the interface of the native one.

PyRadiomics is no dependency: it publishes no wheels for current Pythons and its source
distribution does not build in isolation. It is imported when this engine is first used.
"""

from __future__ import annotations

import logging
import warnings
from types import ModuleType
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813  # the name its own documentation uses

from survimg.radiomics.case import CaseFeatures, RadiomicsCase
from survimg.radiomics.finite_voxels import check_filter_reach, check_region_values
from survimg.radiomics.names import ExtractionSettings
from survimg.radiomics.native.geometry import bounding_box
from survimg.radiomics.native.wavelet import filter_support

__all__ = ["engine_version", "extract_case"]

_INSTALL = (
    "engine='pyradiomics' needs the package PyRadiomics, which cannot be imported here ({reason}). "
    "On Python 3.10 or 3.11 with a C compiler these two commands install it:\n"
    "    pip install numpy setuptools wheel\n"
    "    pip install --no-build-isolation pyradiomics==3.0.1\n"
    "(on Python 3.12 or later: "
    'pip install "pyradiomics @ git+https://github.com/AIM-Harvard/pyradiomics@8ed5793"). '
    "engine='native', the default, gives the same values without it."
)


def _import_pyradiomics() -> ModuleType:
    try:
        with warnings.catch_warnings():
            # Its plugin loader calls functions that the import machinery has deprecated.
            warnings.simplefilter("ignore")
            import radiomics
            import radiomics.featureextractor
    except ImportError as error:
        raise ImportError(_INSTALL.format(reason=error)) from error
    # It logs one line per deprecated feature and filter to stderr.
    logging.getLogger("radiomics").setLevel(logging.CRITICAL)
    return radiomics


def engine_version() -> str:
    """Return the version of PyRadiomics, as a part of cache keys.

    Raises
    ------
    ImportError
        PyRadiomics is not installed; the message holds the commands that install it.
    """
    return f"pyradiomics-{_import_pyradiomics().__version__}"


def extract_case(case: RadiomicsCase, settings: ExtractionSettings) -> CaseFeatures:
    """Compute the features of one case with PyRadiomics.

    Images are handed over in float64: PyRadiomics filters float32 images in float32, which moves
    voxels between bins and changes features by up to 13 %.

    Parameters
    ----------
    case : RadiomicsCase
    settings : ExtractionSettings

    Raises
    ------
    ImportError
        PyRadiomics is not installed.
    ValueError
        PyRadiomics refuses the case, or returns no value for a feature; the message names the
        patient.
    """
    radiomics = _import_pyradiomics()
    mask = sitk.GetImageFromArray(case.region.astype(np.uint8))
    mask.SetSpacing(case.spacing[::-1].tolist())
    features: dict[str, float] = {}
    n_levels = np.zeros((len(case.channel_names), len(settings.filtered_image_types)), np.int64)
    for c, channel in enumerate(case.channel_names):
        # Shape needs an image to lie on, whichever channel that is.
        with_shape = bool(settings.shape_names) and c == 0
        if not case.present[c] and not with_shape:
            continue
        voxels = np.ascontiguousarray(case.volume[c], dtype=np.float64)
        if case.present[c] and settings.image_features:
            _check_finite(voxels, case, c, settings)
        if not case.present[c]:
            voxels = np.zeros_like(voxels)
        image = sitk.GetImageFromArray(voxels)
        image.SetSpacing(case.spacing[::-1].tolist())
        extractor = _extractor(radiomics, settings, with_shape, bool(case.present[c]))
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            try:
                result = extractor.execute(image, mask)
            except ValueError as error:
                raise ValueError(
                    f"PyRadiomics refused patient {case.patient!r}, channel {channel!r}: {error}"
                ) from error
        for name, value in result.items():
            prefix = "" if name.startswith("original_shape_") else f"{channel}_"
            # numpy >= 2.5 makes eigenvalue features complex.
            features[prefix + name] = float(np.real(value))
        if case.present[c]:
            n_levels[c] = _count_levels(radiomics, image, case, settings)
    return CaseFeatures(_in_order(features, case, settings), n_levels)


def _check_finite(
    voxels: np.ndarray, case: RadiomicsCase, c: int, settings: ExtractionSettings
) -> None:
    # PyRadiomics itself computes on with NaN, leaving some features out of it and not others.
    check_region_values(voxels[case.region], case, c, settings)
    if any(name.startswith("wavelet") for name in settings.image_types):
        support = filter_support(voxels, bounding_box(case.region))
        check_filter_reach(support, case, c, "wavelet")
    if settings.log_sigma:
        check_filter_reach(voxels, case, c, "log")


def _extractor(
    radiomics: ModuleType, settings: ExtractionSettings, with_shape: bool, with_images: bool
) -> Any:
    binning = (
        {"binWidth": settings.bin_width}
        if settings.bin_width is not None
        else {"binCount": settings.bin_count}
    )
    extractor = radiomics.featureextractor.RadiomicsFeatureExtractor(
        additionalInfo=False, geometryTolerance=1e-6, **binning
    )
    extractor.disableAllFeatures()
    extractor.disableAllImageTypes()
    names_by_class = {
        name: list(names)
        for name, names in settings.features
        if (with_shape if name == "shape" else with_images)
    }
    extractor.enableFeaturesByName(**names_by_class)
    if with_images:
        for name, arguments in _pyradiomics_filters(settings).items():
            extractor.enableImageTypeByName(name, customArgs=arguments)
    return extractor


def _pyradiomics_filters(settings: ExtractionSettings) -> dict[str, dict[str, object]]:
    filters: dict[str, dict[str, object]] = {}
    for image_type in settings.filtered_image_types:
        if image_type == "original":
            filters["Original"] = {}
        elif image_type.startswith("wavelet"):
            filters["Wavelet"] = {"wavelet": "coif1", "level": 1, "start_level": 0}
        else:
            filters["LoG"] = {"sigma": list(settings.log_sigma)}
    return filters


def _count_levels(
    radiomics: ModuleType, image: sitk.Image, case: RadiomicsCase, settings: ExtractionSettings
) -> np.ndarray:
    # Only for the warning about too few levels, which concerns fixed widths; the original image
    # speaks for its filtered versions, whose filtering would have to be repeated here.
    counts = np.zeros(len(settings.filtered_image_types), np.int64)
    if settings.bin_width is not None and "original" in settings.filtered_image_types:
        values = sitk.GetArrayFromImage(image)[case.region]
        edges = radiomics.imageoperations.getBinEdges(values, binWidth=settings.bin_width)
        counts[settings.filtered_image_types.index("original")] = np.digitize(values, edges).max()
    return counts


def _in_order(
    found: dict[str, float], case: RadiomicsCase, settings: ExtractionSettings
) -> np.ndarray:
    values = []
    absent = {
        name for name, there in zip(case.channel_names, case.present, strict=True) if not there
    }
    for column, _ in settings.iter_columns(case.channel_names):
        if column in found:
            values.append(found[column])
        elif any(column.startswith(f"{channel}_") for channel in absent):
            values.append(np.nan)
        else:
            raise ValueError(
                f"PyRadiomics returned no value for {column!r} of patient {case.patient!r}; for a "
                "Laplacian of Gaussian the volume needs at least 4, and sigma/spacing + 1, "
                "voxels along every axis."
            )
    return np.array(values, dtype=np.float64)
