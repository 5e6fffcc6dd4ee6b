"""Whether two cohorts were prepared in the same way: a model sees what it was trained on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from survimg.cohort import Cohort
from survimg.preprocessing.settings import BEFORE_CHOICE

__all__ = ["check_preparation", "preparation_of"]

# What a preparation does to the voxels. The tumour's label is not among them, nor which patient of
# a cohort was its template: hospitals name their contours as they like, and the digest says which
# image the template was.
_SETTINGS = ("shape", "spacing", "crop", "centre", "normalise", "padding", *BEFORE_CHOICE)

# Remembered for new patients. Features say themselves which voxels they were measured on; networks
# do not see the finer ones.
_FEATURES = ("features_spacing", "features_margin")


def preparation_of(cohort: Cohort) -> dict[str, Any] | None:
    """Return how a cohort was prepared.

    Parameters
    ----------
    cohort : Cohort

    Returns
    -------
    dict or None
        ``shape``, ``spacing``, ``crop``, ``centre``, ``normalise``, ``padding``, ``interpolation``,
        ``antialias`` and ``mask_interpolation`` as in `survimg.preprocessing.Preparation`, and
        ``registration.transform`` and ``registration.template`` (digest of the template's image),
        None without a registration. Of a store from before one could choose the interpolation it
        is what was done then.
        None where the cohort does not say: it is raw, or was made from arrays. Of joined cohorts
        it is the training cohort's preparation.
    """
    settings: Any = cohort.settings
    while isinstance(settings, Mapping) and "training" in settings:
        settings = settings["training"]
    if not isinstance(settings, Mapping) or "shape" not in settings or "crop" not in settings:
        return None
    registration = settings.get("registration") or {}
    registered = settings.get("registered") or {}
    return {
        **{name: settings.get(name, BEFORE_CHOICE.get(name)) for name in _SETTINGS},
        **{name: settings[name] for name in _FEATURES if settings.get(name) is not None},
        "registration.transform": registration.get("transform"),
        "registration.template": registered.get("template_digest"),
    }


def check_preparation(cohort: Cohort, trained_on: Mapping[str, Any] | None, model: str) -> None:
    """Refuse a cohort that was prepared otherwise than the training cohort.

    Where one of the two does not say how it was prepared, nothing is compared.

    Parameters
    ----------
    cohort : Cohort
    trained_on : dict or None
        `preparation_of` the training cohort.
    model : str
        What to call the model in the message.

    Raises
    ------
    ValueError
        The message names the settings that differ.
    """
    preparation = preparation_of(cohort)
    if preparation is None or trained_on is None:
        return
    trained_on = {**BEFORE_CHOICE, **trained_on}
    compared = [name for name in preparation if name not in _FEATURES]
    differing = [name for name in compared if preparation[name] != trained_on.get(name)]
    if differing:
        listed = "; ".join(
            f"{name} = {preparation[name]!r}, and in training {trained_on.get(name)!r}"
            for name in differing
        )
        raise ValueError(
            f"The cohort was prepared otherwise than the one that this {model} was trained on: "
            f"{listed}. Prepare it with the settings of the training cohort."
        )
