"""A network that is trained in milliseconds."""

from __future__ import annotations

from survimg.estimators import CNNSurvival

#: Six steps, three epochs.
STEPS: dict = {
    "n_iterations": 6, "iterations_per_epoch": 2, "batch_size": 4, "batch_norm_batches": 1,
    "learning_rate": 1e-2, "random_state": 0, "n_threads": 1, "device": "cpu",
    "precision": "float32",
}  # fmt: skip


def quick(**changes: object) -> CNNSurvival:
    """Build a small 2D network with dropout and batch normalisation."""
    return CNNSurvival(**{**STEPS, "width": 4, "hidden": 8, **changes})
