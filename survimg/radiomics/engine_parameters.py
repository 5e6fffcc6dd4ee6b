"""The native engine told by a parameter file of PyRadiomics, on the cases of a cohort."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import SimpleITK as sitk  # noqa: N813  # the name its own documentation uses

from survimg.radiomics.case import CaseFeatures, RadiomicsCase, UnmeasurableRegionError
from survimg.radiomics.extractor.feature_extractor import FeatureExtractor, feature_names
from survimg.radiomics.names import IBSI_IDENTIFIERS, ExtractionSettings
from survimg.radiomics.native.engine import ENGINE_VERSION
from survimg.radiomics.parameters import Parameters

__all__ = [
    "ENGINE_VERSION",
    "ParameterSettings",
    "check_alone",
    "extract_case",
    "parameters_of",
]


@dataclass(frozen=True)
class ParameterSettings:
    """What is computed from one case, by parameter files.

    Parameters
    ----------
    by_channel : dict
        Channel -> Parameters.
    """

    by_channel: Mapping[str, Parameters]

    filtered_image_types: ClassVar[tuple[str, ...]] = ()

    @property
    def needs_spacing(self) -> dict[str, bool]:
        """What needs a voxel size, by name."""
        return {"params": True}

    @property
    def shape_per_channel(self) -> bool:
        """Whether shape differs between channels: by a range of values, or by their files."""
        every = list(self.by_channel.values())
        cut = any(each.settings["resegmentRange"] is not None for each in every)
        return cut or any(_shape_choices(each) != _shape_choices(every[0]) for each in every)

    def iter_columns(self, channels: Sequence[str]) -> Iterator[tuple[str, str | None]]:
        """Yield (column name, IBSI identifier) in the order of the values of a case.

        Parameters
        ----------
        channels : sequence of str
        """
        if not self.shape_per_channel:
            names = feature_names(self.by_channel[channels[0]])
            yield from ((name, _identifier(name)) for name in names if _is_shape(name))
        for channel in channels:
            for name in feature_names(self.by_channel[channel]):
                if self.shape_per_channel or not _is_shape(name):
                    yield f"{channel}_{name}", _identifier(name)


def extract_case(case: RadiomicsCase, settings: ParameterSettings) -> CaseFeatures:
    """Compute the features of one case.

    Parameters
    ----------
    case : RadiomicsCase
    settings : ParameterSettings

    Raises
    ------
    ValueError
        What `FeatureExtractor.execute` refuses; the message names patient and channel.
    """
    features: dict[str, float] = {}
    for c, channel in enumerate(case.channel_names):
        # Shape needs an image to lie on, whichever channel that is.
        only_shape = not case.present[c]
        if only_shape and (c > 0 or settings.shape_per_channel):
            continue
        parameters = settings.by_channel[channel]
        setting = {**parameters.setting, "additionalInfo": False}
        features_of_channel = {
            name: names
            for name, names in parameters.features.items()
            # Shape that all channels share is measured once.
            if c == 0 or settings.shape_per_channel or not name.startswith("shape")
        }
        extractor = FeatureExtractor(
            replace(parameters, setting=setting, features=features_of_channel)
        )
        label = extractor.parameters.settings["label"]
        mask = _image(case.region.astype(np.uint32) * label, case.spacing)
        image = _image(np.asarray(case.volume[c], dtype=np.float64), case.spacing)
        if only_shape:
            image = image * 0.0
        try:
            values = (_shape_of(extractor) if only_shape else extractor).execute(image, mask)
        except UnmeasurableRegionError:
            raise
        except ValueError as error:
            raise ValueError(f"Patient {case.patient!r}, channel {channel!r}: {error}") from error
        for name, value in values.items():
            shared = _is_shape(name) and not settings.shape_per_channel
            features[name if shared else f"{channel}_{name}"] = value
    columns = [name for name, _ in settings.iter_columns(case.channel_names)]
    values_in_order = np.array([features.get(name, np.nan) for name in columns], dtype=np.float64)
    return CaseFeatures(values_in_order, np.zeros((len(case.channel_names), 0), dtype=np.int64))


def check_alone(arguments: Mapping[str, Any]) -> None:
    """Check that what a parameter file says was not given beside it.

    Parameters
    ----------
    arguments : dict
        Those of `RadiomicsFeatures`.

    Raises
    ------
    ValueError
        It was; the message names the argument.
    """
    allowed = {"engine": "native", "standard": "pyradiomics"}
    for name in (*allowed, "bin_width", "bin_count", "features", "image_types", "log_sigma"):
        if arguments[name] != allowed.get(name):
            raise ValueError(
                f"params and {name} were given; the parameter file says it all. Leave {name} out, "
                "or change the parameters."
            )


def parameters_of(
    features: Mapping[str, Sequence[str]],
    image_types: Sequence[str],
    settings: ExtractionSettings,
) -> dict[str, dict[str, object]]:
    """Return the content of a parameter file that PyRadiomics computes the same features by.

    Parameters
    ----------
    features : mapping of class -> feature names
    image_types : sequence of {"original", "wavelet", "log"}
    settings : ExtractionSettings
        Widths and bins.
    """
    filters: dict[str, tuple[str, dict[str, object]]] = {
        "original": ("Original", {}),
        "wavelet": ("Wavelet", {"wavelet": "coif1"}),
        "log": ("LoG", {"sigma": list(settings.log_sigma)}),
    }
    width, count = settings.bin_width, settings.bin_count
    return {
        "setting": {"binWidth": width} if count is None else {"binCount": count},
        "featureClass": {name: list(names) for name, names in features.items()},
        "imageType": dict(filters[name] for name in dict.fromkeys(image_types)),
    }


def _image(voxels: np.ndarray, spacing: np.ndarray) -> sitk.Image:
    image = sitk.GetImageFromArray(voxels)
    image.SetSpacing(spacing[::-1].tolist())
    return image


def _shape_of(extractor: FeatureExtractor) -> FeatureExtractor:
    parameters = extractor.parameters
    shape = {name: names for name, names in parameters.features.items() if _is_shape(f"_{name}_")}
    # Nothing of an absent image can be normalised.
    setting = {**parameters.setting, "normalize": False}
    return FeatureExtractor(replace(parameters, features=shape, setting=setting))


def _shape_choices(parameters: Parameters) -> tuple[object, ...]:
    settings, features = parameters.settings, parameters.features
    resampled = settings["resampledPixelSpacing"] if settings["interpolator"] else None
    planes = settings["force2Ddimension"] if settings["force2D"] else None
    return features.get("shape"), features.get("shape2D"), resampled, planes


def _is_shape(name: str) -> bool:
    return name.split("_")[1].startswith("shape")


def _identifier(name: str) -> str | None:
    _, feature_class, feature = name.split("_")
    return IBSI_IDENTIFIERS.get(feature_class, {}).get(feature)
