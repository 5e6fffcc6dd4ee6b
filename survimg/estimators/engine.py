"""The training loop of the deep estimators: skorch net, schedule, precision, random state."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
import torch
from skorch import NeuralNet
from skorch.callbacks import Callback, EpochTimer, GradientNormClipping, LRScheduler
from skorch.callbacks import PassthroughScoring as BatchMean
from torch import Tensor, nn
from tqdm.auto import tqdm

from survimg.estimators.batches import PatientBatches, Targets

__all__ = [
    "CosineSchedule",
    "LossTerms",
    "RandomStreams",
    "StepSchedule",
    "TrainingNet",
    "choose_device",
    "choose_precision",
    "history_frame",
    "isolated_torch",
    "make_training_net",
    "recalibrate_batch_norm",
]

#: Maps the network, its output and the targets of a batch to named terms; their sum is minimised.
LossTerms = Callable[[nn.Module, Any, Targets], Mapping[str, Tensor]]

Precision = Literal["auto", "float32", "bfloat16"]


class StepSchedule:
    """Learning-rate factor of the DeepMTS paper, stretched to the length of the training.

    The paper trains for 15,000 iterations at 1e-4, from iteration 2,500 at 5e-5, from 5,000 at
    1e-5 and from 10,000 at 1e-6: factors 1, 0.5, 0.1, 0.01 from 0, 1/6, 1/3 and 2/3 of the length.

    Parameters
    ----------
    n_iterations : int
    """

    def __init__(self, n_iterations: int) -> None:
        self.n_iterations = n_iterations

    def __call__(self, iteration: int) -> float:
        """Return the factor at an iteration (counted from 0)."""
        if 6 * iteration < self.n_iterations:
            return 1.0
        if 3 * iteration < self.n_iterations:
            return 0.5
        return 0.1 if 3 * iteration < 2 * self.n_iterations else 0.01


class CosineSchedule:
    """Learning-rate factor that falls from 1 to 0 along half a cosine.

    Parameters
    ----------
    n_iterations : int
    """

    def __init__(self, n_iterations: int) -> None:
        self.n_iterations = n_iterations

    def __call__(self, iteration: int) -> float:
        """Return the factor at an iteration (counted from 0)."""
        return 0.5 * (1 + float(np.cos(np.pi * min(iteration / self.n_iterations, 1.0))))


class TrainingNet(NeuralNet):
    """skorch net that takes its batches from `PatientBatches` and its loss from an estimator.

    Parameters
    ----------
    module : torch.nn.Module
        Network whose ``forward`` takes ``volumes`` and ``clinical``.
    criterion : type
        Unused by this net (skorch requires one); the loss is `loss_terms`.
    loss_terms : callable
        See `LossTerms`.
    precision : {"float32", "bfloat16"}
        Type that autocast computes convolutions in; weights and losses stay float32.
    **settings
        Arguments of `skorch.NeuralNet`.
    """

    def __init__(
        self, module: nn.Module, *, loss_terms: LossTerms, precision: str, **settings: Any
    ) -> None:
        super().__init__(module, criterion=nn.Identity, **settings)
        self.loss_terms = loss_terms
        self.precision = precision

    @property
    def _default_callbacks(self) -> list[tuple[str, Callback]]:
        return []  # skorch's own print to the terminal; make_training_net names what is needed

    def partial_fit(
        self,
        X: PatientBatches,
        y: None = None,
        classes: None = None,  # noqa: ARG002
        **fit_params: Any,
    ) -> TrainingNet:
        """Train. An interruption is raised; skorch would return the half-trained net as fitted."""
        self.notify("on_train_begin", X=X, y=y)
        try:
            self.fit_loop(X, y, **fit_params)
        finally:
            self.notify("on_train_end", X=X, y=y)
        return self

    def get_iterator(
        self,
        dataset: PatientBatches,
        training: bool = False,  # noqa: ARG002
    ) -> PatientBatches:
        """Return the batches themselves: no DataLoader, whose workers cannot start inside loky."""
        return dataset

    def infer(self, x: Mapping[str, Tensor], **fit_params: Any) -> Any:
        """Run the network under autocast."""
        device_type = next(self.module_.parameters()).device.type
        enabled = self.precision == "bfloat16"
        with torch.autocast(device_type, dtype=torch.bfloat16, enabled=enabled):
            volumes = x["volumes"]
            if volumes.ndim == 5:
                volumes = volumes.contiguous(memory_format=torch.channels_last_3d)
            return self.module_(volumes, x["clinical"], **fit_params)

    def get_loss(
        self,
        y_pred: Any,
        y_true: Targets,
        X: Any = None,  # noqa: ARG002
        training: bool = False,  # noqa: ARG002
    ) -> Tensor:
        """Sum the loss terms and record each.

        Raises
        ------
        FloatingPointError
            The loss is not finite: training diverged.
        """
        terms = self.loss_terms(self.module_, y_pred, y_true)
        total = torch.stack(list(terms.values())).sum()
        if not torch.isfinite(total):
            values = {name: float(term.detach()) for name, term in terms.items()}
            raise FloatingPointError(
                f"Training diverged in epoch {len(self.history)}: loss terms {values}. Lower "
                "learning_rate, or set gradient_clip."
            )
        for name, term in terms.items():
            self.history.record_batch(name, term.item())
        return total


class _EpochProgress(Callback):
    """One progress bar per fit, with the latest losses."""

    def __init__(self, n_epochs: int, name: str, term_names: tuple[str, ...]) -> None:
        self.n_epochs = n_epochs
        self.name = name
        self.term_names = term_names

    def on_train_begin(self, net: NeuralNet, **_: Any) -> None:  # noqa: ARG002
        self._bar = tqdm(total=self.n_epochs, desc=self.name, unit="epoch", leave=False)

    def on_epoch_end(self, net: NeuralNet, **_: Any) -> None:
        self._bar.set_postfix({name: f"{net.history[-1, name]:.3f}" for name in self.term_names})
        self._bar.update()

    def on_train_end(self, net: NeuralNet, **_: Any) -> None:  # noqa: ARG002
        self._bar.close()
        del self._bar  # an open bar cannot be pickled


def make_training_net(
    module: nn.Module,
    loss_terms: LossTerms,
    term_names: tuple[str, ...],
    *,
    learning_rate: float,
    schedule: str,
    n_iterations: int,
    iterations_per_epoch: int,
    gradient_clip: float | None,
    device: torch.device,
    precision: str,
    progress_name: str | None,
) -> TrainingNet:
    """Assemble the skorch net of one fit: Adam, schedule, clipping, history, progress.

    Parameters
    ----------
    module : torch.nn.Module
    loss_terms : callable
        See `LossTerms`.
    term_names : tuple of str
        Names that `loss_terms` returns.
    learning_rate : float
    schedule : {"step", "cosine", "constant"}
    n_iterations, iterations_per_epoch : int
    gradient_clip : float or None
        Largest norm of the gradient.
    device : torch.device
    precision : {"float32", "bfloat16"}
    progress_name : str or None
        Title of the progress bar; None for no bar.

    Returns
    -------
    TrainingNet
        Initialised; train it with ``partial_fit(PatientBatches)``.
    """
    n_epochs = -(-n_iterations // iterations_per_epoch)
    callbacks: list[tuple[str, Callback]] = [("epoch_timer", EpochTimer())]
    names = ("train_loss", *term_names)
    callbacks += [(name, BatchMean(name, on_train=True)) for name in names]
    factors = {"step": StepSchedule, "cosine": CosineSchedule}
    if schedule in factors:
        scheduler = LRScheduler(
            torch.optim.lr_scheduler.LambdaLR,
            lr_lambda=factors[schedule](n_iterations),
            step_every="batch",
            event_name="learning_rate",
        )
        callbacks.append(("schedule", scheduler))
    if gradient_clip is not None:
        callbacks.append(("gradient_clip", GradientNormClipping(gradient_clip)))
    if progress_name is not None:
        callbacks.append(("progress", _EpochProgress(n_epochs, progress_name, term_names)))
    module.to(device)
    module.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    net = TrainingNet(
        module,
        loss_terms=loss_terms,
        precision=precision,
        # Keras' constants, which the published network was trained with.
        optimizer=torch.optim.Adam,
        optimizer__eps=1e-7,
        lr=learning_rate,
        max_epochs=n_epochs,
        train_split=None,
        callbacks=callbacks,
        device=device.type if device.index is None else str(device),
        verbose=0,
    )
    return net.initialize()


def recalibrate_batch_norm(net: TrainingNet, batches: PatientBatches, n_batches: int) -> None:
    """Replace the running statistics of batch normalisation by averages under the final weights.

    Running averages with Keras' momentum of 0.99 still hold 22 % of their initial values after 150
    iterations, and the weights have moved meanwhile; predictions of short trainings would be
    wrong by orders of magnitude. (Wu & Johnson, Rethinking "Batch" in BatchNorm,
    arXiv:2105.07576, section 3, "precise batch norm".)

    Parameters
    ----------
    net : TrainingNet
        Trained; its weights stay as they are.
    batches : PatientBatches
        Drawn and augmented as in training.
    n_batches : int
        Batches to average over.
    """
    module = net.module_.train()
    norms = [m for m in module.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # torch then averages over all batches with equal weights
    with torch.no_grad():
        for _ in range(n_batches):
            inputs, _ = batches.draw()
            net.infer(inputs)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


class RandomStreams(NamedTuple):
    """Independent random streams of one fit, all from one seed."""

    weights: torch.Generator
    batches: np.random.Generator
    augmentation: torch.Generator
    dropout_seed: int

    @classmethod
    def from_seed(cls, seed: int) -> RandomStreams:
        """Spawn the streams; all live on the CPU, so that a GPU run sees the same transforms."""
        children = np.random.SeedSequence(seed).spawn(4)
        seeds = [int(child.generate_state(1, np.uint64)[0] >> 1) for child in children]
        return cls(
            weights=torch.Generator().manual_seed(seeds[0]),
            batches=np.random.default_rng(children[1]),
            augmentation=torch.Generator().manual_seed(seeds[2]),
            dropout_seed=seeds[3],
        )


@contextmanager
def isolated_torch(
    device: torch.device, n_threads: int | None, dropout_seed: int | None = None
) -> Iterator[None]:
    """Pin torch's threads and give dropout its own random stream, for the length of a fit.

    Both belong to the whole process, so they are restored at the end. Fits that run side by side
    in *threads* of one process share them: use processes (joblib's loky, Dask) for reproducible
    searches.

    Parameters
    ----------
    device : torch.device
    n_threads : int or None
        Threads that torch computes with; None leaves them as they are.
    dropout_seed : int, optional
        Seed of torch's global stream, which dropout draws from; by default it is left alone.
    """
    before = torch.get_num_threads()
    devices = [device] if device.type == "cuda" else []
    try:
        if n_threads is not None:
            torch.set_num_threads(n_threads)
        with torch.random.fork_rng(devices=devices, enabled=dropout_seed is not None):
            if dropout_seed is not None:
                torch.random.manual_seed(dropout_seed)
            yield
    finally:
        torch.set_num_threads(before)


def choose_device(device: str) -> torch.device:
    """Resolve ``"auto"`` to the GPU if there is one.

    Raises
    ------
    ValueError
        A CUDA device was asked for and there is none.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    chosen = torch.device(device)
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(
            f"device={device!r} was asked for, but torch sees no CUDA device; use device='auto' or "
            "device='cpu'."
        )
    return chosen


def choose_precision(precision: Precision, device: torch.device) -> str:
    """Resolve ``"auto"`` to bfloat16 where the hardware computes it natively.

    Raises
    ------
    ValueError
        bfloat16 was asked for and the hardware only emulates it. That is slow, and on processors
        with AVX-512 but without its bf16 extension, torch 2.13 returns NaN in weight gradients of
        small 3D convolutions (seen in three of four training steps at 16 voxels).
    """
    if precision == "float32":
        return precision
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        found = torch.cpu.get_capabilities()
        native = bool(found.get("avx512_bf16") or found.get("amx_bf16") or found.get("bf16"))
    if precision == "bfloat16" and not native:
        raise ValueError(
            f"precision='bfloat16' was asked for, but this {device.type} device only emulates it; "
            "use precision='auto' or 'float32'."
        )
    return "bfloat16" if native else "float32"


def history_frame(net: NeuralNet, term_names: tuple[str, ...]) -> pd.DataFrame:
    """Turn skorch's history into a table with one row per epoch.

    Parameters
    ----------
    net : NeuralNet
    term_names : tuple of str

    Returns
    -------
    DataFrame
        Columns ``epoch``, ``iteration`` (done by the end of the epoch), ``loss``, one per loss term
        (means over the epoch's batches), ``seconds``.
    """
    rows = net.history[:, ("train_loss", *term_names, "dur", "train_batch_count")]
    frame = pd.DataFrame(rows, columns=["loss", *term_names, "seconds", "iteration"])
    frame["iteration"] = frame["iteration"].cumsum()
    frame.insert(0, "epoch", np.arange(1, len(frame) + 1))
    return frame
