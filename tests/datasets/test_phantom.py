"""The cohort as a whole: reproducible, prefix-invariant, learnable, and true to its equation."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.ndimage import distance_transform_edt
from sksurv.metrics import concordance_index_censored

from survimg import Cohort
from survimg.datasets import (
    PHANTOM_TRUTHS,
    Tissue,
    make_phantom_cohort,
    write_phantom_manifest,
)
from survimg.datasets.anatomy import MAX_STRAND_GAP, Lesion, Scanner, draw_patient
from survimg.target import check_outcome

SMALL = (16, 16, 16)


def concordance(outcome, risk):
    event, time = check_outcome(outcome)
    return concordance_index_censored(event, time, np.asarray(risk))[0]


def voxels(cohort):
    return np.stack([cohort.volume(i) for i in range(len(cohort))])


def masks(cohort):
    return np.stack([cohort.mask(i) for i in range(len(cohort))])


@pytest.fixture(scope="module")
def phantom():
    return make_phantom_cohort(n=240, shape=SMALL, random_state=0)


def equation(components, b=0.8):
    """The docstring's log-hazard, written out again."""
    return b * (
        np.log(components.volume_ml / 8.5) / 0.6
        + np.log(components.suv_mean / 5) / 0.3
        + (components.heterogeneity - 0.25) / 0.115
        + (components.infiltration_ml - 6) / (2 * 3**0.5)
        + (components.stage - 2.5) / 1.25**0.5
    )


def test_cohort_is_complete(phantom):
    cohort = phantom.cohort
    assert cohort.shape == (240, 2, *SMALL)
    assert cohort.channel_names == ("PET", "CT")
    assert cohort.time_unit == "months"
    assert cohort.groups is None
    assert list(cohort.clinical.columns) == ["stage"]
    np.testing.assert_allclose(cohort.spacing, 8.0)
    assert cohort.has_masks.all()
    assert len(set(cohort.ids)) == 240
    np.testing.assert_array_equal(cohort.clinical["stage"], phantom.components["stage"])
    np.testing.assert_array_equal(masks(cohort), phantom.tissue == Tissue.TUMOUR)
    assert masks(cohort).any(axis=(1, 2, 3)).all()


def test_oracle_is_the_stated_equation(phantom):
    np.testing.assert_allclose(phantom.oracle_risk, equation(phantom.components), atol=1e-12)


def test_oracle_c_of_the_benchmark_cohort(phantom):
    # Standard error of Harrell's C with about 168 events is near 0.013.
    assert concordance(phantom.cohort.outcome, phantom.oracle_risk) == pytest.approx(0.83, abs=0.04)
    assert 1 - phantom.cohort.outcome["event"].mean() == pytest.approx(0.3, abs=0.1)


def test_only_the_named_effect_counts():
    phantom = make_phantom_cohort(n=12, shape=SMALL, random_state=5, effects={"infiltration": 2.0})
    infiltration = phantom.components["infiltration_ml"]
    np.testing.assert_allclose(phantom.oracle_risk, 2.0 * (infiltration - 6) / 12**0.5)
    null = make_phantom_cohort(n=12, shape=SMALL, random_state=5, effects={})
    assert not null.oracle_risk.any()
    np.testing.assert_array_equal(voxels(null.cohort[:9]), voxels(phantom.cohort[:9]))


def test_same_seed_same_cohort_and_another_seed_another():
    first, again = (make_phantom_cohort(n=5, shape=SMALL, random_state=3) for _ in range(2))
    other = make_phantom_cohort(n=5, shape=SMALL, random_state=4)
    np.testing.assert_array_equal(voxels(first.cohort), voxels(again.cohort))
    np.testing.assert_array_equal(first.cohort.outcome, again.cohort.outcome)
    pd.testing.assert_frame_equal(first.components, again.components)
    assert (first.cohort.outcome["time"] != other.cohort.outcome["time"]).all()
    assert (voxels(first.cohort) != voxels(other.cohort)).any()


def test_random_state_objects_and_none():
    streams = [np.random.RandomState(7) for _ in range(2)]
    first, again = (make_phantom_cohort(n=2, shape=SMALL, random_state=s) for s in streams)
    np.testing.assert_array_equal(first.oracle_risk, again.oracle_risk)
    moved_on = make_phantom_cohort(n=2, shape=SMALL, random_state=streams[0])
    assert (first.oracle_risk != moved_on.oracle_risk).all()
    fresh = [make_phantom_cohort(n=2, shape=SMALL).oracle_risk for _ in range(2)]
    assert (fresh[0] != fresh[1]).all()


def test_global_random_state_is_untouched():
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    make_phantom_cohort(n=2, shape=SMALL)
    np.testing.assert_array_equal(before, np.random.get_state()[1])  # noqa: NPY002


