"""Classifiers by name: every one learns a label, and reads the masks it admits to."""

from __future__ import annotations

import json
from functools import cache

import numpy as np
import pytest
from sklearn.base import clone, is_classifier

from survimg import Cohort
from survimg.benchmark import read_run
from survimg.benchmark.identity import describe
from survimg.cli import main
from survimg.datasets import make_phantom_cohort
from survimg.suites import (
    DEFAULT_LABEL_MODELS,
    LABEL_MASK_READERS,
    LABEL_MODEL_GROUPS,
    LABEL_MODELS,
    LABEL_REFERENCE,
    LABEL_SUITES,
    ModelSettings,
    build_models,
    parameter_names,
)

QUICK = {"n_iterations": 1, "n_threads": 1, "precision": "float32", "batch_size": 2,
         "batch_norm_batches": 1}  # fmt: skip


def build(name, **settings):
    return build_models([name], ModelSettings(**settings), classifiers=True)[name]


def quick(name):
    """Return the classifier, as small as it can be made without other code."""
    model = build(name)
    for parameter, value in QUICK.items():
        model.set_params(**dict.fromkeys(parameter_names(model, parameter), value))
    if name.startswith("fusion"):
        model.set_params(embed_dim=6, depths=(1, 1), heads=(1, 2), n_trees=5, hidden=4)
    return model.set_params(
        **dict.fromkeys(parameter_names(model, "random_state"), 0),
    )


@cache
def phantoms(size):
    return make_phantom_cohort(n=6, shape=(size,) * 3, random_state=0, censoring=0).cohort


@pytest.mark.parametrize("name", LABEL_MODELS)
def test_every_classifier_is_one_and_can_be_described(name):
    model = build(name)
    assert is_classifier(model)
    text = json.dumps(describe(model), allow_nan=False)
    assert text == json.dumps(describe(clone(model)))


@pytest.mark.parametrize(
    "name", [name for name in LABEL_MODELS if name in LABEL_MASK_READERS or "image" in name]
)
def test_masks_are_read_by_who_says_so(name):
    cohort = phantoms(32 if name.endswith("net") else 16)  # of 16 a DenseNet leaves one voxel
    labels = cohort.outcome["time"] < np.median(cohort.outcome["time"])
    model = quick(name).fit(cohort, labels)
    masks = np.stack([cohort.mask(i) for i in range(len(cohort))])
    other = Cohort(
        np.stack([cohort.volume(i) for i in range(len(cohort))]),
        masks=np.roll(masks, 5, axis=1), clinical=cohort.clinical, spacing=cohort.spacing,
        channel_names=cohort.channel_names, ids=cohort.ids,
    )  # fmt: skip
    changed = not np.array_equal(model.predict_proba(cohort), model.predict_proba(other))
    # A moved mask keeps its volume.
    assert changed == (name in LABEL_MASK_READERS - {LABEL_REFERENCE})


def test_lists_of_names_name_classifiers():
    assert set(DEFAULT_LABEL_MODELS) <= set(LABEL_MODELS)
    assert LABEL_REFERENCE in DEFAULT_LABEL_MODELS
    assert set(LABEL_MODELS) > LABEL_MASK_READERS
    for suite in LABEL_SUITES.values():
        assert set(suite.models) <= set(LABEL_MODELS)
        assert suite.reference in suite.models


def test_classifiers_without_a_published_training_refuse_it():
    for name in ("fusion", "image-densenet"):
        with pytest.raises(ValueError, match="no paper gives the training"):
            build(name, published=True)


def test_without_clinical_columns_they_are_left_out():
    assert build("fusion", clinical=False).branches == ("tumour", "peritumoral", "radiomics")
    for name in ("clinical-logistic", "fusion-clinical"):
        with pytest.raises(ValueError, match="needs clinical columns"):
            build(name, clinical=False)


@pytest.mark.filterwarnings("ignore:.*risks lie within")  # one step of training
def test_the_fusion_suite_is_complete_from_the_command_line(tmp_path, capsys):
    small = [
        f"--set={name}.{parameter}={value}"
        for name in LABEL_SUITES["fusion"].models
        if name.startswith("fusion")
        for parameter, value in (
            ("embed_dim", 6), ("depths", "[1, 1]"), ("heads", "[1, 2]"), ("n_trees", 5),
            ("batch_size", 2), ("precision", "float32"), ("batch_norm_batches", 1),
        )
    ]  # fmt: skip
    options = (
        "benchmark --cohort phantom --patients 12 --shape 16 16 16 --label-at end --suite fusion "
        f"--folds 2 --iterations 1 --threads 1 --no-progress --out {tmp_path / 'run'}"
    )
    assert main([*options.split(), *small]) == 0
    run = read_run(tmp_path / "run")
    assert all(run.complete(name) for name in LABEL_SUITES["fusion"].models)
    page = (tmp_path / "run" / "report.html").read_text("utf-8")
    for text in ("Classification of the event", "ROC curves", "Decision curves"):
        assert text in page
    table = (tmp_path / "run" / "tables" / "classification.md").read_text("utf-8")
    assert all(f"{name} " in table for name in LABEL_SUITES["fusion"].models)


def test_the_list_of_models_holds_every_classifier(capsys):
    listed = [name for group in LABEL_MODEL_GROUPS.values() for name in group]
    assert sorted(listed) == sorted(LABEL_MODELS)
    assert main(["models", "--classifiers"]) == 0
    text = capsys.readouterr().out
    assert all(f" {name} " in text for name in (*LABEL_MODELS, *LABEL_SUITES))
    assert "deepmts-unet" not in text
    assert main(["models", "--classifiers", "--json", "fusion"]) == 0
    shown = json.loads(capsys.readouterr().out)["parameters"]["fusion"]
    assert shown["shell_width"] == build("fusion").shell_width
