"""What a cell means: one rule, learned from training patients, whoever else is in a table."""

from __future__ import annotations

import datetime as dt
import decimal
import warnings

import numpy as np
import pandas as pd
import pytest

from survimg import Cohort
from survimg.columns import as_frame, declare, formula, learn_column, level_of
from survimg.features import ClinicalFeatures

DAYS = ["1950-03-02", "1951-01-01", "1960-02-02", "1961-02-03"]


def encoded(fitted: ClinicalFeatures, **columns) -> dict:
    return fitted.transform(pd.DataFrame(columns)).to_dict("list")


# ------------------------------------------------------------------ levels


@pytest.mark.parametrize(
    "new",
    [
        [1, 2, 3, 2],
        [1.0, 2.0, 3.0, 2.0],
        ["1", "2", "3", "2"],
        [" 1 ", "2.0", "3", "2"],
        pd.Series([1, 2, 3, 2], dtype="Int64"),
        pd.Categorical([1, 2, 3, 2]),
        pd.Series([1, 2, 3, 2]).astype("category"),
    ],
    ids=lambda new: str(getattr(new, "dtype", new)),
)
def test_a_stage_stays_itself_where_nobody_else_has_a_letter(new):
    fitted = ClinicalFeatures().fit(pd.DataFrame({"T": ["1", "2", "3", "4a", "4b", "2"]}))
    assert encoded(fitted, T=new) == {
        "T_2": [0, 1, 0, 1], "T_3": [0, 0, 1, 0], "T_4a": [0] * 4, "T_4b": [0] * 4
    }


@pytest.mark.parametrize("missing", [None, np.nan, pd.NA])
def test_categories_with_and_without_missing_values_are_the_same(missing):
    train = pd.DataFrame({"T": pd.Series([1, 2, 3, missing, 2, 3]).astype("category")})
    fitted = ClinicalFeatures().fit(train)
    assert encoded(fitted, T=pd.Series([1, 2, 3, 2]).astype("category")) == {
        "T_2": [0, 1, 0, 1], "T_3": [0, 0, 1, 0]
    }


@pytest.mark.parametrize(
    "train",
    [
        [True, False, True, False],
        pd.array([True, False, None, True], dtype="boolean"),
        [True, False, None, True],
        ["true", "false", "TRUE", "False"],
        ["True", 0, 1, False],
    ],
)
@pytest.mark.parametrize(
    "new", [[1, 0], [1.0, 0.0], ["1", "0"], [True, False], ["true", "FALSE"], ["1.0", " 0 "]]
)
def test_true_and_false_have_many_spellings(train, new):
    fitted = ClinicalFeatures().fit(pd.DataFrame({"hpv": train}))
    assert fitted.kinds_ == {"hpv": "boolean"}
    assert encoded(fitted, hpv=new) == {"hpv_True": [1.0, 0.0]}


def test_numbers_0_and_1_take_true_and_false_and_ages_do_not():
    fitted = ClinicalFeatures().fit(pd.DataFrame({"smoker": [0, 1, 1], "age": [50, 60, 70]}))
    assert encoded(fitted, smoker=[True, False], age=[1, 2])["smoker"] == [1.0, 0.0]
    with pytest.raises(ValueError, match=r"'age' was numeric.*True.*patient '0'"):
        encoded(fitted, smoker=[1, 0], age=[True, False])


@pytest.mark.parametrize("level", ["none", "null", "n/a", "None", "N/A", "unknown", "-", "+"])
def test_only_what_is_documented_is_missing(level):
    given = [level, "cisplatin", level, level, "5FU", level, "cisplatin"]
    table = ClinicalFeatures().fit_transform(pd.DataFrame({"chemo": given}))
    assert table.sum(axis=1).tolist() == [
        float(value != min(given)) for value in given
    ]  # the reference alone has no column: nobody counts as something else
    assert len(ClinicalFeatures().fit(pd.DataFrame({"chemo": given})).levels_["chemo"]) == 3


