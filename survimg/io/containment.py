"""Where a file may lie: in the manifest's folder, wherever links lead."""

from __future__ import annotations

from pathlib import Path

__all__ = ["REMEDY", "check_inside", "is_inside"]

#: What to do about a file outside.
REMEDY = "Move the file, or allow it (allow_outside=True, or --allow-outside)."


def is_inside(path: Path, root: Path) -> bool:
    """Tell whether a path, its links followed, lies in a folder.

    Parameters
    ----------
    path : Path
    root : Path
        Resolved.

    Raises
    ------
    OSError, RuntimeError, ValueError
        No path at all: a name too long, with a NUL, or a link to itself.
    """
    return path.resolve().is_relative_to(root)


def check_inside(path: Path, root: Path | None, owner: Path) -> None:
    """Refuse a file that is not an ordinary one, or lies outside the folder that may be read.

    Parameters
    ----------
    path : Path
        A file that is about to be opened.
    root : Path or None
        Resolved; None allows every place.
    owner : Path
        The image that the file belongs to, for messages.

    Raises
    ------
    ValueError
        Outside of `root` (absolute, with ``..``, or through a link), missing, or no ordinary file:
        a pipe would be waited for without end.
    """
    part = "" if path == owner else f" takes its voxels from {str(path)!r}, which"
    try:
        outside = root is not None and not is_inside(path, root)
        ordinary = path.is_file()
    except (OSError, RuntimeError, ValueError) as error:
        raise ValueError(f"{owner}{part} has no usable name ({type(error).__name__}).") from None
    if outside:
        raise ValueError(f"{owner}{part} lies outside the folder {root}. {REMEDY}")
    if not ordinary:
        what = "is neither a file nor a folder" if path == owner else "is no file"
        raise ValueError(f"{owner}{part} {what}.")
