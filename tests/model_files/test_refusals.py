"""What is not as it was written is refused by name, and nothing in a file is ever run."""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.base import BaseEstimator
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from tampering import bomb, edit, object_array, table, vouch

import survimg
from survimg.estimators import DeepSurv, FoldEnsemble, LassoCox, RandomSurvivalForest
from survimg.estimators.saved_classes import SAVED_CLASSES
from survimg.model_files import ModelFileError
from survimg.model_files import folder as folder_module
from survimg.model_files.arrays import pack_arrays, unpack_arrays
from survimg.model_files.classes import Classes
from survimg.model_files.decoding import Decoder
from survimg.model_files.encoding import Encoder

FILES = ["arrays.npz", "manifest.json", "model.json", "weights.safetensors"]


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    """A model of all four files: scaler, network, random state."""
    X, y = table()
    net = DeepSurv(hidden=(3,), n_iterations=2, random_state=np.random.RandomState(0))
    model = Pipeline([("scale", StandardScaler()), ("model", net)]).fit(X, y)
    path = tmp_path_factory.mktemp("written") / "model"
    survimg.save(model, path)
    assert sorted(file.name for file in path.iterdir()) == FILES
    return path


@pytest.fixture
def model(written, tmp_path) -> Path:
    return Path(shutil.copytree(written, tmp_path / "model"))


def refused(folder: Path, message: str) -> None:
    with pytest.raises(ModelFileError, match=message):
        survimg.load(folder)


# ---------------------------------------------------------------- damage


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["truncated", "emptied", "changed", "removed", "longer"])
def test_a_damaged_file_is_refused(name, damage, model):
    path = model / name
    content = path.read_bytes()
    changes = {
        "truncated": content[:-7], "emptied": b"", "longer": content + b" junk",
        "changed": content[:50] + bytes([content[50] ^ 1]) + content[51:],
    }  # fmt: skip
    if damage == "removed":
        path.unlink()
    else:
        path.write_bytes(changes[damage])
    if name == "manifest.json":
        refused(model, "not JSON|checksum|has no manifest")
    else:
        expected = {
            "truncated": "truncated", "emptied": "truncated", "removed": f"lacks {name}",
            "changed": "checksum", "longer": "not the file that was written",
        }  # fmt: skip
        refused(model, expected[damage])


@pytest.mark.parametrize("name", ["notes.txt", "extra.npz", ".DS_Store"])
def test_a_foreign_file_is_refused(name, model):
    (model / name).write_text("hello")
    refused(model, f"holds '{name}', which its manifest does not name")
    vouch(model)
    refused(model, "not part of a model file")


@pytest.mark.parametrize("make", ["link", "folder", "pipe"])
def test_links_folders_and_pipes_are_refused(make, model):
    path = model / "weights.safetensors"
    path.unlink()
    if make == "link":
        path.symlink_to("/etc/hostname")
    elif make == "folder":
        path.mkdir()
    else:
        os.mkfifo(path)
    refused(model, "no ordinary file")


def test_newer_and_other_formats_are_refused(model, tmp_path):
    edit(model, lambda m: m.update(version=2), "manifest.json")
    refused(model, r"version 2 .* written by survimg 0\.1\.0; .* versions up to 1\. Update survimg")
    for version in (0, "1", None, True, 1.0):
        edit(model, lambda m, v=version: m.update(version=v), "manifest.json")
        refused(model, "names the version")
    edit(model, lambda m: m.update(format="another"), "manifest.json")
    refused(model, "format 'another'")
    (model / "manifest.json").unlink()
    refused(model, "has no manifest.json")
    with pytest.raises(FileNotFoundError, match="no model folder"):
        survimg.load(tmp_path / "nothing")
    (tmp_path / "file").write_text("x")
    with pytest.raises(FileNotFoundError, match="It is a file"):
        survimg.load(tmp_path / "file")


def test_a_manifest_with_another_list_is_refused(model):
    for change in (
        lambda m: m.pop("files"),
        lambda m: m.update(files=[]),
        lambda m: m["files"]["model.json"].pop("sha256"),
    ):
        kept = (model / "manifest.json").read_text()
        edit(model, change, "manifest.json")
        refused(model, "does not say which files")
        (model / "manifest.json").write_text(kept)
    edit(model, lambda m: m["files"].update({"../x": {"bytes": 1, "sha256": ""}}), "manifest.json")
    refused(model, "lacks")


def test_another_scikit_learn_warns(model):
    edit(model, lambda m: m["versions"].update({"scikit-learn": "0.24.2"}), "manifest.json")
    with pytest.warns(UserWarning, match=r"written with scikit-learn 0\.24\.2"):
        survimg.load(model)


# ---------------------------------------------------------------- code