@pytest.mark.parametrize("mark", ["", "  ", "NA", "NaN", "nan", None, np.nan, pd.NA, pd.NaT])
def test_what_is_missing_is_missing_among_numbers_and_words(mark):
    table = as_frame({"age": [50, mark, 60], "site": ["a", mark, "b"]})
    assert table.isna().to_numpy().tolist() == [[False] * 2, [True] * 2, [False] * 2]
    assert table["age"].dtype == np.float64


def test_case_and_blanks_make_no_levels_of_their_own():
    train = pd.DataFrame({"h": ["adeno", "adeno", " adeno", "Adeno", "squamous", "squa mous"]})
    with pytest.warns(UserWarning, match="'Adeno' and 'adeno'.*'squamous' and 'squa mous'"):
        fitted = ClinicalFeatures().fit(train)
    assert fitted.levels_ == {"h": ["adeno", "squa mous"]}
    with pytest.warns(UserWarning, match=r"spells levels otherwise.*'SQUAMOUS' as 'squa"):
        assert next(iter(encoded(fitted, h=["SQUAMOUS", "Adeno"]).values())) == [1.0, 0.0]


def test_an_unknown_level_is_named_with_its_patient_and_what_training_had():
    fitted = ClinicalFeatures().fit(pd.DataFrame({"site": ["oral", "larynx", "oral"]}))
    table = pd.DataFrame({"site": ["nose", "oral"]}, index=["P7", "P8"])
    with pytest.warns(UserWarning, match=r"'nose'.*P7.*\['larynx', 'oral'\].*reference.*'larynx'"):
        assert fitted.transform(table)["site_oral"].tolist() == [0.0, 1.0]


def test_composed_and_decomposed_letters_are_one_level():
    assert level_of("e\u0301clair") == level_of("éclair")
    assert level_of("\u200bzero\x00") == "zero"  # what nobody sees is no difference


# ------------------------------------------------------------------ what is refused


@pytest.mark.parametrize(
    "column",
    [
        DAYS,
        [dt.date.fromisoformat(day) for day in DAYS],
        [dt.datetime.fromisoformat(day) for day in DAYS],
        pd.PeriodIndex(DAYS, freq="D"),
        pd.to_datetime(DAYS),
        pd.to_datetime(DAYS).tz_localize("UTC"),
        pd.to_datetime(DAYS) - pd.Timestamp("1940-01-01"),
        pd.Categorical(pd.to_datetime(DAYS)),
        ["02.03.1950", "01.01.1951", "2.2.1960", "3.2.61"],
        ["3/2/1950", "1/1/1951", "2/2/1960", "2/3/1961"],
        ["2-Mar-1950", "1 Jan 1951", "Feb 2, 1960", "3. Mai 1961"],
        ["1950-03-02T10:30:00", "1951-01-01 08:00", "1960-02-02T00:00:00Z", ""],
        ["1950-03", "1951-01", "1960-02", "1961-02"],
        [19500302, 19510101, 19600202, 19610203],
        ["19500302", "19510101", "19600202", "19610203"],
        ["unknown", "unknown", "unknown", "1950-03-02"],
        ["Jan-20", "Feb-20", "Mar-20", "Jan-20"],
        ["20-Jan", "21-Feb", "2-Mar", "3-Apr"],
        ["2 août 1950", "3 déc. 1951", "4 févr. 1960", "5 juin 1961"],
        ["2. März 1950", "3. Mrz 51", "4 Okt 1960", ""],
        ["2020-W01", "2020W02", "2020-W03", "2020-W04"],
        ["2020Q1", "2020-Q2", "2020q3", ""],
    ],
    ids=lambda column: str(next(iter(column))),
)
def test_dates_are_refused_in_every_form(column):
    with pytest.raises(ValueError, match="'birth' holds dates.*years since birth"):
        ClinicalFeatures().fit(pd.DataFrame({"birth": column}))


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (["57.3", "61", "unknown", "70"], r"mixes numbers.*'57.3'.*'unknown'.*na_values"),
        ([*map(str, range(40, 60)), "unknown"], "mixes numbers"),
        ([f"MRN{i:04d}" for i in range(8)], "identifiers or free text.*8 of its 8"),
        ([f"note {i}" for i in range(12)] + ["none"] * 12, "identifiers or free text"),
        (["57", ".", "60"], r"'\.' is a common mark"),
        (["a", "#N/A", "b"], "error of a spreadsheet"),
        (["57,3", "60,1", "61"], "decimal comma; write 57.3"),
        (["1,234", "2,345", "3,456"], "separate thousands; write 1.234, or 1234"),
        (["1,234.5", "2,345.6", "3,456.7"], "units or separators"),
        (["1'234", "2'345", "3'456"], "units or separators"),
        (["12%", "15 %", "17.5%"], "units or separators, such as '12%'"),
        (["57 y", "60 years", "62 y", "57 y"], "units or separators"),
        (["5 days", "30 days", "2 weeks"], "units or separators"),
        ([4711003 + 10 * i for i in range(12)], "holds identifiers.*4711003"),
        ([f"00{4711003 + 7 * i}" for i in range(12)], "holds identifiers"),
        ([[1], [2], [1]], "type list"),
        ([decimal.Decimal("1.5"), decimal.Decimal(2), decimal.Decimal(3)], "type Decimal"),
        (np.array([1 + 1j, 2, 3]), "complex"),
        ([b"a", b"b", b"a"], "type bytes"),
        (pd.IntervalIndex.from_breaks([0, 1, 2, 3]), "interval"),
    ],
)
def test_columns_that_are_no_numbers_or_categories_are_refused_by_name(column, message):
    with pytest.raises(ValueError, match=f"'x'.*{message}|{message}.*'x'"):
        ClinicalFeatures().fit(pd.DataFrame({"x": column}))


