"""Gradients of a whole batch's loss from parts of the batch that fit into memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

__all__ = ["backward_in_parts", "dropout_stream", "replay"]


def backward_in_parts(
    forward: Callable[[Mapping[str, Tensor]], Any],
    loss: Callable[[Any], Tensor],
    inputs: Mapping[str, Tensor],
    size: int,
) -> tuple[Tensor, Any]:
    """Add the gradient of ``loss(forward(inputs))`` to the parameters, a few cases at a time.

    A Cox loss compares every patient with his whole risk set, so that the mean of the losses of
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
        Cases per part, below b.

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
    n_cases = len(next(iter(inputs.values())))
    parts = [slice(start, start + size) for start in range(0, n_cases, size)]
    device = next(iter(inputs.values())).device
    streams, outputs = [], []
    with torch.no_grad():
        for part in parts:
            streams.append(dropout_stream(device))
            outputs.append(forward({name: values[part] for name, values in inputs.items()}))
    joined = _join(outputs)
    total = loss(joined)
    total.backward()
    gradients = [None if field is None else field.grad for field in joined]
    for part, stream in zip(parts, streams, strict=True):
        replay(stream, device)
        output = forward({name: values[part] for name, values in inputs.items()})
        reached = [
            (field, gradient[part])
            for field, gradient in zip(output, gradients, strict=True)
            if gradient is not None
        ]
        if reached:
            tensors, received = zip(*reached, strict=True)
            torch.autograd.backward(tensors, received)
    return total.detach(), type(joined)(*(None if f is None else f.detach() for f in joined))


def _join(outputs: list[Any]) -> Any:
    """Concatenate the named tuples of the parts; the fields receive gradients."""
    fields = [
        None if parts[0] is None else torch.cat(parts).requires_grad_()
        for parts in zip(*outputs, strict=True)
    ]
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
