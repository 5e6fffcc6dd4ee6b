"""How IBSI's features are computed: what a user sets, and what an engine is given."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval, Options

from survimg.radiomics.ibsi.filters.response import ResponseFilter
from survimg.radiomics.ibsi.names import (
    AGGREGATIONS,
    ALL_AGGREGATIONS,
    FAMILIES,
    OF_INTENSITIES,
    OF_THE_ORIGINAL,
    WITH_BINS,
)

__all__ = ["IBSIConfiguration", "IBSISettings", "configure", "resolve_families"]

Range = tuple[float, float]


@dataclass(frozen=True)
class IBSIConfiguration:
    """What is computed from one case, all values resolved.

    Parameters
    ----------
    features : tuple of (family, tags)
        Tags without their aggregation.
    aggregations : tuple of str
    bin_width : float or None
    bin_count : int or None
        Exactly one of the two is set.
    resample_mm : tuple of 3 floats
        New voxel size in mm, (z, y, x); 0 keeps an axis.
    image_order, mask_order : int
    mask_threshold : float
    rounded : tuple of str
        Channels.
    intensity_range, first_edge : dict
        By channel.
    outlier_sigma : float or None
    ivh_bin_width : float or None
    ivh_bin_count : int or None
    filters : tuple of ResponseFilter
        Each of another name.
    """

    features: tuple[tuple[str, tuple[str, ...]], ...]
    aggregations: tuple[str, ...]
    bin_width: float | None
    bin_count: int | None
    resample_mm: tuple[float, float, float]
    image_order: int
    mask_order: int
    mask_threshold: float
    rounded: tuple[str, ...]
    intensity_range: tuple[tuple[str, Range], ...]
    first_edge: tuple[tuple[str, float], ...]
    outlier_sigma: float | None
    ivh_bin_width: float | None
    ivh_bin_count: int | None
    filters: tuple[ResponseFilter, ...]

    @property
    def image_types(self) -> tuple[str, ...]:
        """The image as it is, resampled or not, and the response maps."""
        return ("original", *(each.name for each in self.filters))

    @property
    def filtered_image_types(self) -> tuple[str, ...]:
        """Images to compute."""
        return self.image_types

    @property
    def needs_spacing(self) -> dict[str, bool]:
        """What needs a voxel size, by name."""
        return {
            f"features {family!r}": family in ("morphology", "local_intensity")
            for family, _ in self.features
        } | {
            "resample_mm": any(self.resample_mm),
            "filters": any(each.in_mm for each in self.filters),
        }

    @property
    def mask_tags(self) -> tuple[str, ...]:
        """Tags of the features that depend on the mask alone."""
        tags = dict(self.features).get("morphology", ())
        return tuple(tag for tag in tags if tag not in OF_INTENSITIES)

    def channel_tags(self) -> Iterator[tuple[str, str, str | None, str, str]]:
        """Yield (image, family, aggregation, tag, code) of the features of one channel."""
        for image in self.image_types:
            for row in self._tags():
                if image == "original" or row[0] not in OF_THE_ORIGINAL:
                    yield (image, *row)

    def _tags(self) -> Iterator[tuple[str, str | None, str, str]]:
        for family, all_tags in self.features:
            tags = tuple(tag for tag in all_tags if tag not in self.mask_tags)
            aggregations: tuple[str | None, ...] = (None,)
            if family in AGGREGATIONS:
                aggregations = tuple(a for a in self.aggregations if a in AGGREGATIONS[family])
            for aggregation in aggregations:
                for tag in tags:
                    yield family, aggregation, tag, FAMILIES[family][tag]

    def iter_columns(self, channels: Sequence[str]) -> Iterator[tuple[str, str]]:
        """Yield (column name, IBSI identifier) in the order of the values of a case.

        Parameters
        ----------
        channels : sequence of str
        """
        for tag in self.mask_tags:
            yield tag, FAMILIES["morphology"][tag]
        for channel in channels:
            for image, _, aggregation, tag, code in self.channel_tags():
                name = tag if aggregation is None else f"{tag}_{aggregation}"
                yield f"{channel}_{name if image == 'original' else f'{image}_{name}'}", code


class IBSISettings(BaseEstimator):
    """Image processing, filters and aggregations of IBSI, for ``RadiomicsFeatures(standard=...)``.

    The order of the steps is IBSI's [1]_: interpolation, rounding, resegmentation, discretisation.
    Morphology is measured on the *morphological* mask, everything else on the *intensity* mask,
    which resegmentation makes smaller. Bins are those of `RadiomicsFeatures`: `bin_count` is the
    fixed number, `bin_width` the fixed width.

    The families are "morphology", "local_intensity", "statistics", "intensity_histogram",
    "intensity_volume_histogram", "glcm", "glrlm", "glszm", "gldzm", "ngtdm" and "ngldm"; a mapping
    of families to tags (``features={"glcm": ["cm_contrast"]}``) selects features.

    Parameters
    ----------
    aggregations : sequence of str, optional
        Of texture features; all by default. GLCM and GLRLM: "2D_avg", "2D_comb" (directions of a
        slice merged), "2_5D_avg" (slices merged), "2_5D_comb" (all merged), "3D_avg", "3D_comb".
        The others: "2D", "2_5D", "3D". A slice is one along z.
    resample_mm : float or (z, y, x) triple, optional
        Voxel size in mm to interpolate to; 0 keeps an axis as it is (``(0, 2, 2)``: by slice). The
        new grid and the image's have the same centre.
    image_order : {0, 1, 3}, default=3
        Spline of the image: nearest neighbour, linear or cubic.
    mask_order : {0, 1, 3}, default=1
        Spline of the mask.
    mask_threshold : float, default=0.5
        Part of a new voxel that must be inside for it to belong to the mask.
    rounded : sequence of str, default=()
        Channels whose intensities are rounded to whole numbers after interpolation: IBSI asks for
        it for CT in HU.
    intensity_range : (low, high), or mapping of channel to (low, high), optional
        Resegmentation by range: voxels outside leave the intensity mask. Bins of fixed width, and
        the intensity-volume histogram, begin at its lower end.
    outlier_sigma : float, optional
        Resegmentation by outliers: voxels further from the mean than this many standard deviations,
        both over the morphological mask, leave the intensity mask.
    first_edge : float, or mapping of channel to float, optional
        Lower edge of the first bin of fixed width. By default the lower end of `intensity_range`;
        without one, the smallest intensity of the region.
    ivh_bin_width : float, optional
        Bins of the intensity-volume histogram, of fixed width. At most one of both. Without
        either, whole numbers (HU) are taken as they are and other intensities in 1000 bins.
    ivh_bin_count : int, optional
        Bins of the intensity-volume histogram, of fixed number.
    filters : sequence of filters, default=()
        Filters of IBSI's chapter 2 from `survimg.radiomics.ibsi.filters`. Each gives a response map
        of the whole interpolated image, whose features follow those of the image: all families but
        morphology and local intensity, over the intensity mask of the image.

    References
    ----------
    .. [1] Zwanenburg A. et al., "Image biomarker standardisation initiative", arXiv:1612.07003.

    Examples
    --------
    Configuration C of the reference data set:

    >>> from survimg.radiomics import IBSISettings, RadiomicsFeatures
    >>> settings = IBSISettings(
    ...     aggregations=("3D_avg", "3D_comb", "3D"), resample_mm=2, image_order=1,
    ...     rounded=("CT",), intensity_range=(-1000, 400), ivh_bin_width=2.5,
    ... )
    >>> extractor = RadiomicsFeatures(standard=settings, bin_width=25)
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "image_order": [Options(Integral, {0, 1, 3})],
        "mask_order": [Options(Integral, {0, 1, 3})],
        "mask_threshold": [Interval(Real, 0, 1, closed="right")],
        "rounded": ["array-like"],
        "outlier_sigma": [Interval(Real, 0, None, closed="neither"), None],
        "ivh_bin_width": [Interval(Real, 0, None, closed="neither"), None],
        "ivh_bin_count": [Interval(Integral, 2, None, closed="left"), None],
        # Checked below, with messages of their own.
        "aggregations": "no_validation",
        "resample_mm": "no_validation",
        "intensity_range": "no_validation",
        "first_edge": "no_validation",
        "filters": "no_validation",
    }

    def __init__(
        self,
        *,
        aggregations: Sequence[str] | None = None,
        resample_mm: float | Sequence[float] | None = None,
        image_order: int = 3,
        mask_order: int = 1,
        mask_threshold: float = 0.5,
        rounded: Sequence[str] = (),
        intensity_range: Sequence[float] | Mapping[str, Sequence[float]] | None = None,
        outlier_sigma: float | None = None,
        first_edge: float | Mapping[str, float] | None = None,
        ivh_bin_width: float | None = None,
        ivh_bin_count: int | None = None,
        filters: Sequence[ResponseFilter] = (),
    ) -> None:
        self.aggregations = aggregations
        self.resample_mm = resample_mm
        self.image_order = image_order
        self.mask_order = mask_order
        self.mask_threshold = mask_threshold
        self.rounded = rounded
        self.intensity_range = intensity_range
        self.outlier_sigma = outlier_sigma
        self.first_edge = first_edge
        self.ivh_bin_width = ivh_bin_width
        self.ivh_bin_count = ivh_bin_count
        self.filters = filters

    def configuration(
        self,
        features: str | Sequence[str] | Mapping[str, Sequence[str] | None] | None,
        channels: Sequence[str],
        bin_width: float | None,
        bin_count: int | None,
    ) -> IBSIConfiguration:
        """Check the parameters and return what an engine computes.

        Parameters
        ----------
        features : sequence of families, mapping of family to tags, or None for all
        channels : sequence of str
            Those of the cohort.
        bin_width : float or None
        bin_count : int or None

        Raises
        ------
        ValueError
            A parameter has a value that is not allowed, or names a channel that X lacks.
        """
        self._validate_params()
        if self.ivh_bin_width is not None and self.ivh_bin_count is not None:
            raise ValueError("Give ivh_bin_width or ivh_bin_count, not both.")
        if self.first_edge is not None and bin_width is None:
            raise ValueError(
                f"first_edge={self.first_edge!r} needs bin_width: a fixed number of bins begins at "
                "the smallest intensity of the region."
            )
        _check_channels("rounded", self.rounded, channels)
        ranges = _by_channel("intensity_range", self.intensity_range, channels)
        edges = _by_channel("first_edge", self.first_edge, channels)
        families = resolve_families(features)
        if self.filters and bin_width is not None and WITH_BINS & families.keys():
            raise ValueError(
                f"bin_width={bin_width!r} with filters: responses have no unit that a width could "
                "be given in. Give bin_count, or leave out the families that need bins: "
                f"{sorted(WITH_BINS & families.keys())}."
            )
        return IBSIConfiguration(
            features=tuple(families.items()),
            aggregations=_aggregations(self.aggregations),
            bin_width=bin_width,
            bin_count=bin_count,
            resample_mm=_voxel_size(self.resample_mm),
            image_order=int(self.image_order),
            mask_order=int(self.mask_order),
            mask_threshold=float(self.mask_threshold),
            rounded=tuple(self.rounded),
            intensity_range=tuple((name, _range(pair)) for name, pair in ranges.items()),
            first_edge=tuple((name, float(edge)) for name, edge in edges.items()),
            outlier_sigma=self.outlier_sigma,
            ivh_bin_width=self.ivh_bin_width,
            ivh_bin_count=self.ivh_bin_count,
            filters=_filters(self.filters),
        )


