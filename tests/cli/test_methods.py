"""`survimg methods` says what the records hold, and nothing that they do not."""

from __future__ import annotations

import json

from contestants import Failing, StageCox, make_cohort

from survimg.benchmark import compare_models
from survimg.cli import main
from survimg.cli.methods import _classes
from survimg.estimators import ClinicalVolumeCox, RandomSurvivalForest, radiomics_pipeline


def test_the_text_fits_the_run(tmp_path, capsys):
    cohort = make_cohort(n=24)[0]
    models = {"baseline": ClinicalVolumeCox(), "stage": StageCox(), "broken": Failing()}
    result = compare_models(models, cohort, cv=3, out=tmp_path, seeds=(4,), progress=False)
    assert main(["methods", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    events = int(result.outcome["event"].sum())
    assert f"We analysed 24 patients with {events} events" in text
    assert "n folds 3" in text
    assert "random seeds 4. The reference was baseline." in text
    assert "broken failed in every fit and is not reported" in text
    assert "Harrell FE" in text
    assert "Ishwaran" not in text  # no forest took part
    assert "[INCLUSION" in text  # what no record holds is left to the authors
    import sklearn

    assert f"scikit-learn {sklearn.__version__}" in text
    assert main(["methods", str(tmp_path), "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["references"]) == 3


def test_sources_are_found_wherever_an_estimator_is_inside_a_model():
    from survimg.benchmark.identity import describe

    names = list(_classes(describe(radiomics_pipeline(RandomSurvivalForest()))))
    assert {"RadiomicsFeatures", "RandomSurvivalForest"} <= set(names)


def test_a_run_without_a_finished_fit_has_no_text(tmp_path, capsys):
    compare_models({"broken": Failing()}, make_cohort(n=24)[0], cv=2, out=tmp_path, progress=False)
    assert main(["methods", str(tmp_path)]) == 2
    assert "holds no finished fit" in capsys.readouterr().err