def test_a_declared_column_is_taken_at_its_word():
    names = [f"MRN{i:04d}" for i in range(8)]
    declared = ClinicalFeatures(kinds={"x": "categorical"}).fit(pd.DataFrame({"x": names}))
    assert len(declared.levels_["x"]) == 8
    codes = pd.DataFrame({"g": [1, 2, 3, 1]})
    assert list(ClinicalFeatures(kinds={"g": "categorical"}).fit_transform(codes)) == ["g_2", "g_3"]
    with pytest.raises(ValueError, match=r"'g' is declared boolean, but holds '2', '3'"):
        ClinicalFeatures(kinds={"g": "boolean"}).fit(codes)
    with pytest.raises(ValueError, match="'x' was numeric.*'MRN0000'"):
        declare(as_frame({"x": names}), {"x": "numeric"})
    with pytest.raises(ValueError, match="kinds are numeric, categorical, boolean.*columns g"):
        ClinicalFeatures(kinds={"g": "ordinal"}).fit(codes)


def test_numbers_that_measure_something_are_no_identifiers():
    for numbers in (
        [150_000 + 1000 * i for i in range(12)], [4711003] * 6 + [4711004] * 6,
        [200_000.5 + i for i in range(12)], list(range(12)),
    ):
        assert learn_column(pd.Series(numbers, name="platelets")).kind == "numeric"


def test_two_doses_are_the_arms_of_a_trial():
    assert learn_column(pd.Series(["60 Gy", "70 Gy", "60 Gy"], name="dose")).kind == "categorical"


@pytest.mark.parametrize("later", [["a", "b", None], [1.0, 2.0, 3.0], [True, False, None]])
def test_a_column_without_a_value_in_training_is_not_used_whatever_it_holds_later(later):
    train = pd.DataFrame({"x": [None, np.nan, None], "age": [50.0, 60.0, 70.0]})
    fitted = ClinicalFeatures().fit(train)
    new = pd.DataFrame({"x": later, "age": [51.0, 61.0, 71.0]}, index=list("pqr"))
    with pytest.warns(UserWarning, match="'x' had no value in training; those of patients p, q"):
        assert fitted.transform(new).to_dict("list") == {"age": [51.0, 61.0, 71.0]}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fitted.transform(train)


def test_dashes_of_print_are_the_sign_and_spell_no_level_of_their_own():
    numbers = pd.DataFrame({"x": ["\N{MINUS SIGN}1.5", "2", "3"]})
    assert ClinicalFeatures().fit_transform(numbers)["x"].tolist() == [-1.5, 2.0, 3.0]
    fitted = ClinicalFeatures().fit(pd.DataFrame({"x": ["HPV-", "HPV+", "HPV-"]}))
    with pytest.warns(UserWarning, match="spells levels otherwise"):
        assert encoded(fitted, x=["HPV\N{EN DASH}", "HPV+"]) == {"x_HPV-": [1.0, 0.0]}
    with pytest.warns(UserWarning, match="spells levels otherwise"):
        assert encoded(fitted, x=["\N{FULLWIDTH LATIN CAPITAL LETTER H}PV-", "HPV+"]) == {
            "x_HPV-": [1.0, 0.0]
        }


@pytest.mark.parametrize("name", ["Unnamed: 0", "Unnamed: 3_level_1"])
def test_an_index_that_was_written_is_no_clinical_column(name):
    with pytest.raises(ValueError, match=f"{name}.*an index that was written"):
        as_frame({name: [0, 1, 2]})


def test_a_rare_category_is_no_identifier():
    sites = ["oral"] * 96 + ["larynx", "nose", "lip", "ear"]
    assert learn_column(pd.Series(sites, name="site")).kind == "categorical"


def test_a_few_words_among_numbers_are_told():
    column = pd.Series(["0", "1", "2", "1", "x"], name="grade")
    with pytest.warns(UserWarning, match="'grade' is taken as categories, since 'x'"):
        learn_column(column)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        learn_column(pd.Series(["1", "2", "3", "1", "4a"], name="T"))


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        ({"sex": ["M", "F", "M"], "sex_M": [1.0, 2, 3]}, "sex_M"),
        ({"age": [1, None, 2], "missingindicator_age": [1.0, 2, 3]}, "missingindicator_age"),
        ({"a": ["A", "b_c", "A"], "a_b": ["a", "c", "a"]}, "a_b_c"),
    ],
)
def test_names_that_would_stand_twice_are_refused(frame, words):
    with pytest.raises(ValueError, match=f"both be encoded as '{words}'; rename"):
        ClinicalFeatures().fit(pd.DataFrame(frame))


def test_whole_numbers_as_names_of_columns_work_and_equal_names_do_not():
    table = pd.DataFrame({0: [1, 2, 3], "b": [1, 2, 4]})
    assert ClinicalFeatures().fit_transform(table).columns.tolist() == ["0", "b"]
    assert ClinicalFeatures(clinical_columns=[0]).fit_transform(table).columns.tolist() == ["0"]
    with pytest.raises(ValueError, match="several clinical columns named '0'"):
        ClinicalFeatures().fit(pd.DataFrame([[1, 2], [3, 4]], columns=[0, " 0"]))
    cohort = Cohort(np.zeros((2, 1, 4, 4, 4), np.float32), clinical={"a": [1, 2]})
    assert cohort.clinical["a"].tolist() == [1, 2]


@pytest.mark.parametrize(
    ("text", "runs", "as_a_name"),
    [
        ("=1+2", True, True), ("@SUM(A1)", True, True), ("-2+3+cmd|' /C calc'!A0", True, True),
        ("+SUM(A1)", True, True), ("+1+1", True, True), ("-5", False, False), ("+", False, True),
        ("++", False, True), ("-ve", False, True), ("+ve", False, True), ("a=b", False, False),
        ("1e-5", False, False), ("", False, False),
    ],
)
def test_cells_that_a_spreadsheet_would_run(text, runs, as_a_name):
    assert formula(text) == runs
    assert formula(text, strict=True) == as_a_name


@pytest.mark.parametrize(
    "parts",
    [
        {"ids": ["a", "=1+2"]},
        {"ids": ["a", "-x"]},
        {"groups": ["a", "@b"]},
        {"clinical": {"x": ["a", "=HYPERLINK(1)"]}},
        {"clinical": {"x": pd.Categorical(["a", "=1"])}},
        {"clinical": {"=x": [1, 2]}},
    ],
)
def test_formulas_are_refused_at_the_door_of_a_cohort(parts):
    with pytest.raises(ValueError, match="a spreadsheet would run"):
        Cohort(np.zeros((2, 1, 4, 4, 4), np.float32), **parts)
