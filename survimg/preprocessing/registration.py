"""The settings of a registration to a template."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields

__all__ = ["ON_FAILURE", "TRANSFORMS", "Registration", "RegistrationLimits"]

#: Kinds of map; see `Registration`.
TRANSFORMS = ("rigid", "affine")

#: What happens to a failed registration; see `Registration`.
ON_FAILURE = ("raise", "exclude", "translate")


@dataclass(frozen=True)
class RegistrationLimits:
    """When a registration counts as failed.

    Besides these: no overlap at the start, an optimiser that gives up, mutual information more than
    5 % below that of the starting position, an image that would fit better turned over.

    Parameters
    ----------
    similarity : float, default=0.05
        Least mutual information, as part of the template's own information.
    overlap : float, default=0.7
        Least Dice coefficient of the two bodies, where both images have voxels.
    coverage : float, default=0.5
        Least part of the template's body that lies inside the patient's image.
    rotation_deg : float, default=30
        Largest rotation in degrees.
    shift_mm : float, default=100
        Largest distance in mm by which the body's centre moves from the starting position.
    scale : float, default=1.4
        Largest factor by which a length grows or shrinks in any direction (affine).
    shear_deg : float, default=15
        Largest deviation of the mapped axes from a right angle in degrees (affine).

    Raises
    ------
    ValueError
        A limit outside its range.
    """

    similarity: float = 0.05
    overlap: float = 0.7
    coverage: float = 0.5
    rotation_deg: float = 30.0
    shift_mm: float = 100.0
    scale: float = 1.4
    shear_deg: float = 15.0

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            low, high = (0.0, 1.0) if name in ("similarity", "overlap", "coverage") else (
                (1.0, math.inf) if name == "scale" else (0.0, math.inf)
            )
            number = float(value)
            if not low <= number <= high:
                raise ValueError(
                    f"The limit {name} must be a number from {low:g} to {high:g}; got {value!r}."
                )
            object.__setattr__(self, name, number)

    @classmethod
    def from_dict(cls, content: Mapping[str, float]) -> RegistrationLimits:
        """Make limits of those that are named; the others keep their defaults.

        Raises
        ------
        ValueError
            There is no such limit, or it is outside its range.
        """
        limits = [each.name for each in fields(cls)]
        unknown = sorted(set(content) - set(limits))
        if unknown:
            raise ValueError(f"There is no limit {unknown[0]!r}; there are {limits}.")
        return cls(**content)


@dataclass(frozen=True)
class Registration:
    """How patients are registered to a template before the crop.

    Parameters
    ----------
    transform : {"rigid", "affine"}, default="rigid"
        ``"rigid"`` as DeepMTS (Meng et al., IEEE JBHI 2022), ``"affine"`` as MTDLR (Gu, Meng et
        al. 2023).
    template : str, optional
        Identifier of the patient to whom all others are registered.
    template_image : path, optional
        Image to which they are registered instead: the template of the training cohort, for an
        external one. Without both the template is drawn with `template_seed`.
    template_seed : int, default=0
        Seed of the draw among the patients who have `channel`; it depends on their identifiers
        alone, not on their order.
    channel : str, optional
        The modality that is compared with the template's; its map moves all modalities and the
        mask. By default CT where the cohort has it, else the first.
    on_failure : {"raise", "exclude", "translate"}, default="raise"
        ``"raise"``: register everybody, then name all failures and stop. ``"exclude"``: leave them
        out of the prepared cohort, with a warning. ``"translate"``: bring them to the template by
        the starting translation alone, neither rotated nor scaled, with a warning; for cohorts of
        which nobody may be lost, such as an external validation.
    limits : RegistrationLimits or dict, optional
        When a registration counts as failed.

    Raises
    ------
    ValueError
        A setting outside what is allowed.

    Notes
    -----
    The template is one patient of the cohort. Registering to it uses no outcome and no other
    patient, but in a cross-validation the images of every training fold have taken the pose (with
    ``"affine"`` also the size) of a patient who is, in one fold, a test patient, and a template
    drawn from the whole cohort is known before the split. No label leaks; to be strict, use a
    `template_image` from outside, or prepare each fold with a template from its training part. An
    external cohort is registered to the *training cohort's* template (`template_image`), never to
    one of its own: the model has learned where things lie in that template.

    An affine map changes volumes: 1 ml of the prepared mask is ``volume_factor`` ml of the patient,
    which is kept for every patient.
    """

    transform: str = "rigid"
    template: str | None = None
    template_image: str | os.PathLike[str] | None = None
    template_seed: int = 0
    channel: str | None = None
    on_failure: str = "raise"
    limits: RegistrationLimits = field(default_factory=RegistrationLimits)

    def __post_init__(self) -> None:
        for name, allowed in (("transform", TRANSFORMS), ("on_failure", ON_FAILURE)):
            if getattr(self, name) not in allowed:
                raise ValueError(
                    f"{name} of a registration must be one of {list(allowed)}; got "
                    f"{getattr(self, name)!r}."
                )
        if self.template is not None and self.template_image is not None:
            raise ValueError("Give the registration a template or a template_image, not both.")
        seed = self.template_seed
        if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
            raise ValueError(f"template_seed must be a whole number >= 0; got {seed!r}.")
        if self.template_image is not None:
            object.__setattr__(self, "template_image", os.fspath(self.template_image))
        if isinstance(self.limits, Mapping):
            object.__setattr__(self, "limits", RegistrationLimits.from_dict(self.limits))

    def driving_channel(self, channel_names: Sequence[str]) -> str:
        """Return the channel that drives the registration.

        Raises
        ------
        ValueError
            There is no such channel.
        """
        if self.channel is None:
            return "CT" if "CT" in channel_names else channel_names[0]
        if self.channel not in channel_names:
            raise ValueError(
                f"The registration is to be driven by channel {self.channel!r}; the cohort has "
                f"{list(channel_names)}."
            )
        return self.channel
