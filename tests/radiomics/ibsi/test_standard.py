"""`RadiomicsFeatures` with IBSI's standard: settings, masks, channels, refusals."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

from survimg import Cohort
from survimg.explain import feature_families
from survimg.radiomics import IBSISettings, RadiomicsFeatures
from survimg.radiomics.case import RadiomicsCase
from survimg.radiomics.ibsi.engine import extract_case, resegment
from survimg.radiomics.ibsi.names import FAMILIES
from survimg.saving import load, save

FAST = {"features": ("statistics", "glcm"), "bin_count": 8}


@pytest.fixture
def cohort(make_cohort: Callable[..., Cohort]) -> Cohort:
    return make_cohort()[[0, 3]]


def extract(cohort: Cohort, settings: IBSISettings | str = "ibsi", **parameters: object) -> dict:
    parameters = {**FAST, **parameters}
    return (
        RadiomicsFeatures(standard=settings, **parameters).fit_transform(cohort).iloc[0].to_dict()
    )


def test_columns_carry_codes(cohort: Cohort) -> None:
    extractor = RadiomicsFeatures(standard="ibsi").fit(cohort)
    codes = extractor.ibsi_identifiers_
    assert codes["PET_cm_joint_max_3D_avg"] == codes["CT_cm_joint_max_2_5D_comb"] == "GYBY"
    assert codes["morph_volume"] == "RNU0"
    assert codes["PET_morph_moran_i"] == "N365"
    assert None not in codes.values()
    of_mask = len(FAMILIES["morphology"]) - 4
    assert extractor.n_features_out_ == len(codes) == of_mask + 2 * (483 - of_mask)
    assert extractor.get_feature_names_out().tolist() == list(codes)


def test_every_column_has_a_family(cohort: Cohort) -> None:
    columns = RadiomicsFeatures(standard="ibsi").fit(cohort).get_feature_names_out()
    assert set(feature_families(columns)) == set(FAMILIES)
    assert set(feature_families(columns, by="channel")) == {"morphology", "PET", "CT"}
    shell = RadiomicsFeatures(standard="ibsi", shell_mm=3).fit(cohort).get_feature_names_out()
    families = feature_families([f"radiomics__{name}" for name in shell], by="channel")
    assert set(families) == {"morphology", "shell-3mm_PET", "shell-3mm_CT"}
    pyradiomics = RadiomicsFeatures().fit(cohort).get_feature_names_out()
    assert set(feature_families(pyradiomics, by="image")) == {"shape", "original", "wavelet"}


def test_choosing_features_does_not_change_them(cohort: Cohort) -> None:
    everything = RadiomicsFeatures(standard="ibsi", bin_count=8).fit_transform(cohort)
    settings = IBSISettings(aggregations=["3D", "2D_comb"])
    features = {"ngldm": ["ngl_dc_energy", "ngl_lde"], "glcm": None, "morphology": ["morph_com"]}
    some = RadiomicsFeatures(
        standard=settings, bin_count=8, features=features, image_types=["original"]
    ).fit_transform(cohort)
    assert some.shape == (2, 2 * (2 + 25 + 1))
    for column in some:
        np.testing.assert_allclose(some[column], everything[column], rtol=1e-12)


def test_the_default_standard_is_unchanged(cohort: Cohort) -> None:
    extractor = RadiomicsFeatures()
    assert extractor.fit(cohort).n_features_out_ == 1456
    same = RadiomicsFeatures(
        standard="pyradiomics", features="deepmts-1456", image_types=("original", "wavelet")
    ).fit(cohort)
    assert same.ibsi_identifiers_ == extractor.ibsi_identifiers_


def test_settings_are_parameters_of_scikit_learn() -> None:
    extractor = RadiomicsFeatures(standard=IBSISettings(outlier_sigma=3))
    copy = clone(extractor).set_params(standard__outlier_sigma=2, standard__image_order=1)
    assert copy.standard.outlier_sigma == 2
    assert extractor.standard.outlier_sigma == 3


def test_morphology_keeps_the_voxels_that_resegmentation_leaves_out(cohort: Cohort) -> None:
    features = ("morphology", "statistics", "gldzm")
    plain = extract(cohort, features=features)
    cut = extract(cohort, IBSISettings(intensity_range={"CT": (0, 60)}), features=features)
    assert cut["CT_stat_min"] >= 0
    assert cut["CT_stat_max"] <= 60
    assert plain["CT_stat_min"] < 0
    assert all(cut[name] == plain[name] for name in plain if name.startswith(("morph_", "PET_")))


def test_range_and_sigma_are_both_of_the_whole_mask() -> None:
    image = np.arange(64.0).reshape(4, 4, 4)
    mask = np.ones(image.shape, dtype=bool)
    mean, deviation = image.mean(), image.std()
    kept = resegment(image, mask, (40.0, 60.0), 1.0)
    expected = (image >= 40) & (image <= min(60.0, mean + deviation))
    np.testing.assert_array_equal(kept, expected)
    # Both ends belong to the range.
    assert resegment(image, mask, (40.0, 60.0), None).sum() == 21


def test_intensities_are_rounded_after_interpolation_where_asked_for(cohort: Cohort) -> None:
    found = extract(cohort, IBSISettings(resample_mm=1.5, rounded=["CT"]))
    assert found["CT_stat_max"] % 1 == found["CT_stat_min"] % 1 == 0
    assert found["PET_stat_max"] % 1 != 0


@pytest.mark.filterwarnings("ignore:bin_width:UserWarning")  # 25 is too wide for the PET
def test_bins_of_fixed_width_begin_at_the_range_or_at_a_given_edge(cohort: Cohort) -> None:
    features = ("intensity_histogram",)
    parameters = {"features": features, "bin_width": 25, "bin_count": None}
    from_range = extract(cohort, IBSISettings(intensity_range={"CT": (-500, 500)}), **parameters)
    from_edge = extract(cohort, IBSISettings(first_edge={"CT": -500}), **parameters)
    from_minimum = extract(cohort, **parameters)
    assert from_range == from_edge
    assert from_minimum["CT_ih_min"] == 1 < from_edge["CT_ih_min"]
    with pytest.raises(ValueError, match=r"border.*channel 'CT'.*below the first edge"):
        extract(cohort, IBSISettings(first_edge={"CT": 30}), **parameters)


def test_a_part_of_a_voxel_decides_whether_it_is_inside(cohort: Cohort) -> None:
    volumes = [
        extract(
            cohort,
            IBSISettings(resample_mm=2, mask_threshold=threshold),
            features=("morphology",),
        )["morph_vol_approx"]
        for threshold in (0.1, 0.5, 0.9)
    ]
    assert volumes[0] > volumes[1] > volumes[2]


def test_keeping_an_axis_interpolates_by_slice(cohort: Cohort) -> None:
    by_slice = extract(cohort, IBSISettings(resample_mm=(0, 2, 2)))
    in_space = extract(cohort, IBSISettings(resample_mm=2))
    assert by_slice["CT_stat_mean"] != in_space["CT_stat_mean"]
    same = extract(cohort, IBSISettings(resample_mm=(3.0, 1.2, 0.8)))
    assert same == extract(cohort)


def test_no_voxel_left_is_refused_by_name(cohort: Cohort) -> None:
    settings = IBSISettings(intensity_range={"CT": (5000, 6000)})
    with pytest.raises(ValueError, match=r"'border'.*'CT'.*leaves no voxel"):
        extract(cohort, settings)
    empty = RadiomicsFeatures(standard=settings, on_empty_mask="nan", **FAST)
    assert empty.fit_transform(cohort).isna().all(axis=None)
    with pytest.raises(ValueError, match=r"'border'.*too few to measure"):
        extract(cohort, IBSISettings(resample_mm=40))


def test_voxels_that_are_not_finite_are_refused_by_name(cohort: Cohort) -> None:
    # A cohort refuses such voxels itself; an engine may be given others.
    volume, region = cohort.volume(1).astype(np.float64), cohort.mask(1) > 0
    place = cohort.spacing[1], cohort.channel_names, np.array([True, True])

    def measure(settings: IBSISettings, features: tuple[str, ...]) -> np.ndarray:
        configuration = settings.configuration(features, cohort.channel_names, None, 8)
        return extract_case(RadiomicsCase("P7", volume, region, *place), configuration).values

    plain = measure(IBSISettings(), ("statistics",))
    volume[1, 0, 14, 13] = np.nan
    # Far from the region and from every sphere: nothing needs this voxel.
    np.testing.assert_array_equal(measure(IBSISettings(), ("statistics",)), plain)
    with pytest.raises(ValueError, match=r"'P7', channel 'CT'.*not finite"):
        measure(IBSISettings(resample_mm=2.5), ("statistics",))
    volume[1, 5, 7, 6] = np.inf
    with pytest.raises(ValueError, match=r"'P7', channel 'CT'.*not finite"):
        measure(IBSISettings(), ("statistics",))


def test_a_channel_that_is_absent_is_nan(cohort: Cohort) -> None:
    volumes = np.stack([cohort.volume(i) for i in range(2)])
    partial = Cohort(
        volumes,
        masks=np.stack([cohort.mask(i) for i in range(2)]),
        spacing=cohort.spacing,
        channel_names=cohort.channel_names,
        present=np.array([[True, False], [True, True]]),
    )
    found = RadiomicsFeatures(standard="ibsi", **FAST).fit_transform(partial)
    assert found.filter(like="CT_").iloc[0].isna().all()
    assert not found.filter(like="PET_").isna().any(axis=None)


def test_the_cache_tells_settings_apart(cohort: Cohort, tmp_path: object) -> None:
    first = extract(cohort, memory=tmp_path)
    assert extract(cohort, memory=tmp_path) == first
    assert extract(cohort, IBSISettings(outlier_sigma=1), memory=tmp_path) != first


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"aggregations": ("3d",)}, "aggregations"),
        ({"aggregations": ()}, "aggregations"),
        ({"resample_mm": 0}, "resample_mm"),
        ({"resample_mm": (1, 2)}, "resample_mm"),
        ({"resample_mm": (1, -2, 2)}, "resample_mm"),
        ({"image_order": 2}, "image_order"),
        ({"mask_threshold": 0}, "mask_threshold"),
        ({"rounded": ("MR",)}, "rounded"),
        ({"rounded": "CT"}, "rounded"),
        ({"intensity_range": (3, 3)}, "intensity_range"),
        ({"intensity_range": {"MR": (0, 1)}}, "intensity_range"),
        ({"outlier_sigma": 0}, "outlier_sigma"),
        ({"first_edge": 0}, "first_edge"),
        ({"ivh_bin_width": 1, "ivh_bin_count": 5}, "ivh_bin"),
        ({"ivh_bin_count": 1}, "ivh_bin_count"),
    ],
    ids=str,
)
def test_settings_that_are_not_allowed(
    cohort: Cohort, settings: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        extract(cohort, IBSISettings(**settings))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"features": "deepmts-1456"}, "families"),
        ({"features": ()}, "families"),
        ({"features": {"glcm": ("Contrast",)}}, "not a feature of family"),
        ({"features": {"glcm": ("cm_contrast_3D_avg",)}}, "aggregation is not part"),
        ({"image_types": ("original", "wavelet")}, "of its chapter 2"),
        ({"image_types": ("original",), "log_sigma": [1]}, "of its chapter 2"),
        ({"engine": "pyradiomics"}, "native"),
        ({"standard": "IBSI"}, "standard"),
    ],
    ids=str,
)
def test_parameters_that_do_not_go_together(
    cohort: Cohort, parameters: dict[str, object], message: str
) -> None:
    parameters = {"standard": "ibsi"} | parameters
    with pytest.raises(ValueError, match=message):
        RadiomicsFeatures(**parameters).fit(cohort)


def test_there_is_no_parameter_file_of_pyradiomics() -> None:
    with pytest.raises(ValueError, match="Parameter files"):
        RadiomicsFeatures(standard="ibsi").to_params()
    with pytest.raises(ValueError, match="standard"):
        RadiomicsFeatures.from_params({"setting": {"binWidth": 5}}).set_params(
            standard=IBSISettings()
        ).fit(np.zeros((1, 8, 8, 8)), masks=np.ones((1, 8, 8, 8), dtype=np.uint8))


def test_a_fitted_extractor_is_saved_with_its_settings(cohort: Cohort, tmp_path: Path) -> None:
    settings = IBSISettings(resample_mm=(0, 2, 2), intensity_range={"CT": (-100, 200)})
    extractor = RadiomicsFeatures(standard=settings, **FAST)
    expected = extractor.fit_transform(cohort)
    save(extractor, tmp_path / "model")
    pd.testing.assert_frame_equal(load(tmp_path / "model").transform(cohort), expected)


def test_morphology_needs_voxel_sizes(cohort: Cohort) -> None:
    volumes = np.stack([cohort.volume(i) for i in range(2)])
    masks = np.stack([cohort.mask(i) for i in range(2)])
    with pytest.raises(ValueError, match=r"'morphology'.*voxel sizes"):
        RadiomicsFeatures(standard="ibsi").fit(volumes, masks=masks)
    RadiomicsFeatures(standard="ibsi", features=("glcm",)).fit(volumes, masks=masks)