@pytest.mark.parametrize("vouched", [False, True])
@pytest.mark.parametrize("name", FILES)
def test_a_pickle_in_the_place_of_a_file_is_not_run(name, vouched, model, tmp_path):
    mark = tmp_path / "mark"
    (model / name).write_bytes(bomb(mark))
    if vouched and name != "manifest.json":
        vouch(model)
    refused(model, "cannot be read|JSON|bytes|utf-8")
    assert not mark.exists()


def test_an_array_of_objects_is_not_unpickled(model, tmp_path):
    mark = tmp_path / "mark"
    with np.load(model / "arrays.npz") as stored:
        arrays = {name: stored[name] for name in stored.files}
    first = next(iter(arrays))
    np.savez(model / "arrays.npz", **{**arrays, first: object_array(mark)})
    vouch(model)
    refused(model, "cannot be read")
    assert not mark.exists()


def first(content: dict, kind: str) -> dict:
    return next(node for node in content["objects"] if node["is"] == kind)


def instance(content: dict, label: str) -> dict:
    return next(node for node in content["objects"] if node.get("class") == label)


@pytest.mark.parametrize(
    "label", ["os.system", "builtins.eval", "subprocess.Popen", "survimg.cohort.Cohort", 3, None]
)
def test_a_class_that_is_not_listed_is_refused(label, model):
    edit(model, lambda c: first(c, "instance").update({"class": label}))
    refused(model, "not among those that a model file may hold")


@pytest.mark.parametrize(
    "name", ["predict", "fit", "__class__", "__dict__", "a b", "unique_times_", "n_iterations"]
)
def test_an_attribute_that_would_hide_a_method_is_refused(name, model):
    edit(
        model, lambda c: instance(c, "survimg.estimators.DeepSurv")["attributes"].update({name: 1})
    )
    refused(model, "cannot be an attribute")


def test_folders_of_this_machine_are_refused(model):
    def point(content):
        instance(content, "sklearn.pipeline.Pipeline")["parameters"]["memory"] = "/home/jane/cache"

    edit(model, point)
    refused(model, "names a folder of this machine")


def test_unknown_parameters_are_refused_and_later_ones_get_their_default(model):
    edit(model, lambda c: instance(c, "survimg.estimators.DeepSurv")["parameters"].pop("l2"))
    assert survimg.load(model)[-1].l2 == DeepSurv().l2
    edit(
        model, lambda c: instance(c, "survimg.estimators.DeepSurv")["parameters"].update(colour=1)
    )
    refused(model, r"parameters \['colour'\]")


def test_weights_of_another_network_are_refused(model):
    def widen(content):
        instance(content, "survimg.estimators.DeepSurv")["parameters"]["hidden"] = {"tuple": [4]}

    edit(model, widen)
    refused(model, "weights are not those of this DeepSurv")


@pytest.mark.parametrize("hidden", ["a", None, 3, {"tuple": [-1]}, {"tuple": ["x"]}])
def test_nonsense_for_a_network_is_refused(hidden, model):
    edit(
        model,
        lambda c: instance(c, "survimg.estimators.DeepSurv")["parameters"].update(hidden=hidden),
    )
    refused(model, "cannot be built|does not fit together")


def test_a_network_of_more_weights_than_the_file_holds_is_not_built(model):
    """The 3.6 GB that it asks for are never touched."""

    def grow(content):
        parameters = instance(content, "survimg.estimators.DeepSurv")["parameters"]
        parameters["hidden"] = {"tuple": [30_000, 30_000]}

    edit(model, grow)
    refused(model, "cannot be built .its parameters ask for more weights than the file holds")


def test_the_state_of_random_numbers_is_checked(model):
    edit(model, lambda c: first(c, "random state")["parts"].update(pos=10**6))
    refused(model, "random number generator")


@pytest.mark.parametrize("field", ["left_child", "right_child", "feature"])
@pytest.mark.parametrize("value", [10**6, 0, -2])
def test_a_tree_that_points_elsewhere_is_refused(field, value, tmp_path):
    X, y = table()
    path = tmp_path / "m"
    survimg.save(RandomSurvivalForest(n_estimators=1, random_state=0).fit(X, y), path)
    arrays = unpack_arrays((path / "arrays.npz").read_bytes())
    nodes = next(a for a in arrays.values() if a.dtype.names and field in a.dtype.names)
    assert len(nodes) >= 3
    if field == "feature" and value == 0:
        value = 3  # the first feature that there is not
    nodes[field][0] = value
    (path / "arrays.npz").write_bytes(pack_arrays(arrays))
    vouch(path)
    refused(path, "points to nodes or features that it does not have")


