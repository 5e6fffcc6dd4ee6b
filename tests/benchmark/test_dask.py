"""A real cluster of worker processes: the scores of one machine, also when a worker is killed."""

from __future__ import annotations

import os
import signal
import sys
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import cloudpickle
import dask
import joblib
import numpy as np
import pandas as pd
import pytest
from contestants import StageCox, make_cohort
from distributed import Client, LocalCluster
from distributed.scheduler import KilledWorker
from sklearn.base import BaseEstimator, clone
from sklearn.model_selection import GridSearchCV, cross_validate

from survimg import Cohort
from survimg.benchmark import run_benchmark
from survimg.cli import main
from survimg.compute import DaskBackend, dask_cluster
from survimg.compute.cluster import _check_identity, _compute, library_versions
from survimg.evaluation import concordance_index
from survimg.model_selection import EventStratifiedKFold
from survimg.target import make_outcome

GRID = {"alpha": [0.1, 1.0]}


@pytest.fixture(scope="module")
def client():
    """Two worker processes with one thread each, started once."""
    patient = dict.fromkeys(("connect", "tcp"), "300s")  # on a machine with other work beside
    with (
        dask.config.set({f"distributed.comm.timeouts.{name}": t for name, t in patient.items()}),
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def stored(cohort, tmp_path_factory):
    return cohort.save(tmp_path_factory.mktemp("cohort") / "store")


class Cox(StageCox):
    """With a score, which searches ask for."""

    def score(self, X, y):
        return concordance_index(y, self.predict(X))


class KnowsItsProcess(Cox):
    def fit(self, X, y):
        self.process_ = os.getpid()
        return super().fit(X, y)


class DiesOnce(Cox):
    """Its first fit, of all machines and processes, kills the process that it runs in."""

    def __init__(self, mark="", alpha=0.1):
        super().__init__(alpha)
        self.mark = mark

    def fit(self, X, y):
        try:
            Path(self.mark).touch(exist_ok=False)
        except FileExistsError:
            self.intensity_ = sum(float(X.volume(i).sum()) for i in range(len(X)))
            return super().fit(X, y)
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("a killed process computes nothing")

    def predict(self, X):
        return super().predict(X) + 1e-9 * self.intensity_


class WhoIsThere(BaseEstimator):
    """Its score is the process that fits it."""

    def __init__(self, k=0):
        self.k = k

    def fit(self, X, y):
        self.process_ = os.getpid()
        time.sleep(0.1)
        return self

    def score(self, X, y):
        return float(self.process_)


def folds():
    return EventStratifiedKFold(3, shuffle=True, random_state=0)


def test_fits_are_done_by_the_workers(client, stored):
    with dask_cluster(client):
        search = GridSearchCV(WhoIsThere(), {"k": [0, 1, 2]}, cv=folds(), refit=False)
        results = search.fit(stored, stored.outcome).cv_results_
    processes = {results[f"split{f}_test_score"][k] for f in range(3) for k in range(3)}
    assert len(processes) == 2
    assert os.getpid() not in processes


def test_nested_search_as_on_one_machine(client, stored):
    search = GridSearchCV(Cox(), GRID, cv=folds())
    options = {"cv": folds(), "return_estimator": True}
    serial = cross_validate(search, stored, stored.outcome, **options)
    with dask_cluster(client):
        parallel = cross_validate(search, stored, stored.outcome, **options)
    np.testing.assert_array_equal(parallel["test_score"], serial["test_score"])
    for one, other in zip(parallel["estimator"], serial["estimator"], strict=True):
        assert one.best_params_ == other.best_params_
        np.testing.assert_array_equal(one.predict(stored), other.predict(stored))


@pytest.mark.slow
def test_inner_fits_are_done_by_the_workers(client, stored):
    """The folds of an ensemble, and in turn where the ensemble is a fit of a cluster itself."""
    from survimg.estimators import FoldEnsemble

    ensemble = FoldEnsemble(KnowsItsProcess(), cv=folds(), n_jobs=-1)
    with dask_cluster(client):
        spread = clone(ensemble).set_params(n_jobs=None).fit(stored, stored.outcome)
        nested = cross_validate(
            ensemble, stored, stored.outcome, cv=folds(), return_estimator=True
        )["estimator"]
    alone = clone(ensemble).set_params(n_jobs=1).fit(stored, stored.outcome)
    np.testing.assert_array_equal(spread.predict(stored), alone.predict(stored))
    processes = [{member.process_ for member in each.members_} for each in (spread, *nested, alone)]
    assert os.getpid() not in set().union(*processes[:-1])
    assert [len(found) for found in processes[1:-1]] == [1, 1, 1]
    assert processes[-1] == {os.getpid()}


def test_joblibs_own_backend_gives_the_same_scores(client, stored):
    search = GridSearchCV(Cox(), GRID, cv=folds(), refit=False)
    serial = search.fit(stored, stored.outcome).cv_results_["mean_test_score"]
    with joblib.parallel_config(backend="dask", client=client):
        parallel = search.fit(stored, stored.outcome).cv_results_["mean_test_score"]
    np.testing.assert_array_equal(parallel, serial)


@pytest.mark.slow
def test_a_network_gives_the_bits_of_one_machine(client, tmp_path):
    from survimg.estimators import CNNSurvival

    patients = make_cohort(n=18, size=20)[0].save(tmp_path / "store")
    network = CNNSurvival(
        n_iterations=1, batch_size=4, batch_norm_batches=1, width=2, hidden=4, n_threads=1,
        random_state=0, device="cpu", precision="float32",
    )  # fmt: skip
    options = {"cv": folds(), "return_estimator": True}
    serial = cross_validate(network, patients, patients.outcome, **options)["estimator"]
    with dask_cluster(client):
        parallel = cross_validate(network, patients, patients.outcome, **options)["estimator"]
    for one, other in zip(parallel, serial, strict=True):
        np.testing.assert_array_equal(one.predict(patients), other.predict(patients))


@pytest.mark.parametrize("in_memory", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_a_worker_killed_in_a_search_changes_nothing(client, cohort, stored, in_memory, tmp_path):
    """Also its share of what was sent to it once (`cohort` has 2 MB in memory) is not lost."""
    X, mark = cohort if in_memory else stored, tmp_path / "mark"
    search = GridSearchCV(DiesOnce(str(mark)), GRID, cv=folds(), error_score="raise")
    with dask_cluster(client) as cluster:
        search.fit(X, X.outcome)
    assert mark.exists()  # it did die
    assert (cluster.bytes_sent > 1e6) == in_memory
    alone = GridSearchCV(DiesOnce(str(mark)), GRID, cv=folds(), error_score="raise")
    alone.fit(X, X.outcome)  # the mark is there: nobody dies
    for name in (f"split{k}_test_score" for k in range(3)):
        np.testing.assert_array_equal(search.cv_results_[name], alone.cv_results_[name])
    np.testing.assert_array_equal(search.predict(X), alone.predict(X))


def test_a_benchmark_with_a_killed_worker_is_that_of_one_machine(client, stored, splits, tmp_path):
    models = {"dies": DiesOnce(str(tmp_path / "mark")), "cox": StageCox()}
    options = {"splits": splits, "progress": False}
    with dask_cluster(client):
        cluster = run_benchmark(
            models, stored, stored.outcome, out=tmp_path / "cluster", n_jobs=None, **options
        )
    assert (tmp_path / "mark").exists()
    assert not cluster.failures
    assert not cluster.missing
    serial = run_benchmark(models, stored, stored.outcome, out=tmp_path / "serial", **options)
    for place, record in serial.records.items():
        for name, array in record.arrays.items():
            np.testing.assert_array_equal(cluster.records[place].arrays[name], array)


def test_a_cohort_on_disk_is_sent_as_its_path_and_another_once(client, tmp_path):
    n, side = 200, 32
    shape = (n, 2, side, side, side)
    sparse = np.lib.format.open_memmap(tmp_path / "v.npy", "w+", dtype=np.float32, shape=shape)
    outcome = make_outcome([1, 0] * (n // 2), np.arange(1.0, n + 1))
    on_disk = Cohort(np.load(tmp_path / "v.npy", mmap_mode="r"), outcome=outcome)
    assert sparse.nbytes > 50e6
    in_memory = Cohort(np.zeros((n, 1, 16, 16, 16), np.float32), outcome=outcome)
    sent = {}
    for name, X in (("on disk", on_disk), ("in memory", in_memory)):
        with dask_cluster(client) as cluster:
            cross_validate(WhoIsThere(), X, outcome, cv=4, error_score="raise")
            sent[name] = cluster.bytes_sent
    assert sent["on disk"] < 4 * 20_000
    voxels = n * 16**3 * 4
    assert voxels < sent["in memory"] < voxels + 4 * 20_000


def test_the_command_computes_on_a_cluster(client, stored, tmp_path):
    store = str(stored._volumes.path.parent)
    common = (
        "benchmark", "--no-progress", "--cohort", store, "--models",
        "contestants:StageCox,clinical-volume-cox", "--folds", "2", "--threads", "1",
    )  # fmt: skip
    address = client.scheduler.address
    on_cluster = ("--backend", "dask", "--scheduler", address, "--out", str(tmp_path / "dask"))
    assert main([*common, *on_cluster]) == 0
    assert main([*common, "--out", str(tmp_path / "serial")]) == 0
    scores = [pd.read_csv(tmp_path / name / "scores.csv") for name in ("dask", "serial")]
    columns = [name for name in scores[0].columns if "seconds" not in name]
    columns = [name for name in columns if "memory" not in name]
    assert {"c_mean", "c_fold1_seed0"} <= set(columns)
    pd.testing.assert_frame_equal(scores[0][columns], scores[1][columns], check_exact=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--backend", "dask"], "needs --scheduler ADDRESS"),
        (["--scheduler", "tcp://a:1"], "needs --backend dask"),
        (["--backend", "dask", "--scheduler", "tcp://a:1", "--n-jobs", "2"], "n-jobs applies to"),
        (["--backend", "dask", "--scheduler", "nowhere"], "No Dask scheduler answers at 'nowhere'"),
    ],
)
def test_the_command_refuses_what_cannot_work(options, message, tmp_path, capsys):
    status = main(
        ["benchmark", "--cohort", "phantom", "--models", "clinical-volume-cox", "--out",
         str(tmp_path / "run"), *options]
    )  # fmt: skip
    assert status == 2
    assert message in capsys.readouterr().err


def test_no_scheduler():
    with (
        pytest.raises(ConnectionError, match="127.0.0.1:9.*within 0.5 s.*dask scheduler"),
        dask_cluster("tcp://127.0.0.1:9", timeout=0.5),
    ):
        pass


def test_no_dask(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    said = pytest.raises(ImportError, match="pip install dask distributed")
    with said, dask_cluster("tcp://node7:8786"):
        pass


def other_everywhere():
    return {"survimg": "0.1.0", "process": str(os.getpid())}


def test_workers_with_other_versions_are_refused(client):
    wrong = rf"worker on .* has process \d+ instead of {os.getpid()}: .*Install the same versions"
    with pytest.raises(ImportError, match=wrong), dask_cluster(client, identity=other_everywhere):
        pass
    nothing = cloudpickle.dumps([])
    expected = {**library_versions(), "torch": "1.0"}
    check = partial(_check_identity, library_versions, expected)
    with pytest.raises(ImportError, match=r"torch .* instead of 1\.0"):
        _compute(nothing, {}, check, [])  # a worker that joined later


def fake_client(**methods):
    return SimpleNamespace(scheduler=SimpleNamespace(address="tcp://a:1"), **methods)


def test_workers_with_threads_are_refused():
    done = SimpleNamespace(result=lambda timeout: None)
    threaded = fake_client(submit=lambda *a, **k: done, nthreads=lambda: {"tcp://b:2": 4})
    with pytest.raises(ValueError, match="tcp://b:2 computes 4 fits.*--nthreads 1"):
        DaskBackend(threaded, library_versions, []).check_workers(1)


def test_a_cluster_without_workers():
    def never(timeout):
        raise TimeoutError

    empty = fake_client(submit=lambda *a, **k: SimpleNamespace(result=never))
    with pytest.raises(TimeoutError, match="tcp://a:1 has had no worker for 1 s.*--nthreads 1"):
        DaskBackend(empty, library_versions, []).check_workers(1)


def test_a_fit_that_kills_every_worker_says_so():
    killed = Mock()
    killed.result.side_effect = KilledWorker("fit", SimpleNamespace(address="tcp://b:2"), 3)
    backend = DaskBackend(fake_client(), library_versions, [])
    with pytest.raises(ChildProcessError, match="4 workers died.*tcp://b:2.*memory"):
        backend.retrieve_result_callback(killed)


def test_a_single_worker_does_the_fits_too():
    """A number of 1 would mean this process to joblib."""
    alone = DaskBackend(fake_client(nthreads=lambda: {"tcp://b:2": 1}), library_versions, [])
    assert alone.effective_n_jobs(-1) == alone.effective_n_jobs(None) == 2
    assert alone.effective_n_jobs(3) == 3


def test_too_large_an_argument_is_refused(monkeypatch):
    backend = DaskBackend(fake_client(), library_versions, [])
    monkeypatch.setattr("survimg.compute.cluster.TOO_LARGE", 2 << 20)
    batch = SimpleNamespace(items=[(len, [np.zeros(1 << 19)], {})])
    with pytest.raises(ValueError, match="ndarray holds 0.0 GiB.*cohort.save"):
        backend.submit(batch)
