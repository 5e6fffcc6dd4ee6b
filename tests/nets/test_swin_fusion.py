"""The Swin Transformer: locality, padding, window positions; the fusion network's inputs."""

from __future__ import annotations

import pytest
import torch

from survimg.nets import SwinFusionNet, SwinTransformer3D
from survimg.nets.swin_transformer import _Block, _WindowAttention


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def block(shift: int) -> _Block:
    torch.manual_seed(0)
    made = _Block(4, 2, 4, shift, 2.0, 0.0).eval()
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.3, generator=generator())
    return made


def reach(made: _Block, side: int, place: int) -> set[int]:
    """Positions along the last axis that see the token at `place`."""
    tokens = torch.randn(1, side, side, side, 4, generator=generator(), requires_grad=True)
    seen = set()
    with torch.random.fork_rng():
        for other in range(side):
            grad = torch.autograd.grad(made(tokens)[0, 0, 0, other].sum(), tokens)[0]
            if grad[0, :, :, place].abs().sum() > 0:
                seen.add(other)
    return seen


def test_attention_stays_in_windows_and_shifted_ones_do_not_wrap_round():
    with torch.random.fork_rng():
        assert reach(block(0), 8, 5) == {4, 5, 6, 7}
        assert reach(block(2), 8, 5) == {2, 3, 4, 5}
        assert reach(block(2), 8, 0) == {0, 1}
        assert reach(block(2), 8, 7) == {6, 7}


def test_padded_tokens_are_not_attended_to():
    with torch.random.fork_rng():
        made = block(0)
        tokens = torch.randn(1, 5, 5, 5, 4, generator=generator())
        alone = made(tokens[:, 4:, 4:, 4:])
    torch.testing.assert_close(made(tokens)[:, 4:, 4:, 4:], alone)


def test_relative_positions_of_a_small_window_are_those_of_the_full_one():
    attention = _WindowAttention(4, 2, 4)
    full = attention._relative_position((4, 4, 4), torch.device("cpu")).reshape(4, 4, 4, 4, 4, 4)
    small = attention._relative_position((2, 2, 2), torch.device("cpu")).reshape([2] * 6)
    assert torch.equal(small, full[:2, :2, :2, :2, :2, :2])


@pytest.mark.parametrize("size", [(16, 16, 16), (17, 13, 9)])
def test_any_size_gives_features_and_the_global_stream_is_left_alone(size):
    before = torch.get_rng_state()
    net = SwinTransformer3D(
        2, embed_dim=6, depths=(2, 1), heads=(2, 3), patch_size=2, generator=generator()
    ).eval()
    assert torch.equal(before, torch.get_rng_state())
    found = net(torch.randn(2, 2, *size, generator=generator()))
    assert found.shape == (2, 12)
    assert torch.isfinite(found).all()


def test_stages_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="same stages"):
        SwinTransformer3D(1, depths=(2, 2), heads=(3,))
    with pytest.raises(ValueError, match="needs a block"):
        SwinTransformer3D(1, depths=(1, 0), heads=(3, 3))
    with pytest.raises(ValueError, match="there may be 1000"):
        SwinTransformer3D(1, depths=(1, 2**31), heads=(3, 3))
    with pytest.raises(ValueError, match="must divide"):
        SwinTransformer3D(1, embed_dim=8, depths=(1,), heads=(3,))


def test_the_default_network_has_the_documented_size_and_absent_regions_are_zero():
    net = SwinFusionNet(2, ["tumour", "peritumoral"], 46, generator=generator()).eval()
    assert sum(parameter.numel() for parameter in net.parameters()) == 14_803_117
    volumes = torch.zeros(1, 4, 16, 16, 16)
    volumes[:, :2, 4:8, 4:8, 4:8] = 1
    features = net(volumes, torch.ones(1, 46)).features[0]
    assert features[:128].abs().sum() > 0
    assert (features[128:256] == 0).all()
    assert (features[256:] == 1).all()
    with pytest.raises(ValueError, match="no input"):
        SwinFusionNet(2, [], 0)
