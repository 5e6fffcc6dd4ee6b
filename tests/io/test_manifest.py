"""The manifest: what is read from it, and one clear error for every way to get it wrong."""

from __future__ import annotations

import os
import re

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from survimg.columns import learn_column
from survimg.io import read_manifest

GOOD = """patient_id,PET,CT,mask,time,event,group,age,stage
001,a.nii.gz,b.nii.gz,m.nii.gz,12.5,1,north,63,III
002,a.nii.gz,,m.nii.gz,30,0,south,,IVa
003,sub/c.nrrd,series,,7,1,north,51,NA
"""


@pytest.fixture
def folder(tmp_path):
    for name in ("a.nii.gz", "b.nii.gz", "m.nii.gz"):
        (tmp_path / name).touch()
    (tmp_path / "sub").mkdir()
    (tmp_path / "series").mkdir()
    (tmp_path / "sub" / "c.nrrd").touch()
    return tmp_path


def _write(folder, text, encoding="utf-8"):
    path = folder / "manifest.csv"
    path.write_bytes(text.encode(encoding))
    return path


def test_everything_is_read_and_typed(folder):
    manifest = read_manifest(_write(folder, GOOD))
    assert manifest.ids.tolist() == ["001", "002", "003"]
    assert manifest.channel_names == ("PET", "CT")
    assert manifest.images["CT"] == [folder / "b.nii.gz", None, folder / "series"]
    assert manifest.masks == [folder / "m.nii.gz", folder / "m.nii.gz", None]
    np.testing.assert_array_equal(manifest.outcome["event"], [True, False, True])
    np.testing.assert_array_equal(manifest.outcome["time"], [12.5, 30, 7])
    assert manifest.groups.tolist() == ["north", "south", "north"]
    assert list(manifest.clinical) == ["age", "stage"]
    np.testing.assert_array_equal(manifest.clinical["age"], [63.0, np.nan, 51.0])
    assert manifest.clinical["stage"].fillna("").tolist() == ["III", "IVa", ""]
    assert len(manifest) == 3


def test_image_columns_that_are_not_asked_for_are_no_clinical_columns(folder):
    manifest = read_manifest(_write(folder, GOOD), modalities=["PET"])
    assert manifest.channel_names == ("PET",)
    assert list(manifest.clinical) == ["age", "stage"]


def test_modalities_can_be_named_and_ordered(folder):
    manifest = read_manifest(_write(folder, GOOD), modalities=["CT", "PET"])
    assert manifest.channel_names == ("CT", "PET")
    with pytest.raises(ValueError, match="has no image column 'MR'"):
        read_manifest(folder / "manifest.csv", modalities=["MR"])
    with pytest.raises(ValueError, match="modalities must list different columns"):
        read_manifest(folder / "manifest.csv", modalities=["CT", "CT"])


def test_without_outcome_one_patient_is_enough(folder):
    manifest = read_manifest(_write(folder, "patient_id,PET\n1,a.nii.gz\n"))
    assert manifest.outcome is None
    assert manifest.groups is None
    assert manifest.clinical is None
    assert manifest.masks == [None]


def test_byte_order_mark_blank_lines_and_spaces_are_ignored(folder):
    text = GOOD.replace("001,", " 001 , ").replace("\n", "\r\n") + "\r\n,,,,,,,,\r\n"
    manifest = read_manifest(_write(folder, "\ufeff" + text))
    assert manifest.ids.tolist() == ["001", "002", "003"]


def test_numbers_that_name_existing_files_stay_clinical(folder):
    (folder / "63").touch()
    assert "age" in read_manifest(_write(folder, GOOD)).clinical


