"""`RadiomicsFeatures` as a scikit-learn transformer: names, errors, regions, cache."""

from __future__ import annotations

import importlib.util
import os
import pickle
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, clone
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from survimg import Cohort
from survimg.radiomics import RadiomicsFeatures
from survimg.radiomics.names import IBSI_IDENTIFIERS
from survimg.radiomics.regions import shell

FAST = {"features": ("firstorder", "ngtdm"), "image_types": ("original",)}


def available_engines() -> list[str]:
    # This folder has the package's name, but no origin as a package.
    spec = importlib.util.find_spec("radiomics")
    installed = spec is not None and spec.origin is not None
    return ["native", "pyradiomics"] if installed else ["native"]


def test_names_of_the_paper_set(make_cohort: Callable[..., Cohort]) -> None:
    extractor = RadiomicsFeatures().fit(make_cohort())
    names = extractor.get_feature_names_out()
    assert len(names) == extractor.n_features_out_ == 1456
    assert len(set(names)) == 1456
    assert names[0] == "original_shape_MeshVolume"
    assert {"PET_original_firstorder_Mean", "CT_wavelet-LLH_glcm_Contrast"} <= set(names)
    assert extractor.ibsi_identifiers_["PET_wavelet-HHH_glcm_Contrast"] == "ACUI"


def test_columns_follow_the_selection(make_cohort: Callable[..., Cohort]) -> None:
    features = {"glcm": ["Contrast"], "shape": None}
    extractor = RadiomicsFeatures(features=features, image_types=("wavelet",)).fit(make_cohort())
    assert extractor.n_features_out_ == 14 + 2 * 8
    assert extractor.get_feature_names_out()[-1] == "CT_wavelet-LLL_glcm_Contrast"


def test_plain_arrays(make_cohort: Callable[..., Cohort]) -> None:
    cohort = make_cohort(only="blob")
    volumes, masks = cohort.volume(0)[None], cohort.mask(0)[None]
    extractor = RadiomicsFeatures(**FAST, spacing=cohort.spacing[0])
    plain = extractor.fit_transform(volumes, masks=masks)
    assert plain.columns[0] == "channel0_original_firstorder_Energy"
    expected = RadiomicsFeatures(**FAST).fit_transform(cohort)
    np.testing.assert_array_equal(plain.to_numpy(), expected.to_numpy())


