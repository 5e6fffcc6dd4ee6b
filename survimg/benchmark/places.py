"""Texts without the places of a machine: folders, which often name people, and hosts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["without_places"]

_ADDRESS = re.compile(r"\b(?!https?:)([a-z][a-z0-9+.-]*)://[^\s'\"]+")
#: A path from the root, the home folder, a drive or the folder above; the last part is kept.
_START = r"(?:[A-Za-z]:[\\/]|[\\/]|~[\w.-]*[\\/]|\.\.[\\/])"
_QUOTED = re.compile(rf"(['\"]){_START}(?:[^'\"\n]*[\\/])?([^'\"\\/\n]*)[\\/]?\1")
_BARE = re.compile(
    rf"(?<![\w.\\/<)\]]){_START}(?:[^\s'\":;,()<>|\\/]+[\\/])+([^\s'\":;,()<>|\\/]*)"
)


def without_places(value: Any) -> Any:
    """Reduce each absolute path in a text to its last part, and each address to its scheme.

    Parameters
    ----------
    value : str, mapping, list or another JSON value
        Mappings and lists are gone through; numbers stay.

    Returns
    -------
    str, dict, list or the value
        A folder whose name has a space is known where the path is quoted, or begins with the
        user's home or the working folder.
    """
    if isinstance(value, str):
        for folder in (str(Path.cwd()), str(Path.home())):
            if len(folder) > 1:
                value = value.replace(f"{folder}/", "")
        value = _ADDRESS.sub(r"\1://...", value)
        return _BARE.sub(r"\1", _QUOTED.sub(r"\1\2\1", value))
    if isinstance(value, Mapping):
        return {without_places(key): without_places(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_places(item) for item in value]
    return value
