"""Runs: only what is missing is computed, nothing stale is used, an error stays one model's."""

from __future__ import annotations

import json
import sys

import numpy as np
import pandas as pd
import pytest
from contestants import Failing, Segmenter, StageCox, Undefined, make_cohort, with_centres
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sksurv.linear_model import CoxPHSurvivalAnalysis

from survimg.benchmark import identity, read_run, run_benchmark
from survimg.benchmark.environment import MemoryIncrease
from survimg.benchmark.identity import describe, seeded_clone
from survimg.files import package_digest
from survimg.report.probabilities import report_horizon, survival_at


def run(out, cohort, splits, models=None, **options):
    models = {"segmenter": Segmenter()} if models is None else models
    return run_benchmark(models, cohort, cohort.outcome, splits=splits, out=out, **options)


def test_records_hold_what_the_model_predicts(tmp_path, cohort, splits):
    finished = run(tmp_path, cohort, splits, {"s": Segmenter(), "cox": StageCox()}, seeds=(3,))
    for fold, (train, test) in enumerate(splits):
        with pytest.warns(UserWarning, match="not learned"):
            model = Segmenter(random_state=3).fit(cohort[train], cohort.outcome[train])
        record = finished.records["s", fold, 3]
        assert record.arrays["test_ids"].tolist() == cohort.ids[test].tolist()
        assert record.arrays["train_ids"].tolist() == cohort.ids[train].tolist()
        np.testing.assert_array_equal(record.arrays["test_risk"], model.predict(cohort[test]))
        np.testing.assert_array_equal(record.arrays["train_risk"], model.predict(cohort[train]))
        masks = model.predict_mask(cohort[test])
        overlap = [
            2 * (m & (cohort.mask(i) > 0)).sum() / (m.sum() + (cohort.mask(i) > 0).sum())
            for m, i in zip(masks, test, strict=True)
        ]
        np.testing.assert_allclose(record.arrays["dice"], overlap)
        assert record.details["precision"] == "float32"
        assert record.details["history"]["valid_c"] == pytest.approx([0.6, 0.62, 0.64, 0.66, 0.68])
        assert record.details["warnings"] == ["UserWarning: the threshold is not learned"]
        assert record.details["fit_seconds"] > 0
        assert record.details["memory_increase_bytes"] is None or (
            0 <= record.details["memory_increase_bytes"] < 1e9
        )


def test_survival_curves_are_kept_where_they_are_defined(tmp_path, cohort, splits):
    finished = run(tmp_path, cohort, splits, {"cox": StageCox()})
    for fold, (train, test) in enumerate(splits):
        arrays = finished.records["cox", fold, 0].arrays
        model = StageCox().fit(cohort[train], cohort.outcome[train])
        end = cohort.outcome["time"][train].max()
        times = arrays["times"]
        curves = model.predict_survival_function(cohort[test])
        # scikit-survival's functions begin at the first time; a curve begins at (0, 1)
        expected = [
            [np.nan if t > end else c(t) if t >= c.x[0] else 1.0 for t in times] for c in curves
        ]
        np.testing.assert_array_equal(arrays["survival"], expected)


@pytest.mark.parametrize("settings", [{"horizon": 11.0}, {}], ids=str)
def test_thinned_curves_hold_the_time_at_which_they_are_judged(tmp_path, settings):
    cohort, _ = make_cohort(n=130)
    halves = [(np.arange(65), np.arange(65, 130)), (np.arange(65, 130), np.arange(65))]
    finished = run(tmp_path, cohort, halves, {"cox": StageCox()}, settings=settings)
    assert np.unique(cohort.outcome["time"][cohort.outcome["event"]]).size > 64
    horizon = report_horizon(finished)
    positions, survival = survival_at(finished, "cox", horizon)
    expected = np.empty(130)
    for train, test in halves:
        model = StageCox().fit(cohort[train], cohort.outcome[train])
        expected[test] = [c(horizon) for c in model.predict_survival_function(cohort[test])]
    np.testing.assert_array_equal(survival, expected[positions])


