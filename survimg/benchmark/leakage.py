"""Checks for leaks from test patients to training, before anything is fitted.

Four kinds are detected: one patient in both parts of a split, one image in both parts under two
names, models that were fitted before, and data scaled by statistics of all patients. Statistics
that leave no trace in the data, and images that are similar but not equal, cannot be detected.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

__all__ = [
    "ImageContent",
    "check_groups",
    "check_images",
    "check_learned_statistics",
    "check_unfitted",
    "image_content",
]

Split = tuple[np.ndarray, np.ndarray]
#: Per patient and channel: digest, mean and mean square of the voxels; None without an image.
ImageContent = list[list[tuple[str, float, float] | None]]

_TABLE_TOL = 1e-6  # of mean 0 and standard deviation 1 in a table that a scaler has been fitted on
_VOXEL_TOL = 1e-5  # of the same over all voxels of a cohort, in float32


def check_groups(
    groups: npt.ArrayLike | None, folds: Sequence[Split], ids: np.ndarray
) -> np.ndarray | None:
    """Refuse splits with images of one patient in both parts.

    Parameters
    ----------
    groups : array-like of shape (n,) or None
        Patient of each image.
    folds : sequence of (train, test)
    ids : ndarray of shape (n,)

    Returns
    -------
    ndarray of shape (n,), str, or None

    Raises
    ------
    ValueError
        Another length, missing values, or a group in both parts; two of its images are named.
    """
    if groups is None:
        return None
    values = np.asarray(groups)
    if values.shape != ids.shape or bool(pd.isna(values).any()):
        raise ValueError(
            f"groups must name the patient of each of the {ids.size} images, without gaps; got "
            f"shape {values.shape}."
        )
    names = np.array([str(value) for value in values.tolist()], dtype=np.str_)
    for fold, (train, test) in enumerate(folds):
        in_both = np.intersect1d(names[train], names[test])
        if in_both.size:
            first = str(ids[train][names[train] == in_both[0]][0])
            second = str(ids[test][names[test] == in_both[0]][0])
            raise ValueError(
                f"Fold {fold}: {first!r} (training part) and {second!r} (test part) belong to the "
                f"same group {str(in_both[0])!r}, and {in_both.size} group(s) in all are in both "
                "parts. Use a splitter that keeps groups together: EventStratifiedGroupKFold."
            )
    return names


def image_content(X: Any) -> ImageContent | None:
    """Digest, mean and mean square of every image; None for tables.

    Parameters
    ----------
    X : Cohort, array or frame of n patients
        Images are read one patient at a time. A channel whose voxels are all equal (an absent
        modality) does not count as an image.
    """
    if not hasattr(X, "volume") and getattr(X, "ndim", 2) < 4:
        return None
    volume_of = X.volume if hasattr(X, "volume") else X.__getitem__
    n = len(X)
    return [[_describe_image(channel) for channel in _channels(volume_of(i), X)] for i in range(n)]


def check_images(content: ImageContent, folds: Sequence[Split], ids: np.ndarray) -> None:
    """Refuse splits with the same image in both parts, even under different names.

    Raises
    ------
    ValueError
        Two patients of one split share an image, voxel for voxel; both are named.
    """
    owners: dict[tuple[int, str], list[int]] = {}
    for i, channels in enumerate(content):
        for c, image in enumerate(channels):
            if image is not None:
                owners.setdefault((c, image[0]), []).append(i)
    copies = {place: rows for place, rows in owners.items() if len(rows) > 1}
    for (channel, _), rows in copies.items():
        for fold, (train, test) in enumerate(folds):
            in_train, in_test = np.intersect1d(rows, train), np.intersect1d(rows, test)
            if in_train.size and in_test.size:
                raise ValueError(
                    f"Fold {fold}: patients {str(ids[in_train[0]])!r} (training part) and "
                    f"{str(ids[in_test[0]])!r} (test part) have the same image, voxel for voxel "
                    f"(channel {channel}), so a model could know the test patient. Remove one, or "
                    "pass groups= and split so that both share a fold."
                )


def check_unfitted(models: Mapping[str, Any]) -> None:
    """Refuse models that were fitted before the benchmark.

    Raises
    ------
    ValueError
        An estimator, or a step or parameter inside it, is fitted: frozen, or with attributes that
        `fit` has set, or bound to a function such as ``scaler.transform``.
    """
    for name, model in models.items():
        for place, part in _parts(model):
            learned = _learned_attributes(part)
            if learned:
                raise ValueError(
                    f"Model {name!r} is fitted already: {place}{type(part).__name__} holds "
                    f"{', '.join(learned[:3])}. It may have learned from test patients; pass it "
                    "unfitted (sklearn.base.clone), so that it is fitted in each fold."
                )


def check_learned_statistics(
    X: Any, content: ImageContent | None, folds: Sequence[Split], ids: np.ndarray
) -> None:
    """Refuse data that were scaled by statistics of all patients.

    Refused are columns (of a table, or clinical columns of a cohort) and channels with mean 0 and
    standard deviation 1 over exactly all patients, the result of a scaler that was fitted on all of
    them; and a cohort whose settings name patients of a test part under ``learned_from``.

    Raises
    ------
    ValueError
        A column or channel is scaled so, or a preparation has learned from test patients.
    """
    for name, values in _columns(X):
        if _is_standardised(values):
            raise ValueError(
                f"Column {name!r} has mean 0 and standard deviation 1 over all {values.size} "
                "patients: a scaler was fitted on all of them, test patients "
                "included. Pass the raw column and scale inside the model (make_pipeline)."
            )
    for channel in range(len(content[0]) if content else 0):
        if _is_scaled_as_one([row[channel] for row in content or []]):
            raise ValueError(
                f"Channel {channel} has mean 0 and standard deviation 1 over all voxels of all "
                "patients, but not of each patient: it was scaled by statistics of all patients, "
                "test patients included. Normalise each patient separately, or inside the model."
            )
    for source in _learned_from(getattr(X, "settings", None)):
        tested = np.concatenate([test for _, test in folds])
        of_test = ids[tested] if source == "all" else np.intersect1d(ids[tested], source)
        if of_test.size:
            raise ValueError(
                "The cohort's preparation used statistics of test patients, for example "
                f"{str(of_test[0])!r} (setting learned_from). Prepare each patient separately, or "
                "learn inside the model."
            )


def _channels(case: np.ndarray, X: Any) -> np.ndarray:
    """One array per modality; an array without a channel axis holds one."""
    return case if hasattr(X, "volume") or np.ndim(case) > 3 else np.asarray(case)[np.newaxis]


def _describe_image(image: np.ndarray) -> tuple[str, float, float] | None:
    voxels = np.ascontiguousarray(image)
    if voxels.size == 0 or voxels.min() == voxels.max():
        return None
    digest = hashlib.sha256(f"{voxels.shape}{voxels.dtype}".encode())
    digest.update(voxels.view(np.uint8).data)
    mean = float(voxels.mean(dtype=np.float64))
    return digest.hexdigest()[:32], mean, float(np.mean(np.square(voxels, dtype=np.float64)))


def _parts(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Walk an estimator and everything in its parameters that could hold something learned."""
    if isinstance(value, type):
        return
    if hasattr(value, "get_params"):
        yield place, value
        for name, part in value.get_params(deep=False).items():
            yield from _parts(part, f"{place}{name}: ")
    elif isinstance(value, Mapping):
        for name, part in value.items():
            yield from _parts(part, f"{place}{name}: ")
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _parts(part, place)
    elif isinstance(value, functools.partial):
        yield from _parts([value.func, *value.args, *value.keywords.values()], place)
    elif inspect.ismethod(value):
        yield from _parts(value.__self__, f"{place}{value.__name__} of ")


