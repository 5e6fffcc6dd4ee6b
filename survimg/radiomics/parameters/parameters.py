"""Parameter files of PyRadiomics: read, checked, and written."""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from survimg.radiomics.names import (
    FEATURE_SETS,
    IBSI_IDENTIFIERS,
    REMOVED_FEATURES,
    SHAPE_2D_FEATURES,
)
from survimg.radiomics.parameters.named import NAMED_PARAMETERS
from survimg.radiomics.parameters.rules import (
    DEFAULTS,
    IMAGE_TYPES,
    SETTINGS,
    VOXEL_DEFAULTS,
    VOXEL_SETTINGS,
    Rule,
)

__all__ = ["SECTIONS", "ParameterSource", "Parameters", "read_parameters"]

#: A parameter file, what such a file holds, or None for PyRadiomics' defaults.
ParameterSource = str | os.PathLike[str] | Mapping[str, Any] | None

#: Keys of a parameter file.
SECTIONS = ("setting", "voxelSetting", "featureClass", "imageType")


@dataclass(frozen=True)
class Parameters:
    """A parameter file of PyRadiomics 3.0.1, checked.

    Parameters
    ----------
    setting : dict
        What the file sets, by PyRadiomics' names; `settings` adds the defaults.
    voxel_setting : dict
        The same for maps of voxels.
    features : dict
        Feature class -> names, in the order of the results.
    image_types : dict
        Image type -> settings of this image type alone.
    named_classes : bool
        Whether the file names feature classes. If it does not, ``shape2D`` is computed where
        it can be, and no reason to complain where it cannot.
    """

    setting: Mapping[str, Any]
    voxel_setting: Mapping[str, Any]
    features: Mapping[str, tuple[str, ...]]
    image_types: Mapping[str, Mapping[str, Any]]
    named_classes: bool

    @property
    def settings(self) -> dict[str, Any]:
        """All settings by name, with defaults."""
        return {**DEFAULTS, **self.setting}

    @property
    def voxel_settings(self) -> dict[str, Any]:
        """All settings of voxel maps by name, with defaults."""
        return {**VOXEL_DEFAULTS, **self.voxel_setting}

    def settings_of(self, image_type: str) -> dict[str, Any]:
        """Return the settings that apply to one image type."""
        return {**self.settings, **self.image_types[image_type]}

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """Return what `read_parameters` makes these parameters of, and PyRadiomics reads."""
        sections: dict[str, dict[str, Any]] = {
            "setting": dict(self.setting),
            "voxelSetting": dict(self.voxel_setting),
            "featureClass": (
                {name: list(names) for name, names in self.features.items()}
                if self.named_classes
                else {}
            ),
            "imageType": {name: dict(overrides) for name, overrides in self.image_types.items()},
        }
        return {name: section for name, section in sections.items() if section}


def read_parameters(source: ParameterSource) -> Parameters:
    """Read and check a parameter file.

    Parameters
    ----------
    source : path-like, dict or None
        A file in YAML or JSON, what such a file holds, the name ``"fusion-1562"`` (see
        `NAMED_PARAMETERS`), or None for PyRadiomics' defaults: the original image and all
        features, with a bin width of 25.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        A key is unknown or a value not allowed; the message names it and says what is allowed.
    """
    content: Any = {} if source is None else source
    if isinstance(source, str) and source in NAMED_PARAMETERS:
        content = NAMED_PARAMETERS[source]
    elif isinstance(source, str | os.PathLike):
        content = _load(source)
    if not isinstance(content, Mapping):
        raise ValueError(
            f"Parameters must be a file or a mapping with the keys {', '.join(SECTIONS)}; got "
            f"{content!r}."
        )
    for key in content:
        if key not in SECTIONS:
            raise ValueError(_unknown("The parameters have the", "key", key, SECTIONS))
    sections = {name: _section(content, name) for name in SECTIONS}
    image_types: dict[str, dict[str, Any]] = {}
    for name, overrides in (sections["imageType"] or {"Original": {}}).items():
        if name not in IMAGE_TYPES:
            raise ValueError(_unknown("imageType has the", "image type", name, IMAGE_TYPES))
        image_types[name] = _checked(overrides or {}, SETTINGS, f"imageType: {name}")
    setting = _checked(sections["setting"], SETTINGS, "setting")
    if "LoG" in image_types and not ({**setting, **image_types["LoG"]}).get("sigma"):
        raise ValueError(
            "imageType: LoG needs widths in mm, for example LoG: {sigma: [1.0, 3.0]}; without "
            "them it has no image."
        )
    return Parameters(
        setting=setting,
        voxel_setting=_checked(sections["voxelSetting"], VOXEL_SETTINGS, "voxelSetting"),
        features=_features(sections["featureClass"]),
        image_types=image_types,
        named_classes=bool(sections["featureClass"]),
    )


