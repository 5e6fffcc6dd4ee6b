"""How a network is trained: batches, schedules, held-out patients, checkpoints, history."""

from survimg.training.parameters import TrainingParameters
from survimg.training.published import DEEPMTS_TRAINING, PublishedRecipe

__all__ = ["DEEPMTS_TRAINING", "PublishedRecipe", "TrainingParameters"]
