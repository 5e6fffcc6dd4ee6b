"""Whether an image can be in the unit that its name promises: PET in SUV, CT in HU."""

from __future__ import annotations

import numpy as np

from survimg.io.images.image import Image

__all__ = ["implausible_unit"]

#: Mean of a PET above which it is not SUV: a body has about 1, a crop of the hottest tumours 40.
_HIGHEST_MEAN_SUV = 100.0

#: Reconstructions leave values a little below 0 in PET, no lower ones.
_LOWEST_SUV = -20.0

#: A CT of a body spans air or fat to muscle: this many HU, some of them negative.
_NARROWEST_HU = 50.0

#: Scanners mark what lies outside the field of view by -1024 to -3024 HU.
_LOWEST_HU = -5000.0

#: How near to 0 and 1 the mean and SD of a z-scored image are.
_ROUNDING = 1e-3


def implausible_unit(channel: str, image: Image) -> str | None:
    """Say why an image cannot be in the unit of its channel.

    Parameters
    ----------
    channel : str
        ``"PET"`` or ``"PT"`` promises SUV, ``"CT"`` HU; others promise nothing.
    image : Image
        As it was read, not normalised.

    Returns
    -------
    str or None
        Channel and range, and what speaks against the unit; None where nothing does.
    """
    name = channel.upper()
    doubt = None
    if name in ("PET", "PT"):
        doubt = _doubt_of_suv(image.array)
    elif name == "CT":
        doubt = _doubt_of_hu(image.array)
    low, high = float(image.array.min()), float(image.array.max())
    return None if doubt is None else f"{channel} from {low:g} to {high:g}{doubt}"


def _doubt_of_suv(array: np.ndarray) -> str | None:
    mean, sd = (float(f(array, dtype=np.float64)) for f in (np.mean, np.std))
    low, high = float(array.min()), float(array.max())
    if (abs(mean) < _ROUNDING and abs(sd - 1) < _ROUNDING) or (low, high) == (0.0, 1.0):
        return f", mean {mean:.2g}, SD {sd:.2g}: normalised already?"
    if mean > _HIGHEST_MEAN_SUV:
        return f", mean {mean:.0f}: SUV has about 1 in a body; Bq/ml?"
    return ": SUV is not negative" if low < _LOWEST_SUV else None


def _doubt_of_hu(array: np.ndarray) -> str | None:
    low, high = float(array.min()), float(array.max())
    if high - low < _NARROWEST_HU:
        return ": normalised already?"
    if low < _LOWEST_HU:
        return ": HU begin at -1024; padding of another type?"
    return ": HU of air and fat are negative; a lost rescale intercept?" if low >= 0 else None
