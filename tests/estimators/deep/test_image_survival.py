"""Networks of the user's as survival estimators and classifiers."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from scipy.stats import rankdata
from sklearn.base import clone
from sklearn.ensemble import VotingClassifier
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from torch import nn

import survimg
from survimg.datasets import make_phantom_cohort
from survimg.estimators import FoldEnsemble, ImageClassifier, ImageSurvival, SurvivalVoting
from survimg.explain import saliency
from survimg.model_files import ModelFileError
from survimg.model_selection import EventStratifiedKFold
from survimg.testing import check_survival_estimator
from survimg.training import MTLR, Classification, Cox, DeepHit, DiscreteTime, Net
from tests.estimators.deep.networks_of_users import Pyramid, SmallNet, Wrong, noise, small_net

QUICK: dict = {
    "n_iterations": 2, "batch_size": 4, "batch_norm_batches": 1, "precision": "float32",
    "n_threads": 1, "random_state": 0,
}  # fmt: skip
OBJECTIVES = [Cox(ties="efron"), DiscreteTime(cuts=[20, 50]), MTLR(), DeepHit(alpha=0.5)]


@pytest.fixture(scope="module")
def cohort():
    return make_phantom_cohort(n=14, shape=(16, 16, 16), random_state=0).cohort


def quick(net=None, **parameters):
    return ImageSurvival(net=Net(SmallNet) if net is None else net, **{**QUICK, **parameters})


@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda o: type(o).__name__)
def test_the_contract(objective, cohort):
    check_survival_estimator(quick(objective=objective), cohort, cohort.outcome)


def test_a_search_sets_parameters_of_the_network_and_of_the_objective(cohort):
    search = GridSearchCV(
        quick(objective=Cox()),
        {"net__width": [2, 3], "objective__ties": ["efron", "breslow"]},
        cv=EventStratifiedKFold(2), n_jobs=2, error_score="raise",
    ).fit(cohort, cohort.outcome)  # fmt: skip
    width = search.best_params_["net__width"]
    assert search.best_estimator_.net_.module_.encoder.blocks[0].out_channels == width
    assert len({tuple(p.items()) for p in search.cv_results_["params"]}) == 4


@pytest.mark.parametrize(
    ("net", "pool", "n_features"),
    [
        (Net(SmallNet, width=3), "mean", 3),
        (Net(SmallNet, width=3), "mean-sd", 6),
        (Net(Pyramid, width=3), "mean", 3),
        (Net(small_net, width=3), "mean", 3),
        (SmallNet(2, 5), "mean", 5),
    ],
)
def test_what_the_network_returns_becomes_features(net, pool, n_features, cohort):
    model = quick(net, pool=pool).fit(cohort, cohort.outcome)
    features = model.transform(cohort)
    assert features.shape == (14, n_features)
    one = torch.from_numpy(cohort.volume(3)).unsqueeze(0)
    with torch.no_grad():
        output = model.net_.module_.encoder(one)
    while isinstance(output, list | tuple):
        output = output[-1]
    np.testing.assert_allclose(features[3][:3], output.mean(dim=(2, 3, 4))[0, :3], rtol=1e-4)
    if pool == "mean-sd":
        expected = output.flatten(2).std(dim=2, correction=0)[0]
        np.testing.assert_allclose(features[3][3:], expected, rtol=1e-3, atol=1e-6)


def test_a_module_is_where_training_starts_and_stays_as_it_is(cohort):
    module = SmallNet(2)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    model = quick(module, learning_rate=1e-9, batch_norm_batches=1).fit(cohort, cohort.outcome)
    weight = model.net_.module_.encoder.blocks[0].weight
    torch.testing.assert_close(weight.detach(), before["blocks.0.weight"], atol=1e-6, rtol=0)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_what_is_no_network_for_the_cohort_is_refused_in_words(cohort):
    y = cohort.outcome
    with pytest.raises(ValueError, match=r"must return features .* it returns a dict"):
        quick(Net(Wrong)).fit(cohort, y)
    with pytest.raises(ValueError, match=r"cannot take volumes of 2 channel\(s\) and 16 x 16 x 16"):
        quick(SmallNet(1)).fit(cohort, y)
    with pytest.raises(ValueError, match="'net' parameter"):
        quick(SmallNet).fit(cohort, y)
    with pytest.raises(ValueError, match=r"net__width cannot be set: .* net=Net\(SmallNet"):
        quick(SmallNet(2)).set_params(net__width=3)
    assert quick(SmallNet(2)).set_params(net=Net(SmallNet), net__width=3).net.parameters
    with pytest.raises(ValueError, match="objective__tise|Invalid parameter 'tise'"):
        quick(objective=Cox()).set_params(objective__tise="efron")
    with pytest.raises(ValueError, match="'ties' parameter of Cox"):
        quick(objective=Cox(ties="no")).fit(cohort, y)
    with pytest.raises(ValueError, match=r"Cuts \[20, 5000, 9000\]: nobody failed"):
        quick(objective=DiscreteTime(cuts=[20, 5000, 9000])).fit(cohort, y)


class Constant(nn.Module):
    """Nothing of the image: what is left is the clinical path."""

    def __init__(self, in_channels):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, volumes):
        return self.weight * volumes.mean(dim=(2, 3, 4))


def test_an_offset_is_the_cox_model_of_the_clinical_columns(cohort):
    model = quick(Net(Constant), clinical_path="offset", learning_rate=1e-12)
    model.fit(cohort, cohort.outcome)
    table = model._standardise(model.clinical_encoder_.transform(cohort))
    expected = table @ model.clinical_coefficients_
    risk = model.predict(cohort)
    np.testing.assert_allclose(risk - risk[0], expected - expected[0], atol=1e-5)
    assert np.std(risk) > 0.01
    with pytest.raises(ValueError, match="MTLR has no log-hazard ratios"):
        quick(clinical_path="offset", objective=MTLR()).fit(cohort, cohort.outcome)


def test_an_undropped_path_never_loses_a_clinical_value(cohort):
    """With dropout of nearly everything only this path sees the columns in training."""
    moved = {}
    for path in ("joined", "undropped"):
        model = quick(clinical_path=path, dropout=0.999, n_iterations=3).fit(cohort, cohort.outcome)
        n_image = model.net_.module_.n_features
        start = quick(clinical_path=path, n_iterations=1, learning_rate=1e-12)
        before = start.fit(cohort, cohort.outcome).net_.module_.head.weight[0, n_image:]
        moved[path] = (model.net_.module_.head.weight[0, n_image:] - before).abs().max().item()
    assert moved["undropped"] > 1e-4 > moved["joined"]


def test_same_seed_same_result_whatever_the_global_generators_are(cohort):
    results = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        random.seed(seed)
        states = torch.get_rng_state(), np.random.get_state()[1], random.getstate()  # noqa: NPY002
        model = quick(augmentation=noise).fit(cohort, cohort.outcome)
        results.append(model.predict(cohort))
        assert torch.equal(torch.get_rng_state(), states[0])
        assert (np.random.get_state()[1] == states[1]).all()  # noqa: NPY002
        assert random.getstate() == states[2]
    np.testing.assert_array_equal(*results)
    assert (quick().fit(cohort, cohort.outcome).predict(cohort) != results[0]).all()


@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda o: type(o).__name__)
def test_saved_models_predict_the_same_to_the_bit(objective, cohort, tmp_path):
    model = quick(objective=objective, optimizer=torch.optim.AdamW).fit(cohort, cohort.outcome)
    survimg.save(model, tmp_path / "model", trusted=[SmallNet])
    again = survimg.load(tmp_path / "model", trusted=[SmallNet])
    np.testing.assert_array_equal(again.predict(cohort), model.predict(cohort))
    np.testing.assert_array_equal(
        again.predict_survival_function(cohort, return_array=True),
        model.predict_survival_function(cohort, return_array=True),
    )
    assert again.get_params()["net__cls"] is SmallNet
    assert again.optimizer is torch.optim.AdamW
    with pytest.raises(ModelFileError, match=r"trusted=\[\.\.\.\]"):
        survimg.load(tmp_path / "model")
    with pytest.raises(ModelFileError, match="class SmallNet"):
        survimg.save(model, tmp_path / "other")


def test_functions_are_trusted_and_modules_are_refused_in_words(cohort, tmp_path):
    model = quick(Net(small_net), augmentation=noise).fit(cohort, cohort.outcome)
    with pytest.warns(UserWarning, match="saved without its augmentation"):
        survimg.save(model, tmp_path / "model", trusted=[small_net])
    again = survimg.load(tmp_path / "model", trusted=[small_net])
    np.testing.assert_array_equal(again.predict(cohort), model.predict(cohort))
    assert again.augmentation is None
    model = quick(SmallNet(2)).fit(cohort, cohort.outcome)
    with pytest.raises(ModelFileError, match=r"net=Net\(SmallNet"):
        survimg.save(model, tmp_path / "other", trusted=[SmallNet])


def test_saliency_and_ensembles_take_it(cohort):
    for objective in (Cox(), MTLR()):
        model = quick(objective=objective).fit(cohort, cohort.outcome)
        maps = saliency(model, cohort[:1])
        assert maps.shape == (1, *cohort.shape[2:])
        assert np.abs(maps).max() > 0
    ensemble = FoldEnsemble(quick(), cv=2).fit(cohort, cohort.outcome)
    assert ensemble.predict(cohort).shape == (14,)


def test_plain_arrays_without_clinical_columns(cohort):
    volumes = np.stack([cohort.volume(i) for i in range(14)])
    model = quick().fit(volumes, cohort.outcome)
    assert model.net_.module_.head.in_features == model.net_.module_.n_features
    assert model.predict(volumes).shape == (14,)


def test_a_classifier_of_labels(cohort, tmp_path):
    labels = np.where(cohort.outcome["event"], "yes", "no")
    model = ImageClassifier(net=Net(SmallNet), **QUICK).fit(cohort, labels)
    proba = model.predict_proba(cohort)
    assert model.classes_.tolist() == ["no", "yes"]
    np.testing.assert_allclose(proba.sum(axis=1), 1)
    assert (model.predict(cohort) == model.classes_[(proba[:, 1] > 0.5).astype(int)]).all()
    survimg.save(model, tmp_path / "model", trusted=[SmallNet])
    again = survimg.load(tmp_path / "model", trusted=[SmallNet])
    np.testing.assert_array_equal(again.predict_proba(cohort), proba)
    smoothed = ImageClassifier(
        net=Net(SmallNet), objective=Classification(label_smoothing=0.4), **QUICK
    ).fit(cohort, labels)
    assert (smoothed.predict_proba(cohort) != proba).all()
    search = GridSearchCV(
        ImageClassifier(net=Net(SmallNet), **QUICK), {"net__width": [2, 3]},
        scoring="roc_auc", cv=StratifiedKFold(2), error_score="raise",
    ).fit(cohort, labels)  # fmt: skip
    assert search.best_score_ > 0
    with pytest.raises(ValueError, match="learns labels"):
        ImageClassifier(net=Net(SmallNet), **QUICK).fit(cohort, cohort.outcome)
    with pytest.raises(ValueError, match="no log-hazard ratios"):
        ImageClassifier(net=Net(SmallNet), clinical_path="offset", **QUICK).fit(cohort, labels)


def test_a_classifier_of_three_labels(cohort, tmp_path):
    labels = np.array(["a", "b", "b", "c", "b", "c", "b"] * 2)
    model = ImageClassifier(net=Net(SmallNet), **QUICK).fit(cohort, labels)
    scores, proba = model.decision_function(cohort), model.predict_proba(cohort)
    assert model.classes_.tolist() == ["a", "b", "c"]
    assert model.prevalence_.tolist() == [2 / 14, 8 / 14, 4 / 14]
    odds = np.exp(scores - scores[:, :1])
    np.testing.assert_allclose(proba, odds / odds.sum(axis=1, keepdims=True))
    np.testing.assert_array_equal(model.predict(cohort), model.classes_[scores.argmax(axis=1)])
    # Batches of 4 have 1, 1 and 2 patients of the classes.
    learned = [output.logits[0].numpy() for output in model._outputs(model._patients(cohort))]
    shift = np.log(model.prevalence_) - np.log([0.25, 0.25, 0.5])
    np.testing.assert_allclose(scores, learned + shift, rtol=1e-5)
    survimg.save(model, tmp_path / "model", trusted=[SmallNet])
    again = survimg.load(tmp_path / "model", trusted=[SmallNet])
    np.testing.assert_array_equal(again.predict_proba(cohort), proba)
    validated = ImageClassifier(net=Net(SmallNet), validation_fraction=0.5, **QUICK)
    assert validated.fit(cohort, labels).history_["validation_auc"].between(0, 1).all()


def test_seeds_vote(cohort):
    def seeds(kind):
        model = kind(net=Net(SmallNet), **QUICK)
        return [(f"seed{k}", clone(model).set_params(random_state=k)) for k in (1, 2)]

    vote = SurvivalVoting(seeds(ImageSurvival)).fit(cohort, cohort.outcome)
    ranks = [rankdata(model.predict(cohort)) - 0.5 for model in vote.estimators_]
    np.testing.assert_allclose(vote.predict(cohort), np.mean(ranks, axis=0) / 14)
    labels = np.arange(14) % 3
    soft = VotingClassifier(seeds(ImageClassifier), voting="soft").fit(cohort, labels)
    proba = [model.predict_proba(cohort) for model in soft.estimators_]
    np.testing.assert_allclose(soft.predict_proba(cohort), np.mean(proba, axis=0))


def test_labels_that_cannot_be_learned_are_refused_in_words(cohort):
    def fit(labels, **parameters):
        return ImageClassifier(net=Net(SmallNet), **{**QUICK, **parameters}).fit(cohort, labels)

    with pytest.raises(ValueError, match="all patients have one class, 'a'"):
        fit(["a"] * 14)
    with pytest.raises(ValueError, match=f"1 patient.* no label: {cohort.ids[13]}"):
        fit(["a", "b"] * 6 + ["a", None])
    with pytest.raises(ValueError, match="continuous"):
        fit(np.linspace(0, 1, 14))
    with pytest.raises(ValueError, match="all 5 classes; batch_size=4 is too small"):
        fit(np.arange(14) % 5)
    with pytest.raises(ValueError, match="patients of class 4|not of all 5 classes|test_size"):
        fit(np.arange(14) % 5, balanced=False, validation_fraction=0.2)


def test_three_classes_are_told_apart():
    """Of volumes that differ in their mean the network learns which is which."""
    rng = np.random.default_rng(0)
    labels = np.arange(30) % 3
    volumes = rng.normal(labels[:, None, None, None, None], 0.5, (30, 1, 8, 8, 8)).astype("f4")
    model = ImageClassifier(
        net=Net(nn.Conv3d, out_channels=4, kernel_size=1), batch_size=9, learning_rate=0.05,
        n_iterations=100, augmentation=None, precision="float32", random_state=0,
    ).fit(volumes, labels)  # fmt: skip
    assert model.score(volumes, labels) > 0.9
    weighted = ImageClassifier(**{**model.get_params(deep=False), "balanced": "weighted"})
    assert weighted.fit(volumes, labels).score(volumes, labels) > 0.9
