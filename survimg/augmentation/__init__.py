"""Random changes of image volumes and their masks.

Drawing and applying are separate: the draw turns a CPU generator into numbers, so that a CPU and a
GPU run see the same changes; applying is deterministic and runs on the images' device.
"""

from survimg.augmentation.dlpm import OneOfTen, apply_one_of_ten, draw_one_of_ten
from survimg.augmentation.rigid import Recipe, Transforms, apply_transforms, draw_transforms

__all__ = [
    "OneOfTen",
    "Recipe",
    "Transforms",
    "apply_one_of_ten",
    "apply_transforms",
    "draw_one_of_ten",
    "draw_transforms",
]
