"""Where and how torch computes: device and its slots, precision, threads, random streams."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch.overrides import TorchFunctionMode

from survimg.compute.device_slots import DeviceSlot, device_slot
from survimg.compute.heap import kept_heap

__all__ = [
    "MAX_THREADS",
    "OneDNNForSingleCases",
    "Precision",
    "RandomStreams",
    "choose_device",
    "choose_precision",
    "has_bfloat16",
    "isolated_torch",
    "slot_on",
]

Precision = Literal["auto", "float32", "bfloat16"]
#: Of one process; where the system refuses another one, the OpenMP runtime ends the process.
MAX_THREADS = 1024


class OneDNNForSingleCases(TorchFunctionMode):
    """Let oneDNN compute the 3D convolutions of one case on the CPU.

    torch (2.13, ``use_mkldnn`` in Convolution.cpp) leaves batches of one whose rows, channels and
    slices are 20,480 or fewer to an implementation that unfolds the volume first. That makes a
    DeepMTS at 48 voxels take 2.7 times as long for one patient as it does through oneDNN.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func is torch.conv3d and not kwargs and len(args) == 7:
            volume, weight, bias, stride, padding, dilation, groups = args
            single = volume.device.type == "cpu" and volume.ndim == 5 and len(volume) == 1
            if single and volume.dtype == torch.float32 and not isinstance(padding, str):
                return torch.mkldnn_convolution(
                    volume, weight, bias, padding, stride, dilation, groups
                )
        return func(*args, **(kwargs or {}))


class RandomStreams(NamedTuple):
    """Independent random streams of one fit, all from one seed."""

    weights: torch.Generator
    batches: np.random.Generator
    augmentation: torch.Generator
    dropout_seed: int
    validation_seed: int

    @classmethod
    def from_seed(cls, seed: int) -> RandomStreams:
        """Spawn the streams; all live on the CPU, so that a GPU run sees the same transforms."""
        children = np.random.SeedSequence(seed).spawn(5)
        seeds = [int(child.generate_state(1, np.uint64)[0]) >> 1 for child in children]
        return cls(
            weights=torch.Generator().manual_seed(seeds[0]),
            batches=np.random.default_rng(children[1]),
            augmentation=torch.Generator().manual_seed(seeds[2]),
            dropout_seed=seeds[3],
            # scikit-learn's splitters take 32 bits
            validation_seed=seeds[4] % 2**32,
        )


@contextmanager
def isolated_torch(
    device: torch.device,
    n_threads: int | None,
    dropout_seed: int | None = None,
    *,
    keep_heap: bool = True,
) -> Iterator[None]:
    """Pin torch's threads, keep the heap, give dropout its own random stream, while torch computes.

    All belong to the whole process, so they are restored at the end. Fits that run side by side
    in *threads* of one process share them: use processes (joblib's loky, Dask) for reproducible
    searches.

    Parameters
    ----------
    device : torch.device
    n_threads : int or None
        Threads that torch computes with; None leaves them as they are.
    dropout_seed : int, optional
        Seed of torch's global stream, which dropout draws from; by default it is left alone.
    keep_heap : bool, default=True
        On the CPU, take memory as `survimg.compute.heap.kept_heap` does.
    """
    before = torch.get_num_threads()
    devices = [device] if device.type == "cuda" else []
    try:
        if n_threads is not None:
            torch.set_num_threads(n_threads)
        heap = kept_heap() if keep_heap and device.type == "cpu" else nullcontext()
        with heap, torch.random.fork_rng(devices=devices, enabled=dropout_seed is not None):
            if dropout_seed is not None:
                # torch.manual_seed would also seed the GPUs that the fit does not use.
                torch.default_generator.manual_seed(dropout_seed)
                if device.type == "cuda":
                    with torch.cuda.device(device):
                        torch.cuda.manual_seed(dropout_seed)
            yield
    finally:
        torch.set_num_threads(before)


def choose_device(device: str) -> torch.device:
    """Resolve ``"auto"`` to the GPU if there is one.

    Raises
    ------
    ValueError
        No name of a device, or a CUDA device was asked for and there is none.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        resolved = torch.device(device)
    except RuntimeError as error:
        raise ValueError(
            f"device={device!r} is no device that torch knows; use 'auto', 'cpu', 'cuda' or "
            "'cuda:1'."
        ) from error
    if resolved.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(
            f"device={device!r} was asked for, but torch sees no CUDA device; use device='auto' or "
            "device='cpu'."
        )
    return resolved


@contextmanager
def slot_on(device: torch.device) -> Iterator[tuple[torch.device, DeviceSlot]]:
    """Hold a slot of a device for a fit; of several GPUs, one is chosen that has most free slots.

    Parameters
    ----------
    device : torch.device
        ``cuda`` without an index stands for all GPUs that torch sees.

    Yields
    ------
    device : torch.device
        With an index if there were several to choose from.
    slot : DeviceSlot
    """
    devices = [device]
    if device.type == "cuda" and device.index is None and torch.cuda.device_count() > 1:
        devices = [torch.device("cuda", i) for i in range(torch.cuda.device_count())]
    with device_slot(device.type, [_name_for_all_processes(d) for d in devices]) as slot:
        yield devices[slot.device], slot


def _name_for_all_processes(device: torch.device) -> str:
    """Name a device by its UUID: its number differs where CUDA_VISIBLE_DEVICES does."""
    if device.type == "cuda":
        return f"cuda-{torch.cuda.get_device_properties(device).uuid}"
    return f"{platform.node()}-{device.type}-{device.index or 0}"


def choose_precision(precision: Precision, device: torch.device) -> str:
    """Resolve ``"auto"``: bfloat16 on GPUs that compute it natively, float32 on processors.

    docs/decisions/0003 tells why processors compute in float32 unless they are told otherwise.

    Raises
    ------
    ValueError
        bfloat16 was asked for and the hardware only emulates it, which is slow.
    """
    if precision == "float32":
        return precision
    if precision == "auto" and device.type == "cpu":
        return "float32"
    native = has_bfloat16(device)
    if precision == "bfloat16" and not native:
        raise ValueError(
            f"precision='bfloat16' was asked for, but this {device.type} device only emulates it; "
            "use precision='auto' or 'float32'."
        )
    return "bfloat16" if native else "float32"


def has_bfloat16(device: torch.device) -> bool:
    """Whether the hardware computes bfloat16 itself: else it is refused."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if hasattr(torch.cpu, "get_capabilities"):
        able = torch.cpu.get_capabilities()
        return any(able.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))
    # Early versions tell it of x86 processors only; all that have AMX have its bfloat16.
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
