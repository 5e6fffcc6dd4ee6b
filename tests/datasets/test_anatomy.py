"""Properties of the pictures: what is painted is what is stated, on any grid."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import distance_transform_edt, label

from survimg.datasets import Tissue
from survimg.datasets.anatomy import (
    FIELD_OF_VIEW,
    MAX_STRAND_GAP,
    SHELL_WIDTH,
    Lesion,
    Scanner,
    draw_patient,
)

SHARP = Scanner(blur=0.0, pet_noise=0.0, ct_noise=0.0)
LESION = Lesion(volume_ml=12.0, suv_mean=5.0, heterogeneity=0.3, infiltration_ml=6.0)


def draw(lesion=LESION, shape=(32, 32, 32), scanner=SHARP, anatomy=0, noise=0):
    return draw_patient(
        lesion,
        shape,
        scanner=scanner,
        anatomy_seed=np.random.SeedSequence(anatomy),
        noise_seed=np.random.SeedSequence(noise),
    )


sizes = st.tuples(*[st.integers(16, 40)] * 3)


@settings(max_examples=40, deadline=None)
@given(
    volume=st.floats(3.0, 24.1),
    uptake=st.floats(2.9, 8.5),
    heterogeneity=st.floats(0.05, 0.45),
    infiltration=st.floats(0.0, 12.0),
    gap=st.just(0.0) | st.floats(0.0, MAX_STRAND_GAP),
    shape=sizes,
    seed=st.integers(0, 2**32 - 1),
)
def test_images_hold_exactly_the_stated_disease(
    volume, uptake, heterogeneity, infiltration, gap, shape, seed
):
    lesion = Lesion(volume, uptake, heterogeneity, infiltration, gap)
    (pet, ct), tissue = draw(lesion, shape, anatomy=seed)
    voxel_ml = FIELD_OF_VIEW**3 / np.prod(shape) / 1000
    tumour, strands = tissue == Tissue.TUMOUR, tissue == Tissue.INFILTRATION

    assert abs(tumour.sum() * voxel_ml - volume) <= voxel_ml / 2 + 1e-9
    assert abs(strands.sum() * voxel_ml - infiltration) <= voxel_ml / 2 + 1e-9
    assert pet[tumour].mean(dtype=float) == pytest.approx(uptake, rel=1e-5)
    assert pet[tumour].std(dtype=float) == pytest.approx(uptake * heterogeneity, rel=1e-4)
    assert pet[tumour].min() > 0
    assert np.all(pet[strands] == pytest.approx(3.0))
    assert np.all(ct[strands] == pytest.approx(130.0))


@pytest.mark.parametrize("seed", range(12))
def test_tumour_lies_in_the_body_and_strands_in_the_fat_around_it(seed):
    _, tissue = draw(anatomy=seed)
    tumour, strands = tissue == Tissue.TUMOUR, tissue == Tissue.INFILTRATION
    _, n_parts = label(tumour, structure=np.ones((3, 3, 3)))
    distance = distance_transform_edt(~tumour, sampling=4.0)

    assert n_parts == 1
    assert not (tumour & strands).any()
    assert 0 < distance[strands].min() <= 4.0 * np.sqrt(3)
    assert distance[strands].max() <= SHELL_WIDTH + 4.0 / 2
    # Skin and fat close every axial slice around the disease: nothing of it touches air.
    to_air = distance_transform_edt(tissue != Tissue.AIR, sampling=4.0)
    assert to_air[tumour | strands].min() > 4.0
    assert set(np.unique(tissue)) == set(Tissue)


@pytest.mark.parametrize("gap", [8.0, MAX_STRAND_GAP])
def test_strands_begin_behind_the_gap(gap):
    touching, apart = (draw(replace(LESION, strand_gap=g))[1] for g in (0.0, gap))
    np.testing.assert_array_equal(touching == Tissue.TUMOUR, apart == Tissue.TUMOUR)
    distance = distance_transform_edt(apart != Tissue.TUMOUR, sampling=4.0)[
        apart == Tissue.INFILTRATION
    ]
    assert distance.min() >= gap
    assert distance.max() <= gap + SHELL_WIDTH + 4.0 / 2


def test_tumours_grow_on_both_sides():
    centres = [np.argwhere(draw(anatomy=s)[1] == Tissue.TUMOUR)[:, 2].mean() for s in range(20)]
    left, right = np.sum(np.array(centres) > 19), np.sum(np.array(centres) < 12)
    assert left + right == 20
    assert min(left, right) >= 4


def test_infiltration_changes_the_images_outside_the_mask_only():
    healthy = Lesion(12.0, 5.0, 0.3, 0.0)
    images, tissue = draw()
    without, bare = draw(healthy)
    mask = tissue == Tissue.TUMOUR
    strands = tissue == Tissue.INFILTRATION

    np.testing.assert_array_equal(mask, bare == Tissue.TUMOUR)
    for modality, reference in zip(images, without, strict=True):
        np.testing.assert_array_equal(modality != reference, strands)
    assert np.all(images[0][strands] > 3 * without[0][strands])  # PET
    assert np.all(images[1][strands] > without[1][strands] + 200)  # CT


def test_uptake_alone_does_not_segment_the_tumour():
    (pet, _), tissue = draw(Lesion(8.5, 5.0, 0.25, 6.0), scanner=Scanner())
    tumour = tissue == Tissue.TUMOUR
    thresholds = np.linspace(1, 10, 60)
    dice = [2 * (tumour & (pet > t)).sum() / (tumour.sum() + (pet > t).sum()) for t in thresholds]
    assert max(dice) < 0.3


def test_intensities_are_those_of_a_pet_ct():
    (pet, ct), tissue = draw(scanner=Scanner())
    assert pet.dtype == ct.dtype == np.float32
    assert pet.min() >= 0
    assert 8 < pet.max() < 20
    assert ct.min() >= -1024
    assert 300 < ct.max() < 600
    assert ct[tissue == Tissue.SOFT_TISSUE].mean() == pytest.approx(50, abs=2)
    assert ct[tissue == Tissue.FAT].mean() == pytest.approx(-95, abs=2)
    assert pet[tissue == Tissue.BRAIN].mean() > pet[tissue == Tissue.TUMOUR].mean()


def test_noise_and_anatomy_have_their_own_seeds():
    images, tissue = draw(scanner=Scanner())
    other_noise, same_tissue = draw(scanner=Scanner(), noise=1)
    np.testing.assert_array_equal(tissue, same_tissue)
    assert (images != other_noise).mean() > 0.5
    _, other_tissue = draw(anatomy=1)
    assert (tissue != other_tissue).any()


def test_the_same_patient_on_a_finer_grid():
    _, coarse = draw(shape=(32, 32, 32))
    _, fine = draw(shape=(64, 64, 64))
    blocks = (fine == Tissue.TUMOUR).reshape(32, 2, 32, 2, 32, 2).mean(axis=(1, 3, 5))
    tumour = coarse == Tissue.TUMOUR
    dice = 2 * (blocks * tumour).sum() / (blocks.sum() + tumour.sum())
    assert dice > 0.85


def test_a_shifted_scanner_does_what_is_stated():
    reference, shifted = Scanner(), Scanner().shifted(0.5)
    assert shifted.suv_scale == pytest.approx(1.1)
    assert shifted.blur == pytest.approx(1.25 * reference.blur)
    assert shifted.pet_noise == pytest.approx(1.5 * reference.pet_noise)
    assert shifted.ct_noise == pytest.approx(1.5 * reference.ct_noise)
    assert shifted.hu_offset == pytest.approx(7.5)

    def noise_of(scanner):
        images = np.stack([draw(scanner=scanner, noise=k)[0] for k in range(6)])
        tissue = draw(scanner=scanner)[1]
        spread = images.std(axis=0)[:, tissue == Tissue.SOFT_TISSUE].mean(axis=1)
        # The median, because near hot organs the wider blur adds to the mean.
        return spread, np.median(images.mean(axis=0)[:, tissue == Tissue.SOFT_TISSUE], axis=1)

    (pet_sd, ct_sd), (pet, ct) = noise_of(reference)
    (pet_sd_2, ct_sd_2), (pet_2, ct_2) = noise_of(Scanner().shifted(1.0))
    assert ct_sd_2 / ct_sd == pytest.approx(2, rel=0.05)
    assert pet_sd_2 / pet_sd == pytest.approx(2 * 1.2, rel=0.1)
    assert pet_2 / pet == pytest.approx(1.2, rel=0.02)
    assert ct_2 - ct == pytest.approx(15, abs=1)


@pytest.mark.parametrize("parameter", ["suv_scale", "blur", "pet_noise", "hu_offset", "ct_noise"])
def test_every_scanner_setting_changes_the_image(parameter):
    default = getattr(Scanner(), parameter)
    changed = Scanner(**{parameter: default * 1.5 + 1})
    assert (draw(scanner=Scanner())[0] != draw(scanner=changed)[0]).any()
