"""One patient's images and mask as they are, for a preparation in whatever process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from survimg.io.images.image import Image
from survimg.io.images.masks import Label, placed_mask, read_mask_image, read_organs
from survimg.io.images.reading import read_image

__all__ = ["Patient"]


@dataclass(frozen=True, eq=False)
class Patient:
    """One patient of a cohort: every modality and the mask, each on its own grid.

    Small where the images are files, which are read by the process that asks for them.

    Attributes
    ----------
    id : str
    channel_names : tuple of str
    sources : tuple of (Path, Image or None)
        Per channel the file, or the image itself; None where the patient lacks it.
    mask_source : Path, Image, ndarray of shape (z, y, x), or None
        An array lies on the grid of the first image.
    organ_source : Path, optional
        Mask of organs that shells leave out.
    label : int, str or sequence of these, optional
        The tumour's label in the mask's file.
    root : Path, optional
        Folder in which every file that is opened must lie; by default anywhere.
    images_key, key : str
        Change whenever the images change, or one of images, mask, label and spacing.
    """

    id: str
    channel_names: tuple[str, ...]
    sources: tuple[Path | Image | None, ...]
    mask_source: Path | Image | np.ndarray | None
    organ_source: Path | Image | None
    label: Label
    root: Path | None
    images_key: str
    key: str

    def image(self, channel: str) -> Image | None:
        """Read one modality.

        Raises
        ------
        ValueError
            It cannot be read; names the column.
        """
        source = self.sources[self.channel_names.index(channel)]
        if source is None or isinstance(source, Image):
            return source
        return self._read(read_image, f"column {channel!r}", source)

    def images(self) -> list[Image | None]:
        """Read all modalities."""
        return [self.image(channel) for channel in self.channel_names]

    def first_image(self) -> Image:
        """Read the first modality that the patient has."""
        pairs = zip(self.channel_names, self.sources, strict=True)
        image = self.image(next(name for name, source in pairs if source is not None))
        if image is None:
            raise ValueError("there is no image")
        return image

    def mask(self, reference: Image) -> Image | None:
        """Read the mask, on its own grid, after checking that it belongs to an image.

        Parameters
        ----------
        reference : Image
            The patient's first image.

        Raises
        ------
        ValueError
            As `survimg.io.read_mask`; names the column.
        """
        source = self.mask_source
        if source is None:
            return None
        if isinstance(source, np.ndarray):
            return Image(source, reference.spacing, reference.origin, reference.direction)
        if isinstance(source, Image):
            try:
                return placed_mask(source, reference, self.label, Path("in memory"))
            except ValueError as error:
                raise ValueError(f"its mask: {error}") from None
        return self._read(read_mask_image, "column 'mask'", source, reference, self.label)

    def organs(self) -> Image | None:
        """Read the organs, on their own grid."""
        if self.organ_source is None or isinstance(self.organ_source, Image):
            return self.organ_source
        try:
            return read_organs(self.organ_source, self.root)
        except (ValueError, FileNotFoundError) as error:
            raise ValueError(f"column 'organs': {error}") from None

    def _read(
        self, reader: Callable[..., Image], where: str, path: Path, *arguments: Any
    ) -> Image:
        try:
            return reader(path, *arguments, root=self.root, allow_outside=self.root is None)
        except (ValueError, FileNotFoundError) as error:
            raise ValueError(f"{where}: {error}") from None

    @property
    def mask_name(self) -> str:
        """How errors call the mask: its file, if it has one."""
        return f"column 'mask': {self.mask_source}: " if isinstance(self.mask_source, Path) else ""