def configure(
    standard: str | IBSISettings,
    features: str | Sequence[str] | Mapping[str, Sequence[str] | None] | None,
    image_types: Sequence[str] | None,
    log_sigma: Sequence[float] | None,
    channels: Sequence[str],
    bin_width: float | None,
    bin_count: int | None,
) -> IBSIConfiguration:
    """Return what an engine computes under IBSI's standard.

    Parameters
    ----------
    standard : "ibsi" or IBSISettings
        The former stands for the default values of the latter.
    features, channels, bin_width, bin_count
        As in `IBSISettings.configuration`.
    image_types : sequence of str or None
    log_sigma : sequence of float or None

    Raises
    ------
    ValueError
        A filtered image is asked for, or as `IBSISettings.configuration`.
    """
    images = ("original",) if image_types is None else tuple(image_types)
    if images != ("original",) or len(log_sigma or ()) > 0:
        raise ValueError(
            "Filtered images of IBSI's standard are those of its chapter 2: "
            "standard=IBSISettings(filters=[...]), with image_types None or ('original',) and "
            f"log_sigma None; got {images!r} and {log_sigma!r}."
        )
    settings = standard if isinstance(standard, IBSISettings) else IBSISettings()
    return settings.configuration(features, channels, bin_width, bin_count)


def resolve_families(
    features: str | Sequence[str] | Mapping[str, Sequence[str] | None] | None,
) -> dict[str, tuple[str, ...]]:
    """Turn a choice of features into family -> tags, in the order of the columns.

    Parameters
    ----------
    features : sequence of families, mapping of family to tags, or None
        A family named alone, or mapped to None, stands for all its features; None for all families.

    Raises
    ------
    ValueError
        An unknown family or tag, or nothing selected.
    """
    if features is None:
        return {family: tuple(tags) for family, tags in FAMILIES.items()}
    choices = {features: None} if isinstance(features, str) else features
    if not isinstance(choices, Mapping):
        choices = dict.fromkeys(choices)
    unknown = [name for name in choices if name not in FAMILIES]
    if unknown or not choices:
        raise ValueError(
            f"With standard='ibsi', features must select families out of {list(FAMILIES)}, or be "
            f"None for all; got {unknown or 'none'}."
        )
    resolved = {}
    for family, tags in FAMILIES.items():
        if family not in choices:
            continue
        choice = choices[family]
        names = tuple(tags) if choice is None else tuple(choice)
        wrong = [name for name in names if name not in tags]
        if wrong or not names:
            raise ValueError(
                f"{wrong or 'No feature'} is not a feature of family {family!r}; it has "
                f"{list(tags)}. The aggregation is not part of the tag."
            )
        resolved[family] = names
    return resolved


