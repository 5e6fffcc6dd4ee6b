"""Training steps that do not fit into the device's memory."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from skorch import NeuralNet
from skorch.callbacks import Callback

from survimg.compute.device_slots import DeviceSlot
from survimg.training.accumulation import dropout_stream, replay

__all__ = ["MemoryRecord", "is_out_of_memory", "within_memory"]

T = TypeVar("T")
# Where torch has no class of its own for it, a plain RuntimeError has nothing but its text: this is
# the one place where a text decides.
_PLAIN_ERRORS = (
    "DefaultCPUAllocator",  # the allocator of the CPU, on all systems
    "STATUS_ALLOC_FAILED",  # cuDNN and cuBLAS
    "CUDA error: out of memory",  # the driver, asked beside torch's own allocator
)


def within_memory(net: NeuralNet, n_cases: int, gradients: Callable[[int], T]) -> T:
    """Compute a step; when it runs out of memory, make room, or take fewer cases at once.

    First the fit waits until it has the device for itself (``net.make_room_``), so that what is
    trained does not depend on who else computes there. If that is not enough, the cases that pass
    through the network at once are halved, for this step and all that follow, down to one. The
    loss stays that of the whole batch (`survimg.training.accumulation`).

    Parameters
    ----------
    net : NeuralNet
        A `TrainingNet`, whose ``micro_batch_size`` is lowered when that is needed.
    n_cases : int
        Cases of the batch.
    gradients : callable
        From the number of cases at once to the step's result; adds to the parameters' gradients,
        which are zero before.

    Returns
    -------
    object
        What `gradients` returns.

    Raises
    ------
    torch.OutOfMemoryError
        Not even one case fits.

    Warns
    -----
    UserWarning
        The batch is split: batch normalisation averages over fewer cases from then on.
    """
    device = next(net.module_.parameters()).device
    stream = dropout_stream(device)
    while True:
        size = min(net.micro_batch_size or n_cases, n_cases)
        try:
            return gradients(size)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            reason = " ".join(str(error).split())
        # Only here, beyond the except clause, are the frames of the failed step and their tensors
        # gone.
        net.module_.zero_grad(set_to_none=True)
        replay(stream, device)
        if device.type == "cuda":
            torch.cuda.empty_cache()
        if net.make_room_ is not None and net.make_room_():
            continue
        if size == 1:
            raise torch.OutOfMemoryError(
                f"Not even one patient at a time fits into the memory of {device} "
                f"({_occupancy(device)}torch says: {reason}). End what else runs there, prepare "
                "smaller volumes, or train with device='cpu'."
            )
        net.micro_batch_size = size // 2
        warnings.warn(
            f"Out of memory on {device} with {size} patients at once in step "
            f"{net.iteration_ + 1}; going on with {size // 2} at once. The loss is still that of "
            "the whole batch; batch normalisation, if the network has any, averages over "
            f"{size // 2}. Set micro_batch_size={size // 2} to train so from the start.",
            UserWarning,
            stacklevel=2,
        )


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error says that memory was not sufficient.

    Parameters
    ----------
    error : exception
        torch raises `torch.OutOfMemoryError` for the memory of a GPU, but a plain RuntimeError for
        that of the CPU and for the libraries of CUDA, which only its text tells from other errors.
    """
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in _PLAIN_ERRORS)


class MemoryRecord(Callback):
    """Keep in the history how many cases passed at once, and how long the fit has waited.

    Columns ``micro_batch_size`` (at the end of the epoch) and ``seconds_waited`` (for the device,
    before or during the epoch).

    Parameters
    ----------
    slot : DeviceSlot
    batch_size : int
        Cases that pass at once unless the net says otherwise.
    """

    def __init__(self, slot: DeviceSlot, batch_size: int) -> None:
        self.slot = slot
        self.batch_size = batch_size
        self._recorded = 0.0

    def on_epoch_end(self, net: NeuralNet, **_: Any) -> None:
        """Record both."""
        size = min(net.micro_batch_size or self.batch_size, self.batch_size)
        net.history.record("micro_batch_size", size)
        net.history.record("seconds_waited", self.slot.waited - self._recorded)
        self._recorded = self.slot.waited


def _occupancy(device: torch.device) -> str:
    if device.type != "cuda":
        return ""
    free, total = torch.cuda.mem_get_info(device)
    ours = torch.cuda.memory_reserved(device)
    return (
        f"{total / 2**30:.1f} GiB, {free / 2**30:.1f} GiB of them free, "
        f"{max(0, total - free - ours) / 2**30:.1f} GiB in use by others; "
    )
