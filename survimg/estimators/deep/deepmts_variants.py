"""The models of the DeepMTS paper's tables by name."""

from __future__ import annotations

from typing import get_args

from survimg.estimators.deep.deepmts import DeepMTS
from survimg.estimators.deep.deepmts_body import Variant
from survimg.estimators.deep.tumour_segmenter import TumourSegmenter

__all__ = ["VARIANT_NAMES", "deepmts_variant"]

_BASE_NAMES = ("seg-backbone", *get_args(Variant))

VARIANT_NAMES = (
    *_BASE_NAMES,
    *(f"{name}-unet" for name in _BASE_NAMES),
)
"""Names that `deepmts_variant` takes."""


def deepmts_variant(name: str, *, published: bool = False) -> DeepMTS | TumourSegmenter:
    """Return an unfitted model of the DeepMTS paper's ablation studies.

    Parameters
    ----------
    name : str
        ``"deepmts"``, ``"sur-hs"``, ``"sur-casnet"``, ``"mt-hs"``, ``"mt-hs-baseline"``,
        ``"mt-casnet"`` or ``"seg-backbone"``; with ``"-unet"`` at the end for the plain 3D U-net
        backbone. ``"sur-casnet-unet"`` equals ``"sur-casnet"``, which has no backbone, and
        ``"mt-hs-baseline-unet"`` equals ``"mt-hs-unet"``, which has no 1x1x1 convolutions either.
    published : bool, default=False
        Use the paper's training (`DeepMTS.published`) instead of the defaults.

    Returns
    -------
    DeepMTS, or TumourSegmenter for ``"seg-backbone"``, which predicts masks only
        Further parameters are set with ``set_params``.

    Raises
    ------
    ValueError
        An unknown name.

    Examples
    --------
    >>> from survimg.estimators import deepmts_variant
    >>> deepmts_variant("mt-hs-unet").set_params(n_iterations=500)
    DeepMTS(backbone='unet', n_iterations=500, variant='mt-hs')
    >>> deepmts_variant("mt-hs", published=True).n_iterations
    15000
    """
    if name not in VARIANT_NAMES:
        raise ValueError(f"Unknown model {name!r}; choose from {', '.join(VARIANT_NAMES)}.")
    variant = name.removesuffix("-unet")
    backbone = "unet" if name.endswith("-unet") else "residual"
    if variant == "seg-backbone":
        make = TumourSegmenter.published if published else TumourSegmenter
        return make(backbone=backbone)  # type: ignore[arg-type]
    build = DeepMTS.published if published else DeepMTS
    return build(variant=variant, backbone=backbone)  # type: ignore[arg-type]
