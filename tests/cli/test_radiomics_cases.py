"""`survimg radiomics cases.csv`: PyRadiomics' batch table and parameter file to a table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk  # noqa: N813

from survimg.cli import main
from survimg.radiomics import FeatureExtractor

PARAMS = """
setting: {binWidth: 10}
featureClass: {firstorder: [Mean, Energy], shape: [VoxelVolume]}
"""


@pytest.fixture
def cases(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    labels = np.zeros((8, 9, 10), dtype=np.uint8)
    labels[1:4, 1:4, 1:5] = 1  # two lesions of label 1
    labels[6:8, 6:8, 6:8] = 1
    labels[5:8, 1:4, 1:4] = 3
    for name in ("a", "b"):
        image = sitk.GetImageFromArray(rng.normal(50, 20, labels.shape))
        sitk.WriteImage(image, str(tmp_path / f"{name}.nrrd"))
    sitk.WriteImage(sitk.GetImageFromArray(labels), str(tmp_path / "mask.nrrd"))
    (tmp_path / "Params.yaml").write_text(PARAMS)
    table = tmp_path / "cases.csv"
    table.write_text("ID,Image,Mask,Label\nfirst,a.nrrd,mask.nrrd,\nsecond,b.nrrd,mask.nrrd,3\n")
    return table


def run(cases: Path, *options: str) -> pd.DataFrame:
    out = cases.parent / "features.csv"
    params = str(cases.parent / "Params.yaml")
    command = ["radiomics", str(cases), "--params", params, "--out", str(out), "--overwrite"]
    assert main([*command, *options]) == 0
    assert sorted(path.name for path in cases.parent.glob("features.csv*")) == ["features.csv"]
    return pd.read_csv(out)


def test_a_row_per_case(cases: Path) -> None:
    table = run(cases, "--n-jobs", "2")
    assert list(table.columns[:4]) == ["ID", "Image", "Mask", "Label"]
    assert list(table["ID"]) == ["first", "second"]
    for i, (name, label) in enumerate([("a", 1), ("b", 3)]):
        extractor = FeatureExtractor(cases.parent / "Params.yaml")
        image, mask = cases.parent / f"{name}.nrrd", cases.parent / "mask.nrrd"
        found = extractor.execute(image, mask, label=label)
        for feature in extractor.feature_names():
            assert table.loc[i, feature] == pytest.approx(found[feature], rel=1e-14)
        assert table.loc[i, "diagnostics_Mask-original_VoxelNum"] == (44 if label == 1 else 27)


def test_labels_and_lesions(cases: Path) -> None:
    volume = "original_shape_VoxelVolume"
    every = run(cases, "--all-labels")
    assert list(every["label"]) == [1, 3, 1, 3]
    assert list(every[volume]) == [44, 27, 44, 27]
    each = run(cases, "--lesions", "each")
    assert list(each["lesion"]) == [1, 2, 1]
    assert list(each[volume]) == [36, 8, 27]
    largest, total = run(cases, "--lesions", "largest"), run(cases, "--lesions", "sum")
    assert list(largest[volume]) == [36, 27]
    assert list(total[volume]) == [44, 27]
    energy = "original_firstorder_Energy"
    assert total.loc[0, energy] == pytest.approx(each.loc[:1, energy].sum())


def test_what_is_wrong_is_named(cases: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(cases.parent / "features.csv")
    for text, message in [
        ("Image,Label\na.nrrd,1\n", "no column Mask"),
        ("Image,Mask\n", "no row"),
        ("Image,Mask\nnone.nrrd,mask.nrrd\n", "line 2: Image 'none.nrrd' does not exist"),
        ("Image,Mask,Label\na.nrrd,mask.nrrd,1.5\n", "Label must be a whole number; got '1.5'"),
        ("Image,Mask,Label\na.nrrd,mask.nrrd,9\n", "Line 2 (a.nrrd): The mask has no voxel with"),
    ]:
        cases.write_text(text)
        assert main(["radiomics", str(cases), "--out", out]) == 2
        assert message in capsys.readouterr().err
        assert not list(cases.parent.glob("features.csv*"))


def test_options_that_the_file_says(cases: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(cases.parent / "features.csv")
    assert main(["radiomics", str(cases), "--out", out, "--bin-width", "3"]) == 2
    assert "--bin-width cannot go with" in capsys.readouterr().err
    assert main(["radiomics", str(cases), "--out", out, "--standard", "ibsi"]) == 2
    assert "--standard cannot go with" in capsys.readouterr().err
    assert main(["radiomics", "store", "--out", out, "--lesions", "each"]) == 2
    assert "are for a CSV" in capsys.readouterr().err


def test_finished_cases_are_found_again(
    cases: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = run(cases)
    execute, calls = FeatureExtractor.execute, []

    def count(self: FeatureExtractor, *arguments: object, **options: object) -> object:
        calls.append(arguments)
        if len(calls) == 2:
            raise ValueError("no more")
        return execute(self, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(FeatureExtractor, "execute", count)
    command = ["radiomics", str(cases), "--out", str(cases.parent / "features.csv"), "--overwrite"]
    command += ["--params", str(cases.parent / "Params.yaml")]
    assert main(command) == 2
    assert "Line 3 (b.nrrd): no more" in capsys.readouterr().err
    pd.testing.assert_frame_equal(run(cases), expected)
    assert len(calls) == 3  # the first case was not measured again
