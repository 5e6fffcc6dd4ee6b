"""`Net`: a class and its parameters as scikit-learn sees parameters."""

from __future__ import annotations

import pickle

import pytest
import torch
from sklearn.base import clone
from torch import nn

from survimg.training import Net
from survimg.training.net import build_net
from tests.estimators.deep.networks_of_users import SmallNet, small_net

SHAPE = (2, 8, 8, 8)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_parameters_are_those_that_were_given():
    net = Net(SmallNet, width=8)
    assert net.get_params() == {"cls": SmallNet, "width": 8}
    assert net.set_params(layers=2) is net
    assert net.get_params() == {"cls": SmallNet, "width": 8, "layers": 2}
    assert repr(net) == "Net(SmallNet, width=8, layers=2)"


def test_a_clone_and_a_pickle_have_the_same_parameters_and_no_others():
    net = Net(SmallNet, width=8)
    for copied in (clone(net), pickle.loads(pickle.dumps(net))):
        assert copied is not net
        assert copied.get_params() == net.get_params()
        copied.set_params(width=1)
        assert net.get_params()["width"] == 8


@pytest.mark.parametrize("cls", [SmallNet, small_net])
def test_misspelt_names_are_refused_at_once(cls):
    with pytest.raises(ValueError, match="no parameter 'widht'; did you mean 'width'"):
        Net(cls, widht=3)
    net = Net(cls, width=3)
    with pytest.raises(ValueError, match="no parameter 'layrs'"):
        net.set_params(width=5, layrs=3)
    assert net.get_params()["width"] == 3  # all or nothing


def test_parameters_of_base_classes_are_reached_through_kwargs():
    class Deeper(SmallNet):
        def __init__(self, extra: int = 0, **kwargs):
            super().__init__(**kwargs)

    assert Net(Deeper, extra=1, layers=2).build(SHAPE, generator()).blocks[3].in_channels == 4
    with pytest.raises(ValueError, match="no parameter 'layer'"):
        Net(Deeper, layer=2)


def test_channels_axes_and_size_come_from_the_cohort():
    class Asks(nn.Module):
        def __init__(self, spatial_dims, n_input_channels, img_size, pretrained=True):
            super().__init__()
            self.seen = spatial_dims, n_input_channels, img_size, pretrained

    assert Net(Asks).build(SHAPE, generator()).seen == (3, 2, (8, 8, 8), False)
    with pytest.raises(ValueError, match=r"1 channel\(s\) and the volumes have 2"):
        Net(Asks, n_input_channels=1).build(SHAPE, generator())


def test_weights_are_the_generators_and_global_generators_stay_as_they_are():
    before = torch.get_rng_state()
    one, same, other = (Net(SmallNet).build(SHAPE, generator(seed)) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    weights = [net.blocks[0].weight for net in (one, same, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_a_net_inside_a_net_is_built_and_searched():
    class Outer(nn.Module):
        def __init__(self, inner, n):
            super().__init__()
            self.inner, self.n = inner, n

    net = Net(Outer, inner=Net(SmallNet, width=3), n=1)
    assert net.get_params()["inner__width"] == 3
    net.set_params(inner__width=5, n=2)
    assert net.build(SHAPE, generator()).inner.blocks[0].out_channels == 5
    with pytest.raises(ValueError, match="no Net 'n'"):
        net.set_params(n__width=3)


def test_a_module_is_copied():
    module = SmallNet(2)
    built = build_net(module, SHAPE, generator())
    assert built is not module
    assert torch.equal(built.blocks[0].weight, module.blocks[0].weight)


def test_what_cannot_be_built_is_refused_in_words():
    with pytest.raises(ValueError, match=r"SmallNet\(.*width=-1\) cannot be built: .*Error"):
        Net(SmallNet, width=-1).build(SHAPE, generator())
    with pytest.raises(ValueError, match=r"gives a dict, and not a torch\.nn\.Module"):
        Net(dict).build(SHAPE, generator())
    with pytest.raises(ValueError, match="An instance is given to the estimator as it is"):
        Net(SmallNet(2))
    with pytest.raises(ValueError, match="net must be"):
        build_net(SmallNet, SHAPE, generator())
