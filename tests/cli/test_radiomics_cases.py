"""`survimg radiomics cases.csv`: PyRadiomics' batch table and parameter file to a table."""

from __future__ import annotations

from pathlib import Path

import nibabel
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


def test_maps_lie_on_the_grid_of_the_image(cases: Path) -> None:
    folder = cases.parent / "maps"
    table = run(cases, "--maps", str(folder), "--all-labels", "--lesions", "largest")
    assert sorted(path.name for path in folder.iterdir()) == [
        "1_a_label-1", "1_a_label-3", "2_b_label-1", "2_b_label-3"
    ]
    extractor = FeatureExtractor(cases.parent / "Params.yaml")
    image, mask = cases.parent / "b.nrrd", cases.parent / "mask.nrrd"
    maps = extractor.execute(image, mask, label=3, voxelBased=True)
    region = sitk.GetArrayFromImage(sitk.ReadImage(str(mask))) == 3
    for name in ("original_firstorder_Mean", "original_firstorder_Energy"):
        assert table.loc[3, name] == f"2_b_label-3/{name}.nii.gz"
        voxels = np.asarray(nibabel.load(folder / table.loc[3, name]).dataobj).T
        np.testing.assert_array_equal(np.isfinite(voxels) & (voxels != 0), region)
        expected = sitk.GetArrayFromImage(maps[name])
        np.testing.assert_array_equal(voxels[region], expected[expected != 0])
    assert not [name for name in table.columns if "shape" in name]


def test_maps_of_others_stay_beside_what_an_interrupted_run_left(
    cases: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = cases.parent / "maps", str(cases.parent / "features.csv")
    command = ["radiomics", str(cases), "--out", out]
    command += ["--params", str(cases.parent / "Params.yaml")]
    (cases.parent / "features.csv.partial").mkdir()  # of a run without maps
    (folder / "1_a").mkdir(parents=True)
    (folder / "1_a" / "mine.nii.gz").write_bytes(b"mine")
    assert main([*command, "--maps", str(folder)]) == 2
    assert "is not empty" in capsys.readouterr().err
    assert (folder / "1_a" / "mine.nii.gz").read_bytes() == b"mine"


def test_maps_that_cannot_be_written(
    cases: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = cases.parent / "maps", str(cases.parent / "features.csv")
    command = ["radiomics", str(cases), "--out", out, "--maps", str(folder)]
    command += ["--params", str(cases.parent / "Params.yaml")]
    write, paths = sitk.WriteImage, []

    def fail_at_the_fourth(image: sitk.Image, path: str, **options: bool) -> None:
        paths.append(path)
        if len(paths) == 4:
            raise OSError("no space")
        write(image, path, **options)

    with monkeypatch.context() as patched:
        patched.setattr(sitk, "WriteImage", fail_at_the_fourth)
        assert main(command) == 2
        assert "no space" in capsys.readouterr().err
        assert [path.name for path in folder.iterdir()] == ["1_a"]  # whole; of the other nothing
        assert main(command) == 0  # goes on with the second
        assert len(paths) == 6
    assert main(command) == 2
    assert "features.csv exists" in capsys.readouterr().err
    Path(out).unlink()
    assert main(command) == 2
    assert "maps is not empty" in capsys.readouterr().err
    assert main(["radiomics", "cohort", "--out", out, "--maps", "new"]) == 2
    assert "--maps is for a CSV" in capsys.readouterr().err
    (cases.parent / "Params.yaml").write_text("featureClass: {shape: }")
    assert main([*command, "--overwrite"]) == 2
    assert "no feature that there is a map of" in capsys.readouterr().err


def test_what_is_wrong_is_named(cases: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(cases.parent / "features.csv")
    for text, message in [
        ("Image,Label\na.nrrd,1\n", "no column Mask"),
        ("Image,Mask\n", "no row"),
        ("Image,Mask\nnone.nrrd,mask.nrrd\n", "line 2: Image 'none.nrrd' does not exist"),
        ("Image,Mask,Label\na.nrrd,mask.nrrd,1.5\n", "Label must be a whole number; got '1.5'"),
        ("Image,Mask,Label\na.nrrd,mask.nrrd,9\n", "Line 2 (a.nrrd): The mask has no voxel with"),
        ("Image,Mask\nParams.yaml,mask.nrrd\n", "Line 2 (Params.yaml): the image cannot be read"),
        ("Image,Mask\na.nrrd,Params.yaml\n", "Line 2 (a.nrrd): The mask cannot be read"),
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


def test_a_line_more_leaves_the_cases_that_are_stored(
    cases: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run(cases, "--cache", str(cases.parent / "cache"))
    header, *lines = cases.read_text().splitlines()
    cases.write_text("\n".join([header, "third,b.nrrd,mask.nrrd,1", *lines, ""]))
    execute, calls = FeatureExtractor.execute, []

    def count(self: FeatureExtractor, *arguments: object, **options: object) -> object:
        calls.append(arguments)
        return execute(self, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(FeatureExtractor, "execute", count)
    second = run(cases, "--cache", str(cases.parent / "cache"))
    assert len(calls) == 1
    pd.testing.assert_frame_equal(second[1:].reset_index(drop=True), first, check_dtype=False)
