"""Conventional PET parameters on cases whose values follow from arithmetic."""

from __future__ import annotations

import numpy as np
import pytest

from survimg import Cohort
from survimg.datasets import make_phantom_cohort
from survimg.features import PETParameters
from survimg.preprocessing import Preparation, prepare


def make_pet(suv: np.ndarray, mask: np.ndarray, spacing: object = (2.0, 1.0, 1.0)) -> Cohort:
    return Cohort(
        suv[None, None].astype(np.float32),
        masks=mask[None].astype(np.uint8),
        spacing=spacing,
        channel_names=("PET",),
        ids=["p1"],
    )


@pytest.fixture
def block() -> tuple[np.ndarray, np.ndarray]:
    """10 x 10 x 10 voxels of SUV 2 in a background of 1, with one voxel of 10."""
    suv = np.ones((30, 40, 40))
    mask = np.zeros(suv.shape, dtype=bool)
    mask[10:20, 15:25, 15:25] = True
    suv[mask] = 2.0
    suv[15, 20, 20] = 10.0
    return suv, mask


def test_uptake_and_volumes(block: tuple[np.ndarray, np.ndarray]) -> None:
    found = PETParameters().fit_transform(make_pet(*block)).iloc[0]
    assert found["SUVmax"] == 10
    assert found["SUVmean"] == pytest.approx((999 * 2 + 10) / 1000)
    assert found["Volume"] == pytest.approx(2.0)
    # Only the hot voxel of 2 mm^3 reaches 2.5, and 41 % of 10.
    for threshold in ("2.5", "41pct"):
        assert found[f"MTV_{threshold}"] == pytest.approx(0.002)
        assert found[f"TLG_{threshold}"] == pytest.approx(0.02)
    assert found["MaximumDiameter"] == pytest.approx(np.sqrt(20.0**2 + 9**2 + 9**2))


def test_thresholds_are_parameters(block: tuple[np.ndarray, np.ndarray]) -> None:
    cohort = make_pet(*block)
    found = PETParameters(fixed_threshold=2.0, relative_threshold=None).fit_transform(cohort)
    assert list(found.columns) == [
        "SUVmax", "SUVmean", "SUVpeak", "MTV_2", "TLG_2", "MaximumDiameter", "Volume"
    ]  # fmt: skip
    assert found["MTV_2"][0] == pytest.approx(2.0)
    assert found["TLG_2"][0] == pytest.approx(2.0 * (999 * 2 + 10) / 1000)
    half = PETParameters(fixed_threshold=None, relative_threshold=0.2).fit_transform(cohort)
    assert half["MTV_20pct"][0] == pytest.approx(2.0)


def test_no_voxel_over_the_threshold_is_no_volume(block: tuple[np.ndarray, np.ndarray]) -> None:
    suv, mask = block
    found = PETParameters().fit_transform(make_pet(np.minimum(suv, 2.0), mask)).iloc[0]
    assert found["MTV_2.5"] == found["TLG_2.5"] == 0


@pytest.mark.parametrize("corner", [False, True])
def test_peak_is_the_largest_mean_of_a_sphere_of_1_ml(corner: bool) -> None:
    rng = np.random.default_rng(2)
    suv = rng.gamma(2.0, size=(14, 24, 20))
    mask = np.zeros(suv.shape, dtype=bool)
    mask[(slice(0, 3) if corner else slice(5, 8)), 0 if corner else 10 : 14, 8:12] = True
    spacing = np.array([2.5, 1.2, 1.7])
    found = PETParameters().fit_transform(make_pet(suv, mask, spacing))["SUVpeak"][0]
    radius = 10 * (3 / (4 * np.pi)) ** (1 / 3)
    positions = np.argwhere(np.ones(suv.shape, bool)) * spacing
    voxels = suv.astype(np.float32).astype(float).ravel()
    means = [
        voxels[np.linalg.norm(positions - centre * spacing, axis=1) <= radius].mean()
        for centre in np.argwhere(mask)
    ]
    assert found == pytest.approx(max(means), rel=1e-9)


