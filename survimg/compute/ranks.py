"""Processes that train one network together: each computes its share of every batch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, distributed, nn

__all__ = ["ALONE", "Ranks", "current_ranks", "one_of"]

Fields = TypeVar("Fields")
T = TypeVar("T")


@dataclass(frozen=True)
class Ranks:
    """The place of this process among those that train one network together.

    All of them run the same program on the same patients and draw the same random numbers, so that
    they agree on every batch; each then reads, augments and computes its own share of it. What
    the loss needs of the others, the network's outputs and the targets, is exchanged, and so are
    the gradients. With one process (`ALONE`) every method does nothing.

    Parameters
    ----------
    rank : int, default=0
        Number of this process; 0 is the one whose model is kept.
    n : int, default=1
        Number of processes.
    device : torch.device, optional
        Of this process; None where there is only one.
    """

    rank: int = 0
    n: int = 1
    device: torch.device | None = None

    def share(self, n_cases: int) -> slice:
        """Return which cases of a batch this process computes: every n-th.

        Batches list the patients with the event first; in every n-th, both kinds are present.

        Raises
        ------
        ValueError
            The batch cannot be shared equally. Statistics of batch normalisation over unequal
            shares would not weigh patients alike.
        """
        if n_cases % self.n:
            raise ValueError(
                f"A batch of {n_cases} patients cannot be shared equally by {self.n} devices; "
                f"choose a batch_size that is a multiple of {self.n} (and no larger than the "
                "number of patients, if balanced=False)."
            )
        return slice(self.rank, None, self.n)

    def gather(self, fields: Fields) -> Fields:
        """Join the shares of a named tuple of tensors (or None) in the order of the batch."""
        if self.n == 1:
            return fields
        joined = [None if own is None else self._gather(own) for own in fields]  # type: ignore[attr-defined]
        return type(fields)(*joined)

    def _gather(self, own: Tensor) -> Tensor:
        own = own.detach().contiguous()
        shares = [torch.empty_like(own) for _ in range(self.n)]
        distributed.all_gather(shares, own)
        return torch.stack(shares, dim=1).flatten(0, 1)

    def sum_gradients(self, module: nn.Module) -> None:
        """Replace the gradients by their sum over all processes."""
        if self.n == 1:
            return
        trained = [p for p in module.parameters() if p.requires_grad]
        for parameter in trained:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        _all_reduce([p.grad for p in trained if p.grad is not None])

    def average(self, tensors: list[Tensor]) -> None:
        """Replace tensors by their means over all processes."""
        if self.n == 1:
            return
        _all_reduce(tensors)
        for tensor in tensors:
            tensor.div_(self.n)

    def from_first(self, value: T) -> T:
        """Return the value that process 0 has, e.g. a number that decides when to stop."""
        if self.n == 1:
            return value
        values: list[Any] = [value]
        distributed.broadcast_object_list(values, src=0, device=torch.device("cpu"))
        return values[0]

    def wait(self) -> None:
        """Wait until all processes are here."""
        self.from_first(None)

    def own_dropout(self, dropout_seed: int, iteration: int) -> None:
        """Give dropout a stream of its own in this process and step.

        From the number of the step alone, so that a continued training needs no stream of another
        process. Must be called within `isolated_torch`.
        """
        if self.n > 1:
            sequence = np.random.SeedSequence([dropout_seed, self.rank, iteration])
            torch.random.manual_seed(int(sequence.generate_state(1, np.uint64)[0] >> 1))


ALONE = Ranks()
_current: ContextVar[Ranks] = ContextVar("ranks", default=ALONE)


def current_ranks() -> Ranks:
    """Return the processes that this one trains with."""
    return _current.get()


@contextmanager
def one_of(ranks: Ranks) -> Iterator[None]:
    """Let the fits of a block be shared by the processes of torch's default process group."""
    token = _current.set(ranks)
    try:
        yield
    finally:
        _current.reset(token)


def _all_reduce(tensors: list[Tensor]) -> None:
    """Sum tensors over all processes, in one message."""
    flat = torch.cat([tensor.flatten() for tensor in tensors])
    distributed.all_reduce(flat)
    for tensor, values in zip(tensors, flat.split([t.numel() for t in tensors]), strict=True):
        tensor.copy_(values.view(tensor.shape))