@pytest.mark.parametrize(
    ("old", "new", "parts"),
    [
        ("b.nii.gz", "gone.nii.gz", ["'001'", "'CT'", "gone.nii.gz"]),
        ("m.nii.gz,30", "gone.nii.gz,30", ["'002'", "'mask'", "gone.nii.gz"]),
        ("12.5", "", ["'001'", "'time'", "''"]),
        ("12.5", "NaN", ["'001'", "'time'", "NaN"]),
        ("12.5", "-3", ["'001'", "'time'", "-3"]),
        ("12.5", "inf", ["'001'", "'time'", "inf"]),
        ("12.5", "a year", ["'001'", "'time'", "a year"]),
        ("12.5", "1_000", ["'001'", "'time'", "1_000"]),
        ("30,0", "30,2", ["'002'", "'event'", "'2'"]),
        ("30,0", "30,", ["'002'", "'event'", "''"]),
        ("30,0", "30,dead", ["'002'", "'event'", "'dead'"]),
        ("002,", "001,", ["'patient_id'", "'001'", "more than once"]),
        ("002,", ",", ["position 2", "'patient_id'"]),
        ("002,", "\x07,", ["position 2", "'patient_id'"]),
        ("a.nii.gz,,", ",,", ["'002'", "no image", "'PET'", "'CT'"]),
        ("b.nii.gz", "no image here", ["'001'", "'CT'", "no image here"]),
        ("b.nii.gz", "../b.nii.gz", ["'001'", "'CT'", "outside the manifest's folder"]),
        ("b.nii.gz", "/etc/b.nii.gz", ["'001'", "'CT'", "outside the manifest's folder"]),
        ("b.nii.gz", "b\x00.nii.gz", ["'001'", "'CT'"]),
        ("b.nii.gz", "b" * 300 + ".nii.gz", ["'001'", "'CT'"]),
        ("south", "", ["'002'", "'group'"]),
        ("63", "inf", ["'001'", "'age'", "inf"]),
        ("time,event", "time,dead", ["'time'", "no column 'event'"]),
        ("time,event", "days,event", ["'event'", "no column 'time'"]),
        ("patient_id", "id", ["no column 'patient_id'"]),
        ("PET,CT", "PET,PET", ["'PET' twice"]),
        ("age,stage", "age,", ["without a name"]),
        (",III", ",III,extra", ["row 2", "'001'", "10 cells instead of 9"]),
        (",III", "", ["row 2", "'001'", "8 cells instead of 9"]),
        (GOOD[GOOD.index("001") :], "", ["one row per patient"]),
        (GOOD, "", ["one row per patient"]),
        ("12.5,1", "12.5,0", ["'event'", "none of the 3 patients"]),
    ],
)
def test_bad_manifests_are_refused_with_patient_and_column(folder, old, new, parts):
    assert old in GOOD
    text = GOOD.replace(old, new)
    if "none of the 3 patients" in parts[-1]:
        text = text.replace("7,1", "7,0")
    with pytest.raises(ValueError, match=re.escape(parts[0])) as raised:
        read_manifest(_write(folder, text))
    for part in parts:
        assert part in str(raised.value)


def test_one_patient_with_an_outcome_is_refused(folder):
    text = "".join(GOOD.splitlines(keepends=True)[:2])
    with pytest.raises(ValueError, match="holds one patient, '001'"):
        read_manifest(_write(folder, text))


def test_a_table_without_images_is_refused(folder):
    with pytest.raises(ValueError, match="no column with paths of images"):
        read_manifest(_write(folder, "patient_id,age\n1,50\n2,60\n"))


def test_missing_and_undecodable_files_are_refused(folder):
    with pytest.raises(FileNotFoundError, match=r"nothing\.csv"):
        read_manifest(folder / "nothing.csv")
    with pytest.raises(ValueError, match="not a readable CSV in UTF-8"):
        read_manifest(_write(folder, GOOD.replace("north", "nörd"), "latin-1"))
    with pytest.raises(ValueError, match="not a readable CSV"):
        read_manifest(_write(folder, GOOD + '"open'))


def test_paths_outside_the_folder_need_leave(folder):
    inner = folder / "inner"
    inner.mkdir()
    path = _write(inner, "patient_id,PET\n1,../a.nii.gz\n")
    with pytest.raises(ValueError, match="allow_outside=True"):
        read_manifest(path)
    assert read_manifest(path, allow_outside=True).images["PET"][0].exists()


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_links_that_lead_outside_need_leave_too(folder):
    inner = folder / "inner"
    inner.mkdir()
    (inner / "link.nii.gz").symlink_to(folder / "a.nii.gz")
    path = _write(inner, "patient_id,PET\n1,link.nii.gz\n")
    with pytest.raises(ValueError, match="leads outside"):
        read_manifest(path)
    assert read_manifest(path, allow_outside=True).ids.tolist() == ["1"]


