"""The global random generators for the length of a block, for code that draws from them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

__all__ = ["seeded"]


@contextmanager
def seeded(generator: torch.Generator, device: torch.device | None = None) -> Iterator[int]:
    """Seed Python's, NumPy's and torch's global generators; restore them at the end.

    Layers of torch draw their weights from its global generator, and augmentations of other
    libraries draw from any of the three. All belong to the whole process: fits that run side by
    side in *threads* share them (`survimg.compute.devices.isolated_torch`).

    Parameters
    ----------
    generator : torch.Generator
        CPU generator of the fit; one draw.
    device : torch.device, optional
        A GPU whose generator is seeded too.

    Yields
    ------
    int
        The seed, below 2^31.
    """
    seed = int(torch.randint(2**31, (), generator=generator))
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    devices = [device] if device is not None and device.type == "cuda" else []
    try:
        with torch.random.fork_rng(devices=devices):
            random.seed(seed)
            np.random.seed(seed)  # noqa: NPY002
            # torch.manual_seed would also seed the GPUs that the fit does not use.
            torch.default_generator.manual_seed(seed)
            for gpu in devices:
                with torch.cuda.device(gpu):
                    torch.cuda.manual_seed(seed)
            yield seed
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002
