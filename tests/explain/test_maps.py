"""Saliency maps: exact on networks whose risk is known, sane on those of the papers."""

from __future__ import annotations

import copy
import sys
from typing import Any

import numpy as np
import pytest
import torch
from known_networks import SLOPE, CornerCox, SmallCox
from scipy.stats import spearmanr
from sklearn.ensemble import RandomForestRegressor

from survimg import Cohort
from survimg.datasets import make_phantom_cohort
from survimg.estimators import (
    DLPM,
    MDSN,
    ClinicalVolumeCox,
    CNNSurvival,
    DeepMTS,
    FoldEnsemble,
    FusionSurvival,
    SingleTaskSurvival,
)
from survimg.explain import (
    GradCAM,
    IntegratedGradients,
    Occlusion,
    integrated_gradients,
    mass_in_region,
    saliency,
)
from survimg.explain.score import score_of
from survimg.target import make_outcome

LAYERS = {"cnn": "stages.0.0", "fusion": "encoders.tumour.patches"}
QUICK: dict = {
    "n_iterations": 1, "batch_size": 8, "batch_norm_batches": 4, "n_threads": 1, "random_state": 0,
    "learning_rate": 1e-3, "device": "cpu", "precision": "float32",
}  # fmt: skip
METHODS = [IntegratedGradients(n_steps=16), Occlusion(window=12), GradCAM()]
SWIN: dict = {
    "embed_dim": 8, "depths": (1,), "heads": (1,), "shell_width": 16.0,
    "branches": ("tumour", "peritumoral", "clinical"),
}  # fmt: skip
NETWORKS = {
    "deepmts": DeepMTS(**QUICK, map_gradient=False),
    "mt-hs-baseline": DeepMTS(**QUICK, variant="mt-hs-baseline"),
    "sur-casnet, masked": DeepMTS(**QUICK, variant="sur-casnet", masked_input=True),
    "single-task": SingleTaskSurvival(**QUICK),
    "mdsn": MDSN(**QUICK),
    "dlpm": DLPM(**QUICK),
    "cnn": CNNSurvival(**QUICK),
    "fusion": FusionSurvival(**QUICK, **SWIN),
}


@pytest.fixture(scope="module")
def phantom() -> Cohort:
    return make_phantom_cohort(n=8, shape=(16, 18, 18), random_state=0).cohort


@pytest.fixture(scope="module")
def fitted(phantom) -> Any:
    made: dict = {}

    def fit(name: str) -> Any:
        if name not in made:
            made[name] = copy.deepcopy(NETWORKS[name]).fit(phantom, phantom.outcome)
        return made[name]

    return fit


# ---------------------------------------------------------------- networks whose risk is known


def expected_of_linear(cohort: Cohort) -> np.ndarray:
    """Gradient times input, by hand: SLOPE / 64 in the corner (and the norm's epsilon)."""
    gradient = np.zeros(cohort.shape[1:])
    gradient[0, 0:4, 0:4, 4:8] = SLOPE / 64 / np.sqrt(1 + 1e-5)
    return gradient * cohort.to_numpy()


@pytest.mark.parametrize("n_steps", [1, 7])
def test_a_linear_network_gives_gradient_times_input_exactly(linear, corners, n_steps):
    found = saliency(
        linear, corners, method=IntegratedGradients(n_steps=n_steps), channels="separate"
    )
    np.testing.assert_allclose(found, expected_of_linear(corners), rtol=1e-5, atol=1e-8)
    together = saliency(linear, corners, method=IntegratedGradients(n_steps=n_steps))
    np.testing.assert_allclose(together, found.sum(axis=1), atol=1e-7)


def test_occlusion_of_a_linear_network_is_the_fall_of_its_risk(linear, corners):
    """Cubes of 4 side by side: each voxel gets what its own cube contributes."""
    found = saliency(linear, corners, method=Occlusion(window=4, stride=4))
    parts = expected_of_linear(corners).sum(axis=1).reshape(-1, 2, 4, 2, 4, 2, 4)
    falls = parts.sum(axis=(2, 4, 6), keepdims=True)
    np.testing.assert_allclose(found.reshape(parts.shape), np.broadcast_to(falls, parts.shape),
                               rtol=1e-4, atol=1e-6)  # fmt: skip


