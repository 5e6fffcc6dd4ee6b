"""Pairs of models are compared as any model with its reference, and corrected for their number."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from contestants import StageCox, make_cohort

from survimg.benchmark import read_run, run_benchmark, score_run
from survimg.benchmark.fold_tests import fold_comparison
from survimg.benchmark.scores import holm
from survimg.cli import main
from survimg.estimators import ClinicalVolumeCox
from survimg.model_selection import EventStratifiedKFold
from survimg.report import render
from survimg.report.pairs import pair_table
from survimg.report.table_formats import interval_text, p_text
from survimg.suites import SUITES

PAIRS = [("both", "stage"), ("volume", "stage"), ("both", "volume")]


@pytest.fixture(scope="module")
def cohort():
    return make_cohort(n=60)[0]


@pytest.fixture(scope="module")
def folder(cohort, tmp_path_factory):
    out = tmp_path_factory.mktemp("pairs") / "run"
    volume, both = ClinicalVolumeCox(clinical_columns=[]), ClinicalVolumeCox()
    models = {"stage": StageCox(), "volume": volume, "both": both}
    splits = EventStratifiedKFold(5, shuffle=True, random_state=0).split(cohort, cohort.outcome)
    numbers = {"c_index": 0.7, "source": "A. 2020"}
    run_benchmark(
        models, cohort, cohort.outcome, splits=list(splits), out=out, progress=False,
        reference="stage", pairs=PAIRS,
        published={"stage": {**numbers, "c_index": 0.66}, "both": numbers},
    )  # fmt: skip
    return out


def test_each_row_is_the_comparison_of_its_two_models(folder):
    run = read_run(folder)
    rows = pair_table(run).rows
    assert [row[0] for row in rows] == ["both – stage", "volume – stage", "both – volume"]
    assert [row[1] for row in rows] == ["+0.040", "–", "–"]
    expected = {}
    for first, second in PAIRS:
        plan = {**run.plan, "reference": second}
        scores = {score.model: score for score in score_run(replace(run, plan=plan))}
        expected[first, second] = (
            scores[first].comparison,
            fold_comparison(run, scores[first].fold_c, scores[second].fold_c),
        )
    adjusted = [holm([tests[k].p_value for tests in expected.values()]) for k in (0, 1)]
    for row, (patients, folds), p, p_folds in zip(rows, expected.values(), *adjusted, strict=True):
        cells = (interval_text(patients), p_text(p), interval_text(folds), p_text(p_folds))
        assert row[2:] == cells


def test_the_report_holds_the_table_and_says_why_there_is_no_test(folder, cohort, tmp_path):
    page = render(folder).read_text(encoding="utf-8")
    assert "Pairs of models" in page
    assert (folder / "tables" / "pairs.tex").is_file()
    splits = EventStratifiedKFold(2, shuffle=True, random_state=0).split(cohort, cohort.outcome)
    models = {"stage": StageCox(), "both": ClinicalVolumeCox()}
    run = run_benchmark(
        models, cohort, cohort.outcome, splits=list(splits), out=tmp_path, progress=False,
        pairs=PAIRS[:1],
    )  # fmt: skip
    assert "2 are fewer than 5" in pair_table(run).note
    assert pair_table(run).rows[0][4:] == ("–", "–")


def test_a_model_that_is_not_finished_is_not_said_to_be_the_other(folder):
    run = read_run(folder)
    records = {place: record for place, record in run.records.items() if place[0] != "volume"}
    table = pair_table(replace(run, records=records))
    assert [row[5] == "–" for row in table.rows] == [False, True, True]
    assert table.note.count("0 of 5 fits") == 2
    assert "for volume – stage: 0 of 5 fits" in table.note
    assert "for both – volume: 0 of 5 fits" in table.note


def test_runs_of_before_have_no_pairs(folder, cohort, tmp_path):
    plan = json.loads((folder / "run.json").read_text())
    assert plan["pairs"] == [list(pair) for pair in PAIRS]
    del plan["pairs"]
    run = replace(read_run(folder), plan=plan)
    assert run.pairs == []
    assert pair_table(run) is None


@pytest.mark.parametrize(
    ("pair", "words"),
    [
        (("stage", "stage"), "names one model twice"),
        (("stage", "absent"), "names 'absent', which is not one of the models"),
    ],
)
def test_pairs_that_cannot_be_compared_are_refused(cohort, tmp_path, pair, words):
    splits = EventStratifiedKFold(2, shuffle=True, random_state=0).split(cohort, cohort.outcome)
    with pytest.raises(ValueError, match=words):
        run_benchmark(
            {"stage": StageCox()}, cohort, cohort.outcome, splits=list(splits), out=tmp_path,
            pairs=[pair], progress=False,
        )  # fmt: skip
    assert not list(tmp_path.iterdir())


def test_the_command_takes_pairs(cohort, tmp_path, capsys):
    cohort.save(tmp_path / "store")
    given = (
        f"benchmark --cohort {tmp_path / 'store'} --models clinical-cox,clinical-volume-cox "
        f"--folds 2 --out {tmp_path / 'run'} --pair clinical-volume-cox"
    ).split()
    assert main([*given, "mt-hs"]) == 2
    assert "'mt-hs', which is not one of the models" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
    turned = ("--pair", "clinical-cox", "clinical-volume-cox")
    assert main([*given, "clinical-cox", *turned]) == 0
    assert read_run(tmp_path / "run").pairs == [("clinical-volume-cox", "clinical-cox")]


@pytest.mark.parametrize("name", SUITES)
def test_pairs_of_suites_are_models_with_risks(name):
    suite = SUITES[name]
    assert {model for pair in suite.pairs for model in pair} <= set(suite.models)
    assert not any(model.startswith("seg-backbone") for pair in suite.pairs for model in pair)
    assert bool(suite.pairs) == (name in {"comparison", "ablation", "backbone", "interference"})
