"""What is raised for a model that cannot be saved, and for a folder that cannot be read."""

from __future__ import annotations

__all__ = ["ModelFileError"]


class ModelFileError(ValueError):
    """A model cannot be written to a model file, or a folder is no sound model file.

    The message says what was found, and what to do.
    """