def test_integrated_gradients_are_complete_and_say_how_far(rectified, corners):
    found = integrated_gradients(rectified, corners, n_steps=64, baseline=-0.5)
    np.testing.assert_allclose(found.score, rectified.predict(corners), rtol=1e-5)
    np.testing.assert_allclose(found.baseline_score, 0.0, atol=1e-6)
    sums = found.maps.sum(axis=(1, 2, 3), dtype=float)
    gaps = np.abs(sums - (found.score - found.baseline_score))
    np.testing.assert_allclose(gaps, found.completeness_error, atol=1e-6)
    assert (found.completeness_error < 0.02 * found.score).all()
    coarse = integrated_gradients(rectified, corners, n_steps=1, baseline=-0.5)
    assert coarse.completeness_error.mean() > 5 * found.completeness_error.mean()


def test_an_incomplete_map_warns(rectified, corners):
    with pytest.warns(UserWarning, match=r"raise IntegratedGradients\(n_steps"):
        saliency(rectified, corners, method=IntegratedGradients(n_steps=1, baseline=-2.0))


@pytest.mark.parametrize("method", METHODS[:2], ids=lambda m: type(m).__name__)
def test_the_map_of_survival_at_a_horizon_has_the_other_sign(linear, corners, method):
    of_risk = saliency(linear, corners, method=method)
    of_survival = saliency(linear, corners, method=method, horizon=4.0)
    inside = np.abs(of_risk) > 1e-3
    assert (np.sign(of_risk[inside]) == -np.sign(of_survival[inside])).all()
    end = integrated_gradients(linear, corners, horizon=4.0)
    curves = np.array([f(4.0) for f in linear.predict_survival_function(corners)])
    np.testing.assert_allclose(end.score, curves, rtol=1e-6)
    assert (end.completeness_error < 1e-4).all()


@pytest.mark.parametrize("horizon", [0.5, 10.0])
def test_a_horizon_without_a_curve_is_refused(linear, corners, horizon):
    with pytest.raises(ValueError, match="from 1, the first event of its training set, to 9"):
        saliency(linear, corners, horizon=horizon)


def test_smoothgrad_averages_noisy_maps_and_its_sum_stays_complete(rectified, corners):
    some = corners[:3]
    smooth = {"n_samples": 4, "noise": 0.5, "random_state": 3}
    found = integrated_gradients(rectified, some, **smooth)
    plain = integrated_gradients(rectified, some)
    assert not np.allclose(found.maps, plain.maps, atol=1e-4)
    assert (found.completeness_error < 0.03 * found.score).all()
    again = integrated_gradients(rectified, some, **smooth)
    np.testing.assert_array_equal(again.maps, found.maps)
    other = integrated_gradients(rectified, some, **{**smooth, "random_state": 4})
    assert not np.array_equal(other.maps, found.maps)
    quiet = integrated_gradients(rectified, some, n_samples=3, noise=0.0)
    np.testing.assert_allclose(quiet.maps, plain.maps, atol=1e-7)


def test_blur_spreads_the_map_and_keeps_its_sum(linear, corners):
    sharp, blurred = (saliency(linear, corners, blur=b) for b in (0.0, 1.5))
    np.testing.assert_allclose(
        blurred.sum(axis=(1, 2, 3)), sharp.sum(axis=(1, 2, 3)), rtol=1e-4, atol=1e-5
    )
    assert (np.abs(blurred).max(axis=(1, 2, 3)) < np.abs(sharp).max(axis=(1, 2, 3))).all()


