"""The networks, losses and augmentation on a GPU: agreement with the CPU, full-size steps."""

from __future__ import annotations

import pytest
import torch

from survimg.augmentation import apply_transforms, draw_transforms
from survimg.losses import cox_loss, dice_loss, discrete_time_loss
from survimg.nets import DeepMTSNet, DenseNetSurvivalNet, DLPMNet, MDSNNet

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")

NETS_3D = [DeepMTSNet, MDSNNet, DLPMNet, DenseNetSurvivalNet]
CUTS = torch.tensor([12.0, 24.0, 36.0, 60.0, 84.0, 120.0])


@pytest.fixture(autouse=True)
def exact_float32():
    """Without TensorFloat-32, whose ten bits would hide a real difference."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    with torch.random.fork_rng(devices=[]):
        yield
    torch.backends.cudnn.allow_tf32 = before


def survival_loss(output, time, event):
    if hasattr(output, "logits"):
        return discrete_time_loss(output.logits, time, event, CUTS)
    return cox_loss(output.risk, time, event, ties="efron")


@pytest.mark.parametrize("net_class", NETS_3D)
def test_predictions_and_gradients_agree_with_the_cpu(net_class, images):
    time = torch.tensor([10.0, 30.0, 30.0, 70.0])
    event = torch.tensor([True, True, True, False])
    results = {}
    for device in ("cpu", "cuda"):
        net = net_class(generator=torch.Generator().manual_seed(0)).to(device)
        for layer in net.modules():
            if isinstance(layer, torch.nn.Dropout | torch.nn.Dropout3d):
                layer.p = 0.0
        inputs = images(4, 2, 24, 32, 20).to(device), torch.ones(4, 1, device=device)
        with torch.no_grad():
            net(*inputs)
        net.eval()
        output = net(*inputs)
        survival_loss(output, time.to(device), event.to(device)).backward()
        gradient = torch.cat([p.grad.flatten() for p in net.parameters() if p.grad is not None])
        results[device] = [*(part.detach().cpu() for part in output), gradient.cpu()]
    for on_cpu, on_gpu in zip(results["cpu"], results["cuda"], strict=True):
        assert (on_cpu - on_gpu).norm() <= 1e-3 * on_cpu.norm().clamp(min=1)


def test_losses_agree_with_the_cpu(images):
    risk, time = images(64), images(64).abs().mul(40).round()
    event = images(64) > 0
    for ties in ("breslow", "efron", "sorted"):
        on_cpu = cox_loss(risk, time, event, ties=ties)
        on_gpu = cox_loss(risk.cuda(), time.cuda(), event.cuda(), ties=ties)
        assert torch.isclose(on_gpu.cpu(), on_cpu)
    logits = images(64, 6)
    on_gpu = discrete_time_loss(logits.cuda(), time.cuda(), event.cuda(), CUTS)
    assert torch.isclose(on_gpu.cpu(), discrete_time_loss(logits, time, event, CUTS))
    p, g = images(3, 8, 8, 8).sigmoid(), images(3, 8, 8, 8) > 0.5
    assert torch.isclose(dice_loss(p.cuda(), g.cuda()).cpu(), dice_loss(p, g))


@pytest.mark.parametrize("recipe", ["nearest", "uniform", "fixed"])
def test_augmentation_agrees_with_the_cpu(recipe, images):
    volumes = images(3, 2, 20, 24, 28)
    masks = (volumes[:, 0] > 0.5).to(torch.uint8)
    transforms = draw_transforms(
        3, torch.Generator().manual_seed(0), translation=3, recipe=recipe
    )
    on_cpu = apply_transforms(volumes, masks, transforms)
    on_gpu = apply_transforms(volumes.cuda(), masks.cuda(), transforms)
    # Where a voxel is read by its nearest neighbour, rounding may decide between two.
    differs = (on_gpu[0].cpu() - on_cpu[0]).abs() > 1e-3
    assert differs.double().mean() < (1e-3 if recipe == "nearest" else 1e-9)
    assert (on_gpu[1].cpu() != on_cpu[1]).double().mean() < 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("net_class", NETS_3D)
def test_one_full_size_training_step(net_class, record_property):
    """2 x 128 x 128 x 112, batch 8, as published; the peak memory goes into the test report."""
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    if torch.cuda.get_device_properties(0).total_memory < 48 * 2**30:
        pytest.skip("needs 48 GiB of GPU memory")
    net = net_class(generator=torch.Generator().manual_seed(0)).cuda()
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-4)
    volumes = torch.randn(8, 2, 128, 128, 112, device="cuda")
    event = torch.arange(8, device="cuda") % 2 == 0
    output = net(volumes, torch.ones(8, 1, device="cuda"))
    loss = survival_loss(output, torch.arange(1.0, 9.0, device="cuda"), event)
    if net_class is DeepMTSNet:
        loss = loss + dice_loss(output.segmentation, volumes[:, 0] > 1)
    loss.backward()
    optimiser.step()
    assert loss.isfinite()
    assert all(p.grad.isfinite().all() for p in net.parameters())
    peak = torch.cuda.max_memory_allocated() / 2**30
    record_property("peak_memory_gib", round(peak, 2))
