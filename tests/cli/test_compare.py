"""``survimg compare``: what differs between runs, and when models are tested in pairs."""

from __future__ import annotations

import json

import numpy as np
import pytest
from contestants import Segmenter, StageCox, make_cohort

from survimg import Cohort
from survimg.benchmark import run_benchmark
from survimg.benchmark.within_fold import compare_within_folds, within_fold_concordance
from survimg.cli import main
from survimg.model_selection import EventStratifiedKFold
from survimg.report.comparison import compare_runs


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Four runs: two over the same folds, one over others, one with other patients."""
    folder = tmp_path_factory.mktemp("runs")
    cohort, _ = make_cohort(n=30, size=8)
    other, _ = make_cohort(n=30, size=8, seed=1, ids=[f"other {i}" for i in range(30)])

    def run(name, patients, models, seed=0, order=1, **options):
        folds = EventStratifiedKFold(3, shuffle=True, random_state=seed)
        splits = list(folds.split(patients, patients.outcome))[::order]
        run_benchmark(
            models, patients, patients.outcome, splits=splits, out=folder / name, progress=False,
            **options,
        )

    quiet, loud = Segmenter(noise=1.0), Segmenter(noise=400.0)
    run("a", cohort, {"cox": StageCox(), "<s>": quiet, "mine": StageCox()},
        settings={"cohort": "x", "prepared": {"spacing": 4}})
    run("b", cohort, {"cox": StageCox(), "<s>": loud}, order=-1,
        settings={"cohort": "x", "prepared": {"spacing": 2}})
    run("folds", cohort, {"cox": StageCox()}, seed=5)
    run("patients", other, {"cox": StageCox()})
    return folder


def changes_of(comparison):
    return {change.topic: change.values for change in comparison.changes}


def test_the_difference_is_paired_over_the_same_folds(runs):
    comparison = compare_runs([runs / "a", runs / "b"])
    assert comparison.patients == comparison.splits == ("same",)
    changed = {m.model: m for m in comparison.models}["<s>"]
    pooled = []
    for run in (comparison.runs[1], comparison.runs[0]):
        records = run.successful_records("<s>")
        units = [(run.folds[f][1], r.arrays["test_risk"]) for (f, _), r in records.items()]
        pooled.append(within_fold_concordance(run.outcome["event"], run.outcome["time"], units))
    expected = compare_within_folds(*pooled)
    assert changed.comparison.difference == pytest.approx(expected.difference)
    assert changed.comparison.p_value == pytest.approx(expected.p_value)
    assert changed.comparison.difference < 0
    assert changed.p_adjusted == pytest.approx(changed.comparison.p_value)
    same = {m.model: m for m in comparison.models}["cox"]
    assert same.comparison is None
    assert same.reason == "both runs order all pairs in the same way"


def test_what_differs_is_named_and_nothing_else(runs):
    changes = changes_of(compare_runs([runs / "a", runs / "b"]))
    assert changes["settings: prepared: spacing"] == ("4", "2")
    assert changes["model <s>: noise"] == ("1", "400")
    assert changes["models"] == ("cox, <s>, mine", "cox, <s>")
    assert not any(topic.startswith(("model cox", "model mine", "version")) for topic in changes)
    assert changes_of(compare_runs([runs / "a", runs / "a"])) == {}


@pytest.mark.parametrize(
    ("name", "said"), [("folds", "other folds"), ("patients", "0 patients are in both")]
)
def test_no_pairs_no_paired_test(runs, name, said):
    comparison = compare_runs([runs / "a", runs / name])
    (model,) = comparison.models
    assert model.comparison is None
    assert model.reason.startswith("no paired test")
    assert said in model.reason


def test_another_endpoint_is_not_paired(runs, tmp_path):
    cohort, _ = make_cohort(n=30, size=8)
    y = cohort.outcome.copy()
    y["event"][np.flatnonzero(y["event"])[0]] = False
    changed = Cohort(
        np.stack([cohort.volume(i) for i in range(30)]), clinical=cohort.clinical, outcome=y,
        ids=cohort.ids, channel_names=cohort.channel_names,
    )
    folds = EventStratifiedKFold(3, shuffle=True, random_state=0)
    splits = list(folds.split(cohort, cohort.outcome))
    run_benchmark({"cox": StageCox()}, changed, y, splits=splits, out=tmp_path, progress=False)
    comparison = compare_runs([runs / "a", tmp_path])
    assert comparison.patients == ("the same patients, but 1 of 30 outcomes differ",)
    assert comparison.models[0].comparison is None


def test_an_unfinished_model_is_not_tested(runs, tmp_path):
    import shutil

    shutil.copytree(runs / "b", tmp_path / "b")
    next((tmp_path / "b" / "records").rglob("fold00*.json")).unlink()
    models = compare_runs([runs / "a", tmp_path / "b"]).models
    assert sum("2 of 3 fits have predicted" in model.reason for model in models) == 1


def test_the_terminal_shows_all_three(runs, capsys):
    assert main(["compare", *(str(runs / name) for name in ("a", "b", "folds"))]) == 0
    text = capsys.readouterr().out
    assert f"A  {runs / 'a'}" in text
    assert "B: the patients and outcomes of A; the folds of A" in text
    assert "B − A (95 % CI)" in text
    assert "C and A, cox: no paired test" in text
    assert "settings: prepared: spacing" in text


def test_json_holds_numbers_and_nothing_else_is_printed(runs, tmp_path, capsys):
    page = tmp_path / "new" / "page.html"
    assert main(["compare", str(runs / "a"), str(runs / "b"), "--json", "--html", str(page)]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["others"] == [{"run": str(runs / "b"), "patients": "same", "splits": "same"}]
    tested = {row["model"]: row for row in content["comparisons"]}
    assert tested["<s>"]["lower95"] < tested["<s>"]["difference"] < tested["<s>"]["upper95"]
    assert tested["cox"]["difference"] is None
    assert 0 <= content["runs"][0]["models"]["cox"]["c_mean"] <= 1
    html = page.read_text(encoding="utf-8")
    assert "&lt;s&gt;" in html
    assert "<s>" not in html
    assert "http" not in html.replace("http-equiv", "")


def test_one_run_cannot_be_compared(runs, tmp_path, capsys):
    assert main(["compare", str(runs / "a")]) == 2
    assert "at least two runs; got 1" in capsys.readouterr().err
    assert main(["compare", str(runs / "a"), str(tmp_path)]) == 2
    assert "holds no benchmark run" in capsys.readouterr().err
