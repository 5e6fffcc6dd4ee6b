"""What the commands say beside the page: masks of test patients, follow-up, figures."""

from __future__ import annotations

import numpy as np
import pytest
from contestants import Clairvoyant, StageCox, make_cohort

from survimg import Cohort
from survimg.benchmark import run_benchmark, score_run
from survimg.benchmark.follow_up import median_follow_up
from survimg.benchmark.leaderboard import score_lines
from survimg.cli import main
from survimg.cli.caveats import mask_caveats
from survimg.model_selection import EventStratifiedKFold
from survimg.report import render


@pytest.fixture(scope="module")
def cohort():
    return make_cohort(n=30)[0]


@pytest.fixture(scope="module")
def store(cohort, tmp_path_factory):
    folder = tmp_path_factory.mktemp("stored") / "store"
    cohort.save(folder)
    return folder


def splits_of(cohort):
    return list(EventStratifiedKFold(2, shuffle=True, random_state=0).split(cohort, cohort.outcome))


def test_the_report_says_that_masks_of_test_patients_are_used(tmp_path, store, capsys):
    out = tmp_path / "run"
    given = f"benchmark --cohort {store} --models clinical-volume-cox --folds 2 --out {out}"
    assert main(given.split()) == 0
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "the masks of test patients" in page
    assert "clinical-volume-cox: the risk is computed from the mask" in page
    assert "cropped around" not in page
    capsys.readouterr()


def test_masks_are_named_only_where_they_are_used(cohort):
    assert mask_caveats(["deepmts"], cohort) == []
    bare = Cohort(np.zeros((2, 1, 4, 4, 4), np.float32))
    assert mask_caveats(["clinical-volume-cox"], bare) == []
    cropped = cohort[np.arange(30)]
    cropped.settings = {"crop": "mask"}
    (sentence,) = mask_caveats(["deepmts"], cropped)
    assert "cropped around the mask" in sentence
    assert "clinical-volume-cox" not in sentence


def test_the_terminal_prints_no_interval_for_a_perfect_order(tmp_path, cohort):
    times = list(zip(cohort.ids.tolist(), cohort.outcome["time"].tolist(), strict=True))
    run = run_benchmark(
        {"c": Clairvoyant(times)}, cohort, cohort.outcome, splits=splits_of(cohort), out=tmp_path
    )
    table = score_lines(score_run(run), {})
    assert "1.000 (no interval)" in table
    assert "nan" not in table


def test_info_gives_the_follow_up_of_censored_patients(store, cohort, capsys):
    assert main(["info", str(store)]) == 0
    expected = f"median follow-up {median_follow_up(cohort.outcome):.4g} months (reverse"
    assert expected in capsys.readouterr().out


def test_report_writes_figures_on_demand(tmp_path, cohort, capsys):
    run_benchmark(
        {"cox": StageCox()}, cohort, cohort.outcome, splits=splits_of(cohort), out=tmp_path / "run"
    )
    assert main(["report", str(tmp_path / "run"), "--figures", str(tmp_path / "images")]) == 0
    printed = capsys.readouterr().out.split()
    assert str(tmp_path / "images" / "concordance.png") in printed
    assert (tmp_path / "images" / "concordance.png").stat().st_size > 5000


def test_subgroups_of_the_command_stay_with_the_run(tmp_path, store, capsys):
    out = tmp_path / "run"
    given = f"benchmark --cohort {store} --models clinical-cox --folds 2 --out {out}".split()
    assert main([*given, "--subgroups", "age"]) == 2
    assert "no clinical column 'age'; it has stage" in capsys.readouterr().err
    assert main([*given, "--subgroups", "stage"]) == 0
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "Sub-groups by stage" in page
    assert (out / "tables" / "subgroups_stage.tex").is_file()
    assert main(["report", str(out)]) == 0  # rendered again, as the run was asked for
    assert (out / "report.html").read_text(encoding="utf-8") == page
    assert main(["report", str(out), "--subgroups", "sex"]) == 2
    assert "no clinical column 'sex'" in capsys.readouterr().err
    assert (out / "report.html").read_text(encoding="utf-8") == page


def test_a_table_of_a_paper_is_compared_with_the_simple_model_too(tmp_path, cohort):
    models = {"paper": StageCox(), "other": StageCox(alpha=30.0), "simple": StageCox(alpha=1.0)}
    run = run_benchmark(
        models, cohort, cohort.outcome, splits=splits_of(cohort), out=tmp_path,
        reference="paper", simple_reference="simple", progress=False,
    )
    assert run.simple_reference == "simple"
    text = render(tmp_path).read_text(encoding="utf-8")
    assert text.index("Differences to paper") < text.index("Differences to simple")
    assert (tmp_path / "tables" / "simple_reference.md").is_file()
    with pytest.raises(ValueError, match="reference 'absent' is not one of the models"):
        run_benchmark(
            models, cohort, cohort.outcome, splits=splits_of(cohort), out=tmp_path / "b",
            simple_reference="absent", progress=False,
        )
