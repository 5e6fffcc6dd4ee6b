"""Batches of patients on the training device: who, in which order, transformed how."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from survimg.cohort import Cohort
from survimg.training.views import View, whole_volume

__all__ = [
    "Augment",
    "BatchSampler",
    "BatchSource",
    "PatientBatches",
    "Patients",
    "Targets",
    "sizes_in_batch",
]

#: Draws one transform per case of a batch, and applies it to its volume and mask (if any) alike.
Augment = Callable[[Tensor, Tensor | None], tuple[Tensor, Tensor | None]]


class Targets(NamedTuple):
    """What a loss may compare the network's output with; first axis the b cases of a batch."""

    time: Tensor
    """Time to event or censoring, float32 (b,)."""
    event: Tensor
    """Whether the event was observed, bool (b,); of a classifier whether it is the second class,
    or with more than two classes the number of the class, int64."""
    masks: Tensor | None
    """Tumour masks, float32 0/1, (b, z, y, x), zeros without a mask; None if the loss does
    not ask for masks."""
    has_mask: Tensor
    """Which cases have a mask, bool (b,)."""
    weight: Tensor | None = None
    """Weights of the cases, float32 (b,), of which the mean over all batches is 1; None for equal
    weights."""
    n_events: float | None = None
    """Events in a batch on average (weighted), for losses that are averaged over events; None
    where nobody has the event, or every batch counts alike."""


@dataclass(frozen=True)
class Patients:
    """The patients of a fit or a prediction as the network sees them.

    Parameters
    ----------
    cohort : Cohort
        Prepared: all volumes of one shape.
    clinical : ndarray of shape (n, k), float32
        Encoded clinical values; k may be 0.
    time, event : ndarray of shape (n,), or None
        Outcome; zeros and False for a prediction, which reads neither. Of a classifier of more than
        two classes, ``event`` is the number of the class.
    view : callable, optional
        From a cohort and a position to what the network sees of that patient.
    with_masks : bool, default=False
        Whether the loss compares with masks.
    """

    cohort: Cohort
    clinical: np.ndarray
    time: np.ndarray
    event: np.ndarray
    view: View = whole_volume
    with_masks: bool = False

    def __len__(self) -> int:
        return len(self.cohort)

    def take(self, positions: np.ndarray) -> Patients:
        """Return some of the patients."""
        return replace(
            self,
            cohort=self.cohort[positions],
            clinical=self.clinical[positions],
            time=self.time[positions],
            event=self.event[positions],
        )

    def inputs(self, positions: np.ndarray, device: torch.device) -> dict[str, Tensor]:
        """Read the volumes and clinical values of some patients.

        Raises
        ------
        ValueError
            NaN or infinite voxels; the message names the patient.
        """
        # Other layouts, such as NIfTI readers give, are rounded by other kernels.
        volumes = np.ascontiguousarray(np.stack([self.view(self.cohort, i) for i in positions]))
        return {
            "volumes": torch.from_numpy(volumes).to(device),
            "clinical": torch.from_numpy(self.clinical[positions]).to(device),
        }

    def targets(self, positions: np.ndarray, device: torch.device) -> Targets:
        """Read outcome and masks of some patients."""
        targets = self.outcomes(positions, device)
        if not self.with_masks:
            return targets
        return targets._replace(masks=torch.from_numpy(self.masks(positions)).to(device).float())

    def outcomes(self, positions: np.ndarray, device: torch.device) -> Targets:
        """Return the outcome of some patients, without masks."""
        return Targets(
            time=torch.from_numpy(self.time[positions].astype(np.float32)).to(device),
            event=torch.from_numpy(self.event[positions]).to(device),
            masks=None,
            has_mask=torch.from_numpy(self.cohort.has_masks[positions]).to(device),
        )

    def masks(self, positions: np.ndarray) -> np.ndarray:
        """Read the masks of some patients, uint8 (b, z, y, x); zeros without a mask."""
        read = np.zeros((len(positions), *self.cohort.shape[2:]), dtype=np.uint8)
        for row, i in enumerate(positions):
            if self.cohort.has_masks[i]:
                read[row] = self.cohort.mask(i)
        return read


class BatchSource(Protocol):
    """Where batches come from: `Patients`, or `survimg.training.resident.ResidentPatients`."""

    def __len__(self) -> int: ...

    def inputs(self, positions: np.ndarray, device: torch.device) -> dict[str, Tensor]:
        """Return volumes and clinical values of some patients."""
        ...

    def targets(self, positions: np.ndarray, device: torch.device) -> Targets:
        """Return outcome and masks of some patients."""
        ...


