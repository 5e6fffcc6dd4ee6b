"""What every command shares: examples, JSON, exit status, colours, completion."""

from __future__ import annotations

import json
import logging
import shlex
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from contestants import make_cohort

from survimg import Cohort
from survimg.cli import main
from survimg.cli import parser as commands
from survimg.cli.parser import make_parser
from survimg.suites import DEFAULT_MODELS
from survimg.target import make_outcome

COMMANDS = {module.__name__.rpartition(".")[2]: module for module in commands._COMMANDS}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A prepared cohort, a model fitted on it, and a run over it."""
    folder = tmp_path_factory.mktemp("folders")
    store, model, out = (str(folder / name) for name in ("store", "model", "run"))
    make_cohort(n=30)[0].save(store)
    assert main(f"fit --cohort {store} --model clinical-volume-cox --out {model} -q".split()) == 0
    models = "contestants:StageCox,contestants:failing_model"
    given = f"benchmark --cohort {store} --models {models} --folds 2 --out {out} -q"
    assert main(given.split()) == 1
    return {"store": store, "model": model, "run": out, "other": str(folder / "other")}


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_shows_examples_that_it_accepts(name, capsys):
    assert COMMANDS[name].EXAMPLES
    with pytest.raises(SystemExit) as stop:
        main([name, "--help"])
    assert stop.value.code == 0
    shown = capsys.readouterr().out
    for example in COMMANDS[name].EXAMPLES:
        assert f"\n  {example}\n" in shown
        words = shlex.split(example.partition(" >")[0], comments=True)
        assert words[:2] == ["survimg", name]
        assert make_parser().parse_args(words[1:]).command == name


def test_the_help_documents_the_exit_status(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    listed = capsys.readouterr().out.partition("exit status:")[2].split("\n\n")[0]
    assert [line.split()[0] for line in listed.splitlines()[1:] if line[2] != " "] == [
        "0", "1", "2", "130",
    ]


JSON = {
    "info store": {"kind": "cohort", "patients": 30},
    "info model": {"kind": "model", "estimator": "survimg.estimators.ClinicalVolumeCox"},
    "info run": {"kind": "run", "fits": {"planned": 4, "missing": 0, "failed": 2}},
    "models": {"default": list(DEFAULT_MODELS)},
    "models clinical-cox": {
        "parameters": {
            "clinical-cox": {"alpha": 0.0, "clinical_columns": None, "significance": None}
        }
    },
    "report run": {"figures": []},
    "checklist run": {"standard": "tripod-ai"},
    "compare run run": {"changes": []},
    "radiomics store --images original --out {}/features.csv": {"patients": 30},
    "fit --cohort store --model clinical-volume-cox --out {}/m": {"model": "clinical-volume-cox"},
    "predict --model model --cohort store --out {}/new": {},
    "benchmark --cohort store --models contestants:StageCox --folds 2 --out {}/b": {
        "failed_fits": 0
    },
}


@pytest.mark.parametrize("command", JSON)
def test_json_is_all_that_is_printed(folders, command, tmp_path, capsys):
    words = command.format(tmp_path).split()
    assert main([folders.get(word, word) for word in words] + ["--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record.items() >= JSON[command].items()


def test_json_holds_what_the_files_hold(folders, tmp_path, capsys):
    out = tmp_path / "new"
    arguments = ["predict", "--model", folders["model"], "--cohort", folders["store"]]
    assert main([*arguments, "--horizons", "6", "--out", str(out), "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    header, first = (out / "predictions.csv").read_text().splitlines()[:2]
    assert list(record["patients"][0]) == header.split(",")
    assert [str(value) for value in record["patients"][0].values()] == first.split(",")


def test_a_failed_model_is_in_the_json_and_in_the_status(folders, capsys):
    models = "contestants:StageCox,contestants:failing_model"
    given = f"benchmark --cohort {folders['store']} --models {models} --folds 2"
    assert main([*given.split(), "--out", folders["run"], "--json"]) == 1
    record = json.loads(capsys.readouterr().out)
    scores = {score["model"]: score for score in record["models"]}
    assert record["failed_fits"] == 2
    assert 0 < scores["contestants:StageCox"]["c_within_folds"] < 1
    assert scores["contestants:failing_model"]["c_mean"] is None


def test_an_error_leaves_standard_output_empty(capsys):
    assert main(["info", "nowhere", "--json"]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err == "survimg info: error: There is no folder nowhere.\n"


def test_info_says_what_a_model_and_a_run_are(folders, tmp_path, capsys):
    assert main(["info", folders["model"]]) == 0
    shown = capsys.readouterr().out
    assert "ClinicalVolumeCox" in shown
    assert "stage" in shown
    assert main(["info", folders["run"]]) == 0
    shown = capsys.readouterr().out
    for part in ("survimg benchmark", "30 patients, ", "4 of 4 done, 2 of them failed", "StageCox"):
        assert part in shown
    assert main(["info", str(tmp_path)]) == 2
    assert "neither a prepared cohort, nor a model, nor a run" in capsys.readouterr().err


@pytest.mark.filterwarnings("always::UserWarning")
def test_a_warning_is_said_once_and_columns_by_their_kind(tmp_path, capsys):
    sites = pd.DataFrame({"site": ["left", "right", None] * 4, "smoker": [True, False] * 6})
    for name, clinical in {"old": sites, "new": sites.replace("left", "middle")}.items():
        Cohort(
            np.zeros((12, 1, 4, 4, 4), np.float32), masks=np.ones((12, 4, 4, 4), np.uint8),
            clinical=clinical, outcome=make_outcome(np.ones(12), np.arange(12) + 1.0), spacing=4.0,
        ).save(tmp_path / name)  # fmt: skip
    old, new, model, out = (str(tmp_path / name) for name in ("old", "new", "model", "out"))
    given = f"fit --cohort {old} --model clinical-volume-cox --out {model}"
    assert main(given.split()) == 0
    given = f"predict --model {model} --cohort {new} --horizons 6 --out {out}"
    assert main(given.split()) == 0
    assert capsys.readouterr().err.count("['middle']") == 1
    assert main(["info", old]) == 0
    shown = capsys.readouterr().out
    assert "site: categorical, left: 4, right: 4; 4 missing" in shown
    assert "smoker: boolean, False: 6, True: 6" in shown


@pytest.mark.parametrize(
    ("environment", "coloured"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)],
)
@pytest.mark.parametrize("terminal", [True, False])
def test_colours_are_for_terminals_that_want_them(
    environment, coloured, terminal, capsys, monkeypatch
):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    assert main(["info", "nowhere"]) == 2
    assert ("\x1b[31merror:\x1b[0m" in capsys.readouterr().err) is (coloured and terminal)


@pytest.mark.parametrize(
    ("option", "terminal", "bars", "level"),
    [
        ([], True, True, logging.WARNING),
        ([], False, False, logging.INFO),
        (["--no-progress"], True, False, logging.INFO),
        (["-q"], True, False, logging.WARNING),
        (["-q"], False, False, logging.WARNING),
        (["-v"], True, True, logging.DEBUG),
    ],
)
def test_bars_and_notes_follow_the_options(option, terminal, bars, level, monkeypatch):
    from survimg.cli.output import prepare_terminal

    monkeypatch.setenv("TQDM_COLOUR", "green")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    given = ["fit", "--cohort", "c", "--model", "m", "--out", "o", *option]
    arguments = make_parser().parse_args(given)
    prepare_terminal(arguments)
    assert arguments.progress is bars
    assert logging.getLogger("survimg").level == level


def test_bars_on_a_terminal_are_coloured():
    """In a process of its own: tqdm reads its environment when it is first imported."""
    code = (
        "import argparse, io, os, sys\n"
        "from survimg.cli.output import prepare_terminal\n"
        "assert 'tqdm' not in sys.modules\n"
        "sys.stderr.isatty = lambda: True\n"
        "prepare_terminal(argparse.Namespace(progress=True, quiet=False, verbose=False))\n"
        "from tqdm.auto import tqdm\n"
        "shown = io.StringIO()\n"
        "list(tqdm(range(2), file=shown))\n"
        "print('\\x1b[32m' in shown.getvalue(), 'torch' in sys.modules)"
    )
    answers = {}
    for wish in ({}, {"NO_COLOR": "1"}):
        environment = {"PATH": "/usr/bin:/bin", "TERM": "xterm", **wish}
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True,
            check=True, env=environment,
        )  # fmt: skip
        answers[bool(wish)] = done.stdout.split()
    assert answers == {False: ["True", "False"], True: ["False", "False"]}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_completion_script_names_every_command_and_model(shell, capsys, tmp_path):
    from survimg.suites import MODELS

    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    for word in (*COMMANDS, *MODELS, "bin-count", "integrated_gradients"):
        assert word in script
    if shutil.which(shell):
        path = tmp_path / "survimg"
        path.write_text(script)
        subprocess.run([shell, "-n", str(path)], check=True)


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        (["pred"], ["predict"]),
        (["fit", "--mod"], ["--model"]),
        (["fit", "--model", "radiomics-r"], ["radiomics-rsf"]),
        (["explain", "--method", "occ"], ["occlusion"]),
    ],
)
def test_tab_in_bash_offers_what_fits(typed, offered, capsys, tmp_path):
    assert main(["completion", "bash"]) == 0
    path = tmp_path / "survimg"
    path.write_text(capsys.readouterr().out)
    words = shlex.join(["survimg", *typed])
    asked = (
        f"source {path}; COMP_WORDS=({words}); COMP_CWORD={len(typed)}; "
        '_shtab_survimg "${COMP_WORDS[@]}"; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(["bash", "-c", asked], capture_output=True, text=True, check=True)
    assert done.stdout.split() == offered
