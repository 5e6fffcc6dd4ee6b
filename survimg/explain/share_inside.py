"""The share of a saliency map inside a region."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

__all__ = ["mass_in_region"]


def mass_in_region(maps: npt.ArrayLike, regions: npt.ArrayLike) -> pd.DataFrame:
    """Compare the saliency inside a region with the region's share of the volume.

    Parameters
    ----------
    maps : array-like of shape (n, z, y, x)
        Of absolute values, whatever their sign.
    regions : array-like of shape (n, z, y, x), bool or 0/1
        Tumour masks, for example.

    Returns
    -------
    DataFrame of n rows
        ``mass``: sum of absolute values inside over that of all; ``volume``: voxels inside over
        all; ``ratio``: the one over the other, 1 for a map without any relation to the region.

    Raises
    ------
    ValueError
        Unequal shapes, an empty region, or a map that is zero throughout or not finite (the
        positions are named).
    """
    values = np.abs(np.asarray(maps, dtype=np.float64))
    inside = np.asarray(regions).astype(bool)
    if values.shape != inside.shape or values.ndim != 4:
        raise ValueError(
            "maps and regions must have the same shape (n, z, y, x); got "
            f"{values.shape} and {inside.shape}."
        )
    values, inside = values.reshape(len(values), -1), inside.reshape(len(inside), -1)
    total, volume = values.sum(axis=1), inside.mean(axis=1)
    undefined = np.flatnonzero(~np.isfinite(total) | (total == 0) | (volume == 0))
    if undefined.size:
        raise ValueError(
            f"The maps at {undefined[:5].tolist()} are zero or not finite, or their regions are "
            "empty: they have no share."
        )
    mass = (values * inside).sum(axis=1) / total
    return pd.DataFrame({"mass": mass, "volume": volume, "ratio": mass / volume})
