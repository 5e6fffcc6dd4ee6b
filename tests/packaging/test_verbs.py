"""The Makefile's verbs, and that hosted CI and pre-commit call nothing else."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
MAKEFILE = (ROOT / "Makefile").read_text("utf-8")
VERBS = set(re.search(r"^\.PHONY: (.+)$", MAKEFILE, re.MULTILINE)[1].split())


@pytest.fixture(scope="module")
def workflow():
    return yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text("utf-8"))


def test_every_verb_has_a_rule_that_says_what_it_does():
    described = re.findall(r"^([a-z-]+):.*  ## \w+", MAKEFILE, re.MULTILINE)
    assert sorted(described) == sorted(VERBS)


def test_hosted_ci_runs_the_verbs_on_every_python(workflow):
    jobs = workflow["jobs"]
    matrix = jobs["test"]["strategy"]["matrix"]
    assert matrix["python"] == ["3.11", "3.12", "3.13", "3.14"]
    oldest = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert oldest["requires-python"] == f">={matrix['python'][0]}"
    verbs = {*matrix["verb"], *(entry["verb"] for entry in matrix["include"])}
    for job in jobs.values():
        commands = [step["run"] for step in job["steps"] if "run" in step]
        assert all(command.startswith("make ") for command in commands)
        verbs |= {command.removeprefix("make ") for command in commands}
    verbs.remove("${{ matrix.verb }}")
    assert verbs == {"lint", "test", "test-lowest", "test-newest", "docs"}
    assert verbs <= VERBS


def test_pre_commit_runs_the_tools_of_make_lint():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text("utf-8"))["repos"]
    for hook in (hook for repository in hooks for hook in repository["hooks"]):
        tool = hook["entry"].split()[0].replace(".venv/bin", "$(BIN)")
        assert f"\t{tool}" in MAKEFILE


def test_a_quick_check_has_a_test_of_every_package():
    listed = (ROOT / "tests/check.txt").read_text("utf-8").split()
    tested = {Path(node).parts[1] for node in listed}
    packages = {
        path.name
        for path in (ROOT / "survimg").iterdir()
        if path.is_dir() and (path / "__init__.py").exists()
    }
    assert packages - tested == set()
    for node in listed:
        file, _, test = node.partition("::")
        assert f"def {test}" in (ROOT / file).read_text("utf-8")
