"""Source distribution and wheel: what is in them, and that the wheel works where it is installed.

Built from a copy of the checkout, without the network: the wheel from the source distribution.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

import survimg

pytestmark = pytest.mark.slow  # builds, and installs in fresh environments

ROOT = Path(__file__).parents[2]
VERSION = survimg.__version__
_NOT_SOURCE = (".*", "__pycache__", "*.egg-info", "build", "dist", "docs", "runs", "benchmarks")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Return the source distribution and the wheel."""
    folder = tmp_path_factory.mktemp("build")
    shutil.copytree(ROOT, folder / "source", ignore=shutil.ignore_patterns(*_NOT_SOURCE))
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", folder / "dist"]
    done = subprocess.run(
        [*command, folder / "source"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    (wheel,) = (folder / "dist").glob("*.whl")
    (source,) = (folder / "dist").glob("*.tar.gz")
    return source, wheel


def _package_files():
    """Files of the package that git would keep."""
    return {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "survimg").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_the_wheel_holds_the_package_and_nothing_else(built):
    with zipfile.ZipFile(built[1]) as wheel:
        names = set(wheel.namelist())
        about = f"survimg-{VERSION}.dist-info"
        assert wheel.read(f"{about}/licenses/LICENSE") == (ROOT / "LICENSE").read_bytes()
        metadata = wheel.read(f"{about}/METADATA").decode()
    assert {name for name in names if not name.startswith(f"{about}/")} == _package_files()
    assert {"survimg/py.typed", "survimg/report/page.html", "survimg/report/style.css",
            "survimg/report/page.js"} <= names
    assert "License-Expression: BSD-3-Clause" in metadata
    assert "Typing :: Typed" in metadata


def test_the_source_distribution_holds_no_tests_and_no_data(built):
    with tarfile.open(built[0]) as archive:
        files = {member.name.partition("/")[2] for member in archive if member.isfile()}
    other = {name for name in files if not name.startswith(("survimg/", "survimg.egg-info/"))}
    assert other == {
        "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "MANIFEST.in", "PKG-INFO", "README.md",
        "pyproject.toml", "setup.cfg",
    }  # fmt: skip
    assert {name for name in files if name.startswith("survimg/")} == _package_files()


@pytest.fixture(scope="module")
def environment(built, tmp_path_factory):
    """Return the scripts of an environment with the wheel, and the dependencies of this one."""
    folder = tmp_path_factory.mktemp("clean")
    venv.create(folder, with_pip=False, symlinks=os.name != "nt")
    bin_ = folder / ("Scripts" if os.name == "nt" else "bin")
    command = [sys.executable, "-m", "pip", "--python", str(bin_ / "python"), "install", "--quiet"]
    subprocess.run([*command, "--no-index", "--no-deps", str(built[1])], check=True)
    # Paths in a .pth file are not searched for .pth files: an editable survimg stays unseen.
    site = next(folder.rglob("site-packages"))
    (site / "dependencies.pth").write_text(f"{sysconfig.get_path('purelib')}\n", encoding="utf-8")
    return bin_, site


def test_the_wheel_imports_and_runs_where_it_is_installed(environment, tmp_path):
    bin_, site = environment
    code = (
        "import json, sys, importlib.resources as r, survimg, survimg.cli, survimg.report.page\n"
        "print(json.dumps({'file': survimg.__file__, 'version': survimg.__version__,\n"
        "  'typed': (r.files(survimg) / 'py.typed').is_file(),\n"
        "  'heavy': sorted({'torch', 'monai', 'radiomics'} & set(sys.modules))}))"
    )
    shown = json.loads(_run([bin_ / "python", "-W", "ignore", "-c", code], tmp_path))
    assert Path(shown["file"]).is_relative_to(site)
    assert shown["version"] == VERSION
    assert shown["typed"]
    assert shown["heavy"] == []


@pytest.mark.parametrize("program", [["survimg"], ["python", "-m", "survimg"]])
def test_the_command_runs_where_it_is_installed(environment, tmp_path, program):
    bin_, _ = environment
    assert _run([bin_ / program[0], *program[1:], "--version"], tmp_path) == f"survimg {VERSION}\n"


def _run(command, folder):
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [str(word) for word in command], cwd=folder, env=environment, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout
