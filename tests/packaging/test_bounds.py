"""The lowest versions that pyproject.toml allows are those that `make test-lowest` installs."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
DIRECT = [
    Requirement(text)
    for text in [*PROJECT["dependencies"], *EXTRAS["dask"], *EXTRAS["dicom"], *EXTRAS["explain"]]
]
#: Earlier versions run code of a file that they read (torch, CVE-2025-32434; tqdm, CVE-2024-34062;
#: jinja2, CVE-2025-27516; MONAI, CVE-2025-58756) or leave a folder (pydicom, CVE-2026-32711; MONAI,
#: CVE-2026-21851).
SAFE = {
    "torch": "2.6", "tqdm": "4.66.3", "jinja2": "3.1.6", "monai": "1.5.2", "pydicom": "3.0.2",
}  # fmt: skip


def normal(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def pinned(file):
    lines = (ROOT / file).read_text("utf-8").splitlines()
    pairs = [line.split("==") for line in lines if not line.startswith("#")]
    return {normal(name): Version(version) for name, version in pairs}


def lower(requirement):
    (bound,) = requirement.specifier
    assert bound.operator == ">="
    return Version(bound.version)


@pytest.mark.parametrize("requirement", DIRECT, ids=lambda requirement: requirement.name)
def test_a_bound_is_what_the_lowest_run_installs(requirement):
    lowest = pinned("constraints-lowest.txt")[normal(requirement.name)]
    assert lowest == lower(requirement)
    assert pinned("constraints.txt")[normal(requirement.name)] >= lowest


@pytest.mark.parametrize("name", SAFE)
def test_a_bound_excludes_versions_that_trust_their_input(name):
    bounds = {normal(requirement.name): lower(requirement) for requirement in DIRECT}
    assert bounds[name] >= Version(SAFE[name])


def test_the_tests_tools_are_pinned_too():
    tools = [Requirement(text) for text in EXTRAS["test"] if not text.startswith("survimg")]
    for file in ("constraints.txt", "constraints-lowest.txt"):
        assert {normal(tool.name) for tool in tools} <= set(pinned(file))
