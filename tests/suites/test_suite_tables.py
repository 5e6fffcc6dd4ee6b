"""The tables of papers name models that exist, and repeat what the papers say."""

from __future__ import annotations

import re
from dataclasses import FrozenInstanceError

import pytest

from survimg.suites import MODELS, REFERENCE, SUITES
from survimg.suites.deepmts_tables import DEEPMTS_SUITES

DEEPMTS = [suite.name for suite in DEEPMTS_SUITES]

#: Row of the fact sheet's table (section 1.11) and place in it, for each model: the numbers of a
#: row are divided by slashes.
PLACES = {
    "radiomics-lasso-cox": ("radiomics +", 0),
    "radiomics-rsf": ("radiomics +", 1),
    "radiomics-deepsurv": ("radiomics +", 2),
    "deep-features-lasso-cox": ("deep features +", 0),
    "deep-features-rsf": ("deep features +", 1),
    "deep-features-deepsurv": ("deep features +", 2),
    "cnn-survival": ("CNN-Survival /", 0),
    "mdsn": ("CNN-Survival /", 1),
    "dlpm": ("CNN-Survival /", 2),
    "deepmts": ("**DeepMTS**", 0),
    "seg-backbone": ("Seg-Backbone", 0),
    "sur-hs": ("Sur-HS no seg", 0),
    "sur-hs-masked": ("Sur-HS no seg", 1),
    "sur-casnet": ("Sur-CasNet no seg", 0),
    "sur-casnet-masked": ("Sur-CasNet no seg", 1),
    "mt-hs": ("MT-HS / MT-CasNet", 0),
    "mt-casnet": ("MT-HS / MT-CasNet", 1),
    "mt-hs-baseline": ("MT-HS baseline", 0),
    "seg-backbone-unet": ("U-net:", 0),
    "sur-hs-unet": ("U-net:", 1),
    "mt-hs-unet": ("U-net:", 2),
    "mt-casnet-unet": ("U-net:", 3),
    "deepmts-unet": ("U-net:", 4),
}


@pytest.mark.parametrize("name", SUITES)
def test_suites_name_models_that_exist(name):
    suite = SUITES[name]
    assert suite.name == name
    assert suite.title
    assert suite.citation
    assert suite.models
    assert set(suite.models) <= set(MODELS)
    assert len(set(suite.models)) == len(suite.models)
    assert suite.reference is None or suite.reference in suite.models
    with pytest.raises(FrozenInstanceError):
        suite.name = "another"


@pytest.mark.parametrize("name", SUITES)
def test_published_numbers_belong_to_the_suite_and_are_plausible(name):
    suite = SUITES[name]
    assert set(suite.published) <= set(suite.models)
    for model, row in suite.published.items():
        assert {"c_index", "sd", "source"} <= set(row)
        assert re.search(r"20\d\d, Table", row["source"])
        assert row["c_index"] is None or not model.startswith("seg-")
        assert any(row.get(key) for key in ("c_index", "test_c_index", "dice"))
        for key in ("c_index", "test_c_index", "dice"):
            assert row.get(key) is None or 0.5 < row[key] < 1


@pytest.mark.parametrize("name", DEEPMTS)
def test_numbers_stand_in_the_fact_sheet(name, shared_dir):
    text = (shared_dir / "reference" / "architectures.md").read_text("utf-8")
    section = text.split("### 1.11 Reported results")[1].split("###")[0]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in section.splitlines()
        if line.startswith("|")
    ]

    def stands(cell, place):
        values = [value.strip(" *") for value in cell.split("/")]
        found = values[place] if place < len(values) else ""
        return float(found) if re.fullmatch(r"0\.\d+", found) else None

    for model, reported in SUITES[name].published.items():
        label, place = PLACES[model]
        (row,) = [row for row in rows if row[0].startswith(label)]
        assert stands(row[1], place) == reported["c_index"], model
        assert stands(row[2], place) == reported.get("test_c_index", stands(row[2], place)), model
        assert stands(row[3], place) == reported["dice"] or name == "comparison", model


def test_the_papers_tables_are_complete():
    assert set(DEEPMTS) == {"comparison", "ablation", "backbone", "interference"}
    own = {"sur-hs-masked", "sur-casnet-masked", "mt-hs-baseline"}
    assert own < {model for name in DEEPMTS for model in SUITES[name].published}
    comparison = SUITES["comparison"]
    assert set(comparison.models) - set(comparison.published) == {REFERENCE, "radiomics-icare"}
    for model in SUITES["backbone"].models:
        residual = model.removesuffix("-unet")
        assert {residual, f"{residual}-unet"} <= set(SUITES["backbone"].models)