def test_example_slices_are_the_largest_sections(tmp_path, cohort, splits):
    finished = run(tmp_path, cohort, splits)
    position = {name: i for i, name in enumerate(cohort.ids)}
    for record in finished.records.values():
        scores = [example["dice"] for example in record.details["examples"]]
        assert scores[0] == record.arrays["dice"].min()
        assert scores[-1] == record.arrays["dice"].max()
        for k, example in enumerate(record.details["examples"]):
            i = position[example["patient_id"]]
            areas = cohort.mask(i).sum(axis=(1, 2))
            assert areas[example["slice"]] == areas.max()
            np.testing.assert_array_equal(
                record.arrays[f"example{k}_image"], cohort.volume(i)[:, example["slice"]]
            )


def test_a_second_run_computes_nothing(tmp_path, cohort, splits, fit_log):
    first = run(tmp_path, cohort, splits)
    assert fit_log() == 3
    second = run(tmp_path, cohort, splits)
    assert fit_log() == 3
    started = [r.details["started"] for r in first.records.values()]
    assert [r.details["started"] for r in second.records.values()] == started


def test_only_a_deleted_record_is_computed_again(tmp_path, cohort, splits, fit_log):
    before = run(tmp_path, cohort, splits)
    for file in (tmp_path / "records" / "segmenter").glob("fold01-*"):
        file.unlink()
    after = run(tmp_path, cohort, splits)
    assert fit_log() == 4
    next((tmp_path / "records" / "segmenter").glob("fold00-*.npz")).unlink()
    with pytest.warns(UserWarning, match="A damaged record counts as none"):
        run(tmp_path, cohort, splits)
    assert fit_log() == 5
    for place, record in before.records.items():
        np.testing.assert_array_equal(
            record.arrays["test_risk"], after.records[place].arrays["test_risk"]
        )


@pytest.mark.parametrize(
    ("model", "options"),
    [
        (Segmenter(threshold=1.5), {}),
        (Segmenter(), {"seeds": (1,)}),
        (Segmenter(), {"cohort": make_cohort(n=36, seed=1)[0]}),
    ],
    ids=["parameter", "seed", "voxels and outcome"],
)
def test_a_changed_setting_never_reuses_a_record(tmp_path, cohort, splits, fit_log, model, options):
    run(tmp_path, cohort, splits)
    other = options.pop("cohort", cohort)
    changed = run_benchmark(
        {"segmenter": model}, other, cohort.outcome, splits=splits, out=tmp_path, **options
    )
    assert fit_log() == 6
    fresh = run_benchmark(
        {"segmenter": model}, other, cohort.outcome, splits=splits, out=tmp_path / "b", **options
    )
    for place, record in fresh.records.items():
        np.testing.assert_array_equal(
            record.arrays["test_risk"], changed.records[place].arrays["test_risk"]
        )


def test_a_changed_outcome_never_reuses_a_record(tmp_path, cohort, splits, fit_log):
    run(tmp_path, cohort, splits)
    outcome = cohort.outcome.copy()
    outcome["time"] += 1
    run_benchmark({"segmenter": Segmenter()}, cohort, outcome, splits=splits, out=tmp_path)
    assert fit_log() == 6


