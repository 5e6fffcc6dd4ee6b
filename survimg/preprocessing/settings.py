"""The settings of a preparation, as one value that can be stored, compared and hashed."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from survimg.io.images.masks import Label
from survimg.io.images.resampling import IMAGE_INTERPOLATIONS, MASK_INTERPOLATIONS
from survimg.preprocessing.registration import Registration

__all__ = ["BEFORE_CHOICE", "CROPS", "Preparation"]

#: Where the crop lies; see `Preparation`.
CROPS = ("mask", "fixed", "pet_peak", "whole")

_AXES = "(z, y, x)"

#: How cohorts and models were prepared that do not say it: before there was a choice.
BEFORE_CHOICE = {"interpolation": "linear", "antialias": False, "mask_interpolation": "nearest"}


@dataclass(frozen=True)
class Preparation:
    """How volumes are resampled, cropped and normalised.

    Every step is a function of one patient alone (with `registration`: of one patient and the
    template): nothing is learned across patients, so that a cohort can be prepared before it is
    split, and another hospital's patients later, in the same way.

    Parameters
    ----------
    shape : tuple of int
        Voxels of the result along ``(z, y, x)``.
    spacing : float or tuple of float, optional
        Spacing of the result in mm, one number or ``(z, y, x)``. None keeps each patient's own
        spacing, that of the first channel the patient has.
    crop : {"mask", "fixed", "pet_peak", "whole"}, default="mask"
        ``"mask"``: around the middle of the tumour mask's bounding box. ``"fixed"``: at `centre`.
        ``"pet_peak"``: around the hottest 1 cm^3 of the channel called PET (needs no mask; in
        whole-body scans that is often the brain or the bladder). ``"whole"``: the whole field of
        view, stretched over `shape`; `spacing` must be None.
    centre : tuple of float, optional
        For ``crop="fixed"``: position of the crop's centre in mm, ``(z, y, x)``, counted from the
        middle of the first channel's field of view (with `registration`: of the template's)
        towards head, back and left. None is the middle.
    normalise : str or dict, default="zscore"
        Per channel, or one for all: ``"zscore"`` over the crop, ``"none"``, or
        ``("window", low, high)``, which clips to the window and scales it to 0..1.
    padding : float or dict, optional
        Value outside the field of view, per channel or one for all, before normalising. None takes
        the lowest value of the patient's own image: air in CT, nothing in PET.
    label : int, str or sequence of these, optional
        The tumour's label in masks with several labels, or the region's name in RTSTRUCTs; several
        are merged.
    registration : Registration, optional
        Bring every patient to the pose of a template first; the crop is then one block of the
        template's grid (``crop="fixed"`` or ``"whole"``).
    interpolation : {"linear", "cubic"}, default="linear"
        Of images: trilinear, or cubic B-splines.
    antialias : bool, default=True
        Blur along each axis that becomes coarser, so that the noise and the detail that the new
        voxels cannot hold do not alias into them; see `resample_image`.
    mask_interpolation : {"volume", "linear", "nearest"}, default="volume"
        ``"volume"``: as many voxels as the tumour's volume fills. ``"linear"``: interpolated, 0.5
        or more. ``"nearest"``: nearest neighbour. See `resample_mask`.
    features_spacing : float, tuple of float or "native", optional
        Keep a second, finer store for features: each patient's images and mask around the tumour,
        at this spacing in mm (``"native"``: that of the first channel the patient has), in SUV and
        HU, in the patient's own pose (`Cohort.finer`). By default features are measured on the
        networks' grid.
    features_margin : float, default=20
        How far the finer blocks reach beyond the tumour, in mm: room for shells and filters.

    Raises
    ------
    ValueError
        A setting outside what is allowed.

    Notes
    -----
    DeepMTS (Meng et al., IEEE JBHI 2022) prepares with ``spacing=1``, ``antialias=False`` and
    ``mask_interpolation="nearest"``; the defaults differ from it in these three. At 1 mm hardly a
    voxel changes by that; at 4 mm and more, where the paper never went, it is what keeps aliased
    noise out and the volume of small tumours right. As in the paper, images are interpolated
    linearly, and each patient and modality is z-scored over the crop without windowing CT. The
    paper registers the patients to a template first and then crops at a fixed position:
    ``crop="fixed"`` with ``Registration("rigid")``. Registration, change of spacing and crop are
    one interpolation. Without registration, ``crop="fixed"`` crops at a position relative to each
    patient's field of view.

    ``mask_interpolation`` was chosen by measurement (``benchmarks/preparation.py masks``): the
    volume of spheres of 6 mm radius, drawn at 0.98 x 0.98 x 3 mm, is off by 4 and 14 % (root mean
    square) at 4 and 8 mm with ``"volume"``, by 17 and 38 % with ``"linear"`` and by 23 and 37 %
    with ``"nearest"``. At 12 mm, where a voxel is twice the tumour, none of them keeps the volume,
    but ``"linear"`` and ``"nearest"`` lose every second tumour and ``"volume"`` none.
    """

    shape: tuple[int, int, int]
    spacing: tuple[float, float, float] | None = None
    crop: str = "mask"
    centre: tuple[float, float, float] | None = None
    normalise: str | tuple[Any, ...] | Mapping[str, Any] = "zscore"
    padding: float | Mapping[str, float] | None = None
    label: Label = None
    registration: Registration | None = None
    interpolation: str = "linear"
    antialias: bool = True
    mask_interpolation: str = "volume"
    features_spacing: tuple[float, float, float] | str | None = None
    features_margin: float = 20.0

    def __post_init__(self) -> None:
        shape = tuple(self.shape)
        if len(shape) != 3 or any(int(size) != size or size < 1 for size in shape):
            raise ValueError(f"shape must be three positive numbers {_AXES}; got {self.shape!r}.")
        self._set("shape", tuple(int(size) for size in shape))
        if self.spacing is not None:
            self._set("spacing", _triple("spacing", self.spacing, positive=True))
        if self.crop not in CROPS:
            raise ValueError(f"crop must be one of {list(CROPS)}; got {self.crop!r}.")
        if self.crop == "whole" and self.spacing is not None:
            raise ValueError(
                "crop='whole' stretches the field of view over shape, which sets the spacing; "
                "leave spacing out."
            )
        if self.centre is not None:
            if self.crop != "fixed":
                raise ValueError(f"centre belongs to crop='fixed'; crop is {self.crop!r}.")
            self._set("centre", _triple("centre", self.centre, positive=False))
        if isinstance(self.registration, Mapping):
            self._set("registration", Registration(**self.registration))
        if self.registration is not None and self.crop not in ("fixed", "whole"):
            raise ValueError(
                "With a registration the crop is one block of the template for all patients: "
                f"crop must be 'fixed' or 'whole'; got {self.crop!r}."
            )
        self._check_interpolation()
        self._check_features()
        self._set("normalise", _per_channel(self.normalise, _normalisation))
        self._set("padding", _per_channel(self.padding, _padding))

    def _check_interpolation(self) -> None:
        for name, allowed in (
            ("interpolation", IMAGE_INTERPOLATIONS),
            ("antialias", (True, False)),
            ("mask_interpolation", MASK_INTERPOLATIONS),
        ):
            value = getattr(self, name)
            if value not in allowed:
                raise ValueError(f"{name} must be one of {list(allowed)}; got {value!r}.")
        self._set("antialias", bool(self.antialias))

    def _check_features(self) -> None:
        if isinstance(self.features_spacing, str) and self.features_spacing != "native":
            raise ValueError(
                f"features_spacing must be in mm, or 'native'; got {self.features_spacing!r}."
            )
        if self.features_spacing not in (None, "native"):
            value = _triple("features_spacing", self.features_spacing, positive=True)
            self._set("features_spacing", value)
        if not (math.isfinite(self.features_margin) and self.features_margin >= 0):
            raise ValueError(
                f"features_margin must be a length >= 0 in mm; got {self.features_margin!r}."
            )

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def normalisation(self, channel: str) -> str | tuple[Any, ...]:
        """Return the normalisation of a channel."""
        return self.normalise[channel] if isinstance(self.normalise, Mapping) else self.normalise

    def padding_of(self, channel: str) -> float | None:
        """Return the padding of a channel; None is the lowest value of its image."""
        return self.padding[channel] if isinstance(self.padding, Mapping) else self.padding

    def check_channels(self, channel_names: Sequence[str]) -> None:
        """Check that settings given per channel name every channel, and no other.

        Raises
        ------
        ValueError
            They do not; ``crop="pet_peak"`` and no channel is called PET; no channel has the name
            of that which is to drive the registration.
        """
        for name in ("normalise", "padding"):
            value = getattr(self, name)
            if isinstance(value, Mapping) and set(value) != set(channel_names):
                raise ValueError(
                    f"{name} names the channels {sorted(value)}; the cohort has "
                    f"{sorted(channel_names)}. Name each of them once."
                )
        if self.registration is not None:
            self.registration.driving_channel(channel_names)
        if self.crop == "pet_peak" and "PET" not in channel_names:
            raise ValueError(
                f"crop='pet_peak' needs a channel called 'PET'; there are {list(channel_names)}."
            )

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as JSON-serialisable values, from which `from_dict` restores them."""
        content = asdict(self)
        if self.registration is None:
            del content["registration"]  # the key of a cohort without one stays what it was
        return json.loads(json.dumps(content))

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Preparation:
        """Restore settings from `to_dict`, or from those of a store.

        Where they do not say how voxels were interpolated, they are from before there was a choice:
        linear, masks by nearest neighbour, no blur.

        Raises
        ------
        ValueError
            Settings that this version does not know.
        """
        content = {**BEFORE_CHOICE, **content}
        content.pop("registered", None)
        unknown = set(content) - {field.name for field in fields(cls)}
        if unknown or "shape" not in content:
            raise ValueError(
                f"These are not settings of a preparation: unknown {sorted(unknown)}, given "
                f"{sorted(content)}."
            )
        return cls(**content)

    def key(self) -> str:
        """Return a hash that is equal exactly where the settings are."""
        text = json.dumps(self.to_dict(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def _triple(name: str, value: Any, *, positive: bool) -> tuple[float, ...]:
    parts = (value,) * 3 if isinstance(value, (int, float)) and positive else tuple(value)
    numbers = tuple(float(part) for part in parts)
    if len(numbers) == 1 and positive:
        numbers *= 3
    if len(numbers) != 3 or not all(math.isfinite(x) and (x > 0 or not positive) for x in numbers):
        kind = "positive numbers" if positive else "numbers"
        raise ValueError(f"{name} must be three {kind} {_AXES} in mm; got {value!r}.")
    return numbers


def _per_channel(value: Any, check: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): check(entry) for name, entry in value.items()}
    return check(value)


def _normalisation(value: Any) -> str | tuple[str, float, float]:
    if value in ("zscore", "none"):
        return value
    if isinstance(value, (list, tuple)) and len(value) == 3 and value[0] == "window":
        low, high = float(value[1]), float(value[2])
        if math.isfinite(low) and math.isfinite(high) and low < high:
            return ("window", low, high)
    raise ValueError(
        "normalise must be 'zscore', 'none' or ('window', low, high) with low < high; "
        f"got {value!r}."
    )


def _padding(value: Any) -> float | None:
    if value is None:
        return None
    if not math.isfinite(float(value)):
        raise ValueError(f"padding must be a finite number; got {value!r}.")
    return float(value)
