"""Arrays and tensors of model files as bytes, and back without running code."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as save_safetensors
from torch import Tensor

from survimg.model_files.errors import ModelFileError
from survimg.npz import pack_arrays
from survimg.npz import unpack_arrays as unpack_npz

__all__ = ["pack_arrays", "pack_tensors", "unpack_arrays", "unpack_tensors"]


def unpack_arrays(content: bytes) -> dict[str, np.ndarray]:
    """Read `pack_arrays`.

    Raises
    ------
    ModelFileError
        A file that is compressed or damaged, holds Python objects, or claims more than it has.
    """
    try:
        return unpack_npz(content)
    except ValueError as error:
        raise ModelFileError(f"arrays.npz {error}") from None


def pack_tensors(tensors: Mapping[str, Tensor]) -> bytes:
    """Return the bytes of a ``.safetensors`` file."""
    return save_safetensors(
        {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    )


def unpack_tensors(content: bytes) -> dict[str, Tensor]:
    """Read `pack_tensors`.

    Raises
    ------
    ModelFileError
        The file is damaged.
    """
    try:
        return load_safetensors(content)
    except (SafetensorError, ValueError, KeyError, RuntimeError, TypeError) as error:
        raise ModelFileError(
            f"weights.safetensors cannot be read ({error}); it is damaged."
        ) from None
