"""`FeatureExtractor`: one image and one mask in, PyRadiomics' features out."""

from __future__ import annotations

import os
import warnings
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813  # the name its own documentation uses

from survimg.radiomics.extractor.case_images import CaseImages, load_case, resegmented
from survimg.radiomics.extractor.diagnostics import diagnostics_of
from survimg.radiomics.extractor.engine_settings import extraction_settings, refuse_not_finite
from survimg.radiomics.extractor.voxel_maps import voxel_maps
from survimg.radiomics.filters.images import filtered_images, image_names
from survimg.radiomics.native.geometry import RegionGeometry, bounding_box, region_geometry
from survimg.radiomics.native.shape import shape_features
from survimg.radiomics.native.shape2d import planar_shape_features
from survimg.radiomics.native.textures import ImageMeasurement
from survimg.radiomics.parameters import Parameters, ParameterSource, read_parameters
from survimg.radiomics.texture import TextureDefinition

__all__ = ["FeatureExtractor", "feature_names"]

ImageSource = str | os.PathLike[str] | sitk.Image


class FeatureExtractor:
    """PyRadiomics' features of one image and one mask, from PyRadiomics' parameter files.

    For those who have a loop over cases already: what stands in it for PyRadiomics' own
    ``RadiomicsFeatureExtractor(params).execute(image, mask)``. Names, order, settings and values
    are those of PyRadiomics 3.0.1; images are computed in the type of number of the file, as there.
    `RadiomicsFeatures.from_params` measures a whole cohort instead, as a step of scikit-learn.

    Parameters
    ----------
    params : path-like, dict, Parameters or None, default=None
        A parameter file of PyRadiomics (YAML or JSON), what such a file holds, or None for its
        defaults: all features of the original image, with a bin width of 25.

    Attributes
    ----------
    parameters : Parameters
        The checked file.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        A key is unknown or a value not allowed.

    Notes
    -----
    Differences from PyRadiomics 3.0.1, all of them refusals or additions: images of two dimensions
    and filters that the image is too small for are refused by name, where PyRadiomics leaves their
    features out; a mask that fills its whole volume is measured; whole numbers do not overflow
    where bins are made.

    Examples
    --------
    >>> import numpy as np, SimpleITK as sitk
    >>> from survimg.radiomics import FeatureExtractor
    >>> image = sitk.GetImageFromArray(np.random.default_rng(0).normal(40, 30, (9, 9, 9)))
    >>> mask = sitk.GetImageFromArray(np.pad(np.ones((5, 5, 5), np.uint8), 2))
    >>> features = FeatureExtractor({"setting": {"binWidth": 10}}).execute(image, mask)
    >>> round(features["original_shape_VoxelVolume"])
    125
    """

    def __init__(self, params: ParameterSource | Parameters = None) -> None:
        self.parameters = params if isinstance(params, Parameters) else read_parameters(params)

    def execute(
        self,
        image: ImageSource,
        mask: ImageSource,
        label: int | None = None,
        label_channel: int | None = None,
        voxelBased: bool = False,
    ) -> OrderedDict[str, Any]:
        """Measure one region.

        Parameters
        ----------
        image, mask : path-like or SimpleITK.Image
            Of three dimensions.
        label : int, optional
            Label of the region, instead of that of the parameters.
        label_channel : int, optional
            Channel of a mask with several, instead of that of the parameters.
        voxelBased : bool, default=False
            Give a map of each feature, measured in a window around each voxel of the region,
            instead of a number. There are none of shape.

        Returns
        -------
        OrderedDict
            Diagnostics (unless ``additionalInfo: false``), then ``<image>_<class>_<feature>`` ->
            float, or -> SimpleITK.Image for maps, which `write_maps` stores.

        Raises
        ------
        ValueError
            The region is missing, too small, or not on the image's grid; an image is undefined or
            holds voxels that are not finite.
        ImportError
            An image type needs a package that is not installed.
        """
        settings = self._settings(label, label_channel)
        case, stages = load_case(image, mask, settings)
        measured = case
        if settings["resegmentRange"] is not None:
            measured = resegmented(case, settings)
            stages["mask-resegmented"] = (measured.mask, measured.image)
        results: OrderedDict[str, Any] = OrderedDict()
        if settings["additionalInfo"]:
            results.update(diagnostics_of(self.parameters, settings, stages))
        if voxelBased:
            results.update(voxel_maps(measured, self.parameters, settings))
            return results
        window = bounding_box(measured.region)
        shape_case = measured if settings["resegmentShape"] else case
        geometry = region_geometry(shape_case.region[window])
        results.update(self._shape(geometry, shape_case.region[window], case.spacing, settings))
        # The same region has the same geometry for textures.
        geometries: dict[Any, RegionGeometry] = {}
        if shape_case is measured:
            geometries[settings["label"], TextureDefinition()] = geometry
        for name, values in self._images(measured, window, settings, geometries):
            results.update((f"{name}_{feature}", value) for feature, value in values.items())
        return results

    def feature_names(self) -> list[str]:
        """Return the names of the features, without measuring anything."""
        return feature_names(self.parameters)

    def _settings(self, label: int | None, label_channel: int | None) -> dict[str, Any]:
        settings = self.parameters.settings
        if label is not None:
            settings["label"] = int(label)
        if label_channel is not None:
            settings["label_channel"] = int(label_channel)
        return settings

    def _shape(
        self,
        geometry: RegionGeometry,
        region: np.ndarray,
        spacing: np.ndarray,
        settings: Mapping[str, Any],
    ) -> Iterator[tuple[str, float]]:
        features = self.parameters.features
        if "shape" in features:
            values = shape_features(geometry, spacing)
            for name in features["shape"]:
                yield f"original_shape_{name}", values[name]
        if "shape2D" not in features:
            return
        if settings["force2D"]:
            values = planar_shape_features(region, spacing, settings["force2Ddimension"])
            for name in features["shape2D"]:
                yield f"original_shape2D_{name}", values[name]
        elif self.parameters.named_classes:
            warnings.warn(
                "featureClass names shape2D, which is defined with force2D: true only; its "
                "features are left out, as PyRadiomics leaves them out.",
                UserWarning,
                stacklevel=3,
            )

    def _images(
        self,
        case: CaseImages,
        window: tuple[slice, slice, slice],
        settings: dict[str, Any],
        geometries: dict[Any, RegionGeometry],
    ) -> Iterator[tuple[str, dict[str, float]]]:
        # Image types of equal settings share their geometry and their scratch memory.
        measurements: dict[Any, ImageMeasurement] = {}
        labels = sitk.GetArrayViewFromImage(case.mask)[window]
        for image_type, overrides in self.parameters.image_types.items():
            special = {**settings, **overrides}
            image_settings = extraction_settings(self.parameters, special)
            names = [
                f"{c}_{name}" for c, features in image_settings.image_features for name in features
            ]
            if not names:
                continue
            region, key = labels == special["label"], (special["label"], image_settings.texture)
            if key not in geometries:
                geometries[key] = region_geometry(region, image_settings.texture)
            if (key, image_settings) not in measurements:
                measure = ImageMeasurement(geometries[key], case.spacing, image_settings)
                measurements[key, image_settings] = measure
            for image, box in filtered_images(case.image, case.region, window, image_type, special):
                inside = box.reshape(-1)[geometries[key].in_box]
                refuse_not_finite(inside, image)
                try:
                    values, _ = measurements[key, image_settings](inside)
                except ValueError as error:
                    raise ValueError(f"Image {image!r}: {error}.") from error
                yield image, dict(zip(names, values.tolist(), strict=True))


def feature_names(parameters: Parameters, *, maps: bool = False) -> list[str]:
    """Return the names of the features in the order of `FeatureExtractor.execute`.

    Parameters
    ----------
    parameters : Parameters
    maps : bool, default=False
        Those that there are maps of: all but shape.
    """
    features = parameters.features
    names = []
    if not maps:
        names += [f"original_shape_{name}" for name in features.get("shape", ())]
    if not maps and parameters.settings["force2D"]:
        names += [f"original_shape2D_{name}" for name in features.get("shape2D", ())]
    for image_type in parameters.image_types:
        for image in image_names(image_type, parameters.settings_of(image_type)):
            names += [
                f"{image}_{feature_class}_{name}"
                for feature_class, of_class in features.items()
                if not feature_class.startswith("shape")
                for name in of_class
            ]
    return names
