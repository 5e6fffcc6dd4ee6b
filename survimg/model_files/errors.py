"""The error for models that cannot be saved, and for folders that cannot be read."""

from __future__ import annotations

__all__ = ["ModelFileError"]


class ModelFileError(ValueError):
    """A model cannot be saved, or a folder is not a valid model file; says what to do."""
