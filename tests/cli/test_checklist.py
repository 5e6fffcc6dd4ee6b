"""`survimg checklist`: every item once, answers from the records, the rest for the authors."""

from __future__ import annotations

import json

import numpy as np
import pytest
from contestants import Failing, StageCox, make_cohort, with_centres

from survimg.benchmark import compare_models
from survimg.cli import main
from survimg.cli.checklist import AUTHORS, _of_evaluation, _of_models, _of_patients
from survimg.cli.checklist_items import ITEMS
from survimg.estimators import radiomics_lasso_cox
from survimg.radiomics import RadiomicsFeatures


def test_the_lists_have_all_items_of_the_statements():
    main_items = {number.rstrip("abcdefg") for number, _, _ in ITEMS["tripod-ai"]}
    assert main_items == {str(k) for k in range(1, 28)}
    assert len(ITEMS["tripod-ai"]) == 52
    assert [number for number, _, _ in ITEMS["clear"]] == [str(k) for k in range(1, 59)]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    cohort = make_cohort(n=24)[0]
    cohort = with_centres(cohort, np.array(["A", "B"])[np.arange(24) % 2])
    models = {"stage": StageCox(), "other": StageCox(alpha=30.0)}
    folder = tmp_path_factory.mktemp("run")
    return compare_models(models, cohort, cv=3, out=folder, progress=False)


def test_every_named_answer_exists(finished):
    answers = _of_patients(finished) | _of_evaluation(finished) | _of_models(finished)
    named = {key for rows in ITEMS.values() for _, _, key in rows if key}
    # known only where the settings of the run say so
    assert named - answers.keys() == {"data", "preparation", "fairness"}
    assert answers.keys() <= named


def answers_of(run, capsys, *more):
    assert main(["checklist", str(run.folder), "--json", *more]) == 0
    record = json.loads(capsys.readouterr().out)
    return record, {row["item"]: row["answer"] for row in record["items"]}


def test_answers_say_what_the_run_did(finished, capsys):
    record, answers = answers_of(finished, capsys)
    n_events = int(finished.outcome["event"].sum())
    assert answers["21"].startswith(f"24 patients, {n_events} events")
    assert "n folds 3" in answers["12a"]
    assert answers["6a"] == "2 centres"
    assert answers["1"] == answers["17"] == answers["14"] == AUTHORS
    assert record["answered"] == sum(answer != AUTHORS for answer in answers.values())
    _, clear = answers_of(finished, capsys, "--standard", "clear")
    assert clear["23"].startswith("not applicable")
    assert "against stage" in clear["41"]
    assert main(["checklist", str(finished.folder)]) == 0
    table = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert len(table) == 2 + 52
    assert all(line.count(" | ") == 2 for line in table)


def test_radiomics_are_described_by_their_parameters():
    from survimg.benchmark.identity import describe
    from survimg.cli.checklist import _radiomics

    model = radiomics_lasso_cox(extractor=RadiomicsFeatures(bin_width=0.3, spacing=2.0))
    (parameters,) = _radiomics(describe(model))
    assert (parameters["bin_width"], parameters["spacing"]) == (0.3, 2.0)


def test_a_run_without_a_finished_fit_answers_nothing(tmp_path, capsys):
    compare_models({"broken": Failing()}, make_cohort(n=24)[0], cv=2, out=tmp_path, progress=False)
    assert main(["checklist", str(tmp_path)]) == 2
    assert "holds no finished fit" in capsys.readouterr().err
