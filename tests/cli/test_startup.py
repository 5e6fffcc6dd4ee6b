"""What a command that computes nothing loads, and the list of models."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from survimg.cli import main
from survimg.suites import MODEL_GROUPS, MODELS, SUITES

#: Libraries of the environment; shtab, which writes completion scripts, is light.
HEAVY = {
    "h5py", "jinja2", "joblib", "matplotlib", "monai", "numba", "numpy", "pandas", "pyarrow",
    "scipy", "SimpleITK", "skorch", "sklearn", "sksurv", "torch", "tqdm",
}  # fmt: skip


@pytest.mark.parametrize(
    "line",
    ["--help", "--version", "info --help", "report --help", "compare --help", "benchmark --help",
     "predict --help", "completion bash", "models", "models --json", "info no-such-folder"],
)
def test_a_command_that_computes_nothing_loads_no_library(line):
    code = (
        "import contextlib, sys\n"
        "from survimg.cli import main\n"
        f"with contextlib.suppress(SystemExit): main({line.split()!r})\n"
        f"assert not {HEAVY!r} & set(sys.modules), {HEAVY!r} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.endswith("\n" if "no-such" in line else "")
    assert ("error: There is no folder" in done.stderr) == ("no-such" in line)


def test_the_package_itself_loads_no_library_but_shows_its_names():
    code = (
        "import sys, survimg\n"
        "assert {'Cohort', 'load', 'save', '__version__'} <= set(dir(survimg))\n"
        f"assert not {HEAVY!r} & set(sys.modules), 'loaded'\n"
        "assert survimg.Cohort.__module__ == 'survimg.cohort.cohort'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory):
    from contestants import Reversed, StageCox, make_cohort

    from survimg.benchmark import compare_models

    folder = tmp_path_factory.mktemp("run")
    # Compared over patients and over five folds, and ranked.
    models = {"a": StageCox(), "b": Reversed(), "c": StageCox(alpha=100)}
    compare_models(models, make_cohort(n=40)[0], cv=5, out=folder, progress=False)
    return folder


#: Of reading a run: pandas, SciPy, Numba and matplotlib would take four fifths of its time.
_READING = HEAVY - {"numpy"}
_DRAWING = _READING - {"jinja2", "pyarrow"}


@pytest.mark.parametrize(
    ("command", "heavy"),
    [*((name, _READING) for name in ("info", "summary", "methods", "checklist", "compare")),
     ("report", _DRAWING)],
)  # fmt: skip
def test_what_a_finished_run_does_not_load(command, heavy, finished_run):
    line = [command, *[str(finished_run)] * (2 if command == "compare" else 1)]
    code = (
        "import sys\n"
        "from survimg.cli import main\n"
        f"assert main({line!r}) == 0\n"
        f"assert not {heavy!r} & set(sys.modules), {heavy!r} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_each_model_is_in_one_group_and_listed_once(capsys):
    names = [name for group in MODEL_GROUPS.values() for name in group]
    assert sorted(names) == sorted(MODELS)
    assert main(["models"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("  ")]
    listed = [line.removeprefix("  * ").split()[0] for line in lines]
    assert set(names) <= set(listed)
    assert len(listed) == len(names) + len(SUITES)


def test_parameters_are_what_set_takes(capsys):
    from survimg.suites import ModelSettings, build_models

    assert main(["models", "radiomics-rsf", "clinical-volume-cox", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)["parameters"]
    assert record["clinical-volume-cox"]["alpha"] == 1
    forest = build_models(["radiomics-rsf"], ModelSettings())["radiomics-rsf"]
    assert record["radiomics-rsf"].keys() < forest.get_params(deep=True).keys()
    assert "model" not in record["radiomics-rsf"]  # a step, which --set refuses
    assert record["radiomics-rsf"]["model__n_estimators"] == 500
    assert main(["models", "radiomics-rfs"]) == 2
    assert "did you mean 'radiomics-rsf'" in capsys.readouterr().err