_KNOWN = ["a.nii.gz", "1", "0", "", "nan", "..", "~", "series"]
_CELL = st.text(max_size=12) | st.sampled_from(_KNOWN)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(rows=st.lists(st.lists(_CELL, min_size=4, max_size=4), min_size=1, max_size=4))
def test_any_text_gives_a_manifest_or_a_value_error(folder, rows):
    import csv

    with open(folder / "fuzz.csv", "w", newline="", encoding="utf-8", errors="replace") as file:
        csv.writer(file).writerows([["patient_id", "PET", "time", "event"], *rows])
    try:
        manifest = read_manifest(folder / "fuzz.csv", modalities=["PET"])
    except ValueError:
        return
    assert manifest.outcome["event"].any()
    assert all(path.exists() for path in manifest.images["PET"] if path is not None)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(content=st.binary(max_size=200))
def test_any_bytes_give_a_manifest_or_a_value_error(folder, content):
    (folder / "fuzz.csv").write_bytes(content)
    with pytest.raises(ValueError, match="fuzz"):
        read_manifest(folder / "fuzz.csv")


@pytest.mark.parametrize(
    ("column", "words"),
    [
        ("OS_event", ["'OS_event'", "must not predict", "rename"]),
        ("date-of-relapse", ["'date-of-relapse'"]),
        ("PFS", ["'PFS'"]),
        ("Event", ["write 'event'"]),
        ("Mask", ["write 'mask'"]),
    ],
)
def test_another_endpoint_never_becomes_a_predictor(folder, column, words):
    with pytest.raises(ValueError, match=re.escape(words[0])) as caught:
        read_manifest(_write(folder, GOOD.replace("age", column)))
    assert all(word in str(caught.value) for word in words)


@pytest.mark.parametrize("column", ["HPV_status", "dose", "osteopenia", "postoperative", "T_stage"])
def test_names_that_only_contain_such_letters_are_clinical(folder, column):
    manifest = read_manifest(_write(folder, GOOD.replace("age,", f"{column},")))
    assert column in manifest.clinical


@pytest.mark.parametrize(("found", "column"), [("63", "age"), ("12.5", "time")])
def test_decimal_commas_are_refused_by_patient_and_column(folder, found, column):
    text = GOOD.replace(found, '"63,5"')
    with pytest.raises(ValueError, match=f"'001', column '{column}'.*write 63.5"):
        read_manifest(_write(folder, text))


@pytest.mark.parametrize(("separator", "called"), [(";", "semicolons"), ("\t", "tabs")])
def test_other_separators_are_named(folder, separator, called):
    text = GOOD.replace(",", separator).replace("12.5", "12,5")
    with pytest.raises(ValueError, match=f"separated by {called}"):
        read_manifest(_write(folder, text))


def test_one_word_among_numbers_is_said_to_make_categories(folder):
    text = GOOD.replace("IVa", "2").replace("NA", "3")  # a stage of III, 2 and 3
    said = r"'stage' is taken as categories, since 'III' \(patient '001'\)"
    manifest = read_manifest(_write(folder, text))
    assert manifest.clinical["stage"].tolist() == ["III", "2", "3"]
    with pytest.warns(UserWarning, match=said):
        learn_column(manifest.clinical["stage"], manifest.ids)


def test_a_folder_is_sent_to_cohort_load(folder):
    with pytest.raises(FileNotFoundError, match=r"Cohort\.load"):
        read_manifest(folder)


@pytest.mark.parametrize("kind", ["categorial", "Categorical", "ordinal", "factor", "Boolean"])
def test_a_kind_that_is_none_is_refused_and_other_colons_are_part_of_the_name(folder, kind):
    with pytest.raises(ValueError, match=f"'age:{kind}'.*'{kind}' is no kind; kinds are numeric"):
        read_manifest(_write(folder, GOOD.replace(",age,", f",age:{kind},")))
    manifest = read_manifest(_write(folder, GOOD.replace(",age,", ",ratio 1:2,")))
    assert list(manifest.clinical) == ["ratio 1:2", "stage"]


@pytest.mark.parametrize("mark", ["63", "63.0", " 63 ", "6.3e1"])
def test_a_mark_for_missing_means_all_ways_to_write_it(folder, mark):
    for cell in ("63", "63.0", "063"):
        path = _write(folder, GOOD.replace(",63,", f",{cell},"))
        assert np.isnan(read_manifest(path, na_values=[mark]).clinical["age"][0])


@pytest.mark.parametrize("cell", ["", "NA", "NaN"])
def test_a_missing_group_is_refused(folder, cell):
    with pytest.raises(ValueError, match="Patient '002', column 'group': the cell is empty"):
        read_manifest(_write(folder, GOOD.replace("south", cell)))