def _filters(sequence: Sequence[ResponseFilter]) -> tuple[ResponseFilter, ...]:
    filters = tuple(sequence)
    wrong = [each for each in filters if not isinstance(each, ResponseFilter)]
    if wrong:
        raise ValueError(
            f"filters must be filters of survimg.radiomics.ibsi.filters; got {wrong[0]!r}."
        )
    names = [each.name for each in filters]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise ValueError(f"filters has {twice[0]!r} more than once.")
    return filters


def _aggregations(choice: Sequence[str] | None) -> tuple[str, ...]:
    if choice is None:
        return ALL_AGGREGATIONS
    names = (choice,) if isinstance(choice, str) else tuple(choice)
    unknown = [name for name in names if name not in ALL_AGGREGATIONS]
    if unknown or not names:
        raise ValueError(
            f"aggregations must be out of {ALL_AGGREGATIONS}; got {unknown or 'none'}."
        )
    return tuple(name for name in ALL_AGGREGATIONS if name in names)


def _voxel_size(resample_mm: float | Sequence[float] | None) -> tuple[float, float, float]:
    if resample_mm is None:
        return 0.0, 0.0, 0.0
    sizes = np.asarray(resample_mm, dtype=np.float64)
    usable = sizes.shape in ((), (3,)) and np.isfinite(sizes).all() and (sizes >= 0).all()
    if not usable or not sizes.any():
        raise ValueError(
            "resample_mm must be one size or a (z, y, x) triple in mm, in which 0 keeps an axis; "
            f"got {resample_mm!r}."
        )
    z, y, x = np.broadcast_to(sizes, 3).tolist()
    return z, y, x


def _by_channel(name: str, value: Any, channels: Sequence[str]) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        return dict.fromkeys(channels, value)
    _check_channels(name, value, channels)
    return dict(value)


def _check_channels(name: str, value: Any, channels: Sequence[str]) -> None:
    unknown = [channel for channel in value if channel not in channels]
    if isinstance(value, str) or unknown:
        raise ValueError(f"{name} names {value!r}, but the channels of X are {list(channels)}.")


def _range(limits: Any) -> Range:
    pair = np.asarray(limits, dtype=np.float64)
    if pair.shape != (2,) or not pair[0] < pair[1]:
        raise ValueError(f"intensity_range must be (low, high) with low < high; got {limits!r}.")
    return float(pair[0]), float(pair[1])
