"""How a network is trained: batches, schedules, held-out patients, checkpoints, history."""

from survimg.training.parameters import TrainingParameters

__all__ = ["TrainingParameters"]