def test_a_changed_source_file_never_reuses_a_record(tmp_path, monkeypatch):
    module = tmp_path / "own_model.py"
    module.write_text(
        "from sklearn.base import BaseEstimator\nclass Own(BaseEstimator):\n    scale = 1\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    import own_model

    before = describe(own_model.Own())
    module.write_text(module.read_text().replace("1", "2"))
    assert describe(own_model.Own()) != before


def test_a_changed_engine_or_library_never_reuses_a_record(
    tmp_path, cohort, splits, fit_log, monkeypatch
):
    """A record depends on more code than the file in which its estimator's class stands."""
    run(tmp_path, cohort, splits)
    for name, changed in (("source", "0" * 64), ("torch", "99.0")):
        code = {**identity.code_identity(), name: changed}
        with monkeypatch.context() as patch:
            patch.setattr("survimg.benchmark.runner.code_identity", lambda code=code: code)
            run(tmp_path, cohort, splits)
    assert fit_log() == 9


def test_what_has_no_result_is_left_out_of_the_digest(tmp_path):
    def digest(name, **files):
        folder = tmp_path / name
        for part, text in {"nets": "a = 1", "cli": "b = 1", "report": "c = 1", **files}.items():
            (folder / part).mkdir(parents=True)
            (folder / part / "module.py").write_text(text)
        return package_digest(folder, identity._NO_RESULT)

    assert digest("one") == digest("two")
    assert digest("net", nets="a = 2") != digest("one again")
    assert digest("page", cli="b = 2", report="c = 2") == digest("once more")
    assert digest("added", losses="d = 1") != digest("and again")


def test_code_identity_names_source_and_versions():
    code = identity.code_identity()
    assert {"source", "survimg", "torch", "scikit-survival", "scikit-learn", "numpy"} <= set(code)
    assert len(code["source"]) == 64


def test_descriptions_hold_the_defaults_that_were_not_taken():
    assert describe(Segmenter())["defaults"] == {}
    assert describe(Segmenter(threshold=3.0, verbose=1))["defaults"] == {"threshold": 2.0}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="measured on Linux alone")
def test_memory_counts_from_the_start_of_the_fit():
    before = np.ones(40_000_000)  # 320 MB that are there already
    memory = MemoryIncrease()
    if memory.read() is None:
        pytest.skip("this system does not let a process restart its high-water mark")
    assert memory.read() < 50e6
    during = np.ones(20_000_000)
    assert 150e6 < memory.read() < 220e6
    assert before.size > during.size


def test_groups_are_kept_with_the_patients(tmp_path, cohort, splits):
    assert run(tmp_path / "without", cohort, splits, {"cox": StageCox()}).groups is None
    grouped = with_centres(cohort, np.arange(36) % 3)
    kept = run(tmp_path / "with", grouped, splits, {"cox": StageCox()})
    assert kept.groups.tolist() == [str(i % 3) for i in range(36)]


def test_models_that_are_not_named_again_leave_the_run_but_stay_on_disk(
    tmp_path, cohort, splits, fit_log
):
    both = {"segmenter": Segmenter(), "cox": StageCox()}
    run(tmp_path, cohort, splits, both)
    assert run(tmp_path, cohort, splits, {"cox": StageCox()}).models == ["cox"]
    assert run(tmp_path, cohort, splits, both).complete("segmenter")
    assert fit_log() == 3


def test_printing_and_processes_do_not_make_a_record_stale(tmp_path, cohort, splits, fit_log):
    run(tmp_path, cohort, splits)
    run(tmp_path, cohort, splits, {"segmenter": Segmenter(verbose=1)})
    assert fit_log() == 3


def test_descriptions_tell_nested_parameters_and_arrays_apart():
    def pipeline(**cox):
        return make_pipeline(StandardScaler(), CoxPHSurvivalAnalysis(**cox))

    assert describe(pipeline()) == describe(pipeline())
    assert describe(pipeline(alpha=0.1)) != describe(pipeline(alpha=0.2))
    a, b = np.zeros(3), np.array([0.0, 0.0, 1.0])
    assert describe({"w": a}) == describe({"w": a.copy()})
    assert describe({"w": a}) != describe({"w": b})
    anything = {"x": [np.float32(1), float("nan"), (1, 2), len, StageCox]}
    json.dumps(describe(anything), allow_nan=False)


def test_every_random_state_is_set_also_nested_ones():
    model = make_pipeline(StandardScaler(), Segmenter())
    assert seeded_clone(model, 5).get_params()["segmenter__random_state"] == 5
    assert model.get_params()["segmenter__random_state"] is None


def test_a_failing_model_is_recorded_and_the_others_go_on(tmp_path, cohort, splits):
    models = {"bad": Failing(), "nan": Undefined(), "good": StageCox()}
    finished = run(tmp_path, cohort, splits, models)
    assert {(r.model, r.error["type"]) for r in finished.failures} == {
        ("bad", "RuntimeError"), ("nan", "ValueError")
    }
    error = finished.failures[0].error
    assert error["message"] == "the <b>gradient</b> exploded"
    assert "contestants.py" in error["traceback"]
    assert finished.complete("good")
    assert not finished.successful_records("bad")


