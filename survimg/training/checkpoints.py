"""Interrupted fits: everything a training needs to go on as if nothing had happened."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import zipfile
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import torch
from skorch import NeuralNet
from skorch.callbacks import Callback
from skorch.history import History
from torch import nn

from survimg.cohort import Cohort
from survimg.compute.devices import RandomStreams
from survimg.files import remove_temporaries, write_atomically
from survimg.training.checkpoint_fields import check_seed, check_tensors, check_values
from survimg.training.holdout import HoldOut

__all__ = ["Checkpoint", "CheckpointWriter", "fit_key"]

#: Before the checksum, with which a checkpoint begins.
_MAGIC = b"survimg checkpoint 2\n"
_DAMAGE = (
    EOFError, LookupError, RuntimeError, TypeError, ValueError, AttributeError, OverflowError,
    pickle.UnpicklingError, zipfile.BadZipFile,
)  # fmt: skip

# They change how a fit runs or where it is kept, not what is trained.
_IRRELEVANT = frozenset(
    {"callbacks", "checkpoint_folder", "checkpoint_every", "device", "n_threads", "verbose"}
)


def fit_key(estimator: Any, cohort: Cohort, event: np.ndarray, time: np.ndarray) -> str:
    """Digest of the parameters, initial weights and data that decide what is trained.

    Parameters
    ----------
    estimator : estimator
    cohort : Cohort
    event, time : ndarray of shape (n,)

    Returns
    -------
    str
        File-name stem: class name and 16 hexadecimal digits.
    """
    parameters = {
        name: _described(value)
        for name, value in sorted(estimator.get_params(deep=False).items())
        if name not in _IRRELEVANT
    }
    # Another torch may round differently, and name its states differently.
    digest = hashlib.sha256(json.dumps([torch.__version__, parameters]).encode())
    if estimator.initial_weights is not None:
        digest.update(Path(estimator.initial_weights).read_bytes())
    if estimator.warm_start and hasattr(estimator, "net_"):
        for weights in estimator.net_.module_.state_dict().values():
            digest.update(weights.cpu().numpy().tobytes())
    digest.update(cohort.fingerprint().encode())
    digest.update(np.ascontiguousarray(event).tobytes() + np.ascontiguousarray(time).tobytes())
    return f"{type(estimator).__name__}-{digest.hexdigest()[:16]}"


def _described(value: Any) -> str:
    if value is None or isinstance(value, bool | int | float | str | Path):
        return repr(value)
    if isinstance(value, nn.Module):
        # Its pickle holds addresses.
        weights = {name: state.cpu().numpy() for name, state in value.state_dict().items()}
        return f"{value!r} {joblib.hash(weights)}"
    # The text of other objects may be their address, or leave out their middle.
    try:
        return str(joblib.hash(value))
    except pickle.PicklingError as error:
        raise ValueError(
            f"checkpoint_folder needs parameters that pickle can write, to know the fit again; "
            f"{value!r} is none. Use a function of a module in place of a lambda or local function."
        ) from error


class Checkpoint:
    """One file with the state of an unfinished fit.

    It holds tensors and JSON only, and is read without unpickling code. It replaces its
    predecessor in one step, so that an interruption while writing loses nothing.

    Parameters
    ----------
    path : Path

    Raises
    ------
    ValueError
        The file is there, but damaged or not a checkpoint.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._tensors: dict[str, Any] = {}
        self._values: dict[str, Any] = {}
        if path.exists():
            try:
                content = io.BytesIO(without_checksum(path.read_bytes()))
                self._tensors = torch.load(content, map_location="cpu", weights_only=True)
                self._values = json.loads(self._tensors.pop("json"))
                check_seed(self._values)
            except _DAMAGE as error:
                raise self._damaged(error) from error

    @property
    def seed(self) -> int | None:
        """Seed of the interrupted fit; None if there is nothing to continue."""
        return self._values.get("seed")

    def _damaged(self, error: Exception) -> ValueError:
        what = str(error) if type(error) is ValueError else type(error).__name__
        return ValueError(
            f"The checkpoint {self.path} is damaged or not survimg's ({what}). Delete it to train "
            "from the start."
        )

    def write(
        self, net: NeuralNet, streams: RandomStreams, seed: int, hold_out: HoldOut | None
    ) -> None:
        """Save the state at the end of an epoch."""
        # Records of single batches were averaged into the epoch's and are not read again.
        epochs = [{k: v for k, v in row.items() if k != "batches"} for row in net.history]
        values = {
            "seed": seed,
            "iteration": net.iteration_,
            "stop": net.stop_,
            "micro_batch_size": net.micro_batch_size,
            "history": epochs,
            "batches": streams.batches.bit_generator.state,
            "best_score": None if hold_out is None else hold_out.best_score,
            "best_epoch": None if hold_out is None else hold_out.best_epoch,
        }
        content = {
            "json": json.dumps(values),
            "module": net.module_.state_dict(),
            "optimizer": net.optimizer_.state_dict(),
            "best_weights": {} if hold_out is None else hold_out.best_weights,
            "last_step": {} if net.average_ is None else net.average_.state_dict(),
            "augmentation": streams.augmentation.get_state(),
            "cpu": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state_all() if net.device.startswith("cuda") else [],
        }
        remove_temporaries(self.path.parent.glob(f"{self.path.name}.*"))  # of a killed process
        buffer = io.BytesIO()  # torch's own writer turns a full disk into a RuntimeError
        torch.save(content, buffer)
        checksum = hashlib.sha256(buffer.getbuffer()).hexdigest().encode()
        write_atomically(self.path, _MAGIC + checksum + b"\n" + buffer.getvalue())

    def restore(self, net: NeuralNet, streams: RandomStreams, hold_out: HoldOut | None) -> None:
        """Restore the saved state, if there is one, in a new training."""
        if self.seed is None:
            return
        tensors, values = {"last_step": {}, **self._tensors}, self._values
        try:
            check_values(values, net, hold_out is not None)
            check_tensors(tensors, net, hold_out is not None, streams.augmentation)
        except _DAMAGE as error:
            raise self._damaged(error) from error
        net.module_.load_state_dict(tensors["module"])
        net.optimizer_.load_state_dict(tensors["optimizer"])
        if net.average_ is not None:
            net.average_.load_state_dict(tensors["last_step"])
        net.iteration_, net.stop_ = values["iteration"], values["stop"]
        # Lower than the parameter once the memory was too small for it.
        net.micro_batch_size = values["micro_batch_size"]
        net.history = History({**row, "batches": []} for row in values["history"])
        streams.batches.bit_generator.state = values["batches"]
        streams.augmentation.set_state(tensors["augmentation"])
        if hold_out is not None:
            hold_out.best_score, hold_out.best_epoch = values["best_score"], values["best_epoch"]
            hold_out.best_weights = tensors["best_weights"]
        torch.set_rng_state(tensors["cpu"])
        if tensors["cuda"] and net.device.startswith("cuda"):
            torch.cuda.set_rng_state_all(tensors["cuda"])

    def remove(self) -> None:
        """Delete the file of a finished fit."""
        self.path.unlink(missing_ok=True)


def without_checksum(content: bytes) -> bytes:
    """Return what the checksum is of; checkpoints of survimg's first days had none."""
    if not content.startswith(_MAGIC):
        return content
    checksum, _, content = content[len(_MAGIC) :].partition(b"\n")
    if hashlib.sha256(content).hexdigest().encode() != checksum:
        raise ValueError("its checksum does not hold")
    return content


class CheckpointWriter(Callback):
    """Write the checkpoint after every few epochs; the last of the callbacks.

    Parameters
    ----------
    checkpoint : Checkpoint
    streams : RandomStreams
    seed : int
    hold_out : HoldOut or None
    every : int
        Epochs.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        streams: RandomStreams,
        seed: int,
        hold_out: HoldOut | None,
        every: int,
    ) -> None:
        self.checkpoint = checkpoint
        self.streams = streams
        self.seed = seed
        self.hold_out = hold_out
        self.every = every

    def on_epoch_end(self, net: NeuralNet, **_: Any) -> None:
        """Save, if it is time."""
        if len(net.history) % self.every == 0:
            self.checkpoint.write(net, self.streams, self.seed, self.hold_out)