def test_patients_do_not_depend_on_how_many_there_are(phantom):
    fewer = make_phantom_cohort(n=7, shape=SMALL, random_state=0)
    np.testing.assert_array_equal(voxels(fewer.cohort), voxels(phantom.cohort[:7]))
    np.testing.assert_array_equal(fewer.cohort.outcome, phantom.cohort.outcome[:7])
    np.testing.assert_array_equal(fewer.cohort.ids, phantom.cohort.ids[:7])
    np.testing.assert_array_equal(fewer.oracle_risk, phantom.oracle_risk[:7])


def test_censoring_changes_the_outcome_and_nothing_else():
    some = make_phantom_cohort(n=60, shape=SMALL, random_state=2, censoring=0.6)
    none = make_phantom_cohort(n=60, shape=SMALL, random_state=2, censoring=0.0)
    assert none.cohort.outcome["event"].all()
    event = some.cohort.outcome["event"]
    np.testing.assert_array_equal(some.cohort.outcome[event], none.cohort.outcome[event])
    assert np.all(some.cohort.outcome["time"][~event] < none.cohort.outcome["time"][~event])
    np.testing.assert_array_equal(voxels(some.cohort), voxels(none.cohort))


def test_normalising_is_a_z_score_per_volume_and_modality(phantom):
    raw = make_phantom_cohort(n=6, shape=SMALL, random_state=0, normalise=False)
    images = voxels(raw.cohort).astype(np.float64)
    mean = images.mean(axis=(2, 3, 4), keepdims=True)
    sd = images.std(axis=(2, 3, 4), keepdims=True)
    np.testing.assert_allclose(voxels(phantom.cohort[:6]), (images - mean) / sd, atol=1e-4)
    assert images[:, 0].min() >= 0
    assert images[:, 0].max() < 20
    assert images[:, 1].min() >= -1024
    assert images[:, 1].max() < 700


def test_a_shift_touches_the_last_centre_and_only_its_images():
    plain = make_phantom_cohort(n=6, shape=SMALL, random_state=0, n_centres=3, normalise=False)
    moved = make_phantom_cohort(
        n=6, shape=SMALL, random_state=0, n_centres=3, shift=1.0, normalise=False
    )
    expected = ["centre-0", "centre-1", "centre-2"] * 2
    assert moved.cohort.groups.tolist() == expected
    before, after = voxels(plain.cohort), voxels(moved.cohort)
    np.testing.assert_array_equal(before[[0, 3]], after[[0, 3]])
    difference = np.abs(after - before).mean(axis=(1, 2, 3, 4))
    assert np.all(difference[[2, 5]] > difference[[1, 4]])
    assert np.all(difference[[1, 4]] > 0)
    np.testing.assert_array_equal(plain.tissue, moved.tissue)
    np.testing.assert_array_equal(plain.cohort.outcome, moved.cohort.outcome)
    external = make_phantom_cohort(n=3, shape=SMALL, random_state=0, shift=1.0, normalise=False)
    np.testing.assert_array_equal(voxels(external.cohort)[2], after[2])


