"""Explanations: saliency maps of networks, importance of feature families, Shapley values.

`saliency` needs Captum (``pip install captum``); the others do not.
"""

from survimg.explain.families import feature_families
from survimg.explain.maps import PathAttribution, integrated_gradients, saliency
from survimg.explain.methods import GradCAM, IntegratedGradients, Occlusion
from survimg.explain.overlay import plot_saliency
from survimg.explain.permutation import (
    FamilyImportance,
    cross_validated_family_importance,
    family_importance,
)
from survimg.explain.score import name_of_score
from survimg.explain.shapley import ShapleyValues, shapley_values
from survimg.explain.share_inside import mass_in_region
from survimg.explain.write_back import write_saliency

__all__ = [
    "FamilyImportance",
    "GradCAM",
    "IntegratedGradients",
    "Occlusion",
    "PathAttribution",
    "ShapleyValues",
    "cross_validated_family_importance",
    "family_importance",
    "feature_families",
    "integrated_gradients",
    "mass_in_region",
    "name_of_score",
    "plot_saliency",
    "saliency",
    "shapley_values",
    "write_saliency",
]
