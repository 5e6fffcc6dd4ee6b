"""Gradients of a whole batch's loss from parts of the batch that fit into memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

__all__ = ["backward_in_parts", "dropout_stream", "parts_of", "replay"]


def parts_of(n_cases: int, size: int) -> list[slice]:
    """Divide a batch into the fewest parts of at most `size` cases.

    Each part takes every k-th case. Batches list the patients with the event first: contiguous
    parts would hold one kind alone, and batch normalisation would level what tells them apart.

    Parameters
    ----------
    n_cases, size : int
    """
    n_parts = -(-n_cases // size)
    return [slice(first, None, n_parts) for first in range(n_parts)]


def backward_in_parts(
    forward: Callable[[Mapping[str, Tensor]], Any],
    loss: Callable[[Any], Tensor],
    inputs: Mapping[str, Tensor],
    size: int,
) -> tuple[Tensor, Any]:
    """Add the gradient of ``loss(forward(inputs))`` to the parameters, a few cases at a time.

    A Cox loss compares every patient with the whole risk set, so the mean of the losses of
    parts is not the loss of the batch. Therefore two passes: the first computes the outputs of all
    parts without keeping activations, then the loss of the joined outputs and its gradient with
    respect to them; the second computes each part again and sends its share of that gradient back
    through the network. The result is exact for a network that treats cases independently.

    Parameters
    ----------
    forward : callable
        The network, from inputs to a named tuple of tensors (or None) whose first axis is the
        case.
    loss : callable
        From the joined outputs to a scalar. It may use parameters directly, as penalties do.
    inputs : mapping of str to Tensor of shape (b, ...)
    size : int
        Cases per part. One part takes a single pass.

    Returns
    -------
    loss : Tensor, scalar
        Detached.
    output : named tuple
        The joined outputs, detached.

    Notes
    -----
    Dropout drops the same units in both passes: its random stream is replayed. *Batch
    normalisation* in training mode normalises each part by the part's own statistics, so that with
    it `size` remains a parameter of the training, as the number of cases per GPU was in the
    published DeepMTS runs.

    The scheme is that of Gao L, Zhang Y, Han J, Callan J. Scaling deep contrastive learning batch
    size under memory limited setup. RepL4NLP 2021, section 3.
    """
    device = next(iter(inputs.values())).device
    parts = parts_of(len(next(iter(inputs.values()))), size)
    streams, outputs = [], []
    with torch.set_grad_enabled(len(parts) == 1):
        for part in parts:
            streams.append(dropout_stream(device))
            outputs.append(forward(_cases(inputs, part)))
    joined = _join(outputs)
    joined = type(joined)(*(None if field is None else field.requires_grad_() for field in joined))
    total = loss(joined)
    total.backward()
    for part, stream in zip(parts, streams, strict=True):
        if len(parts) > 1:
            replay(stream, device)
            outputs = [forward(_cases(inputs, part))]
        reached = [
            (field, leaf.grad[part])
            for field, leaf in zip(outputs[0], joined, strict=True)
            if leaf is not None and leaf.grad is not None
        ]
        if reached:
            tensors, received = zip(*reached, strict=True)
            torch.autograd.backward(tensors, received)
    return total.detach(), type(joined)(*(None if f is None else f.detach() for f in joined))


def _cases(inputs: Mapping[str, Tensor], part: slice) -> dict[str, Tensor]:
    return {name: values[part] for name, values in inputs.items()}


def _join(outputs: list[Any]) -> Any:
    """Put the named tuples of the parts together again, detached, in the order of the batch."""
    n_parts = len(outputs)
    fields: list[Tensor | None] = []
    for parts in zip(*outputs, strict=True):
        if parts[0] is None:
            fields.append(None)
            continue
        joined = parts[0].new_empty((sum(map(len, parts)), *parts[0].shape[1:]))
        for first, part in enumerate(parts):
            joined[first::n_parts] = part.detach()
        fields.append(joined)
    return type(outputs[0])(*fields)


def dropout_stream(device: torch.device) -> Tensor:
    """Return the state of the stream that dropout draws from on a device."""
    if device.type == "cuda":
        return torch.cuda.get_rng_state(device)
    return torch.get_rng_state()


def replay(stream: Tensor, device: torch.device) -> None:
    """Set the stream back to a state that `dropout_stream` returned."""
    if device.type == "cuda":
        torch.cuda.set_rng_state(stream, device)
    else:
        torch.set_rng_state(stream)