@pytest.mark.parametrize("method", [*METHODS[:2], GradCAM("blur")], ids=lambda m: type(m).__name__)
def test_an_ensemble_is_the_mean_of_its_members(corners, method):
    ensemble = FoldEnsemble(CornerCox(), cv=2).fit(corners, corners.outcome)
    found = saliency(ensemble, corners, method=method)
    members = [
        saliency(member, corners, method=method) / scale
        for member, scale in zip(ensemble.members_, ensemble.scales_, strict=True)
    ]
    np.testing.assert_allclose(found, np.mean(members, axis=0), rtol=1e-4, atol=1e-6)


def test_the_ensembles_own_score_and_curve_are_explained(corners):
    ensemble = FoldEnsemble(CornerCox(), cv=2).fit(corners, corners.outcome)
    found = integrated_gradients(ensemble, corners)
    np.testing.assert_allclose(found.score, ensemble.predict(corners), rtol=1e-5)
    curve = integrated_gradients(ensemble, corners, horizon=4.0)
    expected = [f(4.0) for f in ensemble.predict_survival_function(corners)]
    np.testing.assert_allclose(curve.score, expected, rtol=1e-6)
    ensemble.reference = "cohort"
    with pytest.raises(ValueError, match="depends on the other patients"):
        saliency(ensemble, corners)


def test_clinical_values_take_part_in_the_score_and_get_no_map(corners):
    rng = np.random.default_rng(1)
    cohort = Cohort(
        corners.to_numpy(), clinical=rng.normal(size=(8, 1)), outcome=corners.outcome
    )
    model = CornerCox().fit(cohort, cohort.outcome)
    found = integrated_gradients(model, cohort)
    np.testing.assert_allclose(found.score, model.predict(cohort), rtol=1e-5)
    assert np.ptp(found.baseline_score) > 0.1  # the clinical values are still there
    assert (found.completeness_error < 1e-4).all()


def test_absent_modalities_get_nothing(linear, corners):
    present = np.ones((8, 2), dtype=bool)
    present[3, 0] = False
    cohort = Cohort(corners.to_numpy(), present=present)
    found = saliency(linear, cohort, method=IntegratedGradients(baseline=1.0), channels="separate")
    assert not found[3, 0].any()
    assert found[2, 0].any()


# ---------------------------------------------------------------- the papers' networks


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("method", METHODS, ids=lambda m: type(m).__name__)
def test_every_network_has_maps_on_its_volumes(name, method, fitted, phantom):
    model, cohort = fitted(name), phantom[:1]
    if isinstance(method, GradCAM) and name in LAYERS:
        method = GradCAM(LAYERS[name])
    if isinstance(method, IntegratedGradients):
        found = integrated_gradients(model, cohort, n_steps=2).maps
    else:
        found = saliency(model, cohort, method=method)
    assert found.shape == (1, *cohort.shape[2:])
    assert found.dtype == np.float32
    assert np.isfinite(found).all()
    assert np.abs(found).max() > 0
    if isinstance(method, GradCAM):
        assert (found >= 0).all()