def _learned_attributes(estimator: Any) -> list[str]:
    """Attributes that follow scikit-learn's convention for what `fit` has learned.

    Some constructors, such as those of scikit-survival's survival SVM, set them to None.
    """
    names = [
        name
        for name, value in vars(estimator).items()
        if name.endswith("_") and not name.startswith("_") and value is not None
    ]
    if getattr(estimator, "initialized_", None) is False:  # skorch sets its names before fit
        return []
    parameters = estimator.get_params(deep=False)
    return [name for name in names if name not in parameters]


def _columns(X: Any) -> Iterator[tuple[str, np.ndarray]]:
    table = getattr(X, "clinical", None) if hasattr(X, "volume") else X
    if isinstance(table, np.ndarray) and table.ndim == 2:
        table = pd.DataFrame(table)
    if isinstance(table, pd.DataFrame):
        for name in table.columns:
            if pd.api.types.is_float_dtype(table[name]):
                yield str(name), table[name].dropna().to_numpy(dtype=np.float64)


def _is_standardised(values: np.ndarray) -> bool:
    if set(np.unique(values).tolist()) <= {-1.0, 1.0}:  # a coding, by chance equally frequent
        return False
    spreads = np.array([values.std(), values.std(ddof=1)])
    return bool(abs(values.mean()) < _TABLE_TOL and (np.abs(spreads - 1) < _TABLE_TOL).any())


def _is_scaled_as_one(images: Sequence[tuple[str, float, float] | None]) -> bool:
    moments = np.array([image[1:] for image in images if image is not None])
    if len(moments) < 2:
        return False
    mean, mean_square = moments.mean(axis=0)
    variance = moments[:, 1] - moments[:, 0] ** 2
    off = max(np.abs(moments[:, 0]).max(), np.abs(variance - 1).max())
    alike = off < 100 * _VOXEL_TOL  # each patient normalised alone
    scaled = abs(mean) < _VOXEL_TOL and abs(mean_square - mean**2 - 1) < _VOXEL_TOL
    return bool(scaled and not alike)


def _learned_from(settings: Any) -> Iterator[Any]:
    """Find every setting of that name, in the settings of joined cohorts too."""
    if isinstance(settings, Mapping):
        for name, value in settings.items():
            if name == "learned_from" and value is not None:
                yield value if isinstance(value, str) else [str(item) for item in value]
            else:
                yield from _learned_from(value)
