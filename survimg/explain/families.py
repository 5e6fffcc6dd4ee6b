"""Families of features, read from their names."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal

from survimg.radiomics.ibsi.names import ALL_AGGREGATIONS, FAMILIES, OF_INTENSITIES
from survimg.radiomics.names import IBSI_IDENTIFIERS

__all__ = ["feature_families"]

FamilyKind = Literal["class", "image", "channel", "image-class"]

_IBSI_FAMILIES = {tag: family for family, tags in FAMILIES.items() for tag in tags}
_FILTERS = ("gabor", "laws", "log", "mean", "simoncelli", "wavelet")
_IBSI_COLUMN = re.compile(
    rf"(?P<channel>.*?_)?(?P<image>({'|'.join(_FILTERS)})-[^_]*_)?(?P<tag>{'|'.join(_IBSI_FAMILIES)})(_({'|'.join(ALL_AGGREGATIONS)}))?"
)


def feature_families(
    names: Iterable[str], by: FamilyKind = "class"
) -> dict[str, tuple[str, ...]]:
    """Group columns by the quantity they measure.

    Radiomic names end in ``<image type>_<class>_<feature>``, as PyRadiomics and `RadiomicsFeatures`
    write them; a channel, a shell or a pipeline's ``radiomics__`` may stand before.

    Parameters
    ----------
    names : iterable of str
    by : {"class", "image", "channel", "image-class"}, default="class"
        ``"class"``: shape, firstorder, glcm, glrlm, glszm, ngtdm, gldm, or the families of IBSI's
        standard (morphology, statistics, glcm and so on). ``"image"``: original, wavelet, log;
        shape, which is measured on the mask, is a family of its own. ``"channel"``: PET, CT and so
        on; shape likewise. ``"image-class"``: both, as in ``"wavelet glcm"``.

    Returns
    -------
    dict of str to tuple of str
        Families in the order in which they first occur. Columns that are not radiomic are grouped
        by the pipeline's prefix (``clinical``, ``deep``), or make a family each without one.

    Examples
    --------
    >>> from survimg.explain import feature_families
    >>> feature_families(["radiomics__PET_wavelet-LLH_glcm_Idm", "clinical__stage"])
    {'glcm': ('radiomics__PET_wavelet-LLH_glcm_Idm',), 'clinical': ('clinical__stage',)}
    """
    if by not in ("class", "image", "channel", "image-class"):
        raise ValueError(
            f"by must be 'class', 'image', 'channel' or 'image-class'; got {by!r}."
        )
    families: dict[str, list[str]] = {}
    for name in names:
        families.setdefault(_family(str(name), by), []).append(str(name))
    return {family: tuple(members) for family, members in families.items()}


def _family(name: str, by: FamilyKind) -> str:
    prefix, separator, rest = name.partition("__")
    column = rest if separator else name
    parts = column.rsplit("_", 3)
    if len(parts) >= 3 and parts[-1] in IBSI_IDENTIFIERS.get(parts[-2], {}):
        image, feature_class = parts[-3], parts[-2]
        channel = parts[0] if len(parts) == 4 else ""
        of_mask = feature_class == "shape"
    elif (ibsi := _IBSI_COLUMN.fullmatch(column)) is not None:
        image, feature_class = ibsi["image"] or "original", _IBSI_FAMILIES[ibsi["tag"]]
        channel = (ibsi["channel"] or "").removesuffix("_")
        of_mask = feature_class == "morphology" and ibsi["tag"] not in OF_INTENSITIES
    else:
        return prefix if separator else name
    if by == "class" or of_mask:
        return feature_class
    kind = image.split("-", 1)[0]
    if by == "image":
        return kind
    if by == "channel":
        return channel.removeprefix("missingindicator_") or "image"
    return f"{kind} {feature_class}"