def test_mask_gives_volume_and_images_give_the_rest():
    """Every image component is measurable; infiltration is not, from inside the mask."""
    phantom = make_phantom_cohort(n=40, shape=(32, 32, 32), random_state=0, normalise=False)
    truth, cohort = phantom.components, phantom.cohort
    inside = masks(cohort).astype(bool)
    pet, ct = voxels(cohort).swapaxes(0, 1)
    uptake = np.array([p[m].mean() for p, m in zip(pet, inside, strict=True)])
    spread = np.array([p[m].std() for p, m in zip(pet, inside, strict=True)]) / uptake
    distance = [distance_transform_edt(~m, sampling=4.0) for m in inside]
    peritumoral = (np.array(distance) <= 13) & ~inside
    strands = (peritumoral & (pet > 1.2) & (ct > 0) & (ct < 200)).sum((1, 2, 3))

    def correlation(a, b):
        return np.corrcoef(a, b)[0, 1]

    np.testing.assert_allclose(inside.sum((1, 2, 3)) * 0.064, truth.volume_ml, atol=0.033)
    assert correlation(uptake, truth.suv_mean) > 0.97
    assert correlation(spread, truth.heterogeneity) > 0.97
    assert correlation(strands, truth.infiltration_ml) > 0.97
    for measured in (uptake, spread, inside.sum((1, 2, 3))):
        assert abs(correlation(measured, truth.infiltration_ml)) < 0.4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n": 0}, "n and n_centres"),
        ({"n_centres": 0}, "n and n_centres"),
        ({"shape": (15, 32, 32)}, "at least 16"),
        ({"shape": (32, 32)}, "three sizes"),
        ({"shift": -0.1}, "shift"),
        ({"shift": float("nan")}, "shift"),
        ({"censoring": 1.0}, "censoring"),
        ({"effects": {"age": 1.0}}, "age"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        make_phantom_cohort(**{"n": 2, "shape": SMALL, **arguments})


def test_manifest_round_trip(tmp_path):
    path = write_phantom_manifest(
        tmp_path / "new" / "folder", 4, SMALL, random_state=0, n_centres=2, ragged=False
    )
    cohort = Cohort.from_manifest(path, time_unit="months")
    expected = make_phantom_cohort(4, SMALL, random_state=0, n_centres=2, normalise=False)

    assert cohort.channel_names == ("PET", "CT")
    np.testing.assert_array_equal(cohort.ids, expected.cohort.ids)
    np.testing.assert_array_equal(cohort.groups, expected.cohort.groups)
    np.testing.assert_allclose(cohort.spacing, 8.0)
    np.testing.assert_array_equal(cohort.outcome["event"], expected.cohort.outcome["event"])
    np.testing.assert_allclose(cohort.outcome["time"], expected.cohort.outcome["time"], rtol=1e-12)
    assert list(cohort.clinical.columns) == ["stage"]
    np.testing.assert_array_equal(cohort.clinical["stage"], expected.components["stage"])
    np.testing.assert_allclose(voxels(cohort)[:, 0], voxels(expected.cohort)[:, 0], atol=1e-5)
    np.testing.assert_allclose(voxels(cohort)[:, 1], voxels(expected.cohort)[:, 1], atol=0.51)
    np.testing.assert_array_equal(masks(cohort), masks(expected.cohort))
    truth = pd.read_csv(path.parent / "truth.csv")
    np.testing.assert_allclose(truth["oracle_risk"], expected.oracle_risk, rtol=1e-9)


def test_ragged_manifest_has_cases_of_different_sizes(tmp_path):
    cohort = Cohort.from_manifest(write_phantom_manifest(tmp_path, 5, (24, 24, 24), random_state=0))
    shapes = [cohort.volume(i).shape[1:] for i in range(5)]
    assert len(set(shapes)) == 5
    assert all(18 <= size <= 30 for shape in shapes for size in shape)
    np.testing.assert_allclose(cohort.spacing * shapes, 128.0, rtol=1e-6)
    volume = [cohort.mask(i).sum() * cohort.spacing[i].prod() / 1000 for i in range(5)]
    expected = make_phantom_cohort(5, SMALL, random_state=0).components["volume_ml"]
    np.testing.assert_allclose(volume, expected, atol=0.19)


def test_an_existing_manifest_is_not_overwritten(tmp_path):
    write_phantom_manifest(tmp_path, 1, SMALL, random_state=0)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(FileExistsError, match="manifest"):
        write_phantom_manifest(tmp_path, 2, SMALL, random_state=0)
    assert sorted(tmp_path.iterdir()) == before


def test_wavelets_of_the_mask_reach_strands_at_the_tumour_but_not_beyond_the_gap():
    from survimg.radiomics import RadiomicsFeatures

    def features(gap):
        images = []
        for infiltration in (0.0, 12.0):
            lesion = Lesion(8.5, 5.0, 0.25, infiltration, gap)
            anatomy, noise = np.random.SeedSequence(3), np.random.SeedSequence(0)
            pictures, tissue = draw_patient(
                lesion, (32, 32, 32), scanner=Scanner(), anatomy_seed=anatomy, noise_seed=noise
            )
            # CT alone: the noise of PET grows with the uptake that its blur carries over.
            images.append(pictures[1:])
        mask = (tissue == Tissue.TUMOUR).astype(np.uint8)
        cohort = Cohort(np.stack(images), masks=np.stack([mask] * 2), spacing=(4.0, 4.0, 4.0))
        return RadiomicsFeatures(features=["firstorder", "glcm"]).fit_transform(cohort)

    touching, apart = features(0.0), features(MAX_STRAND_GAP)
    wavelet = [name for name in touching if "wavelet" in name]
    assert not np.isclose(touching.loc[:, wavelet].iloc[0], touching.loc[:, wavelet].iloc[1]).all()
    np.testing.assert_allclose(apart.iloc[0], apart.iloc[1], rtol=1e-7, atol=1e-9)


def test_truth_and_effects_of_a_cohort(tmp_path):
    outside = make_phantom_cohort(4, SMALL, random_state=0, truth="outside", strand_gap=10.0)
    named = make_phantom_cohort(
        4, SMALL, random_state=0, effects=PHANTOM_TRUTHS["outside"], strand_gap=10.0
    )
    np.testing.assert_array_equal(outside.oracle_risk, named.oracle_risk)
    np.testing.assert_array_equal(outside.cohort.outcome, named.cohort.outcome)
    default = make_phantom_cohort(4, SMALL, random_state=0)
    assert not np.array_equal(default.oracle_risk, outside.oracle_risk)
    assert not np.array_equal(default.tissue, outside.tissue)
    write_phantom_manifest(tmp_path, 4, SMALL, random_state=0, truth="outside")
    truth = pd.read_csv(tmp_path / "truth.csv")
    np.testing.assert_allclose(truth["oracle_risk"], outside.oracle_risk, rtol=1e-9)
    with pytest.raises(ValueError, match="give one of them"):
        make_phantom_cohort(4, SMALL, truth="mask", effects={"stage": 1.0})
    for gap in (-1.0, 25.0, float("nan")):
        with pytest.raises(ValueError, match="strand_gap must be between 0 and 24 mm"):
            make_phantom_cohort(4, SMALL, strand_gap=gap)
