"""Where voxels live: in memory, in a memory-mapped ``.npy`` file, or in image files read on demand.

A store holds one array per case and knows three things about itself: the shape it serves, a key
per case that changes whenever the voxels change, and how many bytes it keeps in memory. Stores that
are backed by files pickle as their paths plus a stamp (size and modification time); the stamp is
compared when the file is opened again, because a key made of the path alone would give a stale
cache hit after the file was rewritten.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from survimg.io.images.image import Image
from survimg.io.images.masks import Label, placed_mask, read_mask_image, read_organs
from survimg.io.images.reading import read_image
from survimg.io.images.resampling import resample_image, resample_mask, with_organs

__all__ = ["ArrayStore", "ImageFileStore", "MaskFileStore", "MemmapStore", "Store"]

#: Bytes of a memory-mapped file that a process keeps mapped after reading them.
RESIDENT = 32 << 20


class Store(Protocol):
    """One array per case."""

    @property
    def case_shape(self) -> tuple[int | None, ...]:
        """Shape of one case; None for axes that differ between cases."""
        ...

    @property
    def nbytes_in_memory(self) -> int:
        """Bytes that travel when the store is pickled."""
        ...

    def __len__(self) -> int: ...

    def read(self, position: int) -> np.ndarray:
        """Return the array of one case."""
        ...

    def case_key(self, position: int) -> str:
        """Return a key that differs whenever the voxels of the case differ."""
        ...


class ArrayStore:
    """Cases held in memory.

    Parameters
    ----------
    cases : ndarray of shape (n, ...) or sequence of ndarray
        A sequence may hold arrays of different shapes (a raw cohort).
    """

    def __init__(self, cases: np.ndarray | Sequence[np.ndarray]) -> None:
        self._cases = cases
        self._keys: dict[int, str] = {}

    def __len__(self) -> int:
        return len(self._cases)

    @property
    def case_shape(self) -> tuple[int | None, ...]:
        """Shape of one case; None for axes that differ between cases."""
        if isinstance(self._cases, np.ndarray):
            return self._cases.shape[1:]
        return _common_shape([case.shape for case in self._cases])

    @property
    def nbytes_in_memory(self) -> int:
        """Bytes that travel when the store is pickled."""
        if isinstance(self._cases, np.ndarray):
            return self._cases.nbytes
        return sum(case.nbytes for case in self._cases)

    def read(self, position: int) -> np.ndarray:
        """Return the array of one case (a view)."""
        return self._cases[position]

    def case_key(self, position: int) -> str:
        """Digest of shape, dtype and content; computed once and kept."""
        if position not in self._keys:
            case = np.ascontiguousarray(self._cases[position])
            digest = hashlib.sha256(f"{case.shape}{case.dtype}".encode())
            digest.update(case.view(np.uint8).data)
            self._keys[position] = digest.hexdigest()
        return self._keys[position]


class MemmapStore:
    """Cases in one ``.npy`` file, mapped into memory and shared by all processes of a machine.

    Parameters
    ----------
    path : path-like
        File written by `numpy.save`, first axis the cases.
    crc32 : sequence of (int or None), default=()
        Checksum of each case, compared when the case is first read.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    RuntimeError
        When the file is opened, or a key is asked for, and it changed after the store was made.
    """

    def __init__(self, path: str | os.PathLike[str], crc32: Sequence[int | None] = ()) -> None:
        self.path = Path(path).resolve()
        self._unchecked = dict(enumerate(crc32))
        self._stamp = file_stamp(self.path)
        self._array: np.ndarray | None = None
        self._touched = 0

    def __getstate__(self) -> dict[str, Any]:
        # An open memory map would be pickled as all of its voxels.
        return {**self.__dict__, "_array": None}

    def _open(self) -> np.ndarray:
        if self._array is None:
            check_stamp(self.path, self._stamp)
            self._array = np.load(self.path, mmap_mode="r", allow_pickle=False)
        return self._array

    def __len__(self) -> int:
        return self._open().shape[0]

    @property
    def case_shape(self) -> tuple[int | None, ...]:
        """Shape of one case; None for axes that differ between cases."""
        return self._open().shape[1:]

    @property
    def nbytes_in_memory(self) -> int:
        """Bytes that travel when the store is pickled."""
        return 0

    def read(self, position: int) -> np.ndarray:
        """Return the array of one case (a read-only view of the map), if its checksum holds."""
        case = np.asarray(self._open()[position])
        expected = self._unchecked.get(position)
        if expected is not None and zlib.crc32(case.data) != expected:
            raise ValueError(
                f"{self.path} is damaged: the checksum of case {position} does not hold. Prepare "
                "the cohort again."
            )
        self._unchecked.pop(position, None)
        self._touched += case.nbytes
        if self._touched > RESIDENT:
            self._touched = case.nbytes
            self._let_go()
        return case

    def _let_go(self) -> None:
        """Unmap the pages read so far, which would else count as this process's memory.

        Views stay valid: their pages are mapped again, from the system's file cache, when read.
        """
        pages = self._open().base
        if isinstance(pages, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
            pages.madvise(mmap.MADV_DONTNEED)

    def case_key(self, position: int) -> str:
        """Path, size and modification time of the file, and the position in it."""
        check_stamp(self.path, self._stamp)
        return f"{self.path}:{self._stamp[0]}:{self._stamp[1]}:{position}"


class ImageFileStore:
    """Raw images of different sizes, read from their files whenever a case is asked for.

    Every modality stays on its own grid for a preparation (`Cohort.patient`). `read`, for whoever
    wants one array, brings the others onto the grid of the first that the patient has, by world
    coordinates and without aliasing.

    Parameters
    ----------
    paths : sequence of sequence of (Path, Image or None), shape (n, channels)
        Files, or images in memory. None where the patient lacks the modality; its channel is
        filled with zeros.
    root : Path, optional
        Folder in which every file that is opened must lie, its links followed; by default anywhere.
    """

    def __init__(
        self, paths: Sequence[Sequence[Path | Image | None]], root: Path | None = None
    ) -> None:
        self._sources = [tuple(_image_source(source) for source in row) for row in paths]
        self.root = None if root is None else root.absolute()
        self._stamps = [tuple(_stamp_of(source) for source in row) for row in self._sources]
        self._spacings: dict[int, tuple[float, float, float]] = {}

    def __len__(self) -> int:
        return len(self._sources)

    @property
    def case_shape(self) -> tuple[int | None, ...]:
        """Shape of one case; None for axes that differ between cases."""
        return (len(self._sources[0]), None, None, None)

    @property
    def nbytes_in_memory(self) -> int:
        """Bytes that travel when the store is pickled."""
        return sum(s.array.nbytes for row in self._sources for s in row if isinstance(s, Image))

    def sources(self, position: int) -> tuple[Path | Image | None, ...]:
        """Return the files, as they were when the store was made, or images of one case."""
        for source, stamp in zip(self._sources[position], self._stamps[position], strict=True):
            if isinstance(source, Path):
                check_stamp(source, stamp)
        return self._sources[position]

    def read(self, position: int) -> np.ndarray:
        """Return the channels of one case on one grid."""
        images = [None if s is None else self._read(s) for s in self.sources(position)]
        grid = next(image for image in images if image is not None)
        return np.stack(
            [
                np.zeros_like(grid.array) if image is None else resample_image(image, grid).array
                for image in images
            ]
        )

    def grid(self, position: int) -> Image:
        """Return the image whose grid `read` uses."""
        return self._read(next(s for s in self._sources[position] if s is not None))

    def _read(self, source: Path | Image) -> Image:
        if isinstance(source, Image):
            return source
        return read_image(source, root=self.root, allow_outside=self.root is None)

    def spacing(self, position: int) -> tuple[float, float, float]:
        """Return the voxel size (z, y, x) in mm of `grid`; read once and kept."""
        if position not in self._spacings:
            self._spacings[position] = self.grid(position).spacing
        return self._spacings[position]

    def case_key(self, position: int) -> str:
        """Paths, sizes and modification times of the files."""
        return digest_of(map(_place, self._sources[position]), self._stamps[position])


class MaskFileStore:
    """Raw tumour masks, read on the grid of the images they belong to.

    Parameters
    ----------
    paths : sequence of (Path, Image or None), length n
        Files, or masks in memory. None where the patient has no mask.
    images : ImageFileStore
        The images of the same cases.
    label : int, str or sequence of these, optional
        Label that marks the tumour in masks with several labels, or name of the RTSTRUCT contour;
        several are merged.
    organs : sequence of (Path or None), optional
        Masks of organs, which are left out of shells around the tumour.
    labels : sequence, length n, optional
        Label of each case instead of one for all, where the tumour has different names.
    """

    def __init__(
        self,
        paths: Sequence[Path | Image | None],
        images: ImageFileStore,
        label: Label = None,
        organs: Sequence[Path | None] | None = None,
        labels: Sequence[Label] | None = None,
    ) -> None:
        self._sources = [_absolute(source) for source in paths]
        self._stamps = [_stamp_of(source) for source in self._sources]
        self._organs = [_absolute(source) for source in organs or [None] * len(self._sources)]
        self._organ_stamps = [_stamp_of(source) for source in self._organs]
        self._images = images
        self.label = label
        self._labels = None if labels is None else list(labels)

    def __len__(self) -> int:
        return len(self._sources)

    @property
    def case_shape(self) -> tuple[int | None, ...]:
        """Shape of one case; None for axes that differ between cases."""
        return (None, None, None)

    @property
    def nbytes_in_memory(self) -> int:
        """Bytes that travel when the store is pickled."""
        return sum(s.array.nbytes for s in self._sources if isinstance(s, Image))

    def source(self, position: int) -> Path | Image:
        """Return the file, as it was when the store was made, or mask of one case."""
        source = self._sources[position]
        if source is None:
            raise LookupError(f"The case at position {position} has no mask file.")
        if isinstance(source, Path):
            check_stamp(source, self._stamps[position])
        return source

    def label_of(self, position: int) -> Label:
        """Return the label that marks the tumour of one case."""
        return self.label if self._labels is None else self._labels[position]

    def organs(self, position: int) -> Path | Image | None:
        """Return the file of the organs of one case, if there is one."""
        source = self._organs[position]
        if isinstance(source, Path):
            check_stamp(source, self._organ_stamps[position])
        return source

    def read(self, position: int) -> np.ndarray:
        """Return the mask of one case on the grid of its images; organs are 2."""
        grid, root = self._images.grid(position), self._images.root
        source, organs = self.source(position), self.organs(position)
        if isinstance(source, Image):
            mask = placed_mask(source, grid, self.label_of(position), Path("in memory"))
        else:
            mask = read_mask_image(
                source, grid, self.label_of(position), root=root, allow_outside=root is None
            )
        marks = resample_mask(mask, grid)
        if isinstance(organs, Path):
            return with_organs(marks, read_organs(organs, root), grid)
        return marks

    def case_key(self, position: int) -> str:
        """Path, size and modification time of the mask file, and the label."""
        organs = _place(self._organs[position]), self._organ_stamps[position]
        return digest_of(
            _place(self._sources[position]), self._stamps[position], self.label_of(position), organs
        )


def _image_source(source: Path | Image | None) -> Path | Image | None:
    """Return a file, or an image in memory, whose voxels may have any type, as those of a file."""
    if isinstance(source, Image):
        return replace(source, array=np.ascontiguousarray(source.array, dtype=np.float32))
    return _absolute(source)


def _absolute(source: Path | Image | None) -> Path | Image | None:
    # links stay as they are: the other files of an image lie beside the link
    return source.absolute() if isinstance(source, Path) else source


def _stamp_of(source: Path | Image | None) -> tuple[Any, ...] | None:
    """Return what changes with the content: of a file its stamp, of an image its digest."""
    if isinstance(source, Path):
        return file_stamp(source)
    if source is None:
        return None
    digest = hashlib.sha256(np.ascontiguousarray(source.array).view(np.uint8).data)
    return (digest.hexdigest(), source.spacing, source.origin, source.direction)


def as_store(data: Any, ndim: int, dtype: type) -> Store:
    """Wrap arrays into a store; stores pass through, memory maps of ``.npy`` files keep their file.

    Parameters
    ----------
    data : array-like of shape (n, ...), sequence of arrays, or Store
    ndim : int
        Number of axes of one case.
    dtype : type
        Type that one case is served in.
    """
    if hasattr(data, "case_key") and hasattr(data, "read"):
        store: Store = data
        return store
    if is_whole_npy(data, dtype) and data.ndim == ndim + 1:
        return MemmapStore(data.filename)
    if isinstance(data, list | tuple) and len({np.shape(case) for case in data}) > 1:
        cases: list[np.ndarray] = [np.asarray(case, dtype=dtype) for case in data]
        wrong = [i for i, case in enumerate(cases) if case.ndim != ndim]
        if wrong:
            raise ValueError(
                f"Every case must have {ndim} axes; case {wrong[0]} has shape "
                f"{cases[wrong[0]].shape}."
            )
        return ArrayStore(cases)
    array: np.ndarray = np.asarray(data, dtype=dtype)
    if array.ndim != ndim + 1:
        raise ValueError(
            f"Expected an array with {ndim + 1} axes (cases first); got shape {array.shape}."
        )
    return ArrayStore(array)


def is_whole_npy(array: Any, dtype: type) -> bool:
    """Tell whether an array is a read-only map of a whole ``.npy`` file of this type.

    Then the file is what the array shows. A window of a file, a map that changes its copy or its
    file, and raw voxels in a file that is only named so are arrays like any others.
    """
    # Only an unsliced map sits directly on the mmap object; a view of one sits on another map.
    if not isinstance(array, np.memmap) or not isinstance(array.base, mmap.mmap):
        return False
    if array.mode != "r" or array.filename is None or array.dtype != dtype:
        return False
    try:
        with open(array.filename, "rb") as file:
            major, _ = np.lib.format.read_magic(file)
            read = np.lib.format.read_array_header_1_0 if major == 1 else (
                np.lib.format.read_array_header_2_0
            )
            shape, fortran, stored = read(file)
            begins = file.tell()
    except (OSError, ValueError):
        return False
    order = array.flags.f_contiguous if fortran else array.flags.c_contiguous
    return bool(
        order and (shape, stored, begins) == (array.shape, array.dtype, array.offset)
    )


def file_stamp(path: Path) -> tuple[int, int]:
    """Return size and time of change of a file, or of a folder of slices."""
    if not path.exists():
        raise FileNotFoundError(f"No such file or folder: {path}.")
    if path.is_dir():  # a DICOM series
        stats = [entry.stat() for entry in sorted(path.iterdir()) if entry.is_file()]
        return sum(s.st_size for s in stats), max((s.st_mtime_ns for s in stats), default=0)
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns


def check_stamp(path: Path, stamp: Any) -> None:
    """Refuse a file that has changed since a store was made of it."""
    if file_stamp(path) != tuple(stamp):
        raise RuntimeError(
            f"{path} changed after this cohort was made (size or modification time differ); "
            "load the cohort again."
        )


def _place(source: Path | Image | None) -> str:
    """Return where a file lies, or the first slice of a folder; an image's stamp is its content.

    Folders of links to slices are made anew for each run; the slices stay where they are.
    """
    if not isinstance(source, Path):
        return "" if source is None else "image in memory"
    files = sorted(source.iterdir()) if source.is_dir() else [source]
    return str((files or [source])[0].resolve())


def digest_of(*parts: Any) -> str:
    """Return a key of paths, stamps and the like."""
    texts = [list(part) if isinstance(part, map | tuple) else part for part in parts]
    return hashlib.sha256(repr(texts).encode()).hexdigest()


def _common_shape(shapes: Sequence[tuple[int, ...]]) -> tuple[int | None, ...]:
    return tuple(sizes[0] if len({*sizes}) == 1 else None for sizes in zip(*shapes, strict=True))
