"""Precision: what "auto" asks the hardware, and that a stated precision does not ask."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from survimg.compute.devices import choose_precision
from survimg.datasets import make_phantom_cohort
from survimg.estimators import CNNSurvival

CPU = torch.device("cpu")
#: Each alone is native bfloat16: AVX-512's extension, AMX, and that of ARM.
NATIVE = ["avx512_bf16", "amx_bf16", "bf16"]


@pytest.fixture
def processor(monkeypatch):
    """Return a function that makes torch report these capabilities, and no other."""

    def pretend(*names):
        monkeypatch.setattr(
            torch.cpu, "get_capabilities", lambda: dict.fromkeys(names, True), raising=False
        )

    return pretend


@pytest.mark.any_precision
@pytest.mark.parametrize("name", NATIVE)
def test_auto_is_float32_on_processors_and_bfloat16_must_be_asked_for(processor, name):
    processor("avx512_f", name)
    assert choose_precision("auto", CPU) == "float32"
    assert choose_precision("bfloat16", CPU) == "bfloat16"
    assert choose_precision("float32", CPU) == "float32"


@pytest.mark.any_precision
def test_bfloat16_that_is_only_emulated_is_refused(processor):
    processor("avx512_f", "avx2")
    assert choose_precision("auto", CPU) == "float32"
    with pytest.raises(ValueError, match="only emulates it"):
        choose_precision("bfloat16", CPU)


@pytest.mark.any_precision
@pytest.mark.parametrize("name", ["_is_avx512_bf16_supported", "_is_amx_tile_supported"])
def test_earlier_versions_of_torch_are_asked_too(monkeypatch, name):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    for other in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.setattr(torch.cpu, other, lambda answer=other == name: answer)
    assert choose_precision("bfloat16", CPU) == "bfloat16"
    monkeypatch.setattr(torch.cpu, name, lambda: False)
    with pytest.raises(ValueError, match="only emulates it"):
        choose_precision("bfloat16", CPU)


@pytest.mark.any_precision
@pytest.mark.parametrize(("native", "expected"), [(True, "bfloat16"), (False, "float32")])
def test_auto_asks_the_gpu(monkeypatch, native, expected):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: native)
    assert choose_precision("auto", torch.device("cuda")) == expected


@pytest.mark.any_precision
def test_a_fit_in_float32_is_the_same_on_a_processor_with_bfloat16(processor):
    cohort = make_phantom_cohort(n=8, shape=(16, 18, 18), random_state=0).cohort
    model = CNNSurvival(
        n_iterations=2, batch_size=4, width=2, hidden=4, n_threads=1, random_state=0,
        device="cpu", precision="float32",
    )  # fmt: skip
    processor("avx2")
    without = model.fit(cohort, cohort.outcome).predict(cohort)
    processor(*NATIVE)
    np.testing.assert_array_equal(model.fit(cohort, cohort.outcome).predict(cohort), without)


def test_tests_train_in_float32_whatever_the_hardware(monkeypatch):
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    assert choose_precision("auto", CPU) == "float32"