@pytest.mark.parametrize("which", ["SurvivalTree", "RandomSurvivalForest"])
def test_trees_of_other_tables_are_refused(which, tmp_path):
    """scikit-learn would let the tree read columns that X does not have."""
    X, y = table()
    path = tmp_path / "m"
    survimg.save(RandomSurvivalForest(n_estimators=1, random_state=0).fit(X, y), path)

    def narrow(content):
        label = next(
            n["class"] for n in content["objects"] if n.get("class", "").endswith(f".{which}")
            and n["class"].startswith("sksurv") and "n_features_in_" in n["attributes"]
        )  # fmt: skip
        for node in content["objects"]:
            if node.get("class") == label and "n_features_in_" in node["attributes"]:
                node["attributes"]["n_features_in_"] = 1

    edit(path, narrow)
    refused(path, "reads? other features")


# ---------------------------------------------------------------- sizes


def npz(header: bytes, body: bytes = b"", compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        archive.writestr("a0.npy", header + body)
    return buffer.getvalue()


def header(shape: tuple, descr: str = "<f8") -> bytes:
    buffer = io.BytesIO()
    content = {"descr": descr, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_2_0(buffer, content)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        npz(header((10**12,)), b"12345678"),
        npz(header((10**12, 10**12)), b"12345678"),
        npz(header((-1,)), b"12345678"),
        npz(header((2**64,)), b""),
        npz(header((1,)), bytes(8), zipfile.ZIP_DEFLATED),
        npz(b"\x93NUMPY\x02\x00" + b"\xff" * 4),
        npz(header((1,), "O"), bytes(8)),
        b"PK\x05\x06" + bytes(18),
    ],
)
def test_an_array_that_claims_more_than_it_has_is_refused(content, model):
    (model / "arrays.npz").write_bytes(content)
    vouch(model)
    refused(model, "damaged|compressed|there is no array")


def test_values_that_are_nested_without_end_are_refused(model):
    def nest(content):
        deep = []
        for _ in range(500):
            deep = [deep]
        instance(content, "survimg.estimators.DeepSurv")["attributes"]["history_"] = deep

    edit(model, nest)
    refused(model, "containers deep")
    (model / "model.json").write_text("[" * 10**5)
    vouch(model)
    refused(model, "not JSON")


# ---------------------------------------------------------------- writing


def simple() -> LassoCox:
    return LassoCox(cv=3)


def test_only_a_model_is_replaced_and_only_if_asked(tmp_path):
    path = tmp_path / "model"
    path.mkdir()
    survimg.save(simple(), path)  # an empty folder may be filled
    with pytest.raises(FileExistsError, match="overwrite=True"):
        survimg.save(simple(), path)
    survimg.save(LassoCox(cv=4), path, overwrite=True)
    assert survimg.load(path).cv == 4
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    for target in (mine, mine / "thesis.txt"):
        with pytest.raises(FileExistsError, match="never replaced"):
            survimg.save(simple(), target, overwrite=True)
    assert (mine / "thesis.txt").read_text() == "years of work"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["mine", "model"]


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_full_disk_leaves_what_was_there(overwrite, tmp_path, monkeypatch):
    path = tmp_path / "model"
    if overwrite:
        survimg.save(simple(), path)
    calls = iter(range(100))

    def fail(handle):
        if next(calls) == 1:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(folder_module.os, "fsync", fail)
    with pytest.raises(OSError, match="No space"):
        survimg.save(LassoCox(cv=4), path, overwrite=overwrite)
    assert [p.name for p in tmp_path.iterdir()] == (["model"] if overwrite else [])
    if overwrite:
        assert survimg.load(path).cv == 3


def test_a_failed_replacement_puts_the_old_one_back(tmp_path, monkeypatch):
    path = tmp_path / "model"
    survimg.save(simple(), path)
    rename = Path.rename

    def fail(self, target):
        if self.name.endswith(".partial"):
            raise PermissionError(13, "denied")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(PermissionError):
        survimg.save(LassoCox(cv=4), path, overwrite=True)
    assert survimg.load(path).cv == 3
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


def test_what_an_interrupted_replacement_left_is_named(tmp_path):
    path = tmp_path / "model"
    survimg.save(simple(), path)
    path.rename(tmp_path / ".model.0123abcd.replaced")
    with pytest.raises(FileNotFoundError, match=r"\.model\.0123abcd\.replaced .* rename it"):
        survimg.load(path)


# ---------------------------------------------------------------- random input

