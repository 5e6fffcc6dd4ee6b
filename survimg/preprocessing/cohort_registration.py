"""Registering all patients of a cohort to one of them, and keeping what came of it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from survimg.io.images.image import Image
from survimg.io.images.reading import read_image
from survimg.preprocessing.alignment import Alignment, WorldMap, judge, mapped_grid
from survimg.preprocessing.case import fixed_grid
from survimg.preprocessing.pseudonyms import pseudonyms
from survimg.preprocessing.registration import Registration
from survimg.preprocessing.settings import Preparation
from survimg.preprocessing.template import Template, make_template, register

__all__ = [
    "CohortRegistration", "align_patient", "choose_template", "conclude", "enforce",
    "image_place", "load_template",
]

_MAX_NAMED = 10


@dataclass(frozen=True, eq=False)
class CohortRegistration:
    """What became of every patient of a cohort.

    Attributes
    ----------
    settings : Registration
    channel : str
        The channel that drove the registration.
    template_id : str or None
        The patient who is the template; None where it is an image from outside.
    digest : str
        Hash of the template's image.
    block : Image
        Grid of the prepared volumes in the template's world.
    ids : list of str
        Of all patients, also of those who are left out.
    alignments : list of Alignment
    reasons : list of list of str
        Why a registration failed; empty where it did not.
    """

    settings: Registration
    channel: str
    template_id: str | None
    digest: str
    block: Image
    ids: list[str]
    alignments: list[Alignment]
    reasons: list[list[str]]

    def with_pseudonyms(self, key: bytes) -> CohortRegistration:
        """Return the same with pseudonyms in place of identifiers."""
        names = dict(zip(self.ids, pseudonyms(self.ids, key), strict=True))
        template = self.settings.template
        return replace(
            self,
            ids=list(names.values()),
            template_id=None if self.template_id is None else names[self.template_id],
            settings=replace(self.settings, template=template and names[template]),
        )

    @property
    def kept(self) -> list[int]:
        """Positions of the patients who are prepared."""
        everybody = range(len(self.ids))
        if self.settings.on_failure != "exclude":
            return list(everybody)
        return [i for i in everybody if not self.reasons[i]]

    def world_map(self, i: int) -> WorldMap:
        """Return the map by which patient `i` is prepared."""
        alignment = self.alignments[i]
        if self.reasons[i] or alignment.result is None:
            return alignment.start
        return alignment.result

    def grid(self, i: int) -> Image:
        """Return the block in the world of patient `i`."""
        return mapped_grid(self.block, self.world_map(i))

    def status(self, i: int) -> str:
        """Return ``"template"``, ``"registered"``, ``"excluded"`` or ``"translated"``."""
        if self.reasons[i]:
            return {"exclude": "excluded", "translate": "translated"}.get(
                self.settings.on_failure, "failed"
            )
        return "template" if self.ids[i] == self.template_id else "registered"

    def geometry(self, i: int) -> dict[str, Any]:
        """Return what the store keeps of the registration of patient `i`."""
        return {"status": self.status(i), **self.world_map(i).to_dict()}

    def table(self) -> pd.DataFrame:
        """Return one row per patient: status, reasons, figures of quality (``registration.csv``).

        Returns
        -------
        DataFrame
            ``patient_id``, ``status``, ``reasons`` and the figures of `Alignment`.
        """
        return pd.DataFrame(
            [
                {
                    "patient_id": patient, "status": self.status(i),
                    "reasons": "; ".join(self.reasons[i]), **self.alignments[i].figures(),
                }
                for i, patient in enumerate(self.ids)
            ]
        )

    def summary(self) -> dict[str, Any]:
        """Return what the settings of the prepared cohort say: template, and who failed."""
        failed = {
            patient: self.reasons[i] for i, patient in enumerate(self.ids) if self.reasons[i]
        }
        return {
            "template": self.template_id, "template_digest": self.digest, "channel": self.channel,
            "failed": failed,
            "excluded": sorted(failed) if self.settings.on_failure == "exclude" else [],
        }


def choose_template(
    settings: Registration, ids: Sequence[str], has_channel: Sequence[bool], channel: str
) -> str | None:
    """Return the identifier of the template; None where it is an image from outside.

    Raises
    ------
    ValueError
        No such patient, or one without the channel; nobody has it.
    """
    if settings.template_image is not None:
        return None
    candidates = sorted(
        patient for patient, there in zip(ids, has_channel, strict=True) if there
    )
    if settings.template is None:
        if not candidates:
            raise ValueError(f"No patient has {channel}, which is to drive the registration.")
        drawn = np.random.default_rng(settings.template_seed).integers(len(candidates))
        return candidates[int(drawn)]
    if settings.template not in list(ids):
        raise ValueError(
            f"The template {settings.template!r} is not a patient of the cohort; its patients are "
            f"{', '.join(map(repr, list(ids)[:_MAX_NAMED]))}"
            f"{' and others' if len(ids) > _MAX_NAMED else ''}."
        )
    if settings.template not in candidates:
        raise ValueError(
            f"The template {settings.template!r} has no {channel}, which is to drive the "
            "registration."
        )
    return settings.template


def load_template(
    settings: Registration, patient: str | None, read: Callable[[str], Image]
) -> Template:
    """Read the template: the image from outside, or that of a patient by `read`.

    Raises
    ------
    FileNotFoundError, ValueError
        It cannot be read, or holds one value only.
    """
    if patient is None:
        name, image = f"template_image {settings.template_image}", read_image(
            str(settings.template_image)
        )
    else:
        name, image = f"The template, patient {patient!r}", read(patient)
    try:
        return make_template(image)
    except ValueError as error:
        raise ValueError(f"{name}: {error}.") from None


def align_patient(
    template: Template, image: Image | None, other: Image | None, settings: Registration,
    channel: str,
) -> Alignment:
    """Register one patient; without `image`, the middle of `other` goes to the template's."""
    if image is not None:
        return register(template, image, settings.transform)
    if other is None:
        raise ValueError("there is no image")
    middles = [place.world((np.asarray(place.shape) - 1) / 2) for place in (other, template.grid)]
    return Alignment(
        None, WorldMap.shift(middles[0] - middles[1]),
        f"there is no {channel}, which drives the registration",
    )


