"""Messages of the library name keywords of Python; the command line adds its options to them."""

from __future__ import annotations

import argparse

import pytest
from contestants import make_cohort

from survimg.cli import main
from survimg.cli.remedies import options_for, with_options
from survimg.estimators import radiomics_lasso_cox

USAGE = "[--na-values V] [--kinds K] [--mask-label N] [--threads N] [--set S]"
HERE = argparse.Namespace(endpoint=None, usage=lambda: USAGE)


@pytest.fixture(scope="module")
def few_events(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cohorts") / "few"
    make_cohort(n=8)[0].save(folder)
    return str(folder)


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("Leave the cell empty (na_values= does so) or declare it (kinds={'a': 'categorical'}).",
         ["--na-values", "--kinds"]),
        ("Say which label is the tumour (label=2).", ["--mask-label"]),
        ("It takes its own threads (n_threads=2).", ["--threads"]),
        ("Say which label is the tumour (label=..., or --mask-label).", []),
        ("Say which endpoint (endpoint='os').", []),  # an attribute of commands without the option
        ("The model has x == 1 and y.cv=3.", []),
        ("Choose a smaller cv (cv=10).", ["--set lasso.model__cv=VALUE"]),
    ],
)  # fmt: skip
def test_keywords_become_options(text, options):
    models = {"lasso.": radiomics_lasso_cox()}
    assert options_for(text, HERE, models) == options
    added = f" On the command line: {', '.join(options)}." if options else ""
    assert with_options(text, HERE, models) == f"{text}{added}"


def test_a_fit_with_too_few_events_names_the_option(few_events, tmp_path, capsys):
    given = ["fit", "--cohort", few_events, "--model", "radiomics-lasso-cox", "-q"]
    assert main([*given, "--out", str(tmp_path / "model")]) == 2
    assert "On the command line: --set model__cv=VALUE." in capsys.readouterr().err


def test_a_comparison_names_the_option_of_the_model_that_failed(few_events, tmp_path, capsys):
    models = "radiomics-lasso-cox,contestants:StageCox"
    given = ["benchmark", "--cohort", few_events, "--models", models, "--folds", "2", "-q"]
    assert main([*given, "--out", str(tmp_path / "run")]) == 1
    said = capsys.readouterr().err
    assert "is set by --set radiomics-lasso-cox.model__cv=VALUE." in said
    assert "contestants:StageCox failed" not in said


def test_a_refused_column_names_the_options(tmp_path, capsys):
    for name in "ABC":
        (tmp_path / f"{name}.nii.gz").touch()
    manifest = tmp_path / "manifest.csv"
    manifest.write_text("patient_id,PET,dose\nA,A.nii.gz,57 y\nB,B.nii.gz,61 y\nC,C.nii.gz,48 y\n")
    assert main(["info", str(manifest)]) == 0
    assert "On the command line: --kinds." in capsys.readouterr().out
