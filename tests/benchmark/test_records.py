"""Records are whole or absent, and belong to their key alone."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
from contestants import Segmenter, StageCox, make_cohort
from sklearn.pipeline import make_pipeline

from survimg.benchmark import Record, read_run, run_benchmark
from survimg.benchmark.fitting import _precisions
from survimg.benchmark.records import read_record, record_path, write_record
from survimg.benchmark.storage import read_json, write_arrays
from survimg.files import locked, write_atomically, write_json

KEY = "0123456789abcdef" * 4
ARGUMENTS = {"model": "a/b: <c>", "fold": 2, "seed": 7, "key": KEY}


def make_record(**arrays):
    return Record(KEY, "a/b: <c>", 2, 7, None, {"fit_seconds": 0.5}, arrays)


def test_a_record_comes_back_bit_for_bit(tmp_path):
    arrays = {
        "test_risk": np.array([0.1, np.pi, -1e300]),
        "test_ids": np.array(["p1", "päris", "x" * 40]),
        "example0_image": np.random.default_rng(0).normal(size=(2, 5, 4)).astype(np.float32),
    }
    write_record(tmp_path, make_record(**arrays))
    record = read_record(tmp_path, **ARGUMENTS)
    assert record.details == {"fit_seconds": 0.5}
    assert not record.failed
    for name, array in arrays.items():
        np.testing.assert_array_equal(record.arrays[name], array, strict=True)


def test_model_names_stay_inside_the_folder(tmp_path):
    path = record_path(tmp_path, "../../etc/x", 0, 0, KEY)
    assert path.resolve().is_relative_to((tmp_path / "records").resolve())
    assert path.parent.parent == tmp_path / "records"


@pytest.mark.parametrize("change", [{"model": "b"}, {"fold": 1}, {"seed": 8}, {"key": "f" * 64}])
def test_another_record_is_not_taken_for_this_one(tmp_path, change):
    write_record(tmp_path, make_record(test_risk=np.zeros(3)))
    assert read_record(tmp_path, **{**ARGUMENTS, **change}) is None


def test_same_file_name_with_another_full_key_is_refused(tmp_path):
    write_record(tmp_path, make_record(test_risk=np.zeros(3)))
    same_start = KEY[:16] + "f" * 48  # file names hold the first 16 digits only
    with pytest.warns(UserWarning, match="record of another key"):
        assert read_record(tmp_path, **{**ARGUMENTS, "key": same_start}) is None


@pytest.mark.parametrize("damage", ["cut", "changed", "missing", "json"])
def test_a_torn_record_counts_as_missing(tmp_path, damage):
    write_record(tmp_path, make_record(test_risk=np.arange(50.0)))
    path = record_path(tmp_path, "a/b: <c>", 2, 7, KEY)
    arrays = path.with_suffix(".npz")
    content = arrays.read_bytes()
    if damage == "cut":
        arrays.write_bytes(content[: len(content) // 2])
    elif damage == "changed":
        arrays.write_bytes(content[:-30] + b"\x00" + content[-29:])
    elif damage == "missing":
        arrays.unlink()
    else:
        path.write_text(path.read_text()[:-20])
    with pytest.warns(UserWarning, match="damaged record counts as none"):
        assert read_record(tmp_path, **ARGUMENTS) is None


def test_arrays_without_json_are_no_record(tmp_path):
    """The moment between the two files of a record, when the process is killed."""
    path = record_path(tmp_path, "a/b: <c>", 2, 7, KEY)
    write_arrays(path.with_suffix(".npz"), {"test_risk": np.zeros(3)})
    assert read_record(tmp_path, **ARGUMENTS) is None


def test_python_objects_are_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ValueError, match="'evil' holds Python objects"):
        write_record(tmp_path, make_record(evil=np.array([{"a": 1}], dtype=object)))
    assert not list(tmp_path.rglob("*.json"))


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path):
    write_json(tmp_path / "run.json", {"a": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "run.json", {"a": float("nan")})
    with pytest.raises(TypeError):
        write_atomically(tmp_path / "run.json", "text, not bytes")
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]
    assert read_json(tmp_path / "run.json") == {"a": 1}


def test_a_changed_letter_of_a_run_is_refused(tmp_path):
    cohort, _ = make_cohort(n=12)
    halves = [(np.arange(6), np.arange(6, 12))]
    measure = partial(
        run_benchmark, {"cox": StageCox()}, cohort, cohort.outcome, splits=halves, out=tmp_path,
        progress=False,
    )  # fmt: skip
    measure()
    for name in ("run.json", "patients.json", "splits.json"):
        whole = (tmp_path / name).read_text()
        changed = whole.replace(str(cohort.ids[3]), str(cohort.ids[4]), 1).replace('"cox"', '"cos"')
        assert changed != whole
        (tmp_path / name).write_text(changed)
        with pytest.raises(ValueError, match=f"{name} is not as it was written.*Delete it and run"):
            read_run(tmp_path)
        (tmp_path / name).write_text(whole)
    path = tmp_path / "images.json"
    path.write_text(path.read_text().replace("0.", "1.", 1))
    with pytest.warns(UserWarning, match="images are compared again"):
        measure()
    assert measure().complete("cox")


def test_names_that_are_numbers_have_a_checksum_too(tmp_path):
    write_json(tmp_path / "a.json", {"levels": {10: 1, 9: 2, True: (3, 4)}})
    assert read_json(tmp_path / "a.json") == {"levels": {"10": 1, "9": 2, "true": [3, 4]}}


def test_damaged_json_is_named(tmp_path):
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(ValueError, match=r"run\.json is not JSON"):
        read_json(tmp_path / "run.json")
    (tmp_path / "run.json").write_text(json.dumps([1]))
    with pytest.raises(ValueError, match="holds no JSON object"):
        read_json(tmp_path / "run.json")


def test_one_process_at_a_time_and_leftovers_are_cleared(tmp_path):
    leftover = tmp_path / "records" / "m" / "fold00.json.abc.survimg-tmp"
    leftover.parent.mkdir(parents=True)
    leftover.write_text("half")
    holder = (
        "import sys, pathlib; from survimg.files import locked\n"
        "with locked(pathlib.Path(sys.argv[1])):\n"
        "    print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", holder, str(tmp_path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:
        assert process.stdout.readline() == "held\n"
        assert not leftover.exists()
        with pytest.raises(BlockingIOError, match="in use"), locked(tmp_path):
            pass
        process.kill()
    with locked(tmp_path):  # the lock of a killed process is gone
        pass


def test_the_precision_of_networks_inside_other_models_is_recorded():
    network = Segmenter()
    network.precision_ = "bfloat16"
    stack = StageCox()
    stack.members_ = [network, StageCox()]
    assert _precisions(make_pipeline(StageCox(), stack)) == {"bfloat16"}
    assert _precisions(StageCox()) == set()
