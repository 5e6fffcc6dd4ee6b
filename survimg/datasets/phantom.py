"""A PET/CT cohort whose true hazard is known, in memory or as image files with a manifest."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from survimg.cohort import Cohort
from survimg.datasets.anatomy import (
    FIELD_OF_VIEW,
    MAX_STRAND_GAP,
    Lesion,
    Scanner,
    Tissue,
    draw_patient,
)
from survimg.datasets.hazard import (
    check_effects,
    draw_components,
    draw_event_and_time,
    end_of_accrual,
    log_hazard,
)
from survimg.files import write_atomically
from survimg.io.images.image import Image, write_image
from survimg.preprocessing import zscore
from survimg.target import make_outcome

__all__ = ["Phantom", "make_phantom_cohort", "write_phantom_manifest"]

_MIN_SIZE = 16


class Phantom(NamedTuple):
    """A phantom cohort and the truth behind it.

    Attributes
    ----------
    cohort : Cohort
        What a model may see: images, masks, stage and outcome.
    oracle_risk : ndarray of shape (n,), float64
        True log-hazard. No model can be expected to rank better.
    components : DataFrame of n rows
        ``volume_ml``, ``suv_mean``, ``heterogeneity``, ``infiltration_ml`` and ``stage``, from
        which the log-hazard follows.
    tissue : ndarray of shape (n, z, y, x), uint8
        Labels of `Tissue`, for example ``tissue == Tissue.INFILTRATION`` for the disease that the
        tumour mask leaves out.
    """

    cohort: Cohort
    oracle_risk: np.ndarray
    components: pd.DataFrame
    tissue: np.ndarray


def make_phantom_cohort(
    n: int = 240,
    shape: tuple[int, int, int] = (32, 32, 32),
    random_state: int | np.random.RandomState | None = None,
    *,
    truth: str | None = None,
    effects: Mapping[str, float] | None = None,
    censoring: float = 0.3,
    n_centres: int = 1,
    shift: float = 0.0,
    strand_gap: float = 0.0,
    normalise: bool = True,
) -> Phantom:
    """Make PET/CT phantoms with a tumour, its mask, and survival times from a known hazard.

    Each patient has a body with fat, spine, airway, skull, a brain and a bladder hotter than the
    tumour, two glands of similar uptake, and one tumour on the left or the right (the last axis),
    surrounded by a fat plane of 12 mm into which strands of disease infiltrate. The strands are
    seen in PET (3 g/ml) and CT (130 HU, enhancing, in fat of -95 HU) but **not in the mask**.
    Uptake in the tumour varies smoothly (waves of 12 to 24 mm); its cold parts are darker in CT.
    The field of view is a cube of 128 mm whatever the shape.

    Parameters
    ----------
    n : int, default=240
        Number of patients. The first patients of a larger cohort are those of a smaller one.
    shape : tuple (z, y, x), default=(32, 32, 32)
        Voxels along each axis, at least 16; the spacing is 128 mm / shape.
    random_state : int or RandomState, optional
        An int gives the same cohort at every call.
    truth : {"mask", "outside"}, optional
        A named set of effects. ``"mask"`` (the default): 0.8 for each component, so that the mask
        and the stage hold most of the prognosis. ``"outside"``: infiltration 1.5, stage 0.4, the
        others 0.3, so that most of it lies outside the mask. The documentation lists what a model
        can reach under each (:doc:`/evaluation`).
    effects : mapping, optional
        Coefficients of the log-hazard by component instead of a named set: ``"volume"``,
        ``"uptake"``, ``"heterogeneity"``, ``"infiltration"``, ``"stage"``. Those not named are 0.
    censoring : float, default=0.3
        Expected fraction of censored patients, in [0, 1).
    n_centres : int, default=1
        Number of centres; patient i belongs to centre ``i % n_centres`` (`Cohort.groups`, which is
        None for one centre).
    shift : float, default=0
        How far scanners differ. At strength s a scanner scales SUV by 1 + 0.2 s, widens the PET
        point spread (standard deviation 1.5 mm) by 1 + 0.5 s, multiplies the noise of both
        modalities by 1 + s and adds 15 s HU. The strength rises evenly from 0 at the first centre
        to `shift` at the last; with one centre it is `shift` (an external cohort). Hazard, anatomy
        and masks are untouched.
    strand_gap : float, default=0
        Distance in mm between the tumour's surface and the layer of 12 mm that holds the strands;
        healthy fat fills it. At most 24. Wavelets reach over the edge of the mask (coif1 on voxels
        of 4 mm: 12 mm along each axis, 21 mm over a corner), so that radiomics of the mask sees
        strands that touch the tumour; with a gap of 24 mm it sees no more of them than the
        z-scores of the whole volume betray (with ``normalise=False``: nothing).
    normalise : bool, default=True
        Give each volume and modality mean 0 and standard deviation 1, as the estimators expect.
        False leaves PET in SUV (g/ml) and CT in HU.

    Returns
    -------
    Phantom
        Named tuple (cohort, oracle_risk, components, tissue); times are in months.

    Raises
    ------
    ValueError
        A parameter outside its range.

    Notes
    -----
    The log-hazard is a sum of five independent scores, each of mean 0 and variance 1 ::

        eta = b_volume        * ln(V / 8.5 ml) / 0.6
            + b_uptake        * ln(U / 5 g/ml) / 0.3
            + b_heterogeneity * (H - 0.25) / 0.115
            + b_infiltration  * (W - 6 ml) / (2 sqrt(3))
            + b_stage         * (G - 2.5) / sqrt(1.25)

    with V the tumour volume (3.0 to 24.0 ml; the mask has it to half a voxel), U the mean and H the
    coefficient of variation of the uptake in the mask before blur and noise (3.0 to 8.4 g/ml; 0.05
    to 0.45), W the infiltrated volume outside the mask (0 to 12 ml), and G the stage (1 to 4, the
    one clinical column). The first four scores are uniform, the stage takes its values with equal
    probability. With equal coefficients each carries a fifth of the variance of eta.

    The event time is Weibull: S(t) = exp(-(t / 30 months)^1.2 exp(eta)). Follow-up ends at a time
    uniform on (0, E), independent of everything else, with E such that the stated fraction of the
    population is censored.

    Examples
    --------
    >>> from survimg.datasets import make_phantom_cohort
    >>> phantom = make_phantom_cohort(n=8, shape=(16, 16, 16), random_state=0)
    >>> phantom.cohort.shape
    (8, 2, 16, 16, 16)
    >>> phantom.oracle_risk.shape
    (8,)
    """
    shape = _check_shape(shape)
    plan = _plan(
        n,
        random_state,
        truth=truth,
        effects=effects,
        censoring=censoring,
        n_centres=n_centres,
        shift=shift,
        strand_gap=strand_gap,
    )
    volumes = np.empty((n, 2, *shape), dtype=np.float32)
    tissue = np.empty((n, *shape), dtype=np.uint8)
    for i in range(n):
        images, tissue[i] = plan.draw(i, shape)
        volumes[i] = [zscore(image) for image in images] if normalise else images
    cohort = Cohort(
        volumes,
        masks=(tissue == Tissue.TUMOUR).astype(np.uint8),
        clinical=plan.components[["stage"]],
        outcome=plan.outcome,
        ids=plan.ids,
        groups=plan.groups,
        spacing=FIELD_OF_VIEW / np.asarray(shape),
        channel_names=("PET", "CT"),
        time_unit="months",
    )
    return Phantom(cohort, plan.risk, plan.components, tissue)


def write_phantom_manifest(
    folder: str | os.PathLike[str],
    n: int = 24,
    shape: tuple[int, int, int] = (32, 32, 32),
    random_state: int | np.random.RandomState | None = None,
    *,
    truth: str | None = None,
    effects: Mapping[str, float] | None = None,
    censoring: float = 0.3,
    n_centres: int = 1,
    shift: float = 0.0,
    strand_gap: float = 0.0,
    ragged: bool = True,
) -> Path:
    """Write the phantoms of `make_phantom_cohort` as NIfTI files with a manifest.

    Writes ``<id>_PET.nii.gz`` (SUV), ``<id>_CT.nii.gz`` (HU), ``<id>_mask.nii.gz``, ``truth.csv``
    (components and oracle risk by patient, kept apart so that no model reads them) and, last,
    ``manifest.csv`` for `survimg.Cohort.from_manifest` and ``survimg prepare``.

    Parameters
    ----------
    folder : path-like
        Made if needed; must not hold a manifest.
    n, shape, random_state, truth, effects, censoring, n_centres, shift, strand_gap
        As in `make_phantom_cohort`; the same values give the same patients.
    ragged : bool, default=True
        Draw each patient's size between 3/4 and 5/4 of `shape` along each axis (16 at least), so
        that voxel sizes differ and are anisotropic. False gives every patient `shape`.

    Returns
    -------
    Path
        The manifest.

    Raises
    ------
    FileExistsError
        The folder already holds a manifest.
    ValueError
        A parameter outside its range.
    """
    shape = _check_shape(shape)
    plan = _plan(
        n,
        random_state,
        truth=truth,
        effects=effects,
        censoring=censoring,
        n_centres=n_centres,
        shift=shift,
        strand_gap=strand_gap,
    )
    folder = Path(folder)
    manifest = folder / "manifest.csv"
    if manifest.exists():
        raise FileExistsError(f"{manifest} exists already; choose another folder or delete it.")
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for i, patient in enumerate(plan.ids):
        images, tissue = plan.draw(i, plan.ragged_shape(i, shape) if ragged else shape)
        arrays = {
            "PET": images[0],
            "CT": np.rint(images[1]).astype(np.int16),
            "mask": (tissue == Tissue.TUMOUR).astype(np.uint8),
        }
        names = {name: f"{patient}_{name}.nii.gz" for name in arrays}
        grid = _grid_of(images[0])
        for name, array in arrays.items():
            write_image(folder / names[name], array, like=grid)
        rows.append({"patient_id": patient, **names})
    table = pd.DataFrame(rows)
    table["time"], table["event"] = plan.outcome["time"], plan.outcome["event"].astype(int)
    if plan.groups is not None:
        table["group"] = plan.groups
    table["stage"] = plan.components["stage"]
    disease = plan.components.assign(oracle_risk=plan.risk)
    disease.insert(0, "patient_id", plan.ids)
    write_atomically(folder / "truth.csv", disease.to_csv(index=False).encode())
    write_atomically(manifest, table.to_csv(index=False).encode())
    return manifest


@dataclass(frozen=True)
class _Plan:
    """All of a cohort but its pictures."""

    ids: list[str]
    components: pd.DataFrame
    risk: np.ndarray
    outcome: np.ndarray
    groups: np.ndarray | None
    scanners: list[Scanner]
    seeds: list[list[np.random.SeedSequence]]
    strand_gap: float

    def draw(self, i: int, shape: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
        """Images (2, z, y, x) in SUV and HU, and the tissue map (z, y, x), of patient i."""
        row = self.components.iloc[i]
        return draw_patient(
            Lesion(
                row["volume_ml"],
                row["suv_mean"],
                row["heterogeneity"],
                row["infiltration_ml"],
                self.strand_gap,
            ),
            shape,
            scanner=self.scanners[i],
            anatomy_seed=self.seeds[i][2],
            noise_seed=self.seeds[i][3],
        )

    def ragged_shape(self, i: int, shape: tuple[int, int, int]) -> tuple[int, int, int]:
        """Size of patient i in a cohort of different sizes."""
        rng = np.random.default_rng(self.seeds[i][4])
        z, y, x = (max(_MIN_SIZE, int(rng.integers(3 * s // 4, 5 * s // 4 + 1))) for s in shape)
        return z, y, x


def _plan(
    n: int,
    random_state: int | np.random.RandomState | None,
    *,
    truth: str | None,
    effects: Mapping[str, float] | None,
    censoring: float,
    n_centres: int,
    shift: float,
    strand_gap: float,
) -> _Plan:
    if n < 1 or n_centres < 1:
        raise ValueError(f"n and n_centres must be at least 1; got {n} and {n_centres}.")
    if not (np.isfinite(shift) and shift >= 0):
        raise ValueError(f"shift must be a finite number, at least 0; got {shift}.")
    if not 0 <= strand_gap <= MAX_STRAND_GAP:
        raise ValueError(
            f"strand_gap must be between 0 and {MAX_STRAND_GAP:g} mm; got {strand_gap}."
        )
    coefficients = check_effects(effects, truth)
    end = end_of_accrual(coefficients, float(censoring))
    if isinstance(random_state, np.random.RandomState):
        random_state = int(random_state.randint(2**31 - 1))
    # A child's key is its position, so a patient is the same in cohorts of any size, and its images
    # are the same whatever the hazard or the censoring.
    seeds = [child.spawn(5) for child in np.random.SeedSequence(random_state).spawn(n)]
    components = draw_components([s[0] for s in seeds])
    risk = log_hazard(components, coefficients)
    centre = np.arange(n) % n_centres
    strength = shift * (centre / (n_centres - 1) if n_centres > 1 else np.ones(n))
    return _Plan(
        ids=[f"phantom-{i:04d}" for i in range(n)],
        components=components,
        risk=risk,
        outcome=make_outcome(*draw_event_and_time(risk, end, [s[1] for s in seeds])),
        groups=np.array([f"centre-{c}" for c in centre]) if n_centres > 1 else None,
        scanners=[Scanner().shifted(float(s)) for s in strength],
        seeds=seeds,
        strand_gap=float(strand_gap),
    )


def _check_shape(shape: tuple[int, int, int]) -> tuple[int, int, int]:
    sizes = tuple(int(s) for s in shape)
    if len(sizes) != 3 or min(sizes) < _MIN_SIZE:
        raise ValueError(
            f"shape must be three sizes (z, y, x) of at least {_MIN_SIZE} voxels; got {shape}."
        )
    return sizes[0], sizes[1], sizes[2]


def _grid_of(array: np.ndarray) -> Image:
    z, y, x = (FIELD_OF_VIEW / size for size in array.shape)
    first_voxel = tuple((size - FIELD_OF_VIEW) / 2 for size in (x, y, z))
    return Image(array, (z, y, x), origin=first_voxel)  # centred on the world's origin
