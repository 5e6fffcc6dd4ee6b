"""Runs of labels and of external validation: whom the numbers are of, and no times of labels."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from made_runs import blurred, made_run, noise

from survimg.benchmark import prediction_table
from survimg.benchmark.classification import classification_scores
from survimg.benchmark.scores import score_models
from survimg.cli import checklist, methods
from survimg.report import export, page
from survimg.report.classification import classification_table
from survimg.report.statements import unsupported_statements
from survimg.report.style import templates
from survimg.report.subgroups import evaluate_subgroups
from survimg.report.tables import centre_table, score_table
from survimg.survival import LABEL_HORIZON, outcome_of_labels


def labelled(run, positive):
    """Return the run with labels in place of times, and probabilities of them."""
    for record in run.records.values():
        probability = 1 / (1 + np.exp(-record.arrays["test_risk"]))
        record.arrays["test_risk"] = probability
        record.arrays["times"] = np.array([LABEL_HORIZON])
        record.arrays["survival"] = 1 - probability[:, np.newaxis]
    plan = {**run.plan, "label": "relapse", "protocol": {"name": "kfold"}}
    return replace(run, plan=plan, outcome=outcome_of_labels(np.asarray(positive)))


def external(run):
    """Keep the first of two folds: half of the patients train, the others are tested."""
    records = {place: record for place, record in run.records.items() if place[1] == 0}
    plan = {**run.plan, "protocol": {"name": "external", "n_repeats": 1}}
    return replace(run, plan=plan, folds=run.folds[:1], records=records)


def label_run(n=80, share=0.5, **options):
    run = made_run({"blurred": blurred, "noise": noise}, n=n, reference="noise", **options)
    return labelled(run, np.random.default_rng(3).uniform(size=n) < share)


@pytest.mark.parametrize("label", [True, False])
def test_external_validation_counts_the_patients_who_were_tested(label):
    run = label_run(n_folds=2) if label else made_run({"blurred": blurred}, n=80, n_folds=2)
    run = external(run)
    ((_, test),) = run.folds
    n_events = int(run.outcome["event"][test].sum())
    assert n_events < run.outcome["event"].sum()
    counts = f"40 patients, {n_events} {'with relapse' if label else 'events'}"
    scores = score_models(run)
    texts = [
        score_table(run, scores).note,
        " ".join(unsupported_statements(run, scores)),
        methods._patients(run),
        checklist._of_patients(run)["size"],
        str(run.patients_in_words),
    ]
    texts += [classification_table(run).note] if label else []
    for text in texts:
        assert counts in text


def test_centres_and_subgroups_hold_the_tested_patients_only():
    sites = np.array(["A", "B", "C", "D"])[np.arange(80) // 2 % 4]
    sites[::2] = np.where(sites[::2] == "D", "C", sites[::2])  # the even patients are tested
    run = replace(external(label_run(n_folds=2, groups=sites)), clinical={"site": sites.tolist()})
    ((_, test),) = run.folds
    table = centre_table(run, score_models(run))
    sizes = {site: int((sites[test] == site).sum()) for site in "ABC"}
    assert {row[0]: int(row[1]) for row in table.rows[:-1]} == sizes
    assert int(table.rows[-1][2]) == run.outcome["event"][test].sum()
    levels = evaluate_subgroups(run, "blurred", "site", LABEL_HORIZON).levels
    assert {level.name: level.n_patients for level in levels} == sizes
    assert all(
        level.n_events == run.outcome["event"][test][sites[test] == level.name].sum()
        for level in levels
    )


def test_one_test_set_has_neither_folds_nor_thresholds():
    together = classification_table(label_run()).note
    alone = classification_table(external(label_run(n_folds=2))).note
    for words in ("Out-of-fold", "Youden"):
        assert words in together
        assert words not in alone


@pytest.mark.parametrize(("n_rare", "enough"), [(9, False), (10, True)])
@pytest.mark.parametrize("rare", [True, False])
def test_both_tables_need_ten_patients_of_the_rarer_class(n_rare, enough, rare):
    positive = np.arange(80) < n_rare
    run = labelled(
        made_run({"blurred": blurred, "noise": noise}, n=80, reference="noise"),
        positive if rare else ~positive,
    )
    pairs, pooled = score_models(run)[0], classification_scores(run)[0]
    assert np.isfinite(pairs.within_folds.lower) == np.isfinite(pooled.auc.lower) == enough
    assert (pairs.comparison is not None) == (pooled.comparison is not None) == enough
    if not enough:
        words = f"fewer than 10 patients {'with' if rare else 'without'} relapse"
        assert words in pairs.verdict
        assert words in score_table(run, [pairs]).note
        assert words in " ".join(unsupported_statements(run, [pairs]))


def test_a_report_of_labels_shows_no_times_and_no_c():
    sexes = ["a" if i % 3 else "b" for i in range(80)]
    run = replace(label_run(), clinical={"sex": sexes})
    scores = score_models(run)
    part = page._subgroups(run, scores, "sex", LABEL_HORIZON)
    content = {
        "run": run,
        "subgroups": [part],
        "horizon_text": "1 months",
        "patients": page._patients(run, run.models),
    }
    head = '{% from "macros.html" import table %}'
    rendered = [
        templates().from_string(f"{head}{{% include '{name}.html' %}}").render(content)
        for name in ("subgroups", "patients")
    ]
    for text in [*rendered, *part["table"].header, part["table"].note]:
        assert not re.search(r"\bmonths\b|\bTime\b|\bC\b|C-index|censoring|event", text)
    assert "with relapse" in rendered[1]
    assert "AUC within folds" in rendered[0]


def test_files_and_checklist_of_labels_hold_no_times():
    run = label_run()
    assert "time" not in prediction_table(run)
    assert "time" in prediction_table(made_run({"blurred": blurred}))
    answers = checklist._of_patients(run) | checklist._of_evaluation(run)
    assert not re.search("months|Kaplan|Harrell|right-censored", " ".join(answers.values()))
    assert list(export._figures(run, score_models(run))) == ["concordance"]
