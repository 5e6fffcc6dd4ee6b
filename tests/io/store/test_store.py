"""The prepared cohort's folder: round trips, damaged folders, interruptions, locks, full disks."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import resource
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from survimg.columns import as_frame
from survimg.files import write_json
from survimg.io import (
    Image,
    PatientTable,
    StoreWriter,
    read_store,
    read_store_header,
    resample_like,
)
from survimg.target import make_outcome

SHAPE = (2, 3, 4, 5)
NAMES = ("PET", "CT")


def _volumes(n=3):
    return np.random.default_rng(0).normal(size=(n, *SHAPE)).astype(np.float32)


def _clinical():
    return pd.DataFrame(
        {
            "count": [1, 2, 3],
            "marker": [1.5, np.nan, 0.1],
            "site": ["x", np.nan, "NA"],
            "stage": pd.Categorical(["u", "v", None], categories=["v", "u", "w"], ordered=True),
            "grade": pd.Categorical([2, 1, 2]),
            "smoker": [True, False, True],
            "maybe": pd.array([True, None, False], dtype="boolean"),
            "nodes": pd.array([1, None, 2**60], dtype="Int64"),
            "single": np.array([0.1, 0.2, 0.3], dtype=np.float32),
        }
    )


def _save(folder, volumes=None, masks=(None, 1, 1), **more):
    volumes = _volumes() if volumes is None else volumes
    options = {key: more.pop(key) for key in ("resume", "overwrite", "key") if key in more}
    with StoreWriter(
        folder, len(volumes), SHAPE, channel_names=NAMES, masks=any(masks), **options
    ) as writer:
        for i, volume in enumerate(volumes):
            mask = None if masks[i] is None else np.full(SHAPE[1:], masks[i])
            writer.write_case(i, volume, mask)
        stored_settings = more.pop("settings", None)
        return writer.finish(_table(["007", "b", "Ünal, X"], **more), settings=stored_settings)


def _table(ids, **parts):
    return PatientTable(ids=ids, channel_names=NAMES, **parts)


def test_what_is_written_is_read(tmp_path):
    outcome = make_outcome([1, 0, 1], [0.1, 1 / 3, 1e9])
    geometry = ({"origin": [1.0, 2.0, 3.0], "direction": np.eye(3).ravel().tolist()},) * 3
    _save(
        tmp_path / "s", outcome=outcome, groups=[1, 1, 2], clinical=_clinical(), spacing=(4, 2, 1),
        present=[[1, 0], [1, 1], [1, 1]], time_unit="days", settings={"shape": [3, 4, 5]},
        geometry=geometry,
    )
    stored = read_store(tmp_path / "s")
    np.testing.assert_array_equal(np.load(stored.volumes, mmap_mode="r"), _volumes())
    masks = np.load(stored.masks)
    assert masks.dtype == np.uint8
    np.testing.assert_array_equal(masks.any(axis=(1, 2, 3)), [False, True, True])
    np.testing.assert_array_equal(stored.has_mask, [False, True, True])
    assert stored.ids.tolist() == ["007", "b", "Ünal, X"]
    np.testing.assert_array_equal(stored.outcome, outcome)
    assert stored.groups.tolist() == ["1", "1", "2"]
    np.testing.assert_array_equal(stored.present, [[True, False], [True, True], [True, True]])
    pd.testing.assert_frame_equal(stored.clinical, as_frame(_clinical()))
    np.testing.assert_array_equal(stored.spacing, [[4, 2, 1]] * 3)
    assert stored.time_unit == "days"
    assert stored.settings == {"shape": [3, 4, 5]}
    assert stored.header.versions["numpy"] == np.__version__
    assert sorted(os.listdir(tmp_path)) == ["s"]
    assert sorted(os.listdir(tmp_path / "s")) == [
        "cohort.json", "masks.npy", "table.csv", "volumes.npy"
    ]


def test_the_least_that_can_be_stored(tmp_path):
    _save(tmp_path / "s", masks=(None, None, None))
    stored = read_store(tmp_path / "s")
    assert stored.outcome is None
    assert stored.clinical is None
    assert stored.masks is None
    assert stored.spacing is None
    assert stored.groups is None
    assert stored.present.all()


def test_masks_that_nobody_has_are_not_kept(tmp_path):
    with StoreWriter(tmp_path / "s", 1, SHAPE, channel_names=NAMES, masks=True) as writer:
        writer.write_case(0, _volumes()[0])
        writer.finish(_table(["a"]))
    assert not (tmp_path / "s" / "masks.npy").exists()


def test_a_map_goes_back_into_the_patients_space(tmp_path):
    geometry = [{"origin": [10.0, 0.0, 0.0], "direction": np.eye(3).ravel().tolist()}] * 3
    header = _save(tmp_path / "s", spacing=(1, 1, 1), geometry=geometry)
    saliency = np.zeros(SHAPE[1:], np.float32)
    saliency[1, 2, 3] = 5.0
    original = Image(np.zeros((5, 6, 20), np.float32), (1.0, 1.0, 1.0))
    back = resample_like(header.image(1, saliency), original)
    assert np.argwhere(back.array).tolist() == [[1, 2, 13]]
    with pytest.raises(ValueError, match="array has shape"):
        header.image(1, saliency[0])
    with pytest.raises(ValueError, match="does not record where"):
        _save(tmp_path / "t").image(1, saliency)


@pytest.mark.parametrize(
    ("volume", "mask", "message"),
    [
        (np.zeros((2, 3, 4, 6)), None, r"'p1'.*shape \(2, 3, 4, 6\)"),
        (np.full(SHAPE, np.nan), None, "'p1'.*not finite"),
        (np.full(SHAPE, 1e300), None, "'p1'.*not finite in float32"),
        (np.zeros(SHAPE), np.zeros((3, 4)), r"'p1'.*mask has shape \(3, 4\)"),
        (np.zeros(SHAPE), np.zeros(SHAPE[1:]), "'p1'.*begun without masks"),
    ],
)
def test_a_patient_that_does_not_fit_leaves_nothing_behind(tmp_path, volume, mask, message):
    def write():
        with StoreWriter(tmp_path / "s", 2, SHAPE, channel_names=NAMES) as writer:
            writer.write_case(0, np.zeros(SHAPE))
            writer.write_case(1, volume, mask, patient="p1")

    with pytest.raises(ValueError, match=message):
        write()
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize(
    ("finish", "message"),
    [
        ({"ids": ["a", "a", "b"]}, "Duplicate patient ids"),
        ({"ids": ["a", "b", "c"], "spacing": (0, 1, 1)}, "spacing must be"),
        ({"ids": ["a", "b", "c"], "present": [[True]]}, "present must have shape"),
        ({"ids": ["a", "b", "c"], "groups": [1]}, "groups has shape"),
        ({"ids": ["a", "b", "c"], "settings": {"x": np.nan}}, "not JSON compliant"),
        (
            {"ids": ["a", "b", "c"],
             "clinical": pd.DataFrame({"day": pd.to_datetime(["2020-01-01"] * 3)})},
            "'day' has type datetime64",
        ),
    ],
)
def test_a_header_that_does_not_fit_leaves_nothing_behind(tmp_path, finish, message):
    def write():
        with StoreWriter(tmp_path / "s", 3, SHAPE, channel_names=NAMES) as writer:
            for i in range(3):
                writer.write_case(i, np.zeros(SHAPE))
            stored_settings = finish.pop("settings", None)
            writer.finish(_table(**finish), settings=stored_settings)

    with pytest.raises(ValueError, match=message):
        write()
    assert not os.listdir(tmp_path)


def test_unwritten_patients_are_named(tmp_path):
    def write():
        with StoreWriter(tmp_path / "s", 3, SHAPE, channel_names=NAMES) as writer:
            writer.write_case(1, np.zeros(SHAPE))
            writer.finish(_table(["a", "b", "c"]))

    with pytest.raises(ValueError, match=r"2 of 3 patients have not been written: \['a', 'c'\]"):
        write()


def test_impossible_stores_are_refused(tmp_path):
    with pytest.raises(ValueError, match="at least one patient"):
        StoreWriter(tmp_path / "s", 0, SHAPE, channel_names=NAMES)
    with pytest.raises(ValueError, match="2 different channel names"):
        StoreWriter(tmp_path / "s", 1, SHAPE, channel_names=("PET", "PET"))
    assert not os.listdir(tmp_path)


def test_nothing_is_overwritten_unless_asked(tmp_path):
    _save(tmp_path / "s")
    with pytest.raises(FileExistsError, match="already holds a prepared cohort"):
        _save(tmp_path / "s")
    new = _volumes() + 1
    _save(tmp_path / "s", new, overwrite=True)
    np.testing.assert_array_equal(np.load(read_store(tmp_path / "s").volumes), new)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("irreplaceable")
    with pytest.raises(FileExistsError, match="something else"):
        _save(tmp_path / "mine", overwrite=True)
    (tmp_path / "empty").mkdir()
    _save(tmp_path / "empty")
    assert sorted(os.listdir(tmp_path)) == ["empty", "mine", "s"]


def _edit(name, change):
    def damage(folder):
        path = folder / name
        path.write_bytes(change(path.read_bytes()))

    return damage


def _edit_header(**changes):
    """Change the header, and let its checksum fit."""

    def damage(folder):
        content = json.loads((folder / "cohort.json").read_text())
        del content["sha256"]
        write_json(folder / "cohort.json", {**content, **changes})

    return damage


def _edit_table(change):
    """Change the table, and let its checksum fit."""

    def damage(folder):
        _edit("table.csv", change)(folder)
        digest = hashlib.sha256((folder / "table.csv").read_bytes()).hexdigest()
        _edit_header(table_sha256=digest)(folder)

    return damage


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "cohort.json").unlink(), "not a prepared survimg cohort"),
        (lambda f: (f / "volumes.npy").unlink(), "volumes.npy is missing"),
        (lambda f: (f / "masks.npy").unlink(), "masks.npy is missing"),
        (lambda f: (f / "table.csv").unlink(), "table.csv is missing"),
        (_edit("cohort.json", lambda b: b[:-20]), "is not JSON"),
        (_edit("cohort.json", lambda b: b"\xff\xfe"), "is not JSON"),
        (_edit("cohort.json", lambda b: b"[" * 100_000), "is not JSON"),
        (_edit("cohort.json", lambda b: b"[]"), "holds no JSON object"),
        (_edit("cohort.json", lambda b: b.replace(b"PET", b"PEU")), "checksum does not hold"),
        (_edit("table.csv", lambda b: b.replace(b",1.5,", b",1.6,")), "change the manifest"),
        (_edit_header(format="other"), "does not describe a survimg cohort"),
        (_edit_header(version=2), "has version 2; this survimg reads versions 1 to 1"),
        (_edit_header(version="1"), "has version '1'"),
        (_edit_header(shape=[3, 2, 3, 4]), "is damaged"),
        (_edit_header(shape=[4, *SHAPE]), "volumes.npy holds float32 values of shape"),
        (_edit_header(shape="?"), "is damaged"),
        (_edit_header(shape=[10**12, *SHAPE]), "volumes.npy holds"),
        (_edit_header(channel_names=["PET"]), "is damaged"),
        (_edit_header(channel_names=["PET", "MR"]), "no column 'present_MR'"),
        (_edit_header(spacing=[[1, 1]]), "spacing is not 3 x 3"),
        (_edit_header(clinical_dtypes={"gone": {"dtype": "float64"}}), "table.csv is damaged"),
        (_edit_header(clinical_dtypes={"count": {"dtype": "no type"}}), "table.csv is damaged"),
        (_edit("volumes.npy", lambda b: b[:-1]), "bytes instead of"),
        (_edit("volumes.npy", lambda b: b + b"0"), "bytes instead of"),
        (_edit("volumes.npy", lambda b: b[:5]), "not a readable .npy file"),
        (_edit("volumes.npy", lambda b: b.replace(b"<f4", b"<i4")), "holds int32 values"),
        (_edit("volumes.npy", lambda b: b.replace(b"<f4'", b"|O' ")), "volumes.npy"),
        (_edit("masks.npy", lambda b: b[:-1]), "masks.npy has"),
        (_edit_table(lambda b: b[: b.rindex(b"b,")]), "it has 1 rows instead of 3"),
        (_edit_table(lambda b: b.replace(b"has_mask", b"had_mask")), "'has_mask'"),
        (_edit_table(lambda b: b.replace(b"007", b"")), "empty cells in column 'pat"),
        (_edit_table(lambda b: b""), "table.csv is damaged"),
        (_edit_table(lambda b: b"\xff" + b), "table.csv is damaged"),
    ],
)
def test_damaged_folders_are_refused(tmp_path, damage, message):
    _save(tmp_path / "s", clinical=_clinical())
    damage(tmp_path / "s")
    with pytest.raises(ValueError, match=message):
        read_store(tmp_path / "s")


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="There is no folder"):
        read_store_header(tmp_path / "nowhere")


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    name=st.sampled_from(
        ["version", "shape", "channel_names", "masks", "spacing", "settings", "versions",
         "geometry", "clinical_dtypes", "time_unit"]
    ),
    value=st.recursive(
        st.none() | st.booleans() | st.integers() | st.text()
        | st.floats(allow_nan=False, allow_infinity=False),
        lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=6,
    ),
)
def test_any_header_is_read_or_refused(tmp_path, name, value):
    folder = tmp_path / "s"
    if not folder.exists():
        _save(folder)
    original = (folder / "cohort.json").read_bytes()
    try:
        _edit_header(**{name: value})(folder)
        with contextlib.suppress(ValueError):
            assert read_store(folder).header.shape == (3, *SHAPE)
    finally:
        (folder / "cohort.json").write_bytes(original)


def test_an_interrupted_run_is_continued_with_the_same_key_only(tmp_path):
    volumes = _volumes()

    def begin():
        with StoreWriter(
            tmp_path / "s", 3, SHAPE, channel_names=NAMES, key={"spacing": 4, "crop": {"x": 1}},
            resume=True,
        ) as writer:
            writer.write_case(1, volumes[1], record={"note": "kept"})
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        begin()
    assert not (tmp_path / "s").exists()
    with pytest.raises(ValueError, match="was begun with crop.x = 1, and this run has crop.x = 2"):
        StoreWriter(
            tmp_path / "s", 3, SHAPE, channel_names=NAMES, key={"spacing": 4, "crop": {"x": 2}},
            resume=True,
        )
    with pytest.raises(FileExistsError, match="left from an interrupted `survimg prepare`"):
        StoreWriter(tmp_path / "s", 3, SHAPE, channel_names=NAMES)
    with StoreWriter(
        tmp_path / "s", 3, SHAPE, channel_names=NAMES, key={"spacing": 4, "crop": {"x": 1}},
        resume=True,
    ) as writer:
        ((position, record),) = writer.done().items()
        assert (position, record["note"], record["has_mask"]) == (1, "kept", False)
        writer.write_case(0, volumes[0])
        writer.write_case(2, volumes[2])
        writer.finish(_table(["a", "b", "c"]))
    np.testing.assert_array_equal(np.load(read_store(tmp_path / "s").volumes), volumes)


def test_two_writers_of_one_folder(tmp_path):
    with (
        StoreWriter(tmp_path / "s", 3, SHAPE, channel_names=NAMES, resume=True),
        pytest.raises(BlockingIOError, match=f"being written by process {os.getpid()}"),
    ):
        StoreWriter(tmp_path / "s", 3, SHAPE, channel_names=NAMES, resume=True)


SAVE = """
    import os, signal, resource, sys
    import numpy as np
    from survimg.io import PatientTable, StoreWriter
    with StoreWriter(sys.argv[1], 3, (2, 3, 4, 5), channel_names=("PET", "CT")) as writer:
        for i in range(3):
            if i == 1 and sys.argv[2] == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            writer.write_case(i, np.full((2, 3, 4, 5), i))
        writer.finish(PatientTable(ids=["a", "b", "c"], channel_names=("PET", "CT")))
"""


def test_a_killed_save_leaves_no_store_and_does_not_block_the_next(tmp_path):
    command = [sys.executable, "-c", textwrap.dedent(SAVE), str(tmp_path / "s")]
    killed = subprocess.run([*command, "kill"], check=False)
    assert killed.returncode == -signal.SIGKILL
    with pytest.raises(FileNotFoundError):
        read_store(tmp_path / "s")
    subprocess.run([*command, "live"], check=True)
    assert np.load(read_store(tmp_path / "s").volumes)[:, 0, 0, 0, 0].tolist() == [0, 1, 2]
    assert os.listdir(tmp_path) == ["s"]


def test_a_full_disk_is_an_error_and_leaves_nothing(tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (600, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            _save(tmp_path / "s")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not os.listdir(tmp_path)
