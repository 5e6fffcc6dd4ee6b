"""A pickle that is planted wherever survimg reads what it, or somebody, wrote is not run.

Model files themselves: test_refusals.py.
"""

from __future__ import annotations

import io
import pickle
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from saved_models import NET, network
from tampering import Bomb, bomb, object_array, table, vouch

from survimg import Cohort
from survimg.benchmark import Record
from survimg.benchmark.records import read_record, record_path, write_record
from survimg.datasets import make_phantom_cohort
from survimg.estimators import DeepMTS, DeepSurv, FitOnce, OutOfFold
from survimg.nets import DeepSurvNet, load_official_weights, load_weights
from survimg.radiomics import RadiomicsFeatures
from survimg.training.checkpoints import fit_key


@pytest.fixture
def mark(tmp_path) -> Path:
    """File that a pickle makes when it is run."""
    return tmp_path / "mark"


def forms(mark: Path) -> dict[str, bytes]:
    """The pickle as it is, and in the wrappings of NumPy and torch."""
    npy, npz, pt = io.BytesIO(), io.BytesIO(), io.BytesIO()
    np.save(npy, object_array(mark))
    np.savez(npz, values=object_array(mark), n_levels=object_array(mark))
    torch.save({"json": Bomb(mark), "w": Bomb(mark)}, pt)
    return {
        "pickle": bomb(mark), "npy": npy.getvalue(), "npz": npz.getvalue(), "torch": pt.getvalue()
    }  # fmt: skip


FORMS = ["pickle", "npy", "npz", "torch"]


def test_the_pickles_do_run_where_pickles_are_read(mark):
    found = forms(mark)
    np.load(io.BytesIO(found["npy"]), allow_pickle=True)
    assert mark.exists()
    mark.unlink()
    torch.load(io.BytesIO(found["torch"]), weights_only=False)
    assert mark.exists()


@pytest.fixture(scope="module")
def cohort() -> Cohort:
    return make_phantom_cohort(n=6, shape=(16, 18, 18), random_state=0).cohort


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "name", ["volumes.npy", "masks.npy", "table.csv", "cohort.json"]
)
def test_cohort_stores(name, form, cohort, mark, tmp_path):
    cohort.save(tmp_path / "store")
    (tmp_path / "store" / name).write_bytes(forms(mark)[form])
    with pytest.raises((ValueError, OSError)):
        Cohort.load(tmp_path / "store").volume(0)
    assert not mark.exists()


@pytest.mark.parametrize("form", FORMS)
def test_radiomics_memory(form, cohort, mark, tmp_path):
    extractor = RadiomicsFeatures(
        features=("firstorder",), image_types=("original",), memory=tmp_path / "memory"
    )
    expected = extractor.fit_transform(cohort[:2])
    records = sorted((tmp_path / "memory").rglob("*.npz"))
    assert len(records) == 2
    for record in records:
        record.write_bytes(forms(mark)[form])
    with pytest.warns(UserWarning, match="counts as none") as told:
        found = extractor.fit_transform(cohort[:2])
    assert len(told) == 1
    np.testing.assert_array_equal(found, expected)
    assert not mark.exists()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("suffix", [".json", ".npz"])
def test_benchmark_records(suffix, form, mark, tmp_path):
    record = Record("k" * 64, "model", 0, 0, arrays={"test_risk": np.zeros(3)})
    write_record(tmp_path, record)
    assert read_record(tmp_path, "model", 0, 0, record.key) is not None
    path = record_path(tmp_path, "model", 0, 0, record.key).with_suffix(suffix)
    path.write_bytes(forms(mark)[form])
    with pytest.warns(UserWarning, match="damaged record counts as none"):
        assert read_record(tmp_path, "model", 0, 0, record.key) is None
    assert not mark.exists()


@pytest.mark.parametrize("form", FORMS)
def test_training_checkpoints(form, cohort, mark, tmp_path):
    model = network(checkpoint_folder=tmp_path / "checkpoints")
    event, time = cohort.outcome["event"], cohort.outcome["time"]
    path = tmp_path / "checkpoints" / f"{fit_key(model, cohort, event, time)}.pt"
    path.parent.mkdir()
    path.write_bytes(forms(mark)[form])
    with pytest.raises(ValueError, match="checkpoint .* damaged .* Delete it"):
        model.fit(cohort, cohort.outcome)
    assert not mark.exists()


@pytest.mark.parametrize("form", FORMS)
def test_initial_weights(form, mark, tmp_path):
    path = tmp_path / "weights.pt"
    path.write_bytes(forms(mark)[form])
    with pytest.raises((pickle.UnpicklingError, RuntimeError, ValueError, EOFError)):
        load_weights(DeepSurvNet(3), path, strict=False)
    assert not mark.exists()


@pytest.mark.parametrize("form", FORMS)
def test_published_weights(form, mark, tmp_path):
    path = tmp_path / "weights.h5"
    path.write_bytes(forms(mark)[form])
    net = DeepMTS(**NET, variant="sur-casnet")._make_module(2, 1, torch.Generator())
    with pytest.raises((OSError, ValueError)):
        load_official_weights(net, path)
    assert not mark.exists()


class _Risk(DeepSurv):
    def transform(self, X):
        return self.predict(X)[:, np.newaxis]

    def get_feature_names_out(self, input_features=None):
        return np.array(["risk"], dtype=object)


@pytest.mark.parametrize("form", FORMS)
def test_kept_fits(form, mark, tmp_path):
    X, y = table()
    once = FitOnce(_Risk(hidden=(2,), n_iterations=2, random_state=0), memory=tmp_path / "fits")
    expected = once.fit(X, y).predict(X)
    (kept,) = (p.parent for p in (tmp_path / "fits").rglob("manifest.json"))
    for name in ("model.json", "arrays.npz", "weights.safetensors", "manifest.json"):
        (kept / name).write_bytes(forms(mark)[form])
        # The place where survimg kept pickles before 0.2.
        kept.with_name(f"{kept.name}.joblib").write_bytes(forms(mark)[form])
        if name != "manifest.json":
            vouch(kept)
        with pytest.warns(UserWarning, match="done again"):
            again = once.fit(X, y)
        assert not again.reused_
        np.testing.assert_array_equal(again.predict(X), expected)
    assert not mark.exists()


def test_a_file_in_the_place_of_a_kept_fit_is_no_fit(mark, tmp_path):
    X, y = table()
    once = FitOnce(_Risk(hidden=(2,), n_iterations=2, random_state=0), memory=tmp_path / "fits")
    once.fit(X, y)
    (kept,) = (p.parent for p in (tmp_path / "fits").rglob("manifest.json"))
    shutil.rmtree(kept)
    kept.write_bytes(bomb(mark))
    with pytest.warns(UserWarning, match=r"cannot be stored.* no model that survimg\.save wrote"):
        assert not once.fit(X, y).reused_
    assert not mark.exists()


def test_out_of_fold_features_of_kept_fits_agree(tmp_path):
    X, y = table()
    network_once = FitOnce(
        _Risk(hidden=(2,), n_iterations=2, random_state=0), memory=tmp_path / "fits"
    )
    maker = OutOfFold(network_once, method="transform", cv=2)
    first = maker.fit_transform(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        second = maker.fit_transform(X, y)
    np.testing.assert_array_equal(first, second)
