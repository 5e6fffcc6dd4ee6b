"""scikit-learn's callbacks: they see the epochs of a training, can end it, and change nothing."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from quick_networks import quick
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

import survimg
from survimg.estimators import CNNSurvival
from survimg.model_selection import EventStratifiedKFold

callback = pytest.importorskip("sklearn.callback", reason="scikit-learn has callbacks since 1.9")


class Recorder:
    """Writes down the tasks of a fit; stops a training after some epochs."""

    max_propagation_depth = None

    def __init__(self, stop_after: int | None = None) -> None:
        self.stop_after = stop_after
        self.seen: list[tuple[str, str]] = []
        self.n_epochs: list[int] = []

    def setup(self, estimator, context):
        self.seen.append(("setup", context.task_name))

    def teardown(self, estimator, context):
        self.seen.append(("teardown", context.task_name))

    def on_fit_task_begin(self, estimator, context):
        self.seen.append(("begin", context.task_name))
        if isinstance(estimator, CNNSurvival) and context.task_name == "fit":
            self.n_epochs.append(context.max_subtasks)

    def on_fit_task_end(self, estimator, context):
        self.seen.append(("end", context.task_name))
        return self.seen.count(("end", "epoch")) == self.stop_after


def test_a_fit_and_its_epochs_are_told(cohort):
    recorder = Recorder()
    model = quick().set_callbacks(recorder).fit(cohort, cohort.outcome)
    epoch = [("begin", "epoch"), ("end", "epoch")]
    assert recorder.seen == [
        ("setup", "fit"), ("begin", "fit"), *(3 * epoch), ("end", "fit"), ("teardown", "fit"),
    ]  # fmt: skip
    assert recorder.n_epochs == [3]
    np.testing.assert_array_equal(
        model.predict(cohort), quick().fit(cohort, cohort.outcome).predict(cohort)
    )
    assert not hasattr(model, "_callback_fit_ctx")


class Reader(Recorder):
    """Reads the epochs so far from the estimator."""

    def on_fit_task_end(self, estimator, context):
        if context.task_name == "epoch":
            self.seen.append(estimator.history_.iloc[-1][["epoch", "loss"]].tolist())


def test_a_callback_sees_the_row_of_each_epoch(cohort):
    reader = Reader()
    model = quick().set_callbacks(reader).fit(cohort, cohort.outcome)
    rows = [row for row in reader.seen if isinstance(row, list)]
    assert rows == model.history_[["epoch", "loss"]].to_numpy().tolist()


def test_a_callback_ends_the_training(cohort):
    model = quick().set_callbacks(Recorder(stop_after=2)).fit(cohort, cohort.outcome)
    assert len(model.history_) == 2
    assert len(model.predict(cohort)) == 12


def test_callbacks_are_torn_down_when_a_fit_fails(cohort, monkeypatch):
    recorder = Recorder()

    def broken(*_: object) -> None:
        raise OSError("the disk is gone")

    model = quick().set_callbacks(recorder)
    monkeypatch.setattr("survimg.training.fit.recalibrate_batch_norm", broken)
    with pytest.raises(OSError, match="the disk is gone"):
        model.fit(cohort, cohort.outcome)
    assert recorder.seen[-1] == ("teardown", "fit")
    assert not hasattr(model, "net_")
    monkeypatch.undo()
    model.fit(cohort, cohort.outcome)


def test_a_search_tells_the_epochs_of_its_fits(cohort):
    recorder = Recorder()
    folds = EventStratifiedKFold(2, shuffle=True, random_state=0)
    search = GridSearchCV(quick(), {"hidden": [4, 8]}, cv=folds, refit=False)
    search.set_callbacks(recorder).fit(cohort, cohort.outcome)
    assert recorder.seen.count(("end", "epoch")) == 2 * 2 * 3
    assert [name for what, name in recorder.seen if what == "setup"] == ["fit"]


def test_a_resumed_fit_tells_the_epochs_that_are_left(cohort, tmp_path):
    class Killed(BaseException):
        pass

    class Killer(Recorder):
        def on_fit_task_begin(self, estimator, context):
            super().on_fit_task_begin(estimator, context)
            if self.seen.count(("begin", "epoch")) == 2:
                raise Killed

    model = quick(checkpoint_folder=tmp_path).set_callbacks(Killer())
    with pytest.raises(Killed):
        model.fit(cohort, cohort.outcome)
    recorder = Recorder()
    model.set_callbacks(recorder).fit(cohort, cohort.outcome)
    assert recorder.n_epochs == [2]
    assert recorder.seen.count(("end", "epoch")) == 2


def test_the_progress_bar_of_scikit_learn_counts_epochs(cohort, capsys):
    pytest.importorskip("rich", reason="scikit-learn draws its bar with rich")
    quick().set_callbacks(callback.ProgressBar()).fit(cohort, cohort.outcome)
    drawn = capsys.readouterr().out
    assert "CNNSurvival" in drawn
    assert "100%" in drawn


def test_a_model_with_callbacks_can_be_copied_pickled_and_saved(cohort, tmp_path):
    model = quick().set_callbacks(Recorder()).fit(cohort, cohort.outcome)
    assert clone(model)._skl_callbacks == model._skl_callbacks
    expected = model.predict(cohort)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).predict(cohort), expected)
    survimg.save(model, tmp_path / "model")
    np.testing.assert_array_equal(survimg.load(tmp_path / "model").predict(cohort), expected)
