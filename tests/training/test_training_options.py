"""Optimisers, schedules and callbacks of the user's."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning
from skorch.callbacks import Callback, EarlyStopping

from survimg.datasets import make_phantom_cohort
from survimg.estimators import DeepMTS, ImageSurvival
from survimg.estimators.deep.volume_estimator import mean_of_mirrored
from survimg.explain import saliency
from survimg.nets import DeepMTSOutput
from survimg.training import Net
from tests.estimators.deep.networks_of_users import SmallNet, noise


@pytest.fixture(scope="module")
def cohort():
    return make_phantom_cohort(n=12, shape=(16, 16, 16), random_state=0).cohort


def quick(**parameters):
    settings = {
        "n_iterations": 8, "iterations_per_epoch": 2, "batch_size": 4, "batch_norm_batches": 1,
        "precision": "float32", "n_threads": 1, "random_state": 0, "augmentation": None,
    }  # fmt: skip
    return ImageSurvival(net=Net(SmallNet), **{**settings, **parameters})


class LearningRates(Callback):
    def __init__(self):
        self.rates = []

    def on_batch_begin(self, net, training=False, **_):
        if training:
            self.rates.append(net.optimizer_.param_groups[0]["lr"])


class Watcher(Callback):
    """Keeps what a callback can see after each epoch."""

    def __init__(self, stop_after=None, error=None):
        self.stop_after = stop_after
        self.error = error
        self.rows = []

    def on_epoch_end(self, net, **_):
        estimator = net.estimator_
        self.rows.append((net.history[-1, "train_loss"], len(estimator.history_), estimator))
        if len(self.rows) == self.stop_after:
            raise self.error


def weights_of(model):
    return _flat(model.net_.module_)


def _flat(module):
    return torch.cat([value.detach().flatten() for value in module.parameters()])


def test_the_default_optimiser_is_adam_with_keras_epsilon(cohort):
    explicit = quick(optimizer=torch.optim.Adam, optimizer_params={"eps": 1e-7, "fused": True})
    default = quick().fit(cohort, cohort.outcome)
    assert torch.equal(weights_of(explicit.fit(cohort, cohort.outcome)), weights_of(default))


def test_an_optimiser_and_its_parameters_are_used(cohort):
    decayed = quick(
        optimizer=torch.optim.SGD, optimizer_params={"weight_decay": 10.0}, learning_rate=0.05,
        schedule="constant",
    ).fit(cohort, cohort.outcome)  # fmt: skip
    plain = quick(optimizer=torch.optim.SGD, learning_rate=0.05, schedule="constant")
    plain.fit(cohort, cohort.outcome)
    assert weights_of(decayed).norm() < 0.5 * weights_of(plain).norm()
    with pytest.raises(ValueError, match=r"SGD has no weight_decya.*'weight_decay'"):
        quick(optimizer=torch.optim.SGD, optimizer_params={"weight_decya": 1}).fit(
            cohort, cohort.outcome
        )


@pytest.mark.parametrize(
    ("schedule", "factors"),
    [
        (lambda share: 1 - share, [1 - k / 8 for k in range(8)]),
        (partial(torch.optim.lr_scheduler.StepLR, step_size=3, gamma=0.1),
         [1, 1, 1, 0.1, 0.1, 0.1, 0.01, 0.01]),
    ],
)  # fmt: skip
def test_schedules(schedule, factors, cohort):
    rates = LearningRates()
    quick(schedule=schedule, callbacks=[rates], learning_rate=0.01).fit(cohort, cohort.outcome)
    np.testing.assert_allclose(rates.rates, 0.01 * np.array(factors))


def test_callbacks_see_the_epochs_row_and_the_estimator(cohort):
    watcher = Watcher()
    model = quick(callbacks=[watcher]).fit(cohort, cohort.outcome)
    losses, lengths, estimators = zip(*watcher.rows, strict=True)
    np.testing.assert_allclose(losses, model.history_["loss"])
    assert lengths == (1, 2, 3, 4)
    assert all(each is model for each in estimators)
    assert model.net_.estimator_ is None
    np.testing.assert_array_equal(
        quick().fit(cohort, cohort.outcome).predict(cohort), model.predict(cohort)
    )


def test_a_callback_prunes_a_fit_and_leaves_the_estimator_as_it_was(cohort):
    class PrunedError(Exception):
        pass

    model = quick(callbacks=[Watcher(stop_after=2, error=PrunedError())])
    with pytest.raises(PrunedError):
        model.fit(cohort, cohort.outcome)
    assert not hasattr(model, "net_")
    assert not hasattr(model, "history_")


def test_skorchs_early_stopping_ends_the_training(cohort):
    stopping = EarlyStopping(monitor="train_loss", patience=1, threshold=10.0, sink=lambda *_: None)
    model = quick(callbacks=[stopping]).fit(cohort, cohort.outcome)
    assert len(model.history_) == 2
    assert model.predict(cohort).shape == (12,)


def test_a_callback_that_watches_another_column_is_told_which_there_are(cohort):
    model = quick(callbacks=[EarlyStopping()])
    with pytest.raises(ValueError, match=r"EarlyStopping finds no .*valid_loss.*'cox'.*'epoch'"):
        model.fit(cohort, cohort.outcome)


def test_an_error_inside_a_callback_stays_as_it_is(cohort):
    model = quick(callbacks=[Watcher(stop_after=1, error=KeyError("own table"))])
    with pytest.raises(KeyError, match="own table"):
        model.fit(cohort, cohort.outcome)


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        (torch.optim.lr_scheduler.ReduceLROnPlateau, "ReduceLROnPlateau takes a score.*patience"),
        (torch.optim.lr_scheduler.StepLR, "StepLR cannot be built: .*step_size.*partial"),
    ],
)
def test_schedules_that_cannot_be_are_refused_in_words(schedule, message, cohort):
    with pytest.raises(ValueError, match=message):
        quick(schedule=schedule).fit(cohort, cohort.outcome)


def test_an_interrupt_elsewhere_remains_one(cohort):
    class Interrupting(Callback):
        def on_batch_end(self, net, **_):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        quick(callbacks=[Interrupting()]).fit(cohort, cohort.outcome)


def test_what_is_no_callback_is_refused(cohort):
    for wrong in (EarlyStopping, object()):
        with pytest.raises(ValueError, match=r"takes instances of skorch\.callbacks\.Callback"):
            quick(callbacks=[wrong]).fit(cohort, cohort.outcome)


class Weights(Callback):
    """Keeps the weights after each step, and what others see at the end of each epoch."""

    def __init__(self):
        self.after_steps, self.after_epochs = [], []

    def on_batch_end(self, net, training=False, **_):
        self.after_steps.append(_flat(net.module_))

    def on_epoch_end(self, net, **_):
        self.after_epochs.append(_flat(net.module_))


@pytest.mark.parametrize("decay", [0.2, 0.6])
def test_the_weights_are_the_moving_average_over_the_steps(decay, cohort):
    seen, plain = Weights(), Weights()
    model = quick(ema_decay=decay, callbacks=[seen]).fit(cohort, cohort.outcome)
    quick(callbacks=[plain]).fit(cohort, cohort.outcome)
    average, averages = seen.after_steps[0], []
    for n, weights in enumerate(seen.after_steps):
        d = min(decay, (1 + n) / (10 + n))
        average = weights if n == 0 else d * average + (1 - d) * weights
        averages.append(average)
    torch.testing.assert_close(weights_of(model), average)
    for k, at_end in enumerate(seen.after_epochs):
        torch.testing.assert_close(at_end, averages[2 * k + 1])
    # The optimiser goes on from the weights of the last step.
    assert all(map(torch.equal, seen.after_steps, plain.after_steps))


def test_the_average_is_validated_and_survives_a_divergence(cohort):
    seen = Weights()
    model = quick(ema_decay=0.5, validation_fraction=0.3, callbacks=[seen])
    model.fit(cohort, cohort.outcome)
    torch.testing.assert_close(weights_of(model), seen.after_epochs[model.best_epoch_ - 1])
    late = partial(torch.optim.lr_scheduler.LambdaLR, lr_lambda=lambda n: 1.0 if n < 5 else 1e38)
    seen = Weights()
    with pytest.warns(ConvergenceWarning, match=r"the network of epoch \d"):
        model = quick(ema_decay=0.5, schedule=late, callbacks=[seen]).fit(cohort, cohort.outcome)
    last = len(model.history_)
    torch.testing.assert_close(weights_of(model), seen.after_epochs[last - 1])


def test_a_mirror_image_is_predicted_like_the_image(cohort):
    volumes = np.stack([cohort.volume(i) for i in range(12)])
    flipped = volumes[..., ::-1].copy()
    model = quick(test_time_flip=True).fit(volumes, cohort.outcome)
    both = [model.predict(each) for each in (volumes, flipped)]
    np.testing.assert_allclose(*both, rtol=1e-5)
    model.set_params(test_time_flip=False)
    single = [model.predict(each) for each in (volumes, flipped)]
    assert not np.allclose(*single, rtol=1e-4)
    np.testing.assert_allclose(np.mean(single, axis=0), both[0], rtol=1e-5)
    with pytest.raises(ValueError, match="test_time_flip=False"):
        saliency(model.set_params(test_time_flip=True), volumes[:1])


@pytest.mark.parametrize("options", [{}, {"test_time_flip": True}])
def test_patients_that_pass_together_are_predicted_as_alone(cohort, options):
    model = quick(**options).fit(cohort, cohort.outcome)
    alone = model.predict(cohort)
    model.set_params(prediction_batch_size=5)  # the last of twelve patients are two
    np.testing.assert_allclose(model.predict(cohort), alone, rtol=1e-4, atol=1e-5)


def test_masks_of_patients_that_pass_together_are_those_of_each(cohort):
    model = DeepMTS(n_iterations=2, batch_size=4, random_state=0).fit(cohort, cohort.outcome)
    alone = model.predict_mask(cohort[:5])
    model.set_params(prediction_batch_size=3)
    assert (np.asarray(model.predict_mask(cohort[:5])) != alone).mean() < 1e-3


def test_masks_of_the_mirror_image_are_turned_back():
    output = DeepMTSOutput(torch.rand(1, 4, 5, 6), torch.rand(1), torch.rand(1, 7))
    mirrored = DeepMTSOutput(output.segmentation.flip(-1), output.risk + 2, None)
    with_features = mirrored._replace(features=output.features)
    mean = mean_of_mirrored(output, with_features)
    torch.testing.assert_close(mean.segmentation, output.segmentation)
    torch.testing.assert_close(mean.risk, output.risk + 1)
    alone = mean_of_mirrored(output._replace(features=None), mirrored)
    assert alone.features is None


@pytest.mark.parametrize(
    "options",
    [
        {"augmentation": noise},
        {"ema_decay": 0.9},
        {"schedule": partial(torch.optim.lr_scheduler.StepLR, step_size=3, gamma=0.1)},
    ],
    ids=["augmentation", "average", "schedule"],
)
def test_an_interrupted_fit_goes_on_as_if_nothing_had_happened(options, cohort, tmp_path):
    whole = quick(**options).fit(cohort, cohort.outcome)
    stop = Watcher(stop_after=2, error=RuntimeError("power cut"))
    with pytest.raises(RuntimeError, match="power cut"):
        # The callbacks come before the checkpoint: this is the state after the first epoch.
        quick(**options, checkpoint_folder=tmp_path, callbacks=[stop]).fit(cohort, cohort.outcome)
    assert list(tmp_path.iterdir())
    resumed = Watcher()
    model = quick(**options, checkpoint_folder=tmp_path, callbacks=[resumed])
    model.fit(cohort, cohort.outcome)
    assert len(resumed.rows) == 3
    assert torch.equal(weights_of(model), weights_of(whole))


def test_parameters_that_pickle_cannot_write_are_refused_with_checkpoints(cohort, tmp_path):
    model = quick(schedule=lambda share: 1 - share, checkpoint_folder=tmp_path)
    with pytest.raises(ValueError, match="needs parameters that pickle can write"):
        model.fit(cohort, cohort.outcome)