def test_a_failed_model_is_tried_again(tmp_path, cohort, splits, fit_log, monkeypatch):
    def broken(self, X):
        raise MemoryError("too little memory today")

    with monkeypatch.context() as patch:
        patch.setattr(Segmenter, "predict", broken)
        assert len(run(tmp_path, cohort, splits).failures) == 3
    assert not run(tmp_path, cohort, splits).failures
    assert fit_log() == 6


def test_processes_give_the_same_records(tmp_path, cohort, splits):
    models = {"segmenter": Segmenter(), "cox": StageCox()}
    alone = run(tmp_path / "1", cohort, splits, models, seeds=(0, 1))
    together = run(tmp_path / "2", cohort, splits, models, seeds=(0, 1), n_jobs=2)
    assert alone.records.keys() == together.records.keys()
    for place, record in alone.records.items():
        assert record.key == together.records[place].key
        np.testing.assert_array_equal(
            record.arrays["test_risk"], together.records[place].arrays["test_risk"]
        )


def test_tables_of_features_can_take_part(tmp_path, cohort, splits):
    frame = pd.DataFrame({"stage": cohort.clinical["stage"], "size": np.arange(36.0)})
    finished = run_benchmark(
        {"cox": CoxPHSurvivalAnalysis(alpha=0.1)}, frame, cohort.outcome, splits=splits,
        out=tmp_path, ids=[f"id{i}" for i in range(36)],
    )
    assert finished.complete("cox")
    with pytest.raises(ValueError, match="pass ids="):
        run_benchmark(
            {"cox": CoxPHSurvivalAnalysis()}, frame, cohort.outcome, splits=splits, out=tmp_path
        )


def test_splits_are_frozen(tmp_path, cohort, splits):
    run(tmp_path, cohort, splits)
    with pytest.raises(ValueError, match="of a run share its splits"):
        run(tmp_path, cohort, splits[:2])
    stored = json.loads((tmp_path / "splits.json").read_text())["folds"]
    assert stored[1]["test"] == cohort.ids[splits[1][1]].tolist()
    for fold, stored_fold in zip(splits, read_run(tmp_path).folds, strict=True):
        np.testing.assert_array_equal(fold[0], stored_fold[0])
        np.testing.assert_array_equal(fold[1], stored_fold[1])


def test_an_unfinished_run_can_be_read(tmp_path, cohort, splits):
    run(tmp_path, cohort, splits)
    next((tmp_path / "records" / "segmenter").glob("fold02-*.json")).unlink()
    unfinished = read_run(tmp_path)
    assert unfinished.missing == [("segmenter", 2, 0)]
    assert not unfinished.complete("segmenter")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"splits": []}, "splits is empty"),
        ({"splits": [([0, 1, 2, 3], [3, 4])]}, "both the training and the test part"),
        ({"splits": [([0, 0, 1], [3, 4])]}, "distinct"),
        ({"splits": [([0, 1], [3, 99])]}, "0 to 35"),
        ({"splits": [(np.arange(35), [35])]}, "no comparable pair"),
        ({"models": {}}, "models is empty"),
        ({"reference": "nobody"}, "'nobody' is not one of the models"),
        ({"seeds": (1, 1)}, "distinct non-negative"),
        ({"oracle_risk": [1.0, 2.0]}, "oracle_risk must have one value per patient"),
        ({"ids": ["a"] * 36}, "Duplicate patient ids"),
    ],
)
def test_bad_input_is_refused_before_anything_is_written(tmp_path, cohort, splits, change, message):
    arguments = {"models": {"cox": StageCox()}, "splits": splits, "out": tmp_path / "x", **change}
    with pytest.raises(ValueError, match=message):
        run_benchmark(arguments.pop("models"), cohort, cohort.outcome, **arguments)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("model", [StageCox, "cox", StandardScaler()])
def test_what_is_no_estimator_is_refused(tmp_path, cohort, splits, model):
    with pytest.raises(TypeError, match="'m' is not an estimator"):
        run(tmp_path, cohort, splits, {"m": model})
