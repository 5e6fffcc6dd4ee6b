"""What a network sees of a patient: the volume, its tumour alone, or one slice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from survimg.cohort import Cohort

__all__ = ["AxialSlice", "View", "masked_volume", "whole_volume"]

#: From a cohort and a position to one patient's array, channels first.
View = Callable[[Cohort, int], np.ndarray]


def whole_volume(cohort: Cohort, i: int) -> np.ndarray:
    """Return the volume, (channels, z, y, x); absent modalities are zeros.

    Zero is the mean of a z-scored volume.
    """
    volume = cohort.volume(i)
    present = cohort.present[i]
    if present.all():
        return volume
    return np.where(present[:, np.newaxis, np.newaxis, np.newaxis], volume, np.float32(0))


def masked_volume(cohort: Cohort, i: int) -> np.ndarray:
    """Return the volume with zeros, the mean of a z-scored image, outside the tumour mask.

    Raises
    ------
    LookupError
        The patient, who is named, has no mask.
    ValueError
        It is empty.
    """
    mask = cohort.mask(i)
    if not mask.any():
        raise ValueError(
            f"The tumour mask of patient {cohort.ids[i]!r} is empty, so that nothing of the image "
            "is left. Repair it, or choose masked_input=False."
        )
    return whole_volume(cohort, i) * mask.astype(np.float32)


@dataclass(frozen=True)
class AxialSlice:
    """One axial slice of the volume, (channels, y, x).

    Parameters
    ----------
    choice : {"largest", "central"}
        The slice with the largest mask area (the first of several), or the middle of the volume.
    masked : bool
        Put zeros outside the tumour mask.
    """

    choice: Literal["largest", "central"]
    masked: bool

    def __call__(self, cohort: Cohort, i: int) -> np.ndarray:
        """Return the slice of patient `i`.

        Raises
        ------
        LookupError
            A mask is asked for and the patient, who is named, has none.
        ValueError
            It is empty, in the chosen slice or everywhere.
        """
        volume, position = whole_volume(cohort, i), self.position(cohort, i)
        image = volume[:, position]
        if not self.masked:
            return image
        mask = cohort.mask(i)[position]
        if not mask.any():
            raise ValueError(
                f"The tumour mask of patient {cohort.ids[i]!r} does not reach the middle slice, so "
                "that nothing of the image is left. Choose slice_choice='largest', or "
                "masked_input=False."
            )
        return image * mask.astype(np.float32)

    def position(self, cohort: Cohort, i: int) -> int:
        """Return which slice of patient `i` it is, counted along z.

        Raises
        ------
        LookupError, ValueError
            As in a call.
        """
        middle = int(cohort.shape[2]) // 2
        if self.choice == "central" and not self.masked:
            return middle
        mask = cohort.mask(i)
        if not mask.any():
            raise ValueError(
                f"The tumour mask of patient {cohort.ids[i]!r} is empty: it neither points to a "
                "slice nor leaves anything of the image."
            )
        if self.choice == "central":
            return middle
        return int(np.argmax(mask.sum(axis=(1, 2), dtype=np.int64)))
