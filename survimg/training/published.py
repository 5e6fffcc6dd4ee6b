"""Networks with the training of the paper that they come from."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar, TypeVar

__all__ = ["DEEPMTS_TRAINING", "PublishedRecipe"]

Self = TypeVar("Self", bound="PublishedRecipe")

DEEPMTS_TRAINING: Mapping[str, Any] = MappingProxyType(
    {
        "n_iterations": 15_000,
        "batch_size": 8,
        "learning_rate": 1e-4,
        "schedule": "step",
        "balanced": True,
        "augmentation": "uniform",
        "max_translation": 10 / 128,
        "max_rotation": 5,
        "iterations_per_epoch": 50,
    }
)
"""How Meng et al. (IEEE J Biomed Health Inform 26:4497, 2022, section III-D) train DeepMTS and the
networks they compare it with: 15,000 steps of 8 patients, half of them with the event; Adam at
1e-4, 5e-5 from step 2,500 on, 1e-5 from 5,000 and 1e-6 from 10,000; shifts of up to 10 of 128
voxels, rotations of up to 5 degrees, left-right flips. Images are interpolated linearly, as in the
published code; the paper does not say."""


class PublishedRecipe:
    """For networks whose training is told in a paper.

    A subclass lists the parameters in `_published`, and describes them in its docstring.
    """

    _published: ClassVar[Mapping[str, Any]]

    @classmethod
    def published(cls: type[Self], **overrides: Any) -> Self:
        """Return an unfitted estimator that trains as its paper says.

        The defaults of the class train in minutes. The published recipe, which the docstring of
        the class describes with its source, takes hours on a GPU and days on a CPU.

        Parameters
        ----------
        **overrides
            Parameters of the constructor, which replace those of the recipe; for example
            ``random_state=0``.

        Returns
        -------
        estimator
        """
        return cls(**{**cls._published, **overrides})
