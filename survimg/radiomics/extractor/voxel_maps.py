"""Maps of features: what PyRadiomics calls a voxel-based extraction."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813  # the name its own documentation uses

from survimg.io.images.image import write_whole
from survimg.radiomics.extractor.case_images import CaseImages, read_image
from survimg.radiomics.extractor.engine_settings import extraction_settings, refuse_not_finite
from survimg.radiomics.filters.images import cut, filtered_images
from survimg.radiomics.native.geometry import bounding_box, with_margin
from survimg.radiomics.native.windows import WindowMeasurement
from survimg.radiomics.parameters import Parameters

__all__ = ["replace_maps", "voxel_maps", "write_maps"]


def voxel_maps(
    case: CaseImages, parameters: Parameters, settings: Mapping[str, Any]
) -> Iterator[tuple[str, sitk.Image]]:
    """Yield the map of every feature but those of shape.

    Parameters
    ----------
    case : CaseImages
    parameters : Parameters
    settings : dict
        Those of the extraction.

    Yields
    ------
    name : str
        ``<image>_<class>_<feature>``.
    map : SimpleITK.Image
        In float64, on the grid of the case, cut to the region and the radius of the windows around
        it; `initValue` outside the region.

    Raises
    ------
    ValueError
        Voxels are not finite, or there are too many grey levels; the message names the image.
    """
    voxel_settings = parameters.voxel_settings
    radius = voxel_settings["kernelRadius"]
    window, _ = with_margin(bounding_box(case.region), radius, case.region.shape)
    region = case.region[window]
    inside = region if voxel_settings["maskedKernel"] else np.ones_like(region)
    positions = np.argwhere(region)
    empty = cut(case.image, window)
    for image_type, own in parameters.image_types.items():
        special = {**settings, **own}
        wanted = extraction_settings(parameters, special)
        names = [f"{c}_{name}" for c, features in wanted.image_features for name in features]
        if not names:
            continue
        measure = WindowMeasurement(radius, case.spacing, wanted)
        for image, box in filtered_images(case.image, case.region, window, image_type, special):
            refuse_not_finite(box[inside], image)
            try:
                values = measure(np.asarray(box), inside, positions)
            except ValueError as error:
                raise ValueError(f"Image {image!r}: {error}.") from error
            for k, name in enumerate(names):
                voxels = np.full(region.shape, voxel_settings["initValue"], dtype=np.float64)
                voxels[region] = values[:, k]
                feature_map = sitk.GetImageFromArray(voxels)
                feature_map.CopyInformation(empty)
                yield f"{image}_{name}", feature_map


def write_maps(
    found: Mapping[str, Any],
    image: str | os.PathLike[str] | sitk.Image,
    folder: str | os.PathLike[str],
) -> list[Path]:
    """Write maps as NIfTI files on the grid of the image, NaN where nothing was measured.

    Parameters
    ----------
    found : dict
        From `FeatureExtractor.execute` with ``voxelBased=True``; what is no map is left out.
    image : path-like or SimpleITK.Image
        The image that was measured. Maps of a resampled image are on a grid of their own, of the
        resampled voxel size, and are written as they are.
    folder : path-like
        Is made if it is not there.

    Returns
    -------
    list of Path
        ``<folder>/<name>.nii.gz``. SimpleITK reads NaN in NIfTI files as 0; nibabel does not.
    """
    image = read_image(image, "The image")
    Path(folder).mkdir(parents=True, exist_ok=True)
    paths = []
    for name, feature_map in found.items():
        if not isinstance(feature_map, sitk.Image):
            continue
        path = Path(folder) / f"{name}.nii.gz"
        same_grid = np.allclose(feature_map.GetSpacing(), image.GetSpacing())
        shown = _pasted(feature_map, image) if same_grid else feature_map
        write_whole(shown, path)
        paths.append(path)
    return paths


def replace_maps(
    maps: Mapping[str, Any], image: sitk.Image, folder: Path
) -> dict[str, Path]:
    """Write maps as `write_maps` does, into a folder that appears when all of them are there.

    Parameters
    ----------
    maps : dict
    image : SimpleITK.Image
    folder : Path
        Is replaced if it is there.

    Returns
    -------
    dict
        Name of the feature -> path.
    """
    unfinished = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        paths = write_maps(maps, image, unfinished)
        shutil.rmtree(folder, ignore_errors=True)
        unfinished.rename(folder)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    return {path.name.removesuffix(".nii.gz"): folder / path.name for path in paths}


def _pasted(feature_map: sitk.Image, image: sitk.Image) -> sitk.Image:
    voxels = np.full(image.GetSize()[::-1], np.nan)
    first = image.TransformPhysicalPointToIndex(feature_map.GetOrigin())
    place = [slice(f, f + n) for f, n in zip(first, feature_map.GetSize(), strict=True)]
    voxels[tuple(reversed(place))] = sitk.GetArrayViewFromImage(feature_map)
    whole = sitk.GetImageFromArray(voxels)
    whole.CopyInformation(image)
    return whole
