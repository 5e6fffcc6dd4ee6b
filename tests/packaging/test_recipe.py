"""The conda recipe says what pyproject.toml says."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml

import survimg

ROOT = Path(__file__).parents[2]
#: Packages that conda-forge calls otherwise; all others by their own name in small letters.
CONDA = {"torch": "pytorch", "matplotlib": "matplotlib-base"}


@pytest.fixture(scope="module")
def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def recipe():
    text = (ROOT / "recipe" / "recipe.yaml").read_text(encoding="utf-8")
    content = yaml.safe_load(text)
    for name, value in content["context"].items():  # rattler-build does the same
        text = text.replace(f"${{{{ {name} }}}}", value)
    return {**yaml.safe_load(text), "context": content["context"]}


def _for_conda(requirement):
    name, bound = re.fullmatch(r"([\w-]+)(>=[\d.]+)", requirement).groups()
    return f"{CONDA.get(name, name.lower())} {bound}"


def test_dependencies_are_the_same(project, recipe):
    stated = [_for_conda(text) for text in project["project"]["dependencies"]]
    python = f"python {project['project']['requires-python']}"
    assert sorted(recipe["requirements"]["run"]) == sorted([python, *stated])


def test_extras_constrain_and_are_not_installed(project, recipe):
    extras = project["project"]["optional-dependencies"]
    stated = [_for_conda(text) for name in ("dask", "dicom", "explain") for text in extras[name]]
    assert sorted(recipe["requirements"]["run_constraints"]) == sorted(stated)


def test_the_rest_is_the_same(project, recipe):
    about = project["project"]
    assert recipe["package"] == {"name": about["name"], "version": survimg.__version__}
    build = [_for_conda(text) for text in project["build-system"]["requires"]]
    assert set(build) <= set(recipe["requirements"]["host"])
    scripts = [f"{name} = {place}" for name, place in about["scripts"].items()]
    assert recipe["build"]["python"]["entry_points"] == scripts
    assert recipe["about"]["summary"] == about["description"]
    assert recipe["about"]["license"] == about["license"]
    assert recipe["about"]["license_file"] in about["license-files"]
    assert recipe["about"]["homepage"] == about["urls"]["Documentation"]
