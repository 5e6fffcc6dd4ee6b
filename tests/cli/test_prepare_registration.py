"""``survimg prepare --register``: end to end on phantoms, and its errors."""

from __future__ import annotations

import pandas as pd
import pytest

from survimg import Cohort
from survimg.cli import main
from survimg.datasets import write_phantom_manifest

BLOCK = ("--shape", "16", "16", "16", "--spacing", "8", "--crop", "fixed")


def test_phantoms_are_registered_and_reported(tmp_path, capsys):
    manifest = write_phantom_manifest(tmp_path / "images", n=3, shape=(16, 16, 16), random_state=0)
    arguments = [
        "prepare", str(manifest), "--out", str(tmp_path / "out"), *BLOCK, "--register", "rigid",
        "--template-seed", "1", "--registration-limits", "similarity=0.02,overlap=0.5",
        "--on-failed-registration", "translate", "--register-by", "CT", "--no-progress",
    ]
    assert main(arguments) == 0
    assert "Cohort(n=3" in capsys.readouterr().out
    cohort = Cohort.load(tmp_path / "out")
    settings = cohort.settings["registration"]
    assert settings["limits"]["overlap"] == 0.5
    assert settings["on_failure"] == "translate"
    table = pd.read_csv(tmp_path / "out" / "registration.csv")
    assert table["patient_id"].tolist() == cohort.ids.tolist()
    assert table["status"].tolist().count("template") == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--template", "a"), "need --register"),
        (("--register", "rigid", "--registration-limits", "overlap"), "must be like overlap=0.6"),
        (("--register", "rigid", "--registration-limits", "twist=1"), "no limit 'twist'"),
        (("--register", "rigid", "--template", "a", "--template-image", "b"), "not both"),
    ],
)
def test_bad_options_are_one_line(tmp_path, capsys, options, message):
    status = main(["prepare", "m.csv", "--out", str(tmp_path / "x"), *BLOCK, *options])
    assert status != 0
    shown = capsys.readouterr().err
    assert message in shown
    assert "Traceback" not in shown
