"""CONTRIBUTING.md tells the truth: its files, its commands, its picture, its worked examples."""

from __future__ import annotations

import importlib
import importlib.util
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
#: Path of each worked file, and its content.
WORKED = {
    found[1]: found[2]
    for found in re.finditer(r"```python\n# (\S+)\n(.*?)```", PAGE, flags=re.DOTALL)
}


@pytest.fixture(scope="module")
def worked(tmp_path_factory):
    """The files of the page, written out; the packages of survimg find their new modules there."""
    folder = tmp_path_factory.mktemp("worked")
    patch = pytest.MonkeyPatch()
    for name, content in WORKED.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
        if name.startswith("survimg/"):
            package = importlib.import_module(".".join(Path(name).parent.parts))
            patch.setattr(package, "__path__", [*package.__path__, str(path.parent)])
    yield folder
    patch.undo()
    for name in WORKED:
        sys.modules.pop(".".join(Path(name).with_suffix("").parts), None)


WORKED_TESTS = [
    (name, test)
    for name, content in WORKED.items()
    for test in re.findall(r"^def (test_\w+)", content, flags=re.MULTILINE)
]


@pytest.mark.parametrize(("name", "test"), WORKED_TESTS)
def test_the_worked_tests_pass(worked, name, test):
    spec = importlib.util.spec_from_file_location(Path(name).stem, worked / name)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    getattr(module, test)()


@pytest.mark.skipif(importlib.util.find_spec("ruff") is None, reason="ruff is not installed")
def test_the_worked_files_keep_the_rules(worked):
    command = [sys.executable, "-m", "ruff", "check", "--config", str(ROOT / "pyproject.toml")]
    # only a part of survimg lies here
    command += ["--config", "lint.isort.known-first-party = ['survimg']"]
    done = subprocess.run(
        [*command, "--no-cache", "survimg", "tests"], cwd=worked, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


def test_a_worked_network_and_a_worked_metric_are_there():
    folders = {str(Path(name).parent) for name in WORKED}
    assert {"survimg/nets", "survimg/estimators/deep", "survimg/evaluation"} <= folders
    assert len(WORKED_TESTS) >= 3
    for name in WORKED:
        assert not (ROOT / name).exists(), f"{name} is in the library: take another example"


def test_files_named_on_the_page_exist():
    prose = re.sub(r"```.*?```", "", PAGE, flags=re.DOTALL)
    named = set(re.findall(r"`((?:[\w.-]+/)+[\w.-]*|[\w-]+\.(?:md|toml))`", prose))
    assert {"pyproject.toml", "tests/test_architecture.py", "docs/decisions/"} <= named
    # `references/` stands for the folder of that name in any folder of tests
    missing = [path for path in named - {"references/"} if not (ROOT / path).exists()]
    assert not missing
    assert any((ROOT / "tests").glob("*/references"))


def test_commands_on_the_page_are_those_of_the_makefile():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (verbs,) = re.findall(r"^\.PHONY: (.*)$", makefile, flags=re.MULTILINE)
    assert {*re.findall(r"`make (\w+)`", PAGE)} <= {*verbs.split()}


def test_the_picture_shows_every_room_and_in_order():
    picture = re.search(r"```text\n(.*?)```", PAGE, flags=re.DOTALL)[1]
    rooms = {
        path.stem for path in (ROOT / "survimg").iterdir()
        if (path.is_dir() and (path / "__init__.py").is_file()) or path.suffix == ".py"
    } - {"__init__", "__main__"}  # fmt: skip
    words = re.findall(r"[a-z_]+", picture)
    assert rooms <= set(words)
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]
    layers = contracts["contracts"][0]["layers"]
    models = """cli explain estimators model_files training compute nets radiomics datasets
        preprocessing cohort io survival target"""
    for column in (models, "cli report benchmark evaluation survival"):
        names = column.split()
        in_contract = [next(i for i, x in enumerate(layers) if n in x.split(" | ")) for n in names]
        assert in_contract == sorted(in_contract)
        in_picture = [words.index(name) for name in names]
        assert in_picture == sorted(in_picture)
