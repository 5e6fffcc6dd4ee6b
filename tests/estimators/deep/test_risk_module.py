"""A fitted network outside survimg: as a torch module, by torch.export, and by ONNX."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from torch import nn

from survimg.datasets import make_phantom_cohort
from survimg.estimators import DLPM, DeepMTS, ImageSurvival
from survimg.estimators.deep.risk_module import risk_module
from survimg.training import Net

QUICK = {"n_iterations": 2, "batch_size": 4, "precision": "float32", "random_state": 0}


class Small(nn.Module):
    """A user's network: one convolution, averaged."""

    def __init__(self, in_channels: int):
        super().__init__()
        self.convolution = nn.Conv3d(in_channels, 4, 3)

    def forward(self, volumes):
        return self.convolution(volumes).amax(dim=(2, 3, 4))


@pytest.fixture(scope="module")
def cohort():
    return make_phantom_cohort(n=10, shape=(16, 16, 16), random_state=0).cohort


def inputs_of(model, cohort, i):
    volumes = torch.from_numpy(cohort.volume(i)[np.newaxis])
    if model.clinical_encoder_ is None:
        return volumes, torch.zeros(1, 0)
    encoded = model.clinical_encoder_.transform(cohort).to_numpy(np.float32)
    return volumes, torch.tensor(encoded[i : i + 1])  # pandas 3 lends its values read-only


@pytest.mark.parametrize(
    "model",
    [
        DeepMTS(**QUICK), DLPM(**QUICK), DeepMTS(clinical_columns=[], **QUICK),
        ImageSurvival(net=Net(Small), **QUICK),
    ],
    ids=["cox", "discrete-time", "no-columns", "own-network"],
)  # fmt: skip
def test_the_module_gives_the_risk_that_predict_gives(model, cohort):
    module = risk_module(model.fit(cohort, cohort.outcome))
    risk = [module(*inputs_of(model, cohort, i)).item() for i in range(len(cohort))]
    np.testing.assert_allclose(risk, model.predict(cohort), rtol=0, atol=2e-4)
    for weights in module.parameters():
        weights.zero_()  # a copy: the model stays as it is
    np.testing.assert_allclose(risk, model.predict(cohort), rtol=0, atol=2e-4)


@pytest.fixture(scope="module")
def fitted(cohort):
    return ImageSurvival(net=Net(Small), **QUICK).fit(cohort, cohort.outcome)


def test_torch_export(fitted, cohort, tmp_path):
    program = torch.export.export(risk_module(fitted), inputs_of(fitted, cohort, 0))
    torch.export.save(program, tmp_path / "risk.pt2")
    loaded = torch.export.load(tmp_path / "risk.pt2").module()
    risk = [loaded(*inputs_of(fitted, cohort, i)).item() for i in range(len(cohort))]
    np.testing.assert_allclose(risk, fitted.predict(cohort), rtol=0, atol=1e-4)


def test_onnx(fitted, cohort, tmp_path):
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    path = tmp_path / "risk.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch's exporter
        torch.onnx.export(
            risk_module(fitted), inputs_of(fitted, cohort, 0), path, dynamo=True, verbose=False,
            input_names=["volumes", "clinical"], output_names=["risk"],
        )
    session = runtime.InferenceSession(path)
    risk = []
    for i in range(len(cohort)):
        volumes, clinical = inputs_of(fitted, cohort, i)
        given = {"volumes": volumes.numpy(), "clinical": clinical.numpy()}
        risk.append(session.run(["risk"], given)[0].item())
    np.testing.assert_allclose(risk, fitted.predict(cohort), rtol=0, atol=1e-4)


def test_a_network_that_needs_the_mask_is_refused(cohort):
    model = DeepMTS(variant="sur-hs", masked_input=True, **QUICK).fit(cohort, cohort.outcome)
    with pytest.raises(ValueError, match="given a part of the volume by its mask"):
        risk_module(model)
