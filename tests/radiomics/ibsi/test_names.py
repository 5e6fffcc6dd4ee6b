"""Tags and codes: each in the manual's form, none twice where it means another thing."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from survimg.radiomics.ibsi.names import AGGREGATIONS, FAMILIES
from survimg.radiomics.names import IBSI_IDENTIFIERS


def test_codes_are_four_characters_and_used_once() -> None:
    codes = Counter(code for tags in FAMILIES.values() for code in tags.values())
    assert all(re.fullmatch("[0-9A-Z]{4}", code) for code in codes)
    # Volume and intensity fractions are one feature each, at 10 % and 90 %.
    assert {code for code, n in codes.items() if n > 1} == {"BC2M", "GBPN"}


def test_codes_are_those_of_the_dicom_standard() -> None:
    concepts = pytest.importorskip("pydicom.sr._concepts_dict").concepts["IBSI"]
    listed = {code for values in concepts.values() for code in values}
    for family in set(FAMILIES) - {"statistics", "local_intensity", "intensity_volume_histogram"}:
        assert set(FAMILIES[family].values()) <= listed, family


def test_codes_of_both_standards_name_the_same_features() -> None:
    ibsi = {code for tags in FAMILIES.values() for code in tags.values()}
    for feature_class, names in IBSI_IDENTIFIERS.items():
        assert {code for code in names.values() if code} <= ibsi, feature_class


def test_codes_of_aggregations_are_used_once_per_kind() -> None:
    kinds = {tuple(codes.items()) for codes in AGGREGATIONS.values()}
    codes = [code for kind in kinds for _, code in kind]
    assert len(codes) == len(set(codes)) == 9
