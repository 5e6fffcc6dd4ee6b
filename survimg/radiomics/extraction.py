"""One patient of a cohort through an engine, in whatever process or thread that happens."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from joblib import Parallel, delayed
from tqdm.auto import tqdm

from survimg.cohort import Cohort
from survimg.io.images.image import as_stored
from survimg.radiomics.cache import CaseCache, HasLocation, digest
from survimg.radiomics.case import CaseFeatures, RadiomicsCase, UnmeasurableRegionError
from survimg.radiomics.engine_parameters import ParameterSettings
from survimg.radiomics.engines import Engine
from survimg.radiomics.ibsi.settings import IBSIConfiguration
from survimg.radiomics.names import ExtractionSettings
from survimg.radiomics.regions import (
    PredictsMasks,
    measurable,
    peritumoral,
    predicted_mask,
    shell,
    shuffled,
)

__all__ = [
    "AnySettings",
    "Extraction",
    "Job",
    "extract_one",
    "voxel_sizes",
    "warn_of_few_levels",
]

#: What is computed from one case, by either standard.
AnySettings = ExtractionSettings | IBSIConfiguration | ParameterSettings

_FEWEST_SENSIBLE_LEVELS = 4


_WAY_OUT = "Correct it, leave the patient out, or take a row of NaN with on_empty_mask='nan'."


@dataclass(frozen=True)
class Job:
    """What is needed to measure one patient, apart from the voxels.

    Parameters
    ----------
    index : int
        Position in the cohort.
    key : str
        Of the record in the cache.
    spacing : ndarray of shape (3,)
        Voxel size in mm, (z, y, x).
    shell_mm : float or None
        Thickness of the shell to measure instead of the mask.
    shell_hu : (low, high) or None
        HU of the shell's voxels.
    stored : tuple of int or None
        `Image.stored` of the file in whose order the voxels are measured; None for LPS.
    control : str or None
        Negative control to measure instead of the patient.
    packed_mask : ndarray of shape (n_bytes,), uint8, or None
        Bits of a mask that replaces the cohort's.
    refuse_empty : bool
        Whether a region that cannot be measured is an error.
    """

    index: int
    key: str
    spacing: np.ndarray
    shell_mm: float | None
    shell_hu: tuple[float, float] | None
    stored: tuple[int, ...] | None
    control: str | None
    packed_mask: np.ndarray | None
    refuse_empty: bool


@dataclass(frozen=True)
class Extraction:
    """How the patients of a cohort are measured.

    Parameters
    ----------
    engine : Engine
    settings : AnySettings
    shell_mm : float or None
    shell_hu : (low, high) or None
        As in `Job`.
    mask_from : estimator with ``predict_mask`` or None
        Source of the masks instead of the cohort's.
    as_stored : bool
        Whether to measure in the order of the files.
    control : str or None
        Negative control to measure instead of the patients.
    refuse_empty : bool
        Whether a region that cannot be measured is an error.
    """

    engine: Engine
    settings: AnySettings
    shell_mm: float | None
    shell_hu: tuple[float, float] | None
    mask_from: PredictsMasks | None
    as_stored: bool
    control: str | None
    refuse_empty: bool

    def run(
        self,
        cohort: Cohort,
        spacings: np.ndarray,
        memory: str | os.PathLike[str] | HasLocation | None,
        n_jobs: int | None,
        verbose: bool,
    ) -> list[CaseFeatures]:
        """Measure all patients, or fetch them from the cache.

        Parameters
        ----------
        cohort : Cohort
        spacings : ndarray of shape (n, 3)
            Voxel sizes in mm, (z, y, x).
        memory, n_jobs, verbose
            See `RadiomicsFeatures`.
        """
        settings = self.settings
        n_features = sum(1 for _ in settings.iter_columns(cohort.channel_names))
        cache = CaseCache(memory)
        jobs = [self._job(cohort, i, spacings[i]) for i in range(len(cohort))]
        cases = [cache.get(job.key, n_features) for job in jobs]
        missing = [i for i, case in enumerate(cases) if case is None]
        empty = CaseFeatures(
            np.full(n_features, np.nan),
            np.zeros((len(cohort.channel_names), len(settings.filtered_image_types)), np.int64),
        )
        # Kernels of the native engine release the interpreter lock; PyRadiomics holds it.
        run = Parallel(n_jobs=n_jobs, prefer=self.engine.prefer, return_as="generator")
        tasks = (delayed(extract_one)(cohort, jobs[i], self.engine, settings) for i in missing)
        progress = tqdm(
            run(tasks), total=len(missing), disable=not verbose, desc="radiomics", unit="case"
        )
        for i, case in zip(missing, progress, strict=True):
            if case is not None:
                cache.put(jobs[i].key, case)
            cases[i] = empty if case is None else case
        return [case for case in cases if case is not None]

    def _job(self, cohort: Cohort, i: int, spacing: np.ndarray) -> Job:
        packed = None
        stored = cohort.stored_axes(i) if self.as_stored else None
        if self.mask_from is not None:
            packed = np.packbits(predicted_mask(self.mask_from, cohort, i))
        key = digest(
            cohort.case_key(i),
            self.settings,
            self.engine.version,
            self.shell_mm,
            self.shell_hu,
            stored,
            self.control,
            spacing.tolist(),
            None if packed is None else packed.tobytes(),
        )
        place = spacing, self.shell_mm, self.shell_hu, stored
        return Job(i, key, *place, self.control, packed, self.refuse_empty)


def extract_one(
    cohort: Cohort, job: Job, engine: Engine, settings: AnySettings
) -> CaseFeatures | None:
    """Measure one patient.

    Parameters
    ----------
    cohort : Cohort
    job : Job
    engine : Engine
    settings : AnySettings

    Returns
    -------
    CaseFeatures or None
        None for a region that is missing, empty or too small, unless that is an error.

    Raises
    ------
    ValueError
        A region that cannot be measured, when ``job.refuse_empty``; or what the engine refuses.
    """
    volume = cohort.volume(job.index)
    patient = str(cohort.ids[job.index])
    region = _region(cohort, job, volume.shape[1:])
    if region is None or not measurable(region):
        if not job.refuse_empty:
            return None
        what = "mask" if job.shell_mm is None else f"shell of {job.shell_mm:g} mm"
        raise ValueError(
            f"The {what} of patient {patient!r} is missing, empty, or too small to measure (fewer "
            "than three voxels, or voxels along one line), so that no feature is defined. "
            f"{_WAY_OUT}"
        )
    if job.control is not None:
        volume = shuffled(volume, region, job.control, patient)
    spacing = job.spacing
    if job.stored is not None:
        volume, region = as_stored(volume, job.stored), as_stored(region, job.stored)
        spacing = spacing[[3 - abs(axis) for axis in reversed(job.stored)]]
    case = RadiomicsCase(
        patient=patient,
        volume=np.ascontiguousarray(volume),
        region=np.ascontiguousarray(region),
        spacing=spacing,
        channel_names=cohort.channel_names,
        present=cohort.present[job.index],
    )
    try:
        return engine.extract(case, settings)
    except UnmeasurableRegionError as error:
        if not job.refuse_empty:
            return None
        raise ValueError(f"Patient {patient!r}: {error} {_WAY_OUT}") from error


def _region(cohort: Cohort, job: Job, shape: tuple[int, ...]) -> np.ndarray | None:
    if job.packed_mask is not None:
        bits = np.unpackbits(job.packed_mask, count=int(np.prod(shape)))
        region = bits.astype(bool).reshape(shape)
    elif cohort.has_masks[job.index]:
        region = np.asarray(cohort.mask(job.index)) > 0
    else:
        return None
    if job.shell_mm is None:
        return region
    around = shell(region, job.spacing, job.shell_mm)
    return peritumoral(cohort, job.index, around, job.shell_hu)


def voxel_sizes(
    cohort: Cohort,
    given: float | Sequence[float] | None,
    settings: AnySettings,
    *,
    shell: bool,
) -> np.ndarray:
    """Return the voxel size of every patient, shape (n, 3), in mm.

    Parameters
    ----------
    cohort : Cohort
    given : float, (z, y, x) triple or None
        Of data that brings none.
    settings : AnySettings
    shell : bool
        Whether a shell is to be measured, which needs a size.

    Raises
    ------
    ValueError
        Two sizes or none, where features need one.
    """
    if given is not None:
        if cohort.spacing is not None:
            raise ValueError(
                f"spacing={given!r} was given, but the cohort brings its own voxel sizes; leave "
                "spacing=None."
            )
        sizes = np.asarray(given, dtype=np.float64)
        if sizes.shape not in ((), (3,)) or not (np.isfinite(sizes) & (sizes > 0)).all():
            raise ValueError(
                f"spacing must be one size or a (z, y, x) triple in mm; got {given!r}."
            )
        return np.broadcast_to(sizes, (len(cohort), 3))
    if cohort.spacing is not None:
        return cohort.spacing
    needs = settings.needs_spacing | {"shell_mm": shell}
    if any(needs.values()):
        raise ValueError(
            f"{', '.join(name for name, needed in needs.items() if needed)} need(s) voxel sizes, "
            "and X brings none: give the cohort spacing=, or RadiomicsFeatures(spacing=...) in "
            "mm, order (z, y, x)."
        )
    return np.ones((len(cohort), 3))


def warn_of_few_levels(
    cohort: Cohort,
    settings: AnySettings,
    cases: Sequence[CaseFeatures],
) -> None:
    """Warn where a bin width leaves so few grey levels that textures are nearly constant."""
    if isinstance(settings, ParameterSettings) or settings.bin_width is None or not cases:
        return
    levels = np.array([case.n_levels for case in cases])
    few = np.argwhere((levels > 0) & (levels < _FEWEST_SENSIBLE_LEVELS))
    if len(few):
        i, c, t = few[0]
        warnings.warn(
            f"bin_width={settings.bin_width:g} gives fewer than {_FEWEST_SENSIBLE_LEVELS} grey "
            f"levels in {len(few)} image(s), first in patient {str(cohort.ids[i])!r}, channel "
            f"{cohort.channel_names[c]!r}, image {settings.image_types[t]!r} "
            f"({levels[i, c, t]} level(s)): texture features are nearly constant there. Choose "
            "a smaller width for the unit of that channel, or bin_count.",
            UserWarning,
            stacklevel=3,
        )
