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
    low, high = float(image.array.min()), float(image.array.max())
    name, values = channel.upper(), f"{channel} from {low:g} to {high:g}"
    if name in ("PET", "PT"):
        mean = float(image.array.mean(dtype=np.float64))
        if mean > _HIGHEST_MEAN_SUV:
            return f"{values}, mean {mean:.0f}: SUV has about 1 in a body; Bq/ml?"
        if low < _LOWEST_SUV:
            return f"{values}: SUV is not negative"
    if name == "CT":
        if high - low < _NARROWEST_HU:
            return f"{values}: normalised already?"
        if low >= 0:
            return f"{values}: HU of air and fat are negative; a lost rescale intercept?"
    return None
