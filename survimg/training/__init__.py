"""How a network is trained: objectives, batches, schedules, held-out patients, checkpoints."""

from survimg.training.objective import Objective
from survimg.training.parameters import TrainingParameters
from survimg.training.published import DEEPMTS_TRAINING, PublishedRecipe
from survimg.training.single_voxel import SingleVoxelWarning

__all__ = [
    "DEEPMTS_TRAINING",
    "Objective",
    "PublishedRecipe",
    "SingleVoxelWarning",
    "TrainingParameters",
]
