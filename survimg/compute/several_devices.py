"""One fit on several GPUs of a machine."""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar

import joblib
import numpy.typing as npt
import torch
from torch import distributed, multiprocessing

from survimg.cohort import Cohort
from survimg.compute.ranks import Ranks, one_of
from survimg.compute.runtime import choose_device, slot_on

__all__ = ["fit_on_devices"]

Estimator = TypeVar("Estimator")


def fit_on_devices(
    estimator: Estimator, X: Cohort | npt.ArrayLike, y: npt.ArrayLike, devices: Sequence[str]
) -> Estimator:
    """Fit a network on several devices of this machine, each with its share of every batch.

    The loss is that of the whole batch: a Cox loss sees every patient's whole risk set, wherever
    the others were computed. Batches, their patients and augmentation are those of one device.

    Parameters
    ----------
    estimator : estimator
        A network over volumes, or anything that fits one inside itself and computes nothing in
        parallel. Its ``batch_size`` must be a multiple of the number of devices, and is shared.
        Its ``device`` is not used; ``n_threads`` and ``micro_batch_size`` are those of each device.
    X : Cohort or array-like of shape (n, channels, z, y, x)
        Every device is sent a cohort that is in memory; one that was loaded from a folder travels
        as its path.
    y : structured array of shape (n,)
        (event, time).
    devices : sequence of str
        As torch names them, e.g. ``["cuda:0", "cuda:1"]``; each GPU once.

    Returns
    -------
    estimator
        A fitted copy; the one given stays as it is.

    Raises
    ------
    ValueError
        No device, a GPU given twice, or one that torch does not see.
    ChildProcessError
        The fit failed on a device, or its process died; the message holds the traceback. The others
        are ended.

    Notes
    -----
    Each device is driven by a process of its own, which imports the calling script: a script needs
    ``if __name__ == "__main__":`` around what it does.

    What differs from one device: *batch normalisation* takes its statistics of each device's share.
    That is what ``micro_batch_size=batch_size / len(devices)`` does on one device, to which the fit
    is equal but for rounding where there is no dropout. *Dropout* draws from streams of its own on
    each device. A fit that runs out of memory is not split but ends.

    A network with a ``checkpoint_folder`` whose fit was interrupted goes on where it was when it is
    fitted again on as many devices, to the same bits (on the CPU) as without the interruption.
    Another number of devices is refused.

    Examples
    --------
    >>> model = fit_on_devices(  # doctest: +SKIP
    ...     DeepMTS(batch_size=16), X, X.outcome, devices=["cuda:0", "cuda:1"]
    ... )
    """
    chosen = _checked(devices)
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="survimg-devices-"))
        # In one order everywhere, lest two such fits wait for each other.
        for device in sorted(set(chosen), key=str):
            stack.enter_context(slot_on(device))
        arguments = ([str(device) for device in chosen], folder, estimator, X, y)
        processes = multiprocessing.spawn(
            _fit_share, args=arguments, nprocs=len(chosen), join=False
        )
        # An interrupted call must not leave them training, on devices whose slots are given back.
        stack.callback(_end, processes.processes)
        try:
            while not processes.join():
                pass
        except (
            multiprocessing.ProcessRaisedException,
            multiprocessing.ProcessExitedException,
        ) as error:
            raise ChildProcessError(
                f"The fit failed in process {error.error_index + 1} of {len(chosen)}, on "
                f"{chosen[error.error_index]}: {error}"
            ) from error
        # Written by our own process a moment ago.
        return pickle.loads(Path(folder, "fitted").read_bytes())  # noqa: S301


def _end(processes: Sequence[Any]) -> None:
    for process in processes:
        process.terminate()
    for process in processes:
        process.join()


def _checked(devices: Sequence[str]) -> list[torch.device]:
    if isinstance(devices, str) or len(devices) == 0:
        raise ValueError(
            f"devices must list at least one device, e.g. ['cuda:0', 'cuda:1']; got {devices!r}."
        )
    chosen = [choose_device(device) for device in devices]
    gpus = [device for device in chosen if device.type == "cuda"]
    if 0 < len(gpus) < len(chosen):
        raise ValueError(f"devices mixes GPUs with others: {list(devices)}; give one kind.")
    if len(gpus) > len(set(gpus)) or (len(gpus) > 1 and any(gpu.index is None for gpu in gpus)):
        raise ValueError(
            f"devices={list(devices)} does not name different GPUs; give each by its number, once, "
            "e.g. ['cuda:0', 'cuda:1']."
        )
    missing = [str(gpu) for gpu in gpus if (gpu.index or 0) >= torch.cuda.device_count()]
    if missing:
        raise ValueError(f"torch sees {torch.cuda.device_count()} GPUs, not {missing}.")
    return chosen


def _fit_share(
    rank: int, devices: list[str], folder: str, estimator: Any, X: Any, y: Any
) -> None:
    """Fit in the process of one device; the first keeps the result."""
    device, n = torch.device(devices[rank]), len(devices)
    torch.set_num_threads(max(1, joblib.cpu_count() // n))
    backend = "gloo"
    if device.type == "cuda":
        torch.cuda.set_device(device)
        backend = "cpu:gloo,cuda:nccl"
    distributed.init_process_group(
        backend, init_method=f"file://{folder}/meeting", rank=rank, world_size=n
    )
    with one_of(Ranks(rank, n, device)):
        estimator.fit(X, y)
    if rank == 0:
        Path(folder, "fitted").write_bytes(pickle.dumps(estimator))
    distributed.destroy_process_group()
