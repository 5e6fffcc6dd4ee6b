"""Licences are listed, and neither survimg nor its tests reach for the network."""

from __future__ import annotations

import re
import socket
import tomllib
from importlib.metadata import metadata
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
#: What the table calls a licence, and how metadata and classifiers write it.
FAMILIES = {
    "MIT": "MIT", "BSD": "BSD", "Apache": "Apache", "GPL-3": "GPL-3", "MPL": "MPL",
    "Python Software Foundation": "Python Software Foundation",
}  # fmt: skip


def dependencies():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    listed = [*project["dependencies"], *extras["dask"], *extras["dicom"], *extras["explain"]]
    return sorted({re.split(r"[<>=\[ ]", text)[0] for text in listed})


def pinned():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pairs = [line.split("==") for line in lines if "==" in line]
    return {canonicalize_name(name): Version(version) for name, version in pairs}


def licences():
    rows = re.findall(
        r"^\| ([^|]+) \| ([^|]+) \|", (ROOT / "docs" / "licences.md").read_text(encoding="utf-8"),
        flags=re.MULTILINE,
    )  # fmt: skip
    found = {}
    for packages, licence in rows:
        for name in re.sub(r"\(.*\)|\*", "", packages).split(","):
            found[name.strip()] = licence.replace("*", "").strip()
    return {name: text for name, text in found.items() if name not in ("package", "---")}


def test_the_table_lists_every_dependency_and_no_other():
    assert sorted(licences(), key=str.lower) == sorted(dependencies(), key=str.lower)


@pytest.mark.parametrize("name", dependencies())
def test_the_licence_is_the_one_the_package_states(name):
    about = metadata(name)
    if Version(about["Version"]) < pinned()[canonicalize_name(name)]:
        pytest.skip("the table is of the versions in constraints.txt")
    stated = " ".join(
        [
            about.get("License-Expression") or "",
            about.get("License") or "",
            *(c for c in about.get_all("Classifier") or [] if c.startswith("License")),
        ]
    )
    written = licences()[name]
    family = next(family for family in FAMILIES if family in written)
    assert FAMILIES[family] in stated


def test_connections_that_leave_the_machine_are_refused():
    with socket.socket() as client, pytest.raises(PermissionError, match="no network"):
        client.connect(("93.184.215.14", 80))
    with socket.socket() as server, socket.socket() as client:
        server.bind(("127.0.0.1", 0))
        server.listen()
        client.connect(server.getsockname())
