"""One case through IBSI's steps: interpolation, rounding, resegmentation, bins, features."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from survimg.radiomics.case import CaseFeatures, RadiomicsCase, UnmeasurableRegionError
from survimg.radiomics.finite_voxels import name_image
from survimg.radiomics.ibsi.block import make_block
from survimg.radiomics.ibsi.cooccurrence import cooccurrence_by_aggregation, runs_by_aggregation
from survimg.radiomics.ibsi.discretise import ibsi_grey_levels
from survimg.radiomics.ibsi.local_intensity import PEAK_RADIUS, local_intensity
from survimg.radiomics.ibsi.morphology import intensity_morphology, shape_morphology
from survimg.radiomics.ibsi.names import AGGREGATIONS, FAMILIES, WITH_BINS
from survimg.radiomics.ibsi.neighbourhoods import neighbourhoods_by_aggregation
from survimg.radiomics.ibsi.resample import Grid, resampled_grid
from survimg.radiomics.ibsi.settings import IBSIConfiguration
from survimg.radiomics.ibsi.statistics import histogram_features, intensity_statistics
from survimg.radiomics.ibsi.volume_histogram import volume_histogram_features
from survimg.radiomics.ibsi.zones import border_distances, find_zones, zones_by_aggregation
from survimg.radiomics.native.geometry import bounding_box
from survimg.radiomics.regions import measurable

__all__ = ["ENGINE_VERSION", "extract_case"]

#: Part of every cache key: raise it with any change that moves a value.
ENGINE_VERSION = "ibsi-2"

# Interpolated weights of a mask that are a threshold but for rounding reach it.
_ROUNDING = 1e-6

# (family, aggregation or None) -> values in the order of `FAMILIES`.
_Features = dict[tuple[str, str | None], np.ndarray]


@dataclass(frozen=True)
class _Region:
    """The morphological mask on the new grid, with room for the spheres of local intensity."""

    grid: Grid
    window: tuple[slice, ...]
    mask: np.ndarray


def extract_case(case: RadiomicsCase, configuration: IBSIConfiguration) -> CaseFeatures:
    """Compute the features of one case.

    Parameters
    ----------
    case : RadiomicsCase
    configuration : IBSIConfiguration

    Raises
    ------
    ValueError
        Voxels that are not finite where they are needed, or too many grey levels; the message
        names patient and channel.
    UnmeasurableRegionError
        Interpolation or resegmentation leave no region.
    """
    region = _region(case, configuration)
    spacing = region.grid.spacing
    values: list[float] = []
    shape = {}
    if "morphology" in _families(configuration):
        shape = shape_morphology(region.mask, spacing)
    values.extend(shape[tag] for tag in configuration.mask_tags)
    n_images = len(configuration.image_types)
    n_levels = np.zeros((len(case.channel_names), n_images), dtype=np.int64)
    columns = list(configuration.channel_tags())
    for c, channel in enumerate(case.channel_names):
        if not case.present[c]:
            values.extend([np.nan] * len(columns))
            continue
        try:
            features, n_levels[c] = _measure_channel(
                case.volume[c], channel, region, configuration, shape.get("morph_volume", np.nan)
            )
        except UnmeasurableRegionError as error:
            raise UnmeasurableRegionError(f"channel {channel!r}: {error}") from error
        except ValueError as error:
            raise ValueError(f"{name_image(case, c, 'original')}: {error}.") from error
        for image, family, aggregation, tag, _ in columns:
            values.append(features[image][family, aggregation][_POSITIONS[family][tag]])
    return CaseFeatures(np.array(values, dtype=np.float64), n_levels)


_POSITIONS = {family: {tag: k for k, tag in enumerate(tags)} for family, tags in FAMILIES.items()}


def _families(configuration: IBSIConfiguration) -> set[str]:
    return {family for family, _ in configuration.features}


def _region(case: RadiomicsCase, configuration: IBSIConfiguration) -> _Region:
    grid = resampled_grid(case.region.shape, case.spacing, np.array(configuration.resample_mm))
    around = grid.around(case.region)
    if grid.is_original:
        mask = case.region[around]
    else:
        weights = grid.sample(case.region, around, configuration.mask_order)
        mask = weights >= configuration.mask_threshold - _ROUNDING
    if not measurable(mask):
        raise UnmeasurableRegionError(
            f"Interpolated to {configuration.resample_mm} mm, the region has {int(mask.sum())} "
            "voxels, too few to measure."
        )
    reach = np.zeros(3, dtype=int)
    if "local_intensity" in _families(configuration):
        reach = np.floor(PEAK_RADIUS / grid.spacing).astype(int)
    window, padding, inside = [], [], bounding_box(mask)
    for part, box, more, size in zip(around, inside, reach, grid.shape, strict=True):
        low, high = part.start + box.start, part.start + box.stop
        window.append(slice(max(low - more, 0), min(high + more, int(size))))
        padding.append((low - window[-1].start, window[-1].stop - high))
    return _Region(grid, tuple(window), np.pad(mask[inside], padding))


def _measure_channel(
    volume: np.ndarray,
    channel: str,
    region: _Region,
    configuration: IBSIConfiguration,
    mesh_volume: float,
) -> tuple[dict[str, _Features], list[int]]:
    image = region.grid.sample(volume, region.window, configuration.image_order)
    families = _families(configuration)
    needed = image if "local_intensity" in families else image[region.mask]
    if not np.isfinite(needed).all():
        raise ValueError(
            f"{np.count_nonzero(~np.isfinite(needed))} voxel(s) of the region, or within "
            f"{PEAK_RADIUS:.1f} mm of it where local_intensity is asked for, are not finite"
        )
    if channel in configuration.rounded:
        image = np.round(image)
    bounds = dict(configuration.intensity_range).get(channel)
    intensity_mask = resegment(image, region.mask, bounds, configuration.outlier_sigma)
    edge = dict(configuration.first_edge).get(channel, None if bounds is None else bounds[0])
    masks = region.mask, intensity_mask
    features, n_levels = _measure_image(image, *masks, configuration, bounds, edge)
    if "morphology" in families:
        of_intensities = intensity_morphology(
            *masks, image[intensity_mask], region.grid.spacing, mesh_volume
        )
        features["morphology", None] = np.array(
            [of_intensities.get(tag, np.nan) for tag in FAMILIES["morphology"]]
        )
    if "local_intensity" in families:
        features["local_intensity", None] = local_intensity(
            image, intensity_mask, region.grid.spacing
        )
    measured = [(features, n_levels)]
    for response in _responses(volume, channel, region, configuration):
        measured.append(_measure_image(response, *masks, configuration, None, None))
    by_image = dict(zip(configuration.image_types, (each for each, _ in measured), strict=True))
    return by_image, [levels for _, levels in measured]


def _responses(
    volume: np.ndarray, channel: str, region: _Region, configuration: IBSIConfiguration
) -> Iterator[np.ndarray]:
    # Response maps in the region's window, one after the other.
    if not configuration.filters:
        return
    grid = region.grid
    everywhere = tuple(slice(0, int(size)) for size in grid.shape)
    image = grid.sample(volume, everywhere, configuration.image_order)
    if not np.isfinite(image).all():
        raise ValueError(
            f"{np.count_nonzero(~np.isfinite(image))} voxel(s) of the image are not finite, and "
            "filters reach all of it"
        )
    if channel in configuration.rounded:
        image = np.round(image)
    for each in configuration.filters:
        try:
            yield each.respond(image, grid.spacing)[region.window]
        except ValueError as error:
            raise ValueError(f"filter {each.name!r}: {error}") from error


def _measure_image(
    image: np.ndarray,
    mask: np.ndarray,
    intensity_mask: np.ndarray,
    configuration: IBSIConfiguration,
    bounds: tuple[float, float] | None,
    edge: float | None,
) -> tuple[_Features, int]:
    families, values = _families(configuration), image[intensity_mask]
    features: _Features = {}
    if "statistics" in families:
        features["statistics", None] = intensity_statistics(values)
    if "intensity_volume_histogram" in families:
        features["intensity_volume_histogram", None] = volume_histogram_features(
            values, bounds, configuration.ivh_bin_width, configuration.ivh_bin_count
        )
    if not families & WITH_BINS:
        return features, 0
    levels, n_levels = ibsi_grey_levels(
        values, configuration.bin_width, configuration.bin_count, edge
    )
    if "intensity_histogram" in families:
        features["intensity_histogram", None] = histogram_features(levels, n_levels)
    features |= _textures(levels, n_levels, mask, intensity_mask, configuration)
    return features, n_levels


def resegment(
    image: np.ndarray,
    mask: np.ndarray,
    bounds: tuple[float, float] | None,
    sigma: float | None,
) -> np.ndarray:
    """Return the intensity mask: the part of a mask whose intensities are of interest.

    Parameters
    ----------
    image : ndarray of shape (z, y, x), float64
    mask : ndarray of shape (z, y, x), bool
        The morphological mask.
    bounds : (low, high) or None
        Both belong to the range.
    sigma : float or None
        Standard deviations from the mean, both over the whole mask, with and without `bounds`.

    Raises
    ------
    UnmeasurableRegionError
        No voxel is left.
    """
    low, high = (-np.inf, np.inf) if bounds is None else bounds
    if sigma is not None:
        mean, deviation = image[mask].mean(), image[mask].std()
        low, high = max(low, mean - sigma * deviation), min(high, mean + sigma * deviation)
    intensity_mask = mask & (image >= low) & (image <= high)
    if not intensity_mask.any():
        raise UnmeasurableRegionError(
            f"Resegmentation to [{low:g}, {high:g}] leaves no voxel of the region, whose "
            f"intensities are {image[mask].min():g} to {image[mask].max():g}."
        )
    return intensity_mask


def _textures(
    levels: np.ndarray,
    n_levels: int,
    mask: np.ndarray,
    intensity_mask: np.ndarray,
    configuration: IBSIConfiguration,
) -> _Features:
    families, aggregations = _families(configuration), configuration.aggregations
    box = bounding_box(intensity_mask)
    block = make_block(levels, intensity_mask[box], n_levels)
    features: _Features = {}
    measures: dict[str, Callable[..., dict[str, np.ndarray]]] = {
        "glcm": cooccurrence_by_aggregation,
        "glrlm": runs_by_aggregation,
    }
    for family, measure in measures.items():
        if family in families:
            names = [name for name in aggregations if name in AGGREGATIONS[family]]
            features |= {(family, name): row for name, row in measure(block, names).items()}
    names = [name for name in aggregations if name in AGGREGATIONS["ngtdm"]]
    if families & {"ngtdm", "ngldm"}:
        tone, dependences = neighbourhoods_by_aggregation(block, names)
        features |= {("ngtdm", name): row for name, row in tone.items()}
        features |= {("ngldm", name): row for name, row in dependences.items()}
    if not families & {"glszm", "gldzm"}:
        return features
    for by_slice in (True, False):
        of_kind = [name for name in names if (name != "3D") == by_slice]
        if not of_kind:
            continue
        # Distances are those in the morphological mask; zones are of the intensity mask.
        distances = border_distances(mask, by_slice=by_slice)[intensity_mask]
        zones = find_zones(block, distances, by_slice=by_slice)
        for family, of_zones in (("glszm", zones.size), ("gldzm", zones.distance)):
            rows = zones_by_aggregation(block, of_zones, zones, of_kind)
            features |= {(family, name): row for name, row in rows.items()}
    return features
