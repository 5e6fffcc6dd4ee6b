"""Features of pretrained networks."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from monai.networks.nets import resnet10, resnet18, resnet50
from sklearn.base import clone
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sksurv.linear_model import CoxPHSurvivalAnalysis

import survimg
from survimg.datasets import make_phantom_cohort
from survimg.estimators import FrozenEncoderFeatures, ImageSurvival
from survimg.model_selection import EventStratifiedKFold
from survimg.training import Net
from tests.estimators.deep.networks_of_users import SmallNet


@pytest.fixture(scope="module")
def cohort():
    return make_phantom_cohort(n=16, shape=(16, 16, 16), random_state=0).cohort


def small(**parameters):
    return FrozenEncoderFeatures(net=Net(SmallNet, width=3), random_state=0, **parameters)


def medicalnet_file(make, path, **parameters):
    """Write a file in MedicalNet's layout: DataParallel's prefix, one channel, a head."""
    generator = torch.Generator().manual_seed(7)
    net = Net(make, feed_forward=False, **parameters).build((1, 16, 16, 16), generator)
    state = {f"module.{name}": value for name, value in net.state_dict().items()}
    state["module.conv_seg.0.weight"] = torch.zeros(3, 3, 1, 1, 1)
    torch.save({"state_dict": state}, path)
    return net


@pytest.mark.parametrize(
    ("make", "parameters"),
    [
        (resnet10, {"widen_factor": 0.125}),
        pytest.param(resnet10, {}, marks=pytest.mark.slow),
        pytest.param(resnet18, {}, marks=pytest.mark.slow),
        pytest.param(resnet50, {}, marks=pytest.mark.slow),
    ],
)
def test_weights_in_the_layout_of_medicalnet(make, parameters, cohort, tmp_path):
    source = medicalnet_file(make, tmp_path / "resnet.pth", **parameters).eval()
    model = FrozenEncoderFeatures(
        net=Net(make, feed_forward=False, **parameters),
        weights=tmp_path / "resnet.pth", adapt_channels="mean", n_threads=1,
    ).fit(cohort)  # fmt: skip
    assert not model.load_report_.missing
    assert not model.load_report_.mismatched
    assert model.load_report_.unexpected == ("conv_seg.0.weight",)
    # Both channels get the mean kernel: the network sees their mean.
    volume = torch.from_numpy(cohort.volume(0)).mean(dim=0)[None, None]
    with torch.no_grad():
        expected = source(volume).numpy()
    features = model.transform(cohort[:1]).to_numpy()
    np.testing.assert_allclose(features, expected, rtol=1e-3, atol=1e-5)


def test_a_table_of_features_by_patient(cohort):
    table = small().fit_transform(cohort)
    assert isinstance(table, pd.DataFrame)
    assert list(table.index) == list(cohort.ids)
    assert list(table.columns) == ["encoder_000", "encoder_001", "encoder_002"]
    model = small().fit(cohort[:3])
    np.testing.assert_array_equal(model.transform(cohort[[5, 2]]), table.iloc[[5, 2]])
    assert small(pool="mean-sd").fit_transform(cohort).shape == (16, 6)
    with pytest.raises(ValueError, match="fitted on"):
        model.transform(np.zeros((2, 1, 16, 16, 16), dtype=np.float32))


def test_it_stands_before_a_classic_model(cohort, tmp_path):
    model = make_pipeline(small(), StandardScaler(), CoxPHSurvivalAnalysis(alpha=1.0))
    scores = cross_val_score(model, cohort, cohort.outcome, cv=EventStratifiedKFold(2))
    assert np.isfinite(scores).all()
    fitted = clone(model).fit(cohort, cohort.outcome)
    survimg.save(fitted, tmp_path / "model", trusted=[SmallNet])
    again = survimg.load(tmp_path / "model", trusted=[SmallNet])
    np.testing.assert_array_equal(again.predict(cohort), fitted.predict(cohort))


def test_fine_tuning_starts_from_the_same_file(cohort, tmp_path):
    source = Net(SmallNet, width=3).build((1, 16, 16, 16), torch.Generator().manual_seed(3))
    torch.save({"model": source.state_dict()}, tmp_path / "net.pt")
    model = ImageSurvival(
        net=Net(SmallNet, width=3), initial_weights=tmp_path / "net.pt", adapt_channels="copy",
        frozen=["encoder"], n_iterations=2, batch_size=4, precision="float32", random_state=0,
    ).fit(cohort, cohort.outcome)  # fmt: skip
    kernel = model.net_.module_.encoder.blocks[0].weight
    torch.testing.assert_close(kernel[:, :1], source.blocks[0].weight / 2)
    assert len(model.load_report_.loaded) == len(source.state_dict())
    other = tmp_path / "other.pt"
    strangers = {f"layer{k}.bias": torch.zeros(3) for k in range(4)}
    torch.save({"blocks.0.bias": torch.zeros(3), **strangers}, other)
    with pytest.warns(UserWarning, match=r"Of 5 tensors given, 1 were loaded .* which has \d"):
        model.set_params(initial_weights=other).fit(cohort, cohort.outcome)
