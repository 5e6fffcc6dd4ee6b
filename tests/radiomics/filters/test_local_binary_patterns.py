"""Local binary patterns: against PyRadiomics' values, and what they do not depend on."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from extractor_cases import build_case

from survimg.radiomics import FeatureExtractor
from survimg.radiomics.filters.local_binary_patterns import patterns_in_space, sphere_points

REFERENCES = Path(__file__).parents[1] / "references" / "local_binary_patterns.json"
RECORDS = json.loads(REFERENCES.read_text())


def test_they_are_those_of_pyradiomics() -> None:
    for record in RECORDS:
        planar = "LBP2D" in record["parameters"]["imageType"]
        if planar and not _has_skimage():
            continue
        found = FeatureExtractor(record["parameters"]).execute(*build_case(kind=record["kind"]))
        for name, value in record["values"].items():
            assert found[name] == pytest.approx(value, rel=1e-8, abs=1e-8), name
        assert set(record["values"]) == {n for n in found if not n.startswith("diagnostics_")}


def _has_skimage() -> bool:
    try:
        import skimage.feature  # noqa: F401
    except ImportError:
        return False
    return True


def test_without_scikit_image_the_planar_ones_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "skimage.feature", None)
    with pytest.raises(ImportError, match="LBP2D needs scikit-image.*pip install scikit-image"):
        FeatureExtractor({"imageType": {"LBP2D": {}}}).execute(*build_case())


@pytest.mark.parametrize("subdivisions", [0, 1, 3])
def test_points_lie_evenly_on_the_sphere(subdivisions: int) -> None:
    points = sphere_points(subdivisions)
    assert len(points) == 10 * 4**subdivisions + 2
    np.testing.assert_allclose(np.linalg.norm(points, axis=1), 1)
    np.testing.assert_allclose(points.mean(axis=0), 0, atol=1e-12)


def test_patterns_do_not_depend_on_the_scale_of_the_values() -> None:
    rng = np.random.default_rng(0)
    volume = rng.normal(size=(9, 9, 9))
    positions = rng.integers(2, 7, (20, 3))
    for pattern, scaled in zip(
        patterns_in_space(volume, positions, 3, 1.5, 1),
        patterns_in_space(7 * volume + 3, positions, 3, 1.5, 1),
        strict=True,
    ):
        np.testing.assert_allclose(scaled, pattern, rtol=1e-9)