@pytest.mark.parametrize("name", [n for n in NETWORKS if n not in ("cnn", "fusion")])
def test_maps_hold_the_whole_gradient(name, fitted, phantom):
    """One step is the gradient halfway times the image, and so the slope of the risk there.

    This DeepMTS is trained with map_gradient=False, whose forward pass cuts the way through the
    tumour map: a slope taken from two risks knows nothing of that.
    """
    model, cohort = fitted(name), phantom[:1]
    found = integrated_gradients(model, cohort, n_steps=1).maps.sum(dtype=float)
    score = score_of(model, cohort, None).double()
    image, step = score.select(0).detach().double(), 1e-6
    with torch.no_grad():
        low, high = (float(score(share * image)) for share in (0.5 - step, 0.5 + step))
    assert found == pytest.approx((high - low) / (2 * step), rel=0.02, abs=1e-4)
    assert float(score(image)) == pytest.approx(model.predict(cohort)[0], rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("name", ["cnn", "fusion"])
def test_paths_of_the_papers_networks_are_complete(name, fitted, phantom):
    model, cohort = fitted(name), phantom[:2]
    found = integrated_gradients(model, cohort, n_steps=300)
    np.testing.assert_allclose(found.score, model.predict(cohort), rtol=1e-3, atol=1e-4)
    mass = np.abs(found.maps).reshape(2, -1).sum(axis=1)
    assert (found.completeness_error < 0.01 * mass).all()


@pytest.mark.filterwarnings("ignore:A map of integrated gradients")
def test_the_map_of_a_2d_network_is_zero_off_its_slice(fitted, phantom):
    model, cohort = fitted("cnn"), phantom[:3]
    found = saliency(model, cohort, method=IntegratedGradients(n_steps=16), channels="separate")
    for i in range(3):
        seen = int(cohort.mask(i).sum(axis=(1, 2)).argmax())
        assert np.flatnonzero(found[i].any(axis=(0, 2, 3))).tolist() == [seen]
        assert not found[i, :, cohort.mask(i) == 0].any()  # its input is masked


def test_discrete_time_networks_explain_their_curve(fitted, phantom):
    model, cohort = fitted("cnn"), phantom[:2]
    horizon = float(model.time_cuts_[1])
    found = integrated_gradients(model, cohort, horizon=horizon, n_steps=16)
    expected = [f(horizon) for f in model.predict_survival_function(cohort)]
    np.testing.assert_allclose(found.score, expected, rtol=1e-5)
    with pytest.raises(ValueError, match="outside the times"):
        saliency(model, cohort, horizon=1e4)


@pytest.mark.filterwarnings("ignore:A map of integrated gradients")
@pytest.mark.parametrize("method", METHODS, ids=lambda m: type(m).__name__)
def test_randomised_weights_change_the_map(method, fitted, phantom):
    """Sanity check of Adebayo et al. 2018: a map of the image alone would stay as it is."""
    model, cohort = fitted("single-task"), phantom[:1]
    other = copy.deepcopy(model)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in other.net_.module_.parameters():
            if parameter.ndim > 1:
                parameter.copy_(torch.randn(parameter.shape, generator=generator)
                                * parameter.std())  # fmt: skip
    before, after = (
        np.abs(saliency(m, cohort, method=method, blur=1.0)) for m in (model, other)
    )
    # A map of the image alone would have 1. Integrated gradients multiply by the image, so that
    # some of its order remains whatever the weights are. Occlusion has few windows, and may turn
    # their order round by chance, which a map of the image alone cannot.
    rank = spearmanr(before.ravel(), after.ravel()).statistic
    assert rank < 0.8
    again = np.abs(saliency(model, cohort, method=method, blur=1.0))
    assert spearmanr(before.ravel(), again.ravel()).statistic > 0.999


@pytest.mark.filterwarnings("ignore:A map of integrated gradients")
@pytest.mark.parametrize("method", METHODS, ids=lambda m: type(m).__name__)
def test_nothing_of_the_estimator_or_the_process_changes(method, fitted, phantom):
    model, cohort = fitted("single-task"), phantom[:1]
    module = model.net_.module_
    module.train()
    state = {name: value.clone() for name, value in module.state_dict().items()}
    grads = {n: p.grad.clone() for n, p in module.named_parameters() if p.grad is not None}
    risk, stream = model.predict(cohort), torch.get_rng_state()
    numpy_stream = np.random.get_state()[1]  # noqa: NPY002
    module.train()
    saliency(model, cohort, method=method, n_samples=2, noise=0.1)
    assert module.training
    assert all(part.training for part in module.modules())
    after = module.state_dict()
    assert [name for name in state if not torch.equal(after[name], state[name])] == []
    assert all(p.requires_grad for p in module.parameters())
    kept = {n: p.grad for n, p in module.named_parameters() if p.grad is not None}
    assert all(torch.equal(grad, grads[n]) for n, grad in kept.items())
    assert not any(part._forward_hooks for part in module.modules())
    assert torch.equal(stream, torch.get_rng_state())
    np.testing.assert_array_equal(numpy_stream, np.random.get_state()[1])  # noqa: NPY002
    np.testing.assert_array_equal(model.predict(cohort), risk)


def planted(n: int) -> tuple[Cohort, np.ndarray]:
    """Noise with one informative corner, 6 x 6 x 6 of 16 x 16 x 16 voxels."""
    rng = np.random.default_rng(0)
    signal = rng.uniform(-1.5, 1.5, n)
    volumes = rng.normal(scale=0.5, size=(n, 1, 16, 16, 16)).astype(np.float32)
    corner = np.zeros((16, 16, 16), dtype=bool)
    corner[:6, :6, :6] = True
    volumes[:, 0][:, corner] += signal[:, None].astype(np.float32)
    time = np.exp(-2 * signal + rng.normal(scale=0.1, size=n))
    return Cohort(volumes, outcome=make_outcome(np.ones(n), time)), corner


@pytest.mark.parametrize(
    "model",
    [
        SmallCox(n_iterations=60, learning_rate=1e-2),
        pytest.param(
            SingleTaskSurvival(n_iterations=60, learning_rate=3e-3, dropout=0.0, dense_dropout=0.0,
                               precision="float32"),
            marks=pytest.mark.slow,
        ),
    ],
    ids=lambda model: type(model).__name__,
)
def test_trained_networks_point_at_the_planted_corner(model):
    cohort, corner = planted(48)
    train, test = cohort[:40], cohort[40:]
    model = copy.deepcopy(model).set_params(
        batch_size=16, batch_norm_batches=5, augmentation=None, schedule="cosine", n_threads=1,
        random_state=0, device="cpu",
    ).fit(train, train.outcome)  # fmt: skip
    assert model.score(test, test.outcome) > 0.9
    strong = test[np.argsort(np.abs(model.predict(test)))[-4:]]
    regions = np.broadcast_to(corner, (4, *corner.shape))
    for method in (IntegratedGradients(n_steps=16), Occlusion(window=6, stride=3)):
        found = mass_in_region(saliency(model, strong, method=method, blur=1.0), regions)
        assert (found["ratio"] > 5).all(), (type(method).__name__, found)


# ---------------------------------------------------------------- what is refused


def test_estimators_without_a_network_are_refused(corners):
    table = RandomForestRegressor()
    with pytest.raises(TypeError, match="RandomForestRegressor is no survival network"):
        saliency(table, corners)
    ensemble = FoldEnsemble(CornerCox(), cv=2).fit(corners, corners.outcome)
    ensemble.members_[1] = ClinicalVolumeCox()
    with pytest.raises(TypeError, match="ClinicalVolumeCox is no survival network"):
        saliency(ensemble, corners)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"method": "lime"}, "method must be one of"),
        ({"method": "grad_cam", "channels": "separate"}, "no maps of single channels"),
        ({"channels": "PET"}, "channels must be"),
        ({"n_samples": 0}, "at least 1"),
        ({"blur": -1.0}, "not be negative"),
        ({"method": Occlusion(window=2, stride=3)}, "stride at most window"),
        ({"method": IntegratedGradients(n_steps=0)}, "n_steps must be"),
        ({"method": GradCAM("nowhere")}, "its convolutions are blur"),
    ],
)
def test_wrong_settings_are_refused(linear, corners, given, message):
    with pytest.raises(ValueError, match=message):
        saliency(linear, corners[:1], **given)


def test_a_network_that_sees_no_image_is_refused(phantom):
    model = FusionSurvival(**QUICK, **{**SWIN, "branches": ("radiomics", "clinical")})
    model.fit(phantom, phantom.outcome)
    with pytest.raises(ValueError, match="sees no image"):
        saliency(model, phantom)


def test_without_captum_its_installation_is_named(linear, corners, monkeypatch):
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    monkeypatch.setitem(sys.modules, "captum", None)
    with pytest.raises(ImportError, match="pip install captum"):
        saliency(linear, corners[:1])
