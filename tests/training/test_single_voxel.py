"""Stages that would normalise a single voxel are found in advance, and the size needed is named."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from torch import nn

from survimg.datasets import make_phantom_cohort
from survimg.estimators import CNNSurvival, SingleTaskSurvival
from survimg.nets import DeepMTSNet, DenseNetSurvivalNet, MDSNNet, freeze
from survimg.training import SingleVoxelWarning
from survimg.training.single_voxel import check_normalised_sizes

QUICK: dict = {
    "n_iterations": 1, "batch_size": 4, "batch_norm_batches": 1, "n_threads": 1, "random_state": 0,
    "precision": "float32",
}  # fmt: skip


class Tower(nn.Module):
    """Convolutions of stride 2 without padding, each followed by a normalisation."""

    def __init__(self, depth: int, norm: type[nn.Module] = nn.BatchNorm3d, kernel: int = 3) -> None:
        super().__init__()
        self.layers = nn.Sequential()
        for k in range(depth):
            self.layers.add_module(f"conv{k}", nn.Conv3d(2, 2, kernel, stride=2))
            self.layers.add_module(f"norm{k}", norm(2))

    def forward(self, volumes, _clinical):
        return self.layers(volumes)


class WithHead(Tower):
    """A normalisation of the pooled features, which have no voxels."""

    def __init__(self) -> None:
        super().__init__(1)
        self.head = nn.BatchNorm1d(2)

    def forward(self, volumes, clinical):
        return self.head(super().forward(volumes, clinical).mean(dim=(2, 3, 4)))


class OfOneSize(Tower):
    """Its last layer takes as many values as volumes of 15 voxels leave."""

    def __init__(self) -> None:
        super().__init__(3)
        self.last = nn.Linear(2, 1)

    def forward(self, volumes, clinical):
        return self.last(super().forward(volumes, clinical).flatten(1))


def edge_needed(depth: int, kernel: int) -> int:
    """Smallest edge of which the last convolution of a `Tower` leaves two."""
    length = 2
    for _ in range(depth):
        length = 2 * (length - 1) + kernel
    return length


@pytest.mark.parametrize(("depth", "kernel"), [(2, 3), (3, 3), (2, 4), (3, 5)])
def test_the_size_that_is_named_suffices_and_one_voxel_less_does_not(depth, kernel):
    needed, net = edge_needed(depth, kernel), Tower(depth, kernel=kernel)
    last = f"layers.norm{depth - 1}"
    with pytest.warns(SingleVoxelWarning, match=f"'{last}' of Tower.* least {needed} voxels"):
        assert not check_normalised_sizes(net, (2, *[needed - 1] * 3), 0)
    for shape in ((needed, needed, needed), (needed - 1, needed, needed - 1)):
        assert check_normalised_sizes(net, (2, *shape), 0)


def _deepmts(**options):
    return DeepMTSNet(2, 3, generator=torch.Generator().manual_seed(0), **options)


@pytest.mark.parametrize(
    ("net", "needed"),
    [
        (_deepmts(), 35),
        (_deepmts(cascade=False), 17),
        (MDSNNet(2, 3, generator=torch.Generator()), 35),
        (MDSNNet(2, 3, stem="isotropic", generator=torch.Generator()), 35),
        (DenseNetSurvivalNet(2, 3, generator=torch.Generator()), 35),
    ],
    ids=["deepmts", "mt-hs", "mdsn", "mdsn-isotropic", "single-task"],
)
def test_the_papers_networks(net, needed):
    with pytest.warns(SingleVoxelWarning, match=f"16 x 16 x 16.* at least {needed} voxels"):
        assert not check_normalised_sizes(net, (2, 16, 16, 16), 3)
    assert check_normalised_sizes(net, (2, needed, 16, 16), 3)


def test_nothing_is_drawn_and_no_statistic_moves():
    net = _deepmts(cascade=False)
    state = {name: value.clone() for name, value in net.state_dict().items()}
    stream = torch.get_rng_state()
    with pytest.warns(SingleVoxelWarning):
        check_normalised_sizes(net, (2, 16, 16, 16), 3)
    assert torch.equal(torch.get_rng_state(), stream)
    assert all(torch.equal(state[name], value) for name, value in net.state_dict().items())
    assert net.training
    assert not any(layer._forward_pre_hooks for layer in net.modules())


def test_frozen_stages_do_not_count():
    net = Tower(2)
    freeze(net, "layers.norm1")
    assert check_normalised_sizes(net, (2, 7, 7, 7), 0)


def test_pooled_features_of_one_patient_are_one_value_but_no_voxel():
    assert not check_normalised_sizes(WithHead(), (2, 9, 9, 9), 0)


def test_a_network_of_one_size_names_none():
    with pytest.warns(SingleVoxelWarning, match=r"Prepare larger volumes\."):
        check_normalised_sizes(OfOneSize(), (2, 15, 15, 15), 0)


def test_instance_normalisation_of_one_voxel_is_refused():
    net = Tower(3, nn.InstanceNorm3d)
    with pytest.raises(ValueError, match=r"'layers\.norm2'.* at least 23 voxels.*leaves nothing"):
        check_normalised_sizes(net, (2, 16, 16, 16), 0)
    assert check_normalised_sizes(net, (2, 23, 23, 23), 0)


def test_a_fit_says_it_once():
    cohort = make_phantom_cohort(n=8, shape=(18, 18, 18), random_state=0).cohort
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        SingleTaskSurvival(**QUICK).fit(cohort, cohort.outcome)
        CNNSurvival(**QUICK, width=4, hidden=8).fit(cohort, cohort.outcome)
    (only,) = [str(w.message) for w in caught if issubclass(w.category, SingleVoxelWarning)]
    assert "18 x 18 x 18 voxels" in only
    assert "at least 35 voxels" in only


def test_patients_pass_alone_where_a_stage_has_voxels():
    cohort = make_phantom_cohort(n=8, shape=(18, 18, 18), random_state=0).cohort
    alone = {**QUICK, "micro_batch_size": 1}
    model = CNNSurvival(**alone, width=4, hidden=8).fit(cohort, cohort.outcome)
    assert np.isfinite(model.predict(cohort)).all()
    with pytest.raises(ValueError, match=r"18 x 18 x 18.*micro_batch_size"):
        SingleTaskSurvival(**alone).fit(cohort, cohort.outcome)
