"""Networks of MONAI as survival estimators: the contract, searches, files, maps."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import numpy as np
import pytest
import torch
from monai.networks.nets import DenseNet121, EfficientNetBN, SEResNet50, ViT, resnet18
from monai.networks.nets.swin_unetr import SwinTransformer
from monai.transforms import Compose, RandAffined, RandGaussianNoised
from sklearn.model_selection import GridSearchCV
from sklearn.utils.estimator_checks import check_estimator

import survimg
from survimg.datasets import make_phantom_cohort
from survimg.estimators import ImageSurvival
from survimg.explain import saliency
from survimg.model_selection import EventStratifiedKFold
from survimg.testing import check_survival_estimator
from survimg.training import Net
from tests.estimators.deep.networks_of_users import SmallNet
from tests.estimators.test_scikit_learn_checks import Flat

QUICK: dict = {
    "n_iterations": 1, "batch_size": 4, "batch_norm_batches": 1, "precision": "float32",
    "n_threads": 1, "random_state": 0,
}  # fmt: skip
#: A network of each kind with two values of one of its parameters.
NETWORKS = {
    "DenseNet121": (Net(DenseNet121, out_channels=8, init_features=8, block_config=(1, 1, 1, 1)),
                    "growth_rate", [4, 8]),
    "resnet18": (Net(resnet18, widen_factor=0.125, num_classes=8), "shortcut_type", ["A", "B"]),
    "EfficientNetBN": (Net(EfficientNetBN, model_name="efficientnet-b0", num_classes=8),
                       "adv_prop", [False, True]),
    "SEResNet50": (Net(SEResNet50, layers=(1, 1, 1, 1), inplanes=8, num_classes=8),
                   "reduction", [4, 8]),
    "ViT": (Net(ViT, patch_size=8, hidden_size=12, mlp_dim=24, num_layers=1, num_heads=2),
            "num_layers", [1, 2]),
    "SwinTransformer": (
        Net(SwinTransformer, embed_dim=4, window_size=(2, 2, 2), patch_size=(2, 2, 2),
            depths=(1, 1, 1, 1), num_heads=(1, 1, 1, 1)), "mlp_ratio", [2.0, 4.0]),
    "SmallNet": (Net(SmallNet), "width", [2, 4]),
}  # fmt: skip
QUICKEST = ["DenseNet121", "resnet18", "ViT"]
ALL = [
    name if name in QUICKEST else pytest.param(name, marks=pytest.mark.slow) for name in NETWORKS
]


@pytest.fixture(scope="module")
def cohort():
    return make_phantom_cohort(n=10, shape=(32, 32, 32), random_state=0).cohort


def model_of(name, **parameters):
    if name in ("ViT", "SwinTransformer"):
        pytest.importorskip("einops", reason=f"MONAI's {name} needs it")
    return ImageSurvival(net=NETWORKS[name][0], **{**QUICK, **parameters})


@pytest.mark.parametrize("name", ALL)
def test_it_is_saved_explained_and_repeated_to_the_bit(name, cohort, tmp_path):
    model = model_of(name).fit(cohort, cohort.outcome)
    again = model_of(name).fit(cohort, cohort.outcome)
    np.testing.assert_array_equal(again.predict(cohort), model.predict(cohort))
    trusted = [NETWORKS[name][0].cls]
    survimg.save(model, tmp_path / "model", trusted=trusted)
    loaded = survimg.load(tmp_path / "model", trusted=trusted)
    np.testing.assert_array_equal(loaded.predict(cohort), model.predict(cohort))
    maps = saliency(model, cohort[:1])
    assert maps.shape == (1, 32, 32, 32)
    assert np.isfinite(maps).all()
    assert np.abs(maps).max() > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_the_contract(name, cohort):
    check_survival_estimator(model_of(name), cohort, cohort.outcome)


class FlatNetwork(Flat, ImageSurvival):
    volume_shape = (16, 16, 16)


class FlatEfficientNet(Flat, ImageSurvival):
    volume_shape = (32, 32, 32)  # its padding is computed for 224 voxels, and fails with 16


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_scikit_learns_checks(name):
    kind = FlatEfficientNet if name == "EfficientNetBN" else FlatNetwork
    model = kind(**model_of(name, augmentation=None).get_params(deep=False))
    if name == "DenseNet121":  # four blocks leave nothing of 16 voxels
        model.set_params(net__block_config=(1, 1))
    check_estimator(model, on_skip=None)


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_a_search_over_its_parameters(name, cohort):
    _, parameter, values = NETWORKS[name]
    search = GridSearchCV(
        model_of(name), {f"net__{parameter}": values}, cv=EventStratifiedKFold(2), n_jobs=2,
        error_score="raise",
    ).fit(cohort, cohort.outcome)  # fmt: skip
    assert len(search.cv_results_["mean_test_score"]) == 2
    assert search.best_estimator_.net.get_params()[parameter] in values


def of_monai():
    return Compose(
        [
            RandAffined(["image", "mask"], prob=0.5, mode=("bilinear", "nearest"), shear_range=0.2),
            RandGaussianNoised(["image"], prob=0.5),
        ]
    )


def of_torchio():
    torchio = pytest.importorskip("torchio", reason="TorchIO is not installed")
    return torchio.Compose([torchio.RandomAffine(), torchio.RandomNoise()])


@pytest.mark.parametrize("transforms", [of_monai, of_torchio])
def test_transforms_are_seeded_by_the_fit(transforms, cohort):
    augmentation, risks = transforms(), []
    for seed in (1, 2):
        torch.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        states = torch.get_rng_state(), np.random.get_state()[1]  # noqa: NPY002
        model = ImageSurvival(net=Net(SmallNet), augmentation=augmentation, **QUICK)
        risks.append(model.fit(cohort, cohort.outcome).predict(cohort))
        assert torch.equal(torch.get_rng_state(), states[0])
        assert (np.random.get_state()[1] == states[1]).all()  # noqa: NPY002
    np.testing.assert_array_equal(*risks)
    plain = ImageSurvival(net=Net(SmallNet), augmentation=None, **QUICK)
    assert (plain.fit(cohort, cohort.outcome).predict(cohort) != risks[0]).any()


def test_nothing_is_downloaded():
    nets = [Net(DenseNet121, out_channels=2), Net(EfficientNetBN, model_name="efficientnet-b0")]
    for net in nets:
        assert net._inferred((2, 32, 32, 32)).get("pretrained", False) is False
        net.set_params(pretrained=True)
        with pytest.raises(ValueError, match="initial_weights=path"):
            net._inferred((2, 32, 32, 32))


def test_survimg_imports_monai_nowhere():
    assert importlib.util.find_spec("monai") is not None
    rooms = "survimg.estimators, survimg.cli, survimg.explain"
    code = f"import sys, {rooms}; assert 'monai' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
