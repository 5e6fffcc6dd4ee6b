"""A folder of DICOM: damaged files are found all at once, and series are chosen by description."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pytest

pydicom = pytest.importorskip("pydicom")

from dicom_export import export_contours, export_series  # noqa: E402  # needs pydicom

from survimg.cli import main  # noqa: E402
from survimg.io import (  # noqa: E402
    Image,
    manifest_of_dicom,
    read_image,
    read_manifest,
    write_image,
)
from survimg.io.dicom import folder as dicom_folder  # noqa: E402

AXES = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
N = 6


@pytest.fixture
def export(tmp_path):
    """Return ``export(place, **options)``: files of a series that it adds below ``in``."""
    path = tmp_path / "image.nii.gz"
    values = np.random.default_rng(0).normal(size=(N, 8, 8)).astype(np.float32)
    write_image(path, values, Image(values, (4.0, 4.0, 4.0), (0.0, 0.0, 0.0), AXES))
    (tmp_path / "out").mkdir()

    def add(place, **options):
        folder = tmp_path / "in" / place
        before = set(folder.glob("*.dcm"))
        options = {"study": f"1.2.{ord(place[0])}", **options}
        export_series(folder, path, **options)
        return sorted(set(folder.glob("*.dcm")) - before)

    return add


def scan(tmp_path, **options):
    path = manifest_of_dicom(tmp_path / "in", tmp_path / "out", **options)
    return read_manifest(path, allow_outside=True)


def not_dicom(path: Path) -> None:
    path.write_bytes(b"\0" * 200)


def without_series(path: Path) -> None:
    dataset = pydicom.dcmread(path)
    del dataset.SeriesInstanceUID
    dataset.save_as(path)


def without_modality(path: Path) -> None:
    dataset = pydicom.dcmread(path)
    del dataset.Modality
    dataset.save_as(path)


def cut_in_the_header(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: content.index(b"Doe^Jane") - 60])


DAMAGE = [not_dicom, without_series, without_modality, cut_in_the_header]


@pytest.mark.parametrize(
    ("damage", "n_jobs"), [*((damage, 1) for damage in DAMAGE), (without_series, 2)]
)
def test_all_damaged_slices_are_named_at_once(export, tmp_path, damage, n_jobs):
    """The first and the last slice of two patients: nothing else would show that they are gone."""
    files = {name: export(f"{name}/CT") for name in "ABC"}
    hurt = [files["A"][0], files["A"][-1], files["C"][0], files["C"][-1]]
    for path in hurt:
        damage(path)
    with pytest.raises(ValueError, match="Damaged files; restore them") as error:
        scan(tmp_path, n_jobs=n_jobs)
    told = str(error.value)
    assert [str(path) in told for path in hurt] == [True] * 4
    assert str(files["B"][0]) not in told
    assert "Doe" not in told
    assert not list((tmp_path / "out").iterdir())


def test_they_are_named_beside_all_else_that_needs_order(export, tmp_path):
    export("A/one")
    export("A/two")
    bad = export("B/CT")[0]
    not_dicom(bad)
    with pytest.raises(ValueError, match="Patient 'A' has 2 CT series") as error:
        scan(tmp_path)
    assert str(bad) in str(error.value)


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_of_a_series_left_out_is_a_warning(export, tmp_path, damage):
    """Its folder holds slices of such series alone."""
    ct, mr = export("A/CT"), export("A/MR", modality="MR")
    damage(mr[2])
    with pytest.warns(UserWarning, match="no series that is used") as warned:
        manifest = scan(tmp_path, modalities=["CT"])
    assert str(mr[2]) in str(warned[0].message)
    assert manifest.images == {"CT": [ct[0].parent]}
    with pytest.raises(ValueError, match="Damaged files; restore"):
        scan(tmp_path)


def test_its_own_header_may_say_that_it_is_left_out(export, tmp_path):
    export("A/all")
    mr = export("A/all", modality="MR")
    without_series(mr[2])
    with pytest.warns(UserWarning, match="no series that is used"):
        manifest = scan(tmp_path, modalities=["CT"])
    (series,) = manifest.images["CT"]
    assert read_image(series, allow_outside=True).array.shape == (N, 8, 8)
    not_dicom(mr[2])
    with pytest.raises(ValueError, match="Damaged files; restore"):
        scan(tmp_path, modalities=["CT"])


def test_a_file_alone_may_be_the_mask(export, tmp_path):
    ct = export("A/CT")
    (tmp_path / "in" / "A" / "RT").mkdir()
    export_contours(tmp_path / "in" / "A" / "RT" / "1.dcm", ct[0].parent)
    assert scan(tmp_path).masks == [tmp_path / "in" / "A" / "RT" / "1.dcm"]
    not_dicom(tmp_path / "in" / "A" / "RT" / "1.dcm")
    with pytest.raises(ValueError, match="Damaged files; restore"):
        scan(tmp_path)


def test_where_nothing_can_be_read_all_is_named(export, tmp_path):
    files = export("A/CT")
    for path in files:
        not_dicom(path)
    with pytest.raises(ValueError, match="holds no folders of patients") as error:
        scan(tmp_path)
    assert [str(path) in str(error.value) for path in files] == [True] * N


def test_a_disk_that_fails_is_no_end_of_the_scan(export, tmp_path, monkeypatch):
    first, *_, last = export("A/CT")
    whole = dicom_folder.read_dataset

    def read(path, *arguments, **options):
        if path in (first, last):
            raise OSError(5, "Input/output error", str(path))
        return whole(path, *arguments, **options)

    monkeypatch.setattr(dicom_folder, "read_dataset", read)
    with pytest.raises(ValueError, match="Input/output error") as error:
        scan(tmp_path)
    assert str(first) in str(error.value)
    assert str(last) in str(error.value)


@pytest.mark.parametrize(
    ("given", "chosen"),
    [
        ("*venous*", "CT 2.0  Venous"),
        ("ct 2.0 venous", "CT 2.0  Venous"),
        ("CT 2.0  Arterial", "CT 2.0  Arterial"),
        ("ct ?.0 n[!x]*", "CT 2.0 native [a]"),
        ("CT 2.0 native [a]", "CT 2.0 native [a]"),
        (["portal*", "*venous"], "CT 2.0  Venous"),
        ("", ""),
    ],
)
def test_a_series_is_chosen_by_its_description(export, tmp_path, given, chosen):
    descriptions = ["CT 2.0  Arterial", "CT 2.0  Venous", "CT 2.0 native [a]", ""]
    files = {text: export("A/all", description=text) for text in descriptions}
    export("B/CT", modality="PT")  # who has none lacks it
    (found, none) = scan(tmp_path, modalities=["CT", "PET"], series={"CT": given}).images["CT"]
    assert none is None
    assert sorted(path.resolve() for path in found.iterdir()) == files[chosen]


@pytest.mark.parametrize(
    ("given", "message", "listed"),
    [
        ("*ac", "has 2 PET series with the description '\\*ac'", {"PET AC", "PET NAC"}),
        ("CTAC", "has no PET series with the description 'CTAC'", {"PET AC", "PET NAC", "Scout"}),
        (["x", "y"], "description 'x' or 'y'", {"PET AC", "PET NAC", "Scout"}),
        (None, "has 3 PET series: ", {"PET AC", "PET NAC", "Scout"}),
    ],
)
def test_descriptions_are_listed_where_they_do_not_tell(export, tmp_path, given, message, listed):
    for text in ("PET AC", "PET NAC", "Scout"):
        export(f"A/{text}", modality="PT", description=text)
    with pytest.raises(ValueError, match=message) as error:
        scan(tmp_path, series=None if given is None else {"PET": given})
    told = str(error.value)
    assert {text for text in ("PET AC", "PET NAC", "Scout") if f"{text!r} (" in told} == listed
    assert "choose by description (series=, or --series PET=...)" in told


def test_a_single_series_of_another_description_is_not_taken(export, tmp_path):
    export("A/1", modality="PT", description="PET NAC")
    with pytest.raises(ValueError, match="Patient 'A' has no PET series .* 'PET NAC' "):
        scan(tmp_path, series={"PET": "PET AC"})


def test_damage_in_a_series_that_is_not_chosen_is_a_warning(export, tmp_path):
    export("A/1", description="arterial")
    other = export("A/2", description="venous")
    not_dicom(other[0])
    with pytest.warns(UserWarning, match="no series that is used"):
        scan(tmp_path, series={"CT": "arterial"})
    with pytest.raises(ValueError, match="Damaged files; restore"):
        scan(tmp_path, series={"CT": "venous"})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"series": {"PT": "*"}}, "images called 'PT' cannot be found"),
        ({"series": {"MR": "*"}, "modalities": ["CT", "PET"]}, "but the modalities are CT, PET"),
        ({"series": {"MR": "*"}}, "but the modalities are CT"),
    ],
)
def test_a_description_needs_a_modality_that_is_used(export, tmp_path, options, message):
    export("A/1")
    with pytest.raises(ValueError, match=message):
        scan(tmp_path, **options)


@pytest.mark.filterwarnings("always::UserWarning")
def test_the_command_takes_descriptions_and_warns_of_damage(export, tmp_path, capsys):
    export("A/1", description="CT arterial")
    bright = export("A/2", description="CT venous")
    bad = export("A/3", description="CT native")[0]
    not_dicom(bad)
    for path in bright:
        dataset = pydicom.dcmread(path)
        dataset.RescaleIntercept = "1000"
        dataset.save_as(path)
    given = ["prepare", str(tmp_path / "in"), "--out", str(tmp_path / "store"), "-q", "--json"]
    given += ["--shape", "6", "8", "8", "--crop", "whole", "--normalise", "none"]
    assert main(given) == 2
    shown = capsys.readouterr().err
    assert all(text in shown for text in ("'CT arterial' (", "'CT venous' (", str(bad)))
    assert main([*given, "--series", "CT"]) == 2
    assert "--series must be like 'CT=*venous*'; got 'CT'" in capsys.readouterr().err
    assert main([*given, "--series", "CT=portal", "--series", "CT=*venous"]) == 0
    answer = capsys.readouterr()
    assert answer.err.count(str(bad)) == 1
    assert json.loads(answer.out)["patients"] == 1
    volume = np.load(tmp_path / "store" / "volumes.npy")
    assert volume.mean() == pytest.approx(1000, abs=1)


def test_a_manifest_names_its_series_itself(export, tmp_path, capsys):
    export("A/CT")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        path = manifest_of_dicom(tmp_path / "in", tmp_path / "out")
    given = ["prepare", str(path), "--out", str(tmp_path / "store"), "--shape", "6", "8", "8"]
    assert main([*given, "--series", "CT=*"]) == 2
    assert "--series does not apply to a manifest" in capsys.readouterr().err
