"""Names of the user's own are found in the working directory last; help says that they run."""

from __future__ import annotations

import subprocess
import sys

import pytest

from survimg.cli.parser import make_parser

MODEL = """
from sklearn.base import BaseEstimator

class Mean(BaseEstimator):
    def fit(self, X, y):
        self.fitted_ = True
        return self

    def predict(self, X):
        return X.to_numpy().mean(axis=(1, 2, 3, 4))
"""


def test_a_module_of_the_working_directory_hides_none_of_pythons(tmp_path):
    for name in ("json", "random", "shutil", "numpy"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('taken from the working directory')")
    (tmp_path / "my_models.py").write_text("import json\nprint('my module', json.__file__)" + MODEL)
    # As the command starts, whose first folder is that of the script.
    code = ["-P", "-c", "from survimg.cli import main; raise SystemExit(main())"]
    words = ["benchmark", "--cohort", "phantom", "--patients", "12", "--folds", "2", "--out", "run"]
    words += ["--models", "clinical-volume-cox,my_models:Mean", "-q"]
    done = subprocess.run(
        [sys.executable, *code, *words], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "my module" in done.stdout
    assert "working directory" not in done.stdout + done.stderr


@pytest.mark.parametrize("command", ["benchmark", "fit", "predict", "explain"])
def test_help_says_that_modules_are_imported(command):
    (commands,) = (a.choices for a in make_parser()._actions if a.choices and a.dest == "command")
    words = " ".join(commands[command].format_help().split())
    assert "imported" in words
