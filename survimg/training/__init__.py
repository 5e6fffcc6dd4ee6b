"""How a network is trained: objectives, batches, schedules, held-out patients, checkpoints."""

from survimg.training.net import Net
from survimg.training.objective import Objective, SurvivalObjective
from survimg.training.objectives import MTLR, Classification, Cox, DeepHit, DiscreteTime
from survimg.training.parameters import TrainingParameters
from survimg.training.published import DEEPMTS_TRAINING, PublishedRecipe
from survimg.training.single_voxel import SingleVoxelWarning

__all__ = [
    "DEEPMTS_TRAINING",
    "MTLR",
    "Classification",
    "Cox",
    "DeepHit",
    "DiscreteTime",
    "Net",
    "Objective",
    "PublishedRecipe",
    "SingleVoxelWarning",
    "SurvivalObjective",
    "TrainingParameters",
]
