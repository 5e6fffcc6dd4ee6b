"""What a network sees of a patient: the volume, its tumour or regions alone, or one slice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from survimg.cohort import Cohort
from survimg.radiomics.regions import shell

__all__ = ["AxialSlice", "RegionView", "View", "masked_volume", "whole_volume"]

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


@dataclass(frozen=True)
class RegionView:
    """The image inside the tumour mask and inside the shell around it, zero elsewhere.

    Parameters
    ----------
    tumour : bool
    shell_width : float or None
        Thickness of the shell in mm, measured with the patient's spacing; None for no shell.
    """

    tumour: bool
    shell_width: float | None

    def __call__(self, cohort: Cohort, i: int) -> np.ndarray:
        """Return the regions of patient `i`, (regions * channels, z, y, x).

        Without regions it is one zero. Without a mask, or with an empty one, all is zero.

        Raises
        ------
        ValueError
            A shell in mm and no spacing, or thinner than the voxels of the patient, who is named.
        """
        if not self.tumour and self.shell_width is None:
            return np.zeros((1, 1, 1, 1), dtype=np.float32)
        volume = whole_volume(cohort, i)
        mask = np.zeros(volume.shape[1:], dtype=bool)
        if cohort.has_masks[i]:
            mask = cohort.mask(i) > 0
        regions = [mask] if self.tumour else []
        if self.shell_width is not None:
            regions.append(self._shell(cohort, i, mask))
        return np.concatenate([volume * region.astype(np.float32) for region in regions])

    def _shell(self, cohort: Cohort, i: int, mask: np.ndarray) -> np.ndarray:
        if cohort.spacing is None:
            raise ValueError(
                f"shell_width={self.shell_width:g} is in mm, and the cohort has no spacing. Give "
                "Cohort(spacing=...), or branches without \"peritumoral\"."
            )
        spacing, width = cohort.spacing[i], float(self.shell_width or 0)
        if width < spacing.min():
            raise ValueError(
                f"shell_width={width:g} mm is less than the voxel size of patient "
                f"{cohort.ids[i]!r} ({spacing.min():g} mm), so that the shell is empty. Widen it."
            )
        return shell(mask, spacing, width)
