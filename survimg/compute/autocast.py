"""bfloat16 in the forward pass, without the convolutions that processors compute wrongly."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

__all__ = ["bfloat16_autocast"]

CONVOLUTIONS = (functional.conv1d, functional.conv2d, functional.conv3d)
TRANSPOSED = (
    functional.conv_transpose1d, functional.conv_transpose2d, functional.conv_transpose3d,
)  # fmt: skip
FIRST_ARGUMENTS = ("input", "weight", "bias", "stride", "padding")
ARGUMENTS: dict[Callable[..., Tensor], tuple[str, ...]] = {}
ARGUMENTS |= dict.fromkeys(CONVOLUTIONS, (*FIRST_ARGUMENTS, "dilation", "groups"))
ARGUMENTS |= dict.fromkeys(TRANSPOSED, (*FIRST_ARGUMENTS, "output_padding", "groups", "dilation"))


@contextmanager
def bfloat16_autocast(device: torch.device, enabled: bool) -> Iterator[None]:
    """Compute in bfloat16 what autocast computes so; on processors not the thin convolutions.

    A convolution is thin here if its kernel is longer than the map along some axis, so that it
    reaches beyond both ends (of a transposed one, than the map that it returns). Of these, oneDNN
    3.12 (torch 2.13) returns weight gradients that hold whatever lay in memory, and writes past the
    ends of its buffers: seen with AVX512-BF16 for kernels of 2 to 7 in three dimensions, where the
    forward pass and the gradient of the map are right. They are computed in float32 and rounded,
    which costs nothing on maps so small.

    Parameters
    ----------
    device : torch.device
        Where the network computes.
    enabled : bool
        False: nothing changes.
    """
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled):
        if enabled and device.type == "cpu":
            with _ThinInFloat32():
                yield
        else:
            yield


class _ThinInFloat32(TorchFunctionMode):
    """Sees every convolution that a network calls, whoever wrote it."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func not in ARGUMENTS:
            return func(*args, **kwargs)
        result = func(*args, **kwargs)  # which is right: only its gradient is not
        named = dict(zip(ARGUMENTS[func], args, strict=False)) | kwargs
        wide = named["input"] if func in CONVOLUTIONS else result
        if result.dtype != torch.bfloat16 or not _is_thin(wide, **named):
            return result
        with torch.autocast("cpu", enabled=False):
            for name in ("input", "weight", "bias"):
                if named.get(name) is not None:
                    named[name] = named[name].float()
            return func(**named).to(torch.bfloat16)


def _is_thin(wide: Tensor, weight: Tensor, dilation: Any = 1, **_: Any) -> bool:
    """Whether the kernel is longer than the map along some axis."""
    n_axes = weight.ndim - 2
    steps = (dilation,) * n_axes if isinstance(dilation, int) else tuple(dilation) * n_axes
    lengths = zip(wide.shape[-n_axes:], weight.shape[2:], steps, strict=False)
    return any(length < 1 + step * (taps - 1) for length, taps, step in lengths)
