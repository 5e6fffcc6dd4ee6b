"""A model is refused a cohort that was prepared otherwise, by the settings that differ."""

from __future__ import annotations

import json

import numpy as np
import pytest
from saved_models import network

import survimg
from survimg import Cohort
from survimg.datasets import make_phantom_cohort
from survimg.estimators import ClinicalCox, ClinicalVolumeCox
from survimg.model_selection import join_cohorts
from survimg.preprocessing import Preparation, prepare
from survimg.preprocessing.agreement import check_preparation, preparation_of
from survimg.radiomics import RadiomicsFeatures


def prepared(**changes) -> Cohort:
    raw = make_phantom_cohort(n=6, shape=(16, 18, 18), random_state=0, normalise=False).cohort
    settings = {"shape": (16, 18, 18), "spacing": 4.0, "normalise": "none", **changes}
    return prepare(raw, Preparation(**settings), progress=False)


@pytest.fixture(scope="module")
def trained_on() -> Cohort:
    return prepared()


@pytest.fixture(scope="module")
def otherwise() -> Cohort:
    return prepared(spacing=3.0, normalise="zscore")


def test_a_loaded_network_refuses_other_voxels(trained_on, otherwise, tmp_path):
    survimg.save(network().fit(trained_on, trained_on.outcome), tmp_path / "m")
    manifest = json.loads((tmp_path / "m" / "manifest.json").read_text())
    assert manifest["trained_on"]["preparation"] == preparation_of(trained_on)
    model = survimg.load(tmp_path / "m")
    risk = model.predict(trained_on[2:])
    for ask in (model.predict, model.transform, model.predict_survival_function):
        with pytest.raises(ValueError, match="CNNSurvival was trained on") as error:
            ask(otherwise)
        message = str(error.value)
        assert "spacing = [3.0, 3.0, 3.0], and in training [4.0, 4.0, 4.0]" in message
        assert "normalise = 'zscore', and in training 'none'" in message
        assert "crop" not in message
    # A cohort that was made from arrays does not say how it was prepared.
    silent = Cohort(
        np.stack([trained_on.volume(i) for i in range(2, 6)]),
        masks=np.stack([trained_on.mask(i) for i in range(2, 6)]),
        clinical=trained_on[2:].clinical, channel_names=trained_on.channel_names,
    )  # fmt: skip
    np.testing.assert_array_equal(model.predict(silent), risk)


def test_a_loaded_radiomics_step_refuses_other_voxels(trained_on, otherwise, tmp_path):
    step = RadiomicsFeatures(features=("firstorder",), image_types=("original",)).fit(trained_on)
    survimg.save(step, tmp_path / "m")
    loaded = survimg.load(tmp_path / "m")
    assert loaded.transform(trained_on[:2]).equals(step.transform(trained_on[:2]))
    with pytest.raises(ValueError, match=r"this RadiomicsFeatures was trained on: spacing = "):
        loaded.transform(otherwise)


@pytest.mark.filterwarnings("ignore:The crop cuts off:UserWarning")
@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("shape", {"shape": (16, 18, 20)}),
        ("crop", {"crop": "fixed"}),
        ("padding", {"padding": 0.0}),
        ("normalise", {"normalise": ("window", 0.0, 1.0)}),
    ],
)
def test_every_setting_that_changes_voxels_counts(name, changes, trained_on):
    recorded = preparation_of(trained_on)
    with pytest.raises(ValueError, match=f"{name} = "):
        check_preparation(prepared(**changes), recorded, "model")


def test_registration_counts_by_its_kind_and_the_template_image(trained_on):
    registered = trained_on[:]
    registered.settings = {
        **trained_on.settings, "registration": {"transform": "rigid", "template": "case-0001"},
        "registered": {"template": "case-0001", "template_digest": "ab", "failed": {}},
    }  # fmt: skip
    recorded = preparation_of(registered)
    external = registered[:]
    external.settings = {
        **registered.settings, "registration": {"transform": "rigid", "template_image": "t.nii"},
        "registered": {"template": None, "template_digest": "ab", "failed": {"x": ["far"]}},
    }  # fmt: skip
    check_preparation(external, recorded, "model")
    external.settings["registered"]["template_digest"] = "cd"
    with pytest.raises(ValueError, match=r"registration\.template = 'cd', and in training 'ab'"):
        check_preparation(external, recorded, "model")
    with pytest.raises(ValueError, match=r"registration\.transform = None"):
        check_preparation(trained_on, recorded, "model")


def test_a_label_of_its_own_is_each_hospitals_affair(trained_on):
    other = trained_on[:]
    other.settings = {**trained_on.settings, "label": "GTV"}
    check_preparation(other, preparation_of(trained_on), "model")


def test_joined_cohorts_are_prepared_as_the_training_cohort_is(trained_on):
    joined = join_cohorts(trained_on, trained_on, prefix="external-")
    assert preparation_of(joined) == preparation_of(trained_on)
    assert preparation_of(joined[3:]) == preparation_of(trained_on)


def test_what_says_nothing_is_not_compared(trained_on):
    silent = make_phantom_cohort(n=2, shape=(16, 16, 16), random_state=0).cohort
    assert preparation_of(silent) is None
    check_preparation(silent, preparation_of(trained_on), "model")
    check_preparation(trained_on, None, "model")


def test_a_measured_tumour_volume_is_of_one_preparation(trained_on, otherwise, tmp_path):
    survimg.save(ClinicalVolumeCox().fit(trained_on, trained_on.outcome), tmp_path / "m")
    manifest = json.loads((tmp_path / "m" / "manifest.json").read_text())
    assert manifest["trained_on"]["preparation"] == preparation_of(trained_on)
    assert manifest["trained_on"]["channels"] == list(trained_on.channel_names)
    model = survimg.load(tmp_path / "m")
    assert np.isfinite(model.predict(trained_on[:2])).all()
    with pytest.raises(ValueError, match=r"this TumourVolume was trained on: spacing = "):
        model.predict(otherwise)


def test_a_model_of_clinical_columns_knows_a_preparation_and_takes_any(
    trained_on, otherwise, tmp_path
):
    survimg.save(ClinicalCox(alpha=1.0).fit(trained_on, trained_on.outcome), tmp_path / "m")
    manifest = json.loads((tmp_path / "m" / "manifest.json").read_text())
    assert manifest["trained_on"]["preparation"] == preparation_of(trained_on)
    model = survimg.load(tmp_path / "m")
    np.testing.assert_array_equal(model.predict(otherwise), model.predict(trained_on))


def test_a_model_from_before_anti_aliasing_refuses_it_by_name(trained_on):
    names = ("interpolation", "antialias", "mask_interpolation")
    before = {k: v for k, v in preparation_of(trained_on).items() if k not in names}
    with pytest.raises(ValueError, match="antialias = True, and in training False; mask_interpol"):
        check_preparation(trained_on, before, "CNNSurvival")
    same = prepared(antialias=False, mask_interpolation="nearest")
    check_preparation(same, before, "CNNSurvival")
    del same.settings["antialias"]  # a store from then
    check_preparation(same, before, "CNNSurvival")
