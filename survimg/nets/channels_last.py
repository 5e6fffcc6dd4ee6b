"""Maps whose memory the compiled passes of `survimg.nets.kernels` go through."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

__all__ = ["dense", "flat", "like", "takes_kernels", "threads_for"]

#: Values of a map below which torch's own layers are as fast.
SMALLEST = 30_000
#: Values that a thread passes over in the time that it takes to wake another: 0.2 to 0.5 ms on the
#: one virtual machine with two cores where this was measured.
FEWEST_PER_THREAD = 1 << 19
_LAYOUT = {4: torch.channels_last, 5: torch.channels_last_3d}


def takes_kernels(features: Tensor) -> bool:
    """Whether a map is one that the compiled passes are made for.

    Everything else is computed by torch's own layers: on GPUs, in float64, in the plain layout
    (the channels of a voxel far apart), small maps, and what torch compiles or traces.
    """
    return (
        not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()
        and type(features) is Tensor
        and features.device.type == "cpu"
        and features.dtype in (torch.float32, torch.bfloat16)
        and features.ndim in _LAYOUT
        and features.numel() >= SMALLEST
        and (
            features.is_contiguous(memory_format=_LAYOUT[features.ndim])
            or not features.is_contiguous()
        )
    )


def dense(features: Tensor) -> Tensor:
    """Return a map without gaps in the channels-last layout; the same memory if it is one."""
    return features.detach().contiguous(memory_format=_LAYOUT[features.ndim])


def like(features: Tensor) -> Tensor:
    """Return a map of the same shape and type, in the channels-last layout and not filled."""
    return torch.empty_like(features, memory_format=_LAYOUT[features.ndim])


def flat(features: Tensor) -> np.ndarray:
    """View a map without gaps voxel after voxel; bfloat16 as its bits."""
    if features.dtype == torch.bfloat16:
        features = features.view(torch.uint16)
    return features.movedim(1, -1).reshape(-1).numpy()


def threads_for(n_values: int) -> int:
    """Return how many of torch's threads are worth waking for a pass over so many values.

    For a convolution 3x3x3 give voxels times input times output channels: its 27 products take
    about as long as one value of a pass.
    """
    return min(torch.get_num_threads(), max(1, n_values // FEWEST_PER_THREAD))
