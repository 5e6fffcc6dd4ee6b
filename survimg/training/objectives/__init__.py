"""Objectives of networks: small objects with parameters, one per file."""

from survimg.training.objectives.classification import Classification
from survimg.training.objectives.cox import Cox
from survimg.training.objectives.deephit import DeepHit
from survimg.training.objectives.discrete_time import DiscreteTime
from survimg.training.objectives.intervals import IntervalObjective
from survimg.training.objectives.mtlr import MTLR
from survimg.training.objectives.segmentation import Dice, WithDice

__all__ = [
    "MTLR",
    "Classification",
    "Cox",
    "DeepHit",
    "Dice",
    "DiscreteTime",
    "IntervalObjective",
    "WithDice",
]