def test_refusals(block: tuple[np.ndarray, np.ndarray]) -> None:
    suv, mask = block
    with pytest.raises(ValueError, match=r"channel='SUV' is not among the channels \['PET'\]"):
        PETParameters(channel="SUV").fit(make_pet(suv, mask))
    with pytest.raises(ValueError, match="voxel size"):
        PETParameters().fit(make_pet(suv, mask, None))
    with pytest.raises(ValueError, match="patient 'p1' is missing or empty"):
        PETParameters().fit_transform(make_pet(suv, np.zeros_like(mask)))
    with pytest.raises(ValueError, match="before normalising"):
        PETParameters().fit_transform(make_pet(suv - 20, mask))
    with pytest.raises(ValueError, match="patient 'p1' holds .* NaN or infinite voxels"):
        PETParameters().fit_transform(make_pet(np.where(suv > 5, np.nan, suv), mask))
    for wrong in ({"fixed_threshold": 0}, {"relative_threshold": 41}, {"on_empty_mask": "drop"}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            PETParameters(**wrong).fit(make_pet(suv, mask))


@pytest.mark.parametrize("normalise", ["zscore", {"PET": ("window", 0, 10)}], ids=str)
def test_a_cohort_that_was_normalised_is_refused(
    block: tuple[np.ndarray, np.ndarray], normalise: object
) -> None:
    """A z-scored tumour has plausible values of more than 2.5, and no SUV."""
    raw = make_pet(*block)
    made = {"shape": raw.shape[2:], "crop": "fixed"}
    suv = prepare(raw, Preparation(**made, normalise="none"), progress=False)
    found = PETParameters().fit_transform(suv)
    np.testing.assert_allclose(found, PETParameters().fit_transform(raw))
    other = prepare(raw, Preparation(**made, normalise=normalise), progress=False)
    with pytest.raises(ValueError, match="'PET' was normalised"):
        PETParameters().fit(other)
    with pytest.raises(ValueError, match="'PET' was normalised"):
        PETParameters().fit(suv).transform(other)


def test_missing_mask_and_missing_pet_as_nan(block: tuple[np.ndarray, np.ndarray]) -> None:
    suv, mask = block
    empty = PETParameters(on_empty_mask="nan").fit_transform(make_pet(suv, np.zeros_like(mask)))
    assert empty.isna().all(axis=None)
    absent = Cohort(
        suv[None, None].astype(np.float32),
        masks=mask[None].astype(np.uint8),
        spacing=1,
        channel_names=("PET",),
        present=[[False]],
    )
    found = PETParameters().fit_transform(absent).iloc[0]
    assert set(found.index[found.notna()]) == {"MaximumDiameter", "Volume"}


def test_plain_arrays_with_spacing(block: tuple[np.ndarray, np.ndarray]) -> None:
    suv, mask = block
    plain = PETParameters(channel="channel0", spacing=(2.0, 1.0, 1.0)).fit_transform(
        suv[None].astype(np.float32), masks=mask[None].astype(np.uint8)
    )
    expected = PETParameters().fit_transform(make_pet(suv, mask))
    np.testing.assert_array_equal(plain.to_numpy(), expected.to_numpy())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda pet: (pet - pet.mean()) / pet.std(), "normalised already"),
        (lambda pet: 5000 * pet, "Bq/ml"),
    ],
    ids=["z-scores", "Bq per ml"],
)
def test_voxels_that_cannot_be_suv_are_refused_by_the_patients_name(change, words):
    phantoms = make_phantom_cohort(n=2, shape=(16, 16, 16), random_state=0, normalise=False).cohort
    volumes = np.stack([phantoms.volume(i) for i in range(2)]).astype(np.float64)
    volumes[1, 0] = change(volumes[1, 0])
    masks = np.stack([phantoms.mask(i) for i in range(2)])
    cohort = Cohort(
        volumes.astype(np.float32), masks=masks, ids=["A", "B"], spacing=phantoms.spacing,
        channel_names=phantoms.channel_names,
    )
    with pytest.raises(ValueError, match=f"patient 'B' is no SUV: .*{words}"):
        PETParameters().fit_transform(cohort)
