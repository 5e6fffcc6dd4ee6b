"""The transforms of a batch in training: rigid ones, or those of any library."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from survimg.augmentation import Recipe, apply_transforms, draw_transforms
from survimg.training.batches import Augment
from survimg.training.seeded import seeded

__all__ = ["TransformedCases", "rigid"]


def rigid(
    recipe: Recipe, generator: torch.Generator, shifts: list[float], angles: list[float]
) -> Augment:
    """Return the shifts, rotations and flips of `survimg.augmentation`, drawn anew for each case.

    Parameters
    ----------
    recipe : {"nearest", "uniform", "fixed"}
    generator : torch.Generator
    shifts, angles : list of 3 floats
        Largest shift in voxels and largest angle in degrees, of each axis.
    """

    def augment(images: Tensor, masks: Tensor | None) -> tuple[Tensor, Tensor | None]:
        flat = images.ndim == 4
        # A slice is a volume of one voxel's thickness that stays in its plane.
        transforms = draw_transforms(
            len(images),
            generator,
            translation=[0.0, *shifts[1:]] if flat else shifts,
            rotation=[angles[0], 0.0, 0.0] if flat else angles,
            recipe=recipe,
        )
        volumes = images.unsqueeze(2) if flat else images
        moved, moved_masks = apply_transforms(volumes, masks, transforms)
        return moved[:, :, 0] if flat else moved, moved_masks

    return augment


class TransformedCases:
    """A transform over ``{"image", "mask"}`` for each case of a batch, seeded by the fit.

    Parameters
    ----------
    transform : callable
        From a dictionary with ``image`` (channels, z, y, x) and ``mask`` (1, z, y, x), tensors on
        the fit's device, to one with the same keys and shapes: dictionary transforms of MONAI; a
        TorchIO transform, which is given a Subject with axes (channels, x, y, z); a function of
        your own. It is copied. One that has ``set_random_state(seed)`` is given a seed for each
        case; others may draw from Python's, NumPy's and torch's global generators, which are seeded
        for each case and restored.
    generator : torch.Generator
        CPU generator; one draw per case.
    """

    def __init__(self, transform: Callable[[Any], Any], generator: torch.Generator) -> None:
        self._transform = copy.deepcopy(transform)
        self._generator = generator
        torchio = sys.modules.get("torchio")  # who gives its transforms has loaded it
        self._torchio = torchio if torchio and isinstance(transform, torchio.Transform) else None

    def __call__(self, images: Tensor, masks: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Transform every case.

        Raises
        ------
        ValueError
            The transform fails, or its result is no dictionary with an image and a mask of the
            shapes given.
        """
        cases = [
            self._case(image, None if masks is None else masks[i])
            for i, image in enumerate(images)
        ]
        changed = torch.stack([image for image, _ in cases])
        if masks is None:
            return changed, None
        return changed, torch.stack([mask for _, mask in cases if mask is not None])

    def _case(self, image: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        case = {"image": image.clone()}
        if mask is not None and mask.ndim == image.ndim - 1:  # of a slice there is no mask
            case["mask"] = mask.unsqueeze(0).clone()
        with seeded(self._generator, image.device) as seed:
            if hasattr(self._transform, "set_random_state"):
                self._transform.set_random_state(seed)
            try:
                result = self._transformed(case)
            except (MemoryError, torch.OutOfMemoryError):  # which smaller batches may avoid
                raise
            except Exception as error:  # a user's own transform may raise anything
                shapes = {name: tuple(value.shape) for name, value in case.items()}
                raise ValueError(
                    f"augmentation={type(self._transform).__name__} fails on a dictionary of "
                    f"{shapes}: {type(error).__name__}: {error} (of MONAI's transforms, those of "
                    "dictionaries, such as RandFlipd, fit)."
                ) from error
        if not isinstance(result, Mapping) or not case.keys() <= result.keys():
            given = sorted(result) if isinstance(result, Mapping) else type(result).__name__
            raise ValueError(
                f"augmentation must return a dictionary with {sorted(case)}; it returned {given}."
            )
        changed = {name: _plain(result[name], given) for name, given in case.items()}
        if "mask" not in changed:
            return changed["image"], mask
        return changed["image"], (changed["mask"][0] > 0.5).to(mask)

    def _transformed(self, case: dict[str, Tensor]) -> Any:
        if self._torchio is None:
            return self._transform(case)
        # TorchIO counts x first; its names of directions then hold.
        x_first = {name: image.cpu().transpose(1, -1) for name, image in case.items()}
        kinds = {"image": self._torchio.ScalarImage, "mask": self._torchio.LabelMap}
        subject = self._torchio.Subject(
            {name: kinds[name](tensor=image) for name, image in x_first.items()}
        )
        result = self._transform(subject)
        return {name: result[name].data.transpose(1, -1) for name in case if name in result}


def _plain(value: Any, given: Tensor) -> Tensor:
    """Return a plain tensor like the one that was given: MONAI's have a class of their own."""
    tensor = torch.as_tensor(value).as_subclass(Tensor).to(given)
    if tensor.shape != given.shape:
        raise ValueError(
            f"augmentation must keep the shape {tuple(given.shape)}; it returned "
            f"{tuple(tensor.shape)}."
        )
    return tensor.contiguous()
