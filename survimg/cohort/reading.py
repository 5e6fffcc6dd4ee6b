"""What a folder or a manifest holds, as the arguments of a `Cohort`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from survimg.cohort.stores import ImageFileStore, MaskFileStore, MemmapStore
from survimg.io.manifest import read_manifest
from survimg.io.store.stored import StoredCohort

__all__ = ["manifest_arguments", "stored_arguments"]


def stored_arguments(stored: StoredCohort) -> dict[str, Any]:
    """Return the arguments of a prepared cohort; its voxels stay on disk."""
    return {
        "volumes": MemmapStore(stored.volumes),
        "masks": None if stored.masks is None else MemmapStore(stored.masks),
        "clinical": stored.clinical,
        "outcome": stored.outcome,
        "ids": stored.ids,
        "groups": stored.groups,
        "spacing": stored.spacing,
        "channel_names": stored.channel_names,
        "time_unit": stored.time_unit,
        "has_mask": stored.has_mask if stored.masks is not None else None,
        "present": stored.present,
    }


def manifest_arguments(
    csv: str | os.PathLike[str],
    modalities: Sequence[str] | None,
    label: int | str | None,
    allow_outside: bool,
) -> dict[str, Any]:
    """Return the arguments of a raw cohort; its images are read when they are asked for."""
    manifest = read_manifest(csv, modalities=modalities, allow_outside=allow_outside)
    names = manifest.channel_names
    rows = list(zip(*(manifest.images[name] for name in names), strict=True))
    images = ImageFileStore(rows)
    masks = None
    if any(path is not None for path in manifest.masks):
        masks = MaskFileStore(manifest.masks, images, label)
    return {
        "volumes": images,
        "masks": masks,
        "clinical": manifest.clinical,
        "outcome": manifest.outcome,
        "ids": manifest.ids,
        "groups": manifest.groups,
        "channel_names": names,
        "has_mask": [path is not None for path in manifest.masks] if masks is not None else None,
        "present": [[path is not None for path in row] for row in rows],
    }