FUZZ = settings(
    max_examples=50, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip


@FUZZ
@given(seed=st.integers(0, 2**32 - 1), name=st.sampled_from(FILES))
def test_random_bytes_are_refused(seed, name, written, tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuzz") / "m"
    shutil.copytree(written, folder)
    content = bytearray((folder / name).read_bytes())
    draw = random.Random(seed)
    for _ in range(draw.randint(1, 4)):
        content[draw.randrange(len(content))] = draw.randrange(256)
    (folder / name).write_bytes(content)
    loads_or_is_refused(folder)


def loads_or_is_refused(folder: Path) -> None:
    with contextlib.suppress(ModelFileError):
        assert isinstance(survimg.load(folder), BaseEstimator)
    shutil.rmtree(folder)


SOME = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(allow_nan=False), st.text(),
    st.sampled_from(
        [[], {}, {"ref": 0}, {"ref": -1}, {"ref": 10**9}, {"dict": [[[], 1]]}, {"dict": [3]},
         {"slice": [1]}, {"scalar": ["<f8", "x"]}, {"scalar": ["V8", 1]}, {"scalar": ["<i1", 999]},
         {"dtype": "O,O"}, {"dtype": "f4"}, {"type": "os"}, {"float": "nan"}, {"path": "/etc"},
         {"tuple": {}}, {"is": "array"}, {"is": "array", "name": "a0"}, {"is": "frame"}]
    ),
)  # fmt: skip


def places(value: object, found: list) -> list:
    """Every container of a JSON value with every key or position in it."""
    keys = value.keys() if isinstance(value, dict) else range(len(value))
    for key in list(keys):
        found.append((value, key))
        if isinstance(value[key], dict | list):
            places(value[key], found)
    return found


@FUZZ
@given(seed=st.integers(0, 2**32 - 1), other=SOME, rename=st.booleans())
def test_a_forged_model_is_refused_or_is_an_estimator(
    seed, other, rename, written, tmp_path_factory
):
    """Whoever forges a file has its checksums right."""
    folder = tmp_path_factory.mktemp("forged") / "m"
    shutil.copytree(written, folder)
    draw = random.Random(seed)

    def forge(content):
        container, key = draw.choice(places(content, []))
        if rename and isinstance(container, dict):
            container[str(other)] = container.pop(key)
        else:
            container[key] = other

    edit(folder, forge)
    loads_or_is_refused(folder)


SIMPLE = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(),
    st.floats(width=32).map(np.float32), st.integers(-128, 127).map(np.int8),
    st.text(alphabet="aé\n").map(np.str_), st.booleans().map(np.bool_),
    st.slices(5), st.sampled_from([np.float64, str, np.dtype("<f4"), np.dtype("O"), Path("a")]),
    st.lists(st.floats()).map(np.array),
    st.lists(st.text(alphabet="aé")).map(lambda x: np.array(x, dtype=object)),
    st.lists(st.integers(0, 9), min_size=6, max_size=6).map(
        lambda x: np.asfortranarray(np.reshape(x, (2, 3)))
    ),
    st.lists(st.floats()).map(lambda x: pd.Series(x, name="s", dtype=float)),
    st.lists(st.text(alphabet="ab"), unique=True).map(
        lambda x: pd.DataFrame(
            {"t": x, "n": range(len(x))}, index=pd.Index(x, name="i", dtype=object)
        )
    ),
)  # fmt: skip


def containers(inner: st.SearchStrategy) -> st.SearchStrategy:
    return st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(st.text(max_size=3), inner, max_size=3),
    )


VALUES = st.one_of(SIMPLE, containers(SIMPLE), containers(containers(SIMPLE)))


@FUZZ
@given(value=VALUES)
def test_values_come_back_as_they_were(value):
    encoder = Encoder(Classes(SAVED_CLASSES))
    model = encoder.encode(LassoCox(cv=value), "model")
    content = json.loads(json.dumps({"objects": encoder.objects, "model": model}))
    arrays = unpack_arrays(pack_arrays(encoder.arrays))
    same(Decoder(Classes(SAVED_CLASSES), arrays, {}, None).decode(content).cv, value)


def same(found: object, value: object) -> None:
    assert type(found) is type(value)
    if isinstance(value, list | tuple):
        assert len(found) == len(value)
        for a, b in zip(found, value, strict=True):
            same(a, b)
    elif isinstance(value, dict):
        assert list(found) == list(value)
        for key in value:
            same(found[key], value[key])
    elif isinstance(value, np.ndarray):
        assert (found.dtype, found.shape) == (value.dtype, value.shape)
        assert found.flags.f_contiguous == value.flags.f_contiguous
        assert found.flags.writeable
        np.testing.assert_array_equal(found, value)
    elif isinstance(value, pd.Series):
        pd.testing.assert_series_equal(found, value)
    elif isinstance(value, pd.DataFrame):
        pd.testing.assert_frame_equal(found, value)
    else:
        assert repr(found) == repr(value)


def test_what_is_shared_stays_shared(tmp_path):
    state = np.random.RandomState(0)
    model = FoldEnsemble(LassoCox(random_state=state), random_state=state)
    survimg.save(model, tmp_path / "m")
    loaded = survimg.load(tmp_path / "m")
    assert loaded.random_state is loaded.estimator.random_state
