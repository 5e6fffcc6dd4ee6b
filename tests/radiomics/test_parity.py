"""The native engine against PyRadiomics, feature by feature."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from survimg import Cohort
from survimg.radiomics import RadiomicsFeatures

pytest.importorskip("radiomics.featureextractor", reason="PyRadiomics is not installed")

RELATIVE = 1e-6
# Below this a value is rounding error around an exact zero (a correlation, a flat slice's axis).
ABSOLUTE = 1e-7


def assert_equal_features(native: pd.DataFrame, reference: pd.DataFrame) -> None:
    assert list(native.columns) == list(reference.columns)
    difference = (native - reference).abs()
    allowed = RELATIVE * reference.abs() + ABSOLUTE
    wrong = (difference > allowed) | (native.isna() != reference.isna())
    where = [(i, native.columns[j]) for i, j in np.argwhere(wrong.to_numpy())]
    assert not where, [(i, c, native.loc[i, c], reference.loc[i, c]) for i, c in where[:5]]


def both(cohort: Cohort, **settings: object) -> tuple[pd.DataFrame, pd.DataFrame]:
    native = RadiomicsFeatures(**settings).fit_transform(cohort)
    return native, RadiomicsFeatures(engine="pyradiomics", **settings).fit_transform(cohort)


@pytest.mark.filterwarnings("ignore:bin_width:UserWarning")  # in the smooth wavelet bands
@pytest.mark.parametrize("settings", [{"bin_count": 16}, {"bin_width": 6}], ids=str)
@pytest.mark.parametrize("region", ["border", "blob", "hollow"])
def test_paper_set_on_all_images(
    make_cohort: Callable[..., Cohort], region: str, settings: dict[str, float]
) -> None:
    cohort = make_cohort((11, 14, 13), only=region)
    cohort = cohort[[0]]
    settings = dict(settings) | ({"image_types": ("original",)} if region == "hollow" else {})
    native, reference = both(cohort, **settings)
    assert native.shape[1] == (1456 if region != "hollow" else 16 + 2 * 80)
    assert_equal_features(native, reference)


def test_every_class_on_every_geometry(make_cohort: Callable[..., Cohort]) -> None:
    native, reference = both(
        make_cohort(), features="pyradiomics", image_types=("original",), bin_count=8
    )
    assert native.shape == (6, 14 + 2 * 93)
    assert_equal_features(native, reference)


def test_laplacian_of_gaussian(make_cohort: Callable[..., Cohort]) -> None:
    native, reference = both(
        make_cohort(only="blob"),
        features=("firstorder", "glcm"),
        image_types=("log",),
        log_sigma=(2, 3.5),
    )
    assert "PET_log-sigma-3-5-mm-3D_glcm_Contrast" in native.columns
    assert_equal_features(native, reference)


@pytest.mark.filterwarnings("ignore:bin_width:UserWarning")
def test_region_of_one_grey_level(make_cohort: Callable[..., Cohort]) -> None:
    cohort = make_cohort(only="blob")
    flat = Cohort(
        np.full((1, 1, 12, 15, 14), 3.0, np.float32), masks=cohort.mask(0)[None], spacing=1.0
    )
    for settings in ({"bin_count": 8}, {"bin_width": 5.0}):
        assert_equal_features(*both(flat, image_types=("original",), **settings))


def test_surface_of_every_cube_configuration() -> None:
    from radiomics import cShape

    from survimg.radiomics.native.mesh import mesh_measures
    from survimg.radiomics.native.mesh_table import CORNERS

    spacing = np.array([2.3, 0.9, 1.6])
    for configuration in range(256):
        cube = np.zeros((2, 2, 2), dtype=np.uint8)
        for corner in range(8):
            cube[tuple(CORNERS[corner])] = configuration >> corner & 1
        area, volume = mesh_measures(cube, spacing)
        expected = cShape.calculate_coefficients(cube.astype(bool), spacing)
        assert area == pytest.approx(expected[0], rel=1e-12), configuration
        assert volume == pytest.approx(expected[1], rel=1e-12, abs=1e-12), configuration


@pytest.mark.slow
def test_sts51(shared_dir: Path) -> None:
    import SimpleITK as sitk  # noqa: N813

    folder = shared_dir / "data" / "sts51_petgrid"
    names = sorted(path.name[:7] for path in folder.glob("STS_*_mask.nii.gz"))[::5]
    volumes, masks, spacing = [], [], []
    for name in names:
        images = [sitk.ReadImage(str(folder / f"{name}_{m}.nii.gz")) for m in ("PET", "CT", "mask")]
        pet, ct, mask = (sitk.GetArrayFromImage(image) for image in images)
        volumes.append(np.stack([pet, ct]).astype(np.float32))
        masks.append((mask > 0).astype(np.uint8))
        spacing.append(images[0].GetSpacing()[::-1])
    cohort = Cohort(
        volumes, masks=masks, ids=names, spacing=spacing, channel_names=("PET", "CT")
    )
    assert_equal_features(*both(cohort))
