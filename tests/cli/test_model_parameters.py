"""``--set``: parameters of single models in ``survimg benchmark`` and ``survimg fit``."""

from __future__ import annotations

import json
import shlex

import pytest
from contestants import make_cohort

import survimg
from survimg.benchmark import read_run
from survimg.cli import main
from survimg.cli.benchmark import EXAMPLES
from survimg.cli.model_parameters import set_parameters, set_parameters_of_models
from survimg.cli.parser import make_parser
from survimg.estimators import radiomics_lasso_cox
from survimg.suites import ModelSettings, build_models

OWN, OTHER = "contestants:StageCox", "contestants:Reversed"
NESTED = ("--protocol", "nested", "--inner-folds", 2, "--grid", f"{OWN}:alpha=0.1,1")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cohorts") / "spheres"
    make_cohort(n=30)[0].save(folder)
    return folder


def benchmark(store, out, *arguments):
    given = ["--cohort", store, "--models", f"{OWN},{OTHER}", "--folds", 2, "--out", out, "-q"]
    return main(["benchmark", *map(str, [*given, *arguments])])


def fits(out):
    """Penalty of each model in its records, and how long its fits took, to the microsecond."""
    run = read_run(out)
    found = {name: [run.records[name, fold, 0].details for fold in (0, 1)] for name in run.models}
    return {
        name: (records[0]["estimator"]["params"]["alpha"], [r["fit_seconds"] for r in records])
        for name, records in found.items()
    }


def test_a_parameter_reaches_its_model_and_only_that_is_fitted_again(store, tmp_path):
    out = tmp_path / "run"
    assert benchmark(store, out) == 0
    before = fits(out)
    assert benchmark(store, out, "--set", f"{OWN}.alpha=5") == 0
    with_another = fits(out)
    assert with_another[OWN][0] == 5
    assert with_another[OTHER] == before[OTHER]
    plan = json.loads((out / "run.json").read_text())
    assert plan["settings"]["parameters_set"] == [f"{OWN}.alpha=5"]
    page = (out / "report.html").read_text(encoding="utf-8")
    assert f"{OWN}.alpha=5" in page
    assert "alpha = 5 (default 0.1)" in page
    assert benchmark(store, out) == 0
    assert fits(out) == before
    assert "parameters_set" not in read_run(out).plan["settings"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["alpha=5"], f"--set is MODEL.PARAMETER=VALUE, with a model of this run ({OWN}, {OTHER})"),
        ([f"{OWN}.alpha"], "--set is MODEL.PARAMETER=VALUE"),
        ([f"{OWN}=5"], "--set is MODEL.PARAMETER=VALUE"),
        (["contestants:StageCoxx.alpha=5"], f"its models are {OWN}, {OTHER}. Did you mean"),
        (["rsf.alpha=5"], f"no model 'rsf' in this run; its models are {OWN}, {OTHER}."),
        (
            [f"{OWN}.alhpa=5"],
            f"no such parameter; write {OWN}.PARAMETER=VALUE with alpha.",
        ),
        ([f"{OWN}.x=5"], f"--set {OWN}.x=5: {OWN} has no such parameter"),
        ([f"{OWN}.x=5"], f"write {OWN}.PARAMETER=VALUE with one of alpha."),
        ([f"{OWN}.alpha=5", "--set", f"{OWN}.alpha=6"], "is set twice"),
        ([f"{OWN}.alpha=5", *NESTED], "--grid searches this parameter"),
        (
            ["contestants:Segmenter.random_state=3", "--models", "contestants:Segmenter"],
            "set seeds with --seed",
        ),
    ],
)
def test_what_cannot_be_set_is_one_line_before_any_work(store, tmp_path, capsys, options, message):
    assert benchmark(store, tmp_path / "run", "--set", *options) == 2
    shown = capsys.readouterr().err
    assert message in shown
    assert shown.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("model__cv=3", "model__cv", 3),
        ("cv=3", "model__cv", 3),
        ("rule=lambda_1se", "model__rule", "lambda_1se"),
        ('rule="lambda_1se"', "model__rule", "lambda_1se"),
        ("l1_ratio=5e-1", "model__l1_ratio", 0.5),
        ("alphas=[0.5, 0.1]", "model__alphas", [0.5, 0.1]),
        ("alphas=null", "model__alphas", None),
        ("alphas=None", "model__alphas", None),
        ("verbose_feature_names_out=False", "features__verbose_feature_names_out", False),
        ("rule=__import__('os').getcwd()", "model__rule", "__import__('os').getcwd()"),
        ("features__radiomics__filter=passthrough", "features__radiomics__filter", "passthrough"),
    ],
)
def test_values_are_json_or_text_and_are_never_run(text, name, value):
    model = radiomics_lasso_cox()
    assert set_parameters(model, "lasso", [text]) == [f"{name}={json.dumps(value)}"]
    found = model.get_params(deep=True)[name]
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("memory2=1", "lasso has no such parameter; write PARAMETER=VALUE with memory"),
        (
            "n_jobs=2",
            "several such parameters; write PARAMETER=VALUE with features__n_jobs or f",
        ),
        ("model=3", "model is a part of the model; set its parameters as model__NAME"),
        ("steps=[]", "steps is a part of the model"),
        ("cv", "no value is given; write PARAMETER=VALUE with model__cv"),
    ],
)
def test_what_a_pipeline_lacks_or_is_made_of_is_refused(text, message):
    model = radiomics_lasso_cox()
    before = str(model.get_params(deep=True))
    with pytest.raises(ValueError, match="--set") as error:
        set_parameters(model, "lasso", ["model__cv=4", text])
    assert message in str(error.value)
    assert str(model.get_params(deep=True)) == before


def test_the_example_of_the_help_names_parameters_that_exist():
    given = make_parser().parse_args(shlex.split(EXAMPLES[-1])[1:]).set
    models = build_models(["radiomics-lasso-cox", "radiomics-rsf"], ModelSettings())
    done = ["radiomics-rsf.model__n_estimators=200", "radiomics-lasso-cox.model__cv=10"]
    assert set_parameters_of_models(models, given, []) == done


def test_a_step_is_not_left_out_and_set():
    filter_ = "features__radiomics__filter"
    texts = [f"{filter_}__threshold=0.5", f"{filter_}=passthrough"]
    with pytest.raises(ValueError, match="removes a step whose parameters are set"):
        set_parameters(radiomics_lasso_cox(), "lasso", texts)


def test_fit_sets_the_same(store, tmp_path):
    model, out = "clinical-volume-cox", str(tmp_path / "m")
    command = ["fit", "--cohort", str(store), "--model", model, "--out", out, "-q"]
    assert main([*command, "--set", "alpha=3"]) == 0
    assert survimg.load(tmp_path / "m").alpha == 3