def test_in_a_pipeline_with_pandas_output(make_cohort: Callable[..., Cohort]) -> None:
    pipeline = make_pipeline(RadiomicsFeatures(**FAST), StandardScaler())
    found = pipeline.set_output(transform="pandas").fit_transform(make_cohort())
    assert list(found.columns) == list(pipeline.get_feature_names_out())
    assert isinstance(found.index, pd.RangeIndex)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"engine": "fast"}, "'engine' parameter"),
        ({"bin_width": 1, "bin_count": 8}, "not both"),
        ({"bin_width": -1}, "'bin_width' parameter"),
        ({"bin_count": 1}, "'bin_count' parameter"),
        ({"features": "all"}, "no feature set"),
        ({"features": ("texture",)}, "at least one of the classes"),
        ({"features": {"glcm": ["Contrst"]}}, "is not a feature of class"),
        ({"image_types": ("gradient",)}, "image_types must be"),
        ({"image_types": ("log",)}, "log_sigma"),
        ({"log_sigma": (1,)}, "log_sigma"),
        ({"shell_mm": 0}, "'shell_mm' parameter"),
        ({"on_empty_mask": "skip"}, "'on_empty_mask' parameter"),
        ({"spacing": 1.0}, "brings its own"),
    ],
)
def test_wrong_parameters_are_refused_in_fit(
    make_cohort: Callable[..., Cohort], wrong: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        RadiomicsFeatures(**wrong).fit(make_cohort())


def test_voxel_size_is_never_guessed(make_cohort: Callable[..., Cohort]) -> None:
    cohort = make_cohort(only="blob")
    volumes, masks = cohort.volume(0)[None], cohort.mask(0)[None]
    with pytest.raises(ValueError, match=r"features 'shape'.*TotalEnergy"):
        RadiomicsFeatures().fit(volumes, masks=masks)
    without = RadiomicsFeatures(features=("glcm",), image_types=("original",))
    assert without.fit_transform(volumes, masks=masks).notna().all(axis=None)


def test_spacing_moves_what_has_units_and_nothing_else(make_cohort: Callable[..., Cohort]) -> None:
    cohort = make_cohort(only="blob")
    volumes, masks = cohort.volume(0)[None], cohort.mask(0)[None]
    one, two = (
        RadiomicsFeatures(image_types=("original",), spacing=s).fit_transform(volumes, masks=masks)
        for s in (1.0, 2.0)
    )
    changed = set(one.columns[(one != two).any()])
    assert two["original_shape_MeshVolume"][0] == pytest.approx(
        8 * one["original_shape_MeshVolume"][0]
    )
    assert all("shape" in name or "TotalEnergy" in name for name in changed)


# ---------------------------------------------------------------------- regions


@pytest.mark.parametrize("kind", ["empty", "voxel", "pair", "line", "missing"])
def test_region_too_small(make_cohort: Callable[..., Cohort], kind: str) -> None:
    cohort = make_cohort()[[0, 1]]
    masks = [cohort.mask(0), np.zeros_like(cohort.mask(1))]
    if kind == "voxel":
        masks[1][2, 3, 4] = 1
    elif kind == "pair":
        masks[1][2, [3, 4], [4, 5]] = 1
    elif kind == "line":
        masks[1][2, 3, 4:9] = 1
    given = masks if kind != "missing" else [masks[0], None]
    volumes = np.stack([cohort.volume(0), cohort.volume(1)])
    changed = Cohort(volumes, masks=given, spacing=1, ids=["good", "bad"])
    for n_jobs in (None, 2):
        with pytest.raises(ValueError, match="patient 'bad' is missing, empty, or too small"):
            RadiomicsFeatures(**FAST, n_jobs=n_jobs).fit_transform(changed)
    found = RadiomicsFeatures(**FAST, on_empty_mask="nan").fit_transform(changed)
    assert found.iloc[0].notna().all()
    assert found.iloc[1].isna().all()


def test_region_without_a_volume_inside_its_surface(make_cohort: Callable[..., Cohort]) -> None:
    cohort = make_cohort()[[0, 1]]
    scattered = np.zeros_like(cohort.mask(1))
    scattered[[2, 6, 7], [1, 7, 7], [2, 4, 3]] = 1  # the last two touch at an edge
    volumes = np.stack([cohort.volume(0), cohort.volume(1)])
    changed = Cohort(volumes, masks=[cohort.mask(0), scattered], spacing=1, ids=["good", "bad"])
    shape = {"features": ("shape",), "image_types": ("original",)}
    with pytest.raises(ValueError, match="Patient 'bad': The surface of the region encloses -0.5"):
        RadiomicsFeatures(**shape).fit_transform(changed)
    found = RadiomicsFeatures(**shape, on_empty_mask="nan").fit_transform(changed)
    assert found.iloc[0].notna().all()
    assert found.iloc[1].isna().all()


def test_voxels_that_are_not_finite(
    make_cohort: Callable[..., Cohort], monkeypatch: pytest.MonkeyPatch
) -> None:
    # A cohort refuses them at its own door; the engines do not rely on that.
    monkeypatch.setattr("survimg.cohort.voxels.finite_voxels", lambda values, *_: values)
    cohort = make_cohort(only="blob")
    volume, mask = cohort.volume(0).copy(), cohort.mask(0)
    inside = tuple(np.argwhere(mask)[0])

    def spoilt(position: tuple[int, ...]) -> Cohort:
        """Spoil an array behind its cohort's back, which refuses such voxels at the door."""
        changed = volume.copy()
        cohort = Cohort(
            changed[None], masks=mask[None], ids=["p7"], spacing=1, channel_names=("PET", "CT")
        )
        changed[(1, *position)] = np.nan
        return cohort

    beside = (inside[0] - 2, *inside[1:])
    RadiomicsFeatures(image_types=("original",)).fit_transform(spoilt(beside))
    for engine in available_engines():
        with pytest.raises(ValueError, match=r"'p7', channel 'CT'.*glcm.*undefined"):
            RadiomicsFeatures(engine=engine).fit_transform(spoilt(inside))
        with pytest.raises(ValueError, match=r"'p7', channel 'CT', image 'wavelet'.*reach"):
            RadiomicsFeatures(engine=engine).fit_transform(spoilt(beside))
        with pytest.raises(ValueError, match=r"'p7', channel 'CT', image 'log'.*whole volume"):
            RadiomicsFeatures(engine=engine, image_types=("log",), log_sigma=(1,)).fit_transform(
                spoilt((0, 0, 0))
            )


def test_absent_modality_is_nan_and_shape_is_not(make_cohort: Callable[..., Cohort]) -> None:
    cohort = make_cohort(only="blob")
    half = Cohort(
        cohort.volume(0)[None],
        masks=cohort.mask(0)[None],
        spacing=1,
        channel_names=("PET", "CT"),
        present=[[False, True]],
    )
    for engine in available_engines():
        found = RadiomicsFeatures(engine=engine, image_types=("original",)).fit_transform(half)
        missing = set(found.columns[found.isna().any()])
        assert missing == {name for name in found.columns if name.startswith("PET_")}


def test_shell_is_around_the_mask() -> None:
    mask = np.zeros((9, 9, 9), dtype=bool)
    mask[4, 4, 4] = True
    around = shell(mask, np.array([3.0, 1.0, 1.0]), 2.0)
    distance = np.sqrt(
        ((np.indices(mask.shape) - 4) ** 2 * np.array([9, 1, 1])[:, None, None, None]).sum(axis=0)
    )
    np.testing.assert_array_equal(around, (distance > 0) & (distance <= 2))


def test_shell_features_are_those_of_the_shell_as_mask(make_cohort: Callable[..., Cohort]) -> None:
    cohort = make_cohort(only="blob")
    found = RadiomicsFeatures(**FAST, shell_mm=2.5).fit_transform(cohort)
    ring = shell(cohort.mask(0) > 0, cohort.spacing[0], 2.5)
    as_mask = Cohort(
        cohort.volume(0)[None],
        masks=ring[None].astype(np.uint8),
        spacing=cohort.spacing,
        channel_names=("PET", "CT"),
    )
    expected = RadiomicsFeatures(**FAST).fit_transform(as_mask)
    assert list(found.columns) == [f"shell-2.5mm_{name}" for name in expected.columns]
    np.testing.assert_array_equal(found.to_numpy(), expected.to_numpy())


class Thresholder(BaseEstimator):
    """Segments the voxels of channel 1 above a level."""

    def __init__(self, level: float = 60.0) -> None:
        self.level = level

    def fit(self, X: Cohort, y: object = None) -> Thresholder:
        self.level_ = self.level
        return self

    def predict_mask(self, X: Cohort) -> np.ndarray:
        return np.stack([volume[1] > self.level_ for volume in X])


def test_masks_from_an_estimator(make_cohort: Callable[..., Cohort], tmp_path: Path) -> None:
    cohort = make_cohort()[[0, 1]]
    with pytest.raises(Exception, match="FrozenEstimator"):
        RadiomicsFeatures(**FAST, mask_from=Thresholder()).fit(cohort)
    with pytest.raises(TypeError, match="predict_mask"):
        RadiomicsFeatures(**FAST, mask_from=StandardScaler()).fit(cohort)
    frozen = FrozenEstimator(Thresholder().fit(cohort))
    extractor = clone(RadiomicsFeatures(**FAST, mask_from=frozen, memory=tmp_path))
    found = extractor.fit_transform(cohort)
    voxels = np.stack([cohort.volume(i) for i in range(2)])
    segmented = Cohort(
        voxels, masks=voxels[:, 1] > 60, spacing=cohort.spacing, channel_names=("PET", "CT")
    )
    expected = RadiomicsFeatures(**FAST).fit_transform(segmented)
    np.testing.assert_array_equal(found.to_numpy(), expected.to_numpy())
    # Another segmentation must not find the records of the first one.
    other = FrozenEstimator(Thresholder(30.0).fit(cohort))
    changed = extractor.set_params(mask_from=other).fit_transform(cohort)
    assert not np.array_equal(changed.to_numpy(), found.to_numpy())


# ---------------------------------------------------------------------- discretisation


def test_too_wide_bins_warn_and_name_the_image(make_cohort: Callable[..., Cohort]) -> None:
    cohort = make_cohort(only="blob")
    with pytest.warns(UserWarning, match=r"fewer than 4 grey.*'blob', channel 'PET', image 'orig"):
        RadiomicsFeatures(**FAST, bin_width=1000).fit_transform(cohort)


def test_default_is_32_bins(make_cohort: Callable[..., Cohort]) -> None:
    cohort = make_cohort(only="blob")
    default, same, other = (
        RadiomicsFeatures(**FAST, bin_count=count).fit_transform(cohort) for count in (None, 32, 16)
    )
    assert default.equals(same)
    assert not default.equals(other)


def test_too_many_levels_name_the_patient(make_cohort: Callable[..., Cohort]) -> None:
    with pytest.raises(ValueError, match=r"'blob', channel 'PET'.*grey levels; at most"):
        RadiomicsFeatures(**FAST, bin_width=1e-6).fit_transform(make_cohort(only="blob"))


# ---------------------------------------------------------------------- cache, jobs


def test_cache_is_used_across_folds_and_settings_are_kept_apart(
    make_cohort: Callable[..., Cohort], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cohort = make_cohort()
    extractor = RadiomicsFeatures(**FAST, memory=tmp_path)
    first = extractor.fit_transform(cohort)
    records = list(tmp_path.rglob("*.npz"))
    assert len(records) == len(cohort)
    for path in records:
        with np.load(path, allow_pickle=False) as record:
            assert record["values"].shape == (first.shape[1],)
    counted = _count_extractions(monkeypatch)
    fold = extractor.transform(cohort[[3, 1]])
    assert not counted
    np.testing.assert_array_equal(fold.to_numpy(), first.iloc[[3, 1]].to_numpy())
    extractor.set_params(bin_count=8).fit_transform(cohort)
    assert len(counted) == len(cohort)


def test_damaged_or_malicious_records_are_recomputed(
    make_cohort: Callable[..., Cohort], tmp_path: Path
) -> None:
    cohort = make_cohort(only="blob")
    extractor = RadiomicsFeatures(**FAST, memory=joblib.Memory(tmp_path, verbose=0))
    first = extractor.fit_transform(cohort)
    (path,) = tmp_path.rglob("*.npz")
    trap = tmp_path / "executed"
    for damage in (b"", b"PK\x03\x04 broken", pickle.dumps(_Trap(str(trap)))):
        path.write_bytes(damage)
        with pytest.warns(UserWarning, match="cannot be used counts as none"):
            assert extractor.fit_transform(cohort).equals(first)
    np.savez(path, values=np.array([_Trap(str(trap))], dtype=object), n_levels=np.zeros((2, 1)))
    with pytest.warns(UserWarning, match="Python objects"):
        assert extractor.fit_transform(cohort).equals(first)
    assert not trap.exists()
    assert not list(tmp_path.rglob("*tmp"))


class _Trap:
    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (open, (self.path, "w"))


def _count_extractions(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    from survimg.radiomics.native import engine

    seen: list[str] = []
    original = engine.extract_case

    def counting(case: Any, settings: Any) -> Any:
        seen.append(case.patient)
        return original(case, settings)

    monkeypatch.setattr(engine, "extract_case", counting)
    return seen


def test_jobs_do_not_change_values(
    make_cohort: Callable[..., Cohort], capsys: pytest.CaptureFixture[str]
) -> None:
    cohort = make_cohort()
    alone = RadiomicsFeatures(**FAST).fit_transform(cohort)
    assert not capsys.readouterr().err
    shared = RadiomicsFeatures(**FAST, n_jobs=2, verbose=True).fit_transform(cohort)
    assert "6/6" in capsys.readouterr().err
    assert shared.equals(alone)


# ---------------------------------------------------------------------- without PyRadiomics

_WITHOUT = """
    import importlib.abc, sys

    class Absent(importlib.abc.MetaPathFinder):
        def find_spec(self, name, path=None, target=None):
            if name.split(".")[0] == "radiomics":
                raise ImportError("no PyRadiomics here")

    sys.meta_path.insert(0, Absent())
    import survimg
    assert "survimg.radiomics" not in sys.modules and "numba" not in sys.modules
    import numpy as np
    from survimg.radiomics import RadiomicsFeatures
    volumes = np.random.default_rng(0).normal(size=(1, 1, 8, 8, 8)).astype("float32")
    masks = np.zeros((1, 8, 8, 8), "uint8")
    masks[:, 1:6, 1:6, 1:6] = 1
    assert RadiomicsFeatures(spacing=1).fit_transform(volumes, masks=masks).shape == (1, 736)
    try:
        RadiomicsFeatures(engine="pyradiomics", spacing=1).fit(volumes, masks=masks)
    except ImportError as error:
        assert "pip install numpy setuptools wheel" in str(error)
        assert "pip install --no-build-isolation pyradiomics==3.0.1" in str(error)
    else:
        raise AssertionError("PyRadiomics was found")
"""


def test_works_where_pyradiomics_cannot_be_imported() -> None:
    environment = os.environ | {"PYTHONWARNINGS": "default"}
    subprocess.run(
        [sys.executable, "-c", textwrap.dedent(_WITHOUT)], check=True, env=environment, timeout=300
    )


def test_every_class_is_documented_in_names() -> None:
    assert {name: len(features) for name, features in IBSI_IDENTIFIERS.items()} == {
        "shape": 17, "firstorder": 19, "glcm": 24, "glrlm": 16, "glszm": 16, "ngtdm": 5, "gldm": 14
    }  # fmt: skip


def test_a_negative_control_has_the_values_and_not_the_texture() -> None:
    mask = np.zeros((9, 10, 11), dtype=np.uint8)
    mask[1:8, 2:9, 2:9] = 1
    ramp = np.indices(mask.shape).sum(axis=0).astype(np.float32)
    cohort = Cohort(ramp[np.newaxis, np.newaxis], masks=mask[np.newaxis], spacing=1.0)
    options = {"features": ("shape", "firstorder", "glcm"), "image_types": ("original",)}
    real = RadiomicsFeatures(**options).fit_transform(cohort)
    control = RadiomicsFeatures(control="shuffled-roi", **options).fit_transform(cohort)
    alone = [name for name in real if "_glcm_" not in name]
    np.testing.assert_allclose(control[alone], real[alone], rtol=1e-9)
    correlation = next(name for name in real if name.endswith("_glcm_Correlation"))
    assert real[correlation].item() > 0.5
    assert abs(control[correlation].item()) < 0.2
    again = RadiomicsFeatures(control="shuffled-roi", **options).fit_transform(cohort)
    pd.testing.assert_frame_equal(again, control)
    # Voxels outside matter to filters only.
    outside = RadiomicsFeatures(control="shuffled-non-roi", **options).fit_transform(cohort)
    pd.testing.assert_frame_equal(outside, real)
    full = RadiomicsFeatures(control="shuffled-full", **options).fit_transform(cohort)
    mean = correlation.replace("_glcm_Correlation", "_firstorder_Mean")
    assert full[mean].item() != real[mean].item()
