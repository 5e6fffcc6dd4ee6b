"""Filters of IBSI chapter 2: against MIRP's stored responses, and against their definitions."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from survimg import Cohort
from survimg.explain import feature_families
from survimg.radiomics import IBSISettings, RadiomicsFeatures
from survimg.radiomics.ibsi import filters
from survimg.radiomics.ibsi.filters import (
    GaborFilter,
    LaplacianOfGaussian,
    LawsFilter,
    MeanFilter,
    SeparableWavelet,
    SimoncelliWavelet,
)
from survimg.radiomics.ibsi.filters.response import ResponseFilter
from survimg.saving import load, save

REFERENCES = Path(__file__).parents[1] / "references"
ONE_MM = np.ones(3)


def load_script() -> ModuleType:
    path = REFERENCES / "make_mirp_responses.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SCRIPT = load_script()
STORED = json.loads((REFERENCES / "mirp_responses.json").read_text())
CASES = [(name, k) for name, cases in SCRIPT.CASES.items() for k in range(len(cases))]


@pytest.mark.parametrize(("name", "k"), CASES)
def test_responses_are_those_of_mirp(name: str, k: int) -> None:
    parameters = dict(SCRIPT.CASES[name][k])
    size = parameters.pop("size", 1.0)
    response = getattr(filters, name)(**parameters).respond(SCRIPT.make_volume(), size * ONE_MM)
    expected = np.array(STORED[f"{name} {k}"])
    # MIRP holds intensities in float32.
    np.testing.assert_allclose(
        response.reshape(-1)[:: SCRIPT.STEP], expected, rtol=0, atol=1e-6 * np.abs(expected).max()
    )


ROTATED = [
    LawsFilter(kernels="L5E3S5", pooling="max", energy_distance=2),
    SeparableWavelet(wavelet="db2", band="LHH", level=2, pooling="mean"),
    SeparableWavelet(wavelet="haar", band="LHH", pooling="min"),
    LaplacianOfGaussian(sigma_mm=1.2),
    GaborFilter(sigma_mm=1.1, wavelength_mm=3, angle_step=90, all_planes=True),
]


@pytest.mark.parametrize("each", ROTATED, ids=lambda each: each.name)
def test_pooled_responses_turn_with_the_image(each: ResponseFilter) -> None:
    volume = np.random.default_rng(0).normal(size=(11, 12, 10))
    response = each.respond(volume, ONE_MM)
    for axes in ((0, 1), (1, 2), (2, 0)):
        turned = each.respond(np.rot90(volume, axes=axes).copy(), ONE_MM)
        np.testing.assert_allclose(turned, np.rot90(response, axes=axes), rtol=0, atol=1e-9)


def test_a_wave_answers_to_its_own_direction_only() -> None:
    z, y, x = np.indices((5, 41, 41)).astype(float)
    angle = np.deg2rad(30)
    wave = np.cos(2 * np.pi * (x * np.cos(angle) + y * np.sin(angle)) / 6) + 0 * z
    middle = {
        turn: GaborFilter(sigma_mm=4, wavelength_mm=6, angle=turn).respond(wave, ONE_MM)[2, 20, 20]
        for turn in (30, 75, 120)
    }
    # Half of the envelope's area: the other half of the cosine is the wave in the other direction.
    assert middle[30] == pytest.approx(np.pi * 4**2, rel=1e-3)
    assert middle[75] < 0.05 * middle[30]
    assert middle[120] < 0.01 * middle[30]


def test_a_wave_passes_simoncelli_by_its_frequency() -> None:
    # The highest frequency has 16 periods in 33 voxels; one of half of it passes whole.
    k = np.arange(33)
    for periods, level in ((8, 1), (4, 2)):
        wave = np.cos(2 * np.pi * periods * k / 33) + np.zeros((33, 33, 1))
        response = SimoncelliWavelet(level=level).respond(wave, ONE_MM)
        np.testing.assert_allclose(response, wave, rtol=0, atol=1e-9)
        response = SimoncelliWavelet(level=level + 1).respond(wave, ONE_MM)
        np.testing.assert_allclose(response, 0, atol=1e-9)


def test_energy_is_the_mean_magnitude_around_a_voxel() -> None:
    volume = np.random.default_rng(1).normal(size=(9, 9, 9))
    plain = LawsFilter(kernels="E5S3L3").respond(volume, ONE_MM)
    energy = LawsFilter(kernels="E5S3L3", energy_distance=2).respond(volume, ONE_MM)
    assert energy[4, 4, 4] == pytest.approx(np.abs(plain[2:7, 2:7, 2:7]).mean())


WRONG = [
    (MeanFilter(support=4), "must be odd"),
    (MeanFilter(support=3, boundary="reflect"), "boundary"),
    (LawsFilter(kernels="L5E5"), "must be 3 out of"),
    (LawsFilter(kernels="L5E5X5"), "must be 3 out of"),
    (SeparableWavelet(wavelet="db2", band="LH"), "must be 3 letters"),
    (SeparableWavelet(wavelet="mexh", band="LHL"), "discrete one"),
    (GaborFilter(sigma_mm=1, wavelength_mm=2, angle_step=50), "must divide 360"),
]


@pytest.mark.parametrize(("each", "message"), WRONG, ids=str)
def test_what_is_not_defined_is_refused(each: ResponseFilter, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        each.respond(np.zeros((9, 9, 9)), ONE_MM)


def test_lengths_need_voxels_of_one_size() -> None:
    log = LaplacianOfGaussian(sigma_mm=2)
    with pytest.raises(ValueError, match="voxels of one size"):
        log.respond(np.zeros((9, 9, 9)), np.array([3.0, 1.0, 1.0]))
    in_plane = LaplacianOfGaussian(sigma_mm=2, by_slice=True)
    assert in_plane.respond(np.zeros((3, 9, 9)), np.array([3.0, 1.0, 1.0])).shape == (3, 9, 9)


CHOSEN = (
    LaplacianOfGaussian(sigma_mm=2.5),
    LawsFilter(kernels="L5E5E5", pooling="max", energy_distance=3),
)


@pytest.fixture
def cohort(make_cohort: Callable[..., Cohort]) -> Cohort:
    return make_cohort()[[0, 3]]


def test_features_of_responses_stand_beside_those_of_the_image(cohort: Cohort) -> None:
    settings = IBSISettings(resample_mm=1.5, rounded=["CT"], filters=CHOSEN)
    extractor = RadiomicsFeatures(
        standard=settings, features=("morphology", "statistics", "ngtdm"), bin_count=8
    )
    table = extractor.fit_transform(cohort)
    plain = RadiomicsFeatures(
        standard=IBSISettings(resample_mm=1.5, rounded=["CT"]),
        features=("morphology", "statistics", "ngtdm"),
        bin_count=8,
    ).fit_transform(cohort)
    np.testing.assert_array_equal(table[plain.columns], plain)
    added = [column for column in table if column not in plain]
    assert len(added) == 2 * 2 * (18 + 3 * 5)
    assert added[0] == "PET_log-2.5mm_stat_mean"
    assert extractor.ibsi_identifiers_["CT_laws-L5E5E5-max-energy3_stat_mean"] == "Q4LE"
    assert table[added].notna().all(axis=None)
    assert set(feature_families(added, by="image")) == {"log", "laws"}
    assert set(feature_families(added, by="channel")) == {"PET", "CT"}
    assert (table["CT_laws-L5E5E5-max-energy3_stat_min"] > 0).all()


def test_the_whole_image_is_filtered_and_the_intensity_mask_measured() -> None:
    rng = np.random.default_rng(2)
    volume = rng.normal(size=(12, 13, 14)).astype(np.float32)
    mask = np.zeros(volume.shape, dtype=np.uint8)
    mask[4:9, 3:10, 5:11] = 1
    cohort = Cohort(volume[None, None], masks=mask[None], spacing=1.0, channel_names=("CT",))
    settings = IBSISettings(intensity_range=(-1, 1), filters=[MeanFilter(support=5)])
    extractor = RadiomicsFeatures(standard=settings, features=["statistics"])
    row = extractor.fit_transform(cohort).iloc[0]
    response = MeanFilter(support=5).respond(volume.astype(float), ONE_MM)
    inside = (mask == 1) & (np.abs(volume) <= 1)
    assert row["CT_mean-5_stat_mean"] == pytest.approx(response[inside].mean())
    assert row["CT_mean-5_stat_max"] == pytest.approx(response[inside].max())


def test_filters_are_saved(cohort: Cohort, tmp_path: Path) -> None:
    settings = IBSISettings(resample_mm=1.5, filters=CHOSEN)
    extractor = RadiomicsFeatures(standard=settings, features=["statistics"]).fit(cohort)
    save(extractor, tmp_path / "model")
    again = load(tmp_path / "model")
    np.testing.assert_array_equal(again.transform(cohort), extractor.transform(cohort))


def test_filters_that_cannot_be_used_are_refused(cohort: Cohort) -> None:
    def fit(**parameters: object) -> None:
        filters = parameters.pop("filters", CHOSEN)
        settings = IBSISettings(filters=filters)
        RadiomicsFeatures(standard=settings, **parameters).fit(cohort)

    with pytest.raises(ValueError, match=r"border.*'PET'.*'log-2.5mm': .* voxels of one size"):
        RadiomicsFeatures(standard=IBSISettings(filters=CHOSEN)).fit_transform(cohort)
    with pytest.raises(ValueError, match="responses have no unit"):
        fit(bin_width=25, bin_count=None, features=["glcm"])
    with pytest.raises(ValueError, match="more than once"):
        fit(filters=[MeanFilter(support=3), MeanFilter(support=3)])
    with pytest.raises(ValueError, match="must be filters of"):
        fit(filters=["log"])
    with pytest.raises(ValueError, match="of its chapter 2"):
        fit(image_types=("original", "wavelet"))