def _load(path: str | os.PathLike[str]) -> Any:
    text = Path(path).read_text(encoding="utf-8")
    try:
        return json.loads(text) if Path(path).suffix == ".json" else yaml.safe_load(text) or {}
    except (json.JSONDecodeError, yaml.YAMLError) as error:
        raise ValueError(f"{os.fspath(path)} is no parameter file: {error}") from error


def _section(content: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    section = content.get(name) or {}
    if not isinstance(section, Mapping):
        raise ValueError(f"{name} must be a mapping; got {section!r}.")
    return section


def _unknown(beginning: str, kind: str, key: object, allowed: Sequence[str]) -> str:
    close = difflib.get_close_matches(str(key), allowed, n=1, cutoff=0.7)
    hint = f" Is {close[0]!r} meant?" if close else ""
    return (
        f"{beginning} {kind} {key!r}, which PyRadiomics 3.0.1 does not have either.{hint} "
        f"Correct or remove it; allowed are {', '.join(allowed)}."
    )


def _checked(given: Mapping[str, Any], rules: Mapping[str, Rule], where: str) -> dict[str, Any]:
    if not isinstance(given, Mapping):
        raise ValueError(f"{where} must be a mapping of settings; got {given!r}.")
    values = {}
    for key, value in given.items():
        if key not in rules:
            raise ValueError(_unknown(f"{where} has the", "setting", key, tuple(rules)))
        if value is None:  # an empty line: the default
            continue
        try:
            values[key] = rules[key].read(value)
        except (ValueError, TypeError):
            raise ValueError(
                f"{where}: {key} must be {rules[key].allowed}; got {value!r}."
            ) from None
    return values


def _features(section: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    standard = {
        **FEATURE_SETS["pyradiomics"],
        "shape2D": tuple(name for name in SHAPE_2D_FEATURES if name != "SphericalDisproportion"),
    }
    classes = tuple(sorted(standard))
    features: dict[str, tuple[str, ...]] = {}
    for feature_class, names in (section or dict.fromkeys(classes)).items():
        if feature_class not in standard:
            raise ValueError(_unknown("featureClass has the", "class", feature_class, classes))
        if not names:
            # In the order of PyRadiomics, which sorts the names of its methods.
            in_order = sorted(standard[feature_class], key=lambda name: f"{name}FeatureValue")
            features[feature_class] = tuple(in_order)
            continue
        if isinstance(names, str) or not isinstance(names, Sequence):
            raise ValueError(f"featureClass: {feature_class} must be a list; got {names!r}.")
        defined = (
            SHAPE_2D_FEATURES
            if feature_class == "shape2D"
            else tuple(IBSI_IDENTIFIERS[feature_class])
        )
        removed = REMOVED_FEATURES.get(feature_class, {})
        for name in names:
            if name not in defined and name not in removed:
                where = f"featureClass: {feature_class} has the"
                raise ValueError(_unknown(where, "feature", name, tuple(sorted(defined))))
        # PyRadiomics accepts these names and gives no value for them.
        features[feature_class] = tuple(
            dict.fromkeys(name for name in names if name not in removed)
        )
    return features