def conclude(
    settings: Preparation,
    channel: str,
    template_id: str | None,
    template: Template,
    ids: Sequence[str],
    alignments: Sequence[Alignment],
) -> CohortRegistration:
    """Judge all registrations; see `enforce` for what follows."""
    registration = settings.registration
    if registration is None:
        raise ValueError("These settings have no registration.")
    return CohortRegistration(
        settings=registration,
        channel=channel,
        template_id=template_id,
        digest=template.digest,
        block=fixed_grid(template.grid, settings),
        ids=[str(patient) for patient in ids],
        alignments=list(alignments),
        reasons=[judge(alignment, registration.limits) for alignment in alignments],
    )


def enforce(result: CohortRegistration, where: str = "") -> None:
    """Do what the settings say about failed registrations.

    Parameters
    ----------
    result : CohortRegistration
    where : str, optional
        A sentence for the error: where to read more.

    Warns
    -----
    UserWarning
        Somebody is left out, or brought to the template by a translation alone.

    Raises
    ------
    ValueError
        ``on_failure="raise"`` and a registration failed: names the patients, with reasons. Or
        nobody but the template is left.
    """
    ids, reasons = result.ids, result.reasons
    failed = [i for i in range(len(ids)) if reasons[i]]
    if not failed:
        return
    lines = [f"Patient {ids[i]!r}: {'; '.join(reasons[i])}." for i in failed[:_MAX_NAMED]]
    if len(failed) > _MAX_NAMED:
        lines.append(f"... and {len(failed) - _MAX_NAMED} more.")
    template = result.template_id
    name = "the image from outside" if template is None else f"patient {template!r}"
    head = f"The registration of {len(failed)} of {len(ids)} patients to {name} failed"
    if result.settings.on_failure == "raise":
        remedy = (
            "Look at them, choose another template or other limits, or say what is to become of "
            "them: on_failure='exclude' or 'translate' (--on-failed-registration)."
        )
        raise ValueError("\n".join([f"{head}.", *lines, remedy, *([where] if where else [])]))
    if all(ids[i] == template for i in result.kept):
        raise ValueError("\n".join([f"{head}, which leaves nobody else to prepare.", *lines]))
    fate = (
        "they are left out"
        if result.settings.on_failure == "exclude"
        else "they are brought to it by a translation alone"
    )
    warnings.warn("\n".join([f"{head}; {fate}.", *lines]), UserWarning, stacklevel=4)


def image_place(image: Image) -> dict[str, Any]:
    """Return the grid of a patient's own image, which the store keeps for the way back."""
    return {
        "shape": list(image.shape), "spacing": list(image.spacing), "origin": list(image.origin),
        "direction": list(image.direction), "stored": list(image.stored),
    }