class BatchSampler:
    """Endless batches of patients, as many with the event as without, or of each class.

    As in the DeepMTS paper (section III-D), every batch holds as many patients with the event as
    censored ones. Patients are drawn within either kind with replacement, as the published code
    does, so a batch can hold a patient twice. With an odd size the events, or the last classes, get
    the larger part.

    Parameters
    ----------
    event : ndarray of shape (n,), bool or int
        Of a classifier of more than two classes: numbers of the classes.
    batch_size : int
    balanced : bool or "weighted"
        False draws patients without regard to the event, without replacement inside a batch; so
        do the others where nobody has the event (a segmentation network needs none).
    generator : numpy.random.Generator

    Attributes
    ----------
    weights : ndarray of shape (n,), float32, or None
        Of ``"weighted"``: the share of a patient's kind in the cohort, divided by its share in the
        batches (Horvitz & Thompson, J Am Stat Assoc 47:663-685, 1952).
    n_events : float or None
        Events in a batch of patients drawn without regard to the event, on average; the weights
        of those in a weighted batch have the same sum. None for balanced batches without weights.

    Raises
    ------
    ValueError
        Balanced batches of fewer patients than there are classes.
    """

    def __init__(
        self,
        event: np.ndarray,
        batch_size: int,
        balanced: bool | Literal["weighted"],
        generator: np.random.Generator,
    ) -> None:
        kinds = np.unique(event)[::-1]
        self._patients_of_kind = [np.flatnonzero(event == kind) for kind in kinds]
        self._n = len(event)
        self._uniform = not balanced or not event.any()
        self._batch_size = min(batch_size, self._n) if self._uniform else batch_size
        self._sizes = sizes_in_batch(len(kinds), batch_size)
        self._generator = generator
        if not self._uniform and not all(self._sizes):
            raise ValueError(
                f"A balanced batch has patients of all {len(kinds)} classes; batch_size="
                f"{batch_size} is too small. Increase it, or give balanced=False."
            )
        share = np.count_nonzero(event) / self._n
        weighted = balanced == "weighted"
        self.n_events = self._batch_size * share if share and (weighted or not balanced) else None
        self.weights = None
        if weighted and not self._uniform and len(kinds) > 1:
            self.weights = np.empty(self._n, dtype=np.float32)
            for patients, size in zip(self._patients_of_kind, self._sizes, strict=True):
                self.weights[patients] = (len(patients) / self._n) / (size / batch_size)

    def draw(self) -> np.ndarray:
        """Return the positions of one batch."""
        if self._uniform:
            return self._generator.choice(self._n, size=self._batch_size, replace=False)
        drawn = [
            self._generator.choice(patients, size=size)
            for patients, size in zip(self._patients_of_kind, self._sizes, strict=True)
        ]
        return np.concatenate(drawn)


def sizes_in_batch(n_kinds: int, batch_size: int) -> list[int]:
    """Return how many patients of each kind a balanced batch has, the last kind first.

    Parameters
    ----------
    n_kinds, batch_size : int
    """
    return [(batch_size + k) // n_kinds for k in reversed(range(n_kinds))]


class PatientBatches(Dataset):
    """What skorch iterates over: (inputs, targets) of one batch after the other.

    Parameters
    ----------
    patients : Patients or ResidentPatients
    device : torch.device
    sampler : BatchSampler
    n_iterations, iterations_per_epoch : int
        The last epoch is shorter when the one is no multiple of the other.
    augment : callable or None
        Applied to volumes and masks on `device`.
    """

    # A resumed training sets it to the iterations done before.
    n_done = 0
    # The batch that is being read ahead.
    _next: Future[tuple[dict[str, Tensor], Targets]] | None = None

    def __init__(
        self,
        patients: BatchSource,
        device: torch.device,
        sampler: BatchSampler,
        n_iterations: int,
        iterations_per_epoch: int,
        augment: Augment | None,
    ) -> None:
        self._patients = patients
        self._device = device
        self._sampler = sampler
        self._n_iterations = n_iterations
        self._per_epoch = iterations_per_epoch
        self._augment = augment

    def __len__(self) -> int:
        return len(self._patients)

    def __iter__(self) -> Iterator[tuple[dict[str, Tensor], Targets]]:
        """Yield the batches of the next epoch; while one is trained on, the next is read."""
        n = min(self._per_epoch, self._n_iterations - self.n_done)
        with ThreadPoolExecutor(1, "survimg-reader") as reader:
            for k in range(n):
                self.n_done += 1
                batch = self.draw()
                if k + 1 < n:  # at the end of an epoch, random streams may be saved
                    self._next = reader.submit(self._read, self._sampler.draw())
                yield batch

    def draw(self) -> tuple[dict[str, Tensor], Targets]:
        """Return one batch, beside the iterations."""
        if self._next is None:
            inputs, targets = self._read(self._sampler.draw())
        else:
            reading, self._next = self._next, None
            inputs, targets = reading.result()
        if self._augment is not None:
            inputs["volumes"], masks = self._augment(inputs["volumes"], targets.masks)
            targets = targets._replace(masks=masks)
        return inputs, targets

    def _read(self, drawn: np.ndarray) -> tuple[dict[str, Tensor], Targets]:
        inputs = self._patients.inputs(drawn, self._device)
        targets = self._patients.targets(drawn, self._device)
        weights, n_events = self._sampler.weights, self._sampler.n_events
        weight = None if weights is None else torch.from_numpy(weights[drawn]).to(self._device)
        return inputs, targets._replace(weight=weight, n_events=n_events)
