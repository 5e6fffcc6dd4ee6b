"""The cohort is an array of patients for scikit-learn, and never reads voxels to slice."""

from __future__ import annotations

import os
import pickle
import sys
import time
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import KFold, train_test_split
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import _num_samples

from survimg import Cohort
from survimg.cohort import as_cohort
from survimg.target import make_outcome

N, SHAPE = 7, (2, 3, 4, 5)


def make_cohort(**changes: object) -> Cohort:
    rng = np.random.default_rng(0)
    arguments: dict = {
        "volumes": rng.normal(size=(N, *SHAPE)).astype(np.float32),
        "masks": (rng.random((N, *SHAPE[1:])) > 0.5).astype(np.uint8),
        "clinical": pd.DataFrame({"age": np.arange(N, dtype=float), "sex": list("mfmfmfm")}),
        "outcome": make_outcome([1, 0, 1, 0, 1, 0, 1], np.arange(1.0, N + 1)),
        "ids": [f"p{i}" for i in range(N)],
        "groups": list("aabbbcc"),
        "spacing": (4.0, 2.0, 2.0),
        "channel_names": ("PET", "CT"),
        "time_unit": "months",
    }
    return Cohort(**{**arguments, **changes})


class UnreadableStore:
    """A store whose voxels must not be read."""

    case_shape = SHAPE
    nbytes_in_memory = 0

    def __len__(self) -> int:
        return N

    def read(self, position: int) -> np.ndarray:
        raise AssertionError(f"voxels of case {position} were read")

    def case_key(self, position: int) -> str:
        return str(position)


KEYS = [
    slice(1, 5, 2),
    slice(None, None, -1),
    np.array([3, 0, 3]),
    np.array([-1, 2]),
    np.array([True, False, True, False, False, False, True]),
    [4, 1],
    np.array([], dtype=int),
]


@pytest.mark.parametrize("key", KEYS, ids=str)
@pytest.mark.parametrize("as_tuple", [False, True])
def test_slicing_selects_the_same_patients_everywhere(key, as_tuple):
    cohort = make_cohort()
    chosen = cohort[(key, Ellipsis)] if as_tuple else cohort[key]
    expected = np.arange(N)[key]
    assert isinstance(chosen, Cohort)
    assert len(chosen) == len(expected) == chosen.shape[0]
    assert chosen.ids.tolist() == [f"p{i}" for i in expected]
    assert chosen.clinical["age"].tolist() == expected.tolist()
    assert chosen.clinical.index.equals(pd.RangeIndex(len(expected)))
    assert chosen.outcome["time"].tolist() == (expected + 1.0).tolist()
    assert chosen.groups.tolist() == [list("aabbbcc")[i] for i in expected]
    assert chosen.spacing.shape == (len(expected), 3)
    for i, original in enumerate(expected):
        np.testing.assert_array_equal(chosen[i], cohort.volume(original))
        np.testing.assert_array_equal(chosen.mask(i), cohort.mask(original))


def test_slices_of_slices_compose():
    cohort = make_cohort()
    assert cohort[2:][[3, 1]].take([1]).ids.tolist() == ["p3"]


def test_slicing_and_splitting_touch_no_voxel():
    cohort = Cohort(UnreadableStore())
    for train, test in KFold(3).split(cohort):
        assert len(_safe_indexing(cohort, train)) + len(_safe_indexing(cohort, test)) == N
    first, second = train_test_split(cohort, random_state=0)
    assert isinstance(first, Cohort)
    assert len(first) + len(second) == _num_samples(cohort) == N
    cohort.fingerprint()
    repr(cohort)


@pytest.mark.parametrize("key", [(0, 1), (slice(None), 0), np.array([[0]]), np.array([0.5])])
def test_indexing_by_anything_but_patients_is_refused(key):
    with pytest.raises(IndexError, match="indexed by"):
        make_cohort()[key]


def test_out_of_range_patient_and_wrong_boolean_index():
    with pytest.raises(IndexError, match="cohort of 7"):
        make_cohort()[7]
    with pytest.raises(IndexError, match="Boolean index of length 2"):
        make_cohort()[np.array([True, False])]
    with pytest.raises(IndexError, match="axis 0"):
        make_cohort().take([0], axis=1)


def test_never_becomes_an_array_silently():
    with pytest.raises(TypeError, match="extractor"):
        np.asarray(make_cohort())
    assert make_cohort().to_numpy().shape == (N, *SHAPE)


def test_shape_dtype_and_single_channel_volumes():
    cohort = make_cohort()
    assert cohort.shape == (N, *SHAPE)
    assert cohort.ndim == 5
    assert cohort.dtype == np.float32
    assert Cohort(np.zeros((2, 3, 4, 5))).shape == (2, 1, 3, 4, 5)


def test_raw_cohort_has_open_axes():
    rng = np.random.default_rng(1)
    volumes = [rng.normal(size=(2, z, 4, 5)) for z in (3, 6, 4)]
    masks = [np.ones((3, 4, 5)), None, np.ones((4, 4, 5))]
    cohort = Cohort(volumes, masks=masks)
    assert cohort.shape == (3, 2, None, 4, 5)
    assert cohort.has_masks.tolist() == [True, False, True]
    assert cohort[[1, 2]].volume(1).shape == (2, 4, 4, 5)
    with pytest.raises(LookupError, match="'case-0001' has no tumour mask"):
        cohort.mask(1)
    with pytest.raises(ValueError, match="prepare it first"):
        cohort.to_numpy()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ids": ["a", "b", "a", "d", "e", "f", "g"]}, r"Duplicate patient ids: \['a'\]"),
        ({"ids": ["", *"bcdefg"]}, "must not be empty"),
        ({"ids": ["a"]}, "ids has shape .* 7 patients"),
        ({"clinical": pd.DataFrame({"age": [1.0]})}, "1 rows"),
        ({"masks": np.zeros((N, 3, 4, 4))}, "masks have shape"),
        ({"masks": np.zeros((2, 3, 4, 5))}, "masks holds 2 cases"),
        ({"masks": np.full((N, 3, 4, 5), 255)}, "patient 'p0' holds values other than 0 and 1"),
        ({"masks": np.full((N, 3, 4, 5), 0.7)}, "patient 'p0' holds values other than 0 and 1"),
        ({"masks": None, "has_mask": [True] * N}, "masks= is not given"),
        ({"groups": ["a"]}, "groups has shape"),
        ({"spacing": (1.0, 2.0)}, "spacing must be"),
        ({"spacing": (1.0, 2.0, 0.0)}, "positive"),
        ({"channel_names": ("PET",)}, "2 different names"),
        ({"channel_names": ("PET", "PET")}, "2 different names"),
        ({"present": np.ones((N, 3))}, "present must have shape"),
        ({"outcome": np.zeros(3)}, "structured array"),
        ({"volumes": np.zeros((N, 4))}, "5 axes"),
    ],
)
def test_parts_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        make_cohort(**changes)


def test_mask_of_another_shape_in_a_raw_cohort_names_the_patient():
    volumes = [np.zeros((1, 3, 4, 5)), np.zeros((1, 4, 4, 5))]
    with pytest.raises(ValueError, match=r"mask of patient 'b' has shape \(4, 4, 4\)"):
        Cohort(volumes, masks=[np.ones((3, 4, 5)), np.ones((4, 4, 4))], ids=["a", "b"])


def test_outcome_names_the_patient():
    outcome = make_outcome([1] * N, [1.0] * N)
    outcome["time"][3] = np.nan
    with pytest.raises(ValueError, match="patient 'p3': nan"):
        make_cohort(outcome=outcome)


def test_with_outcome_changes_the_endpoint_of_a_slice_only():
    cohort = make_cohort()
    part = cohort[[5, 2]].with_outcome(make_outcome([1, 1], [9.0, 8.0]), time_unit="days")
    assert part.outcome["time"].tolist() == [9.0, 8.0]
    assert part.time_unit == "days"
    assert cohort.outcome["time"].tolist() == list(np.arange(1.0, N + 1))


# ---------------------------------------------------------------- on disk


def test_save_and_load_round_trip(tmp_path: Path):
    cohort = make_cohort()
    stored = cohort.save(tmp_path / "store")
    for loaded in (stored, Cohort.load(tmp_path / "store"), stored[::-1][::-1]):
        np.testing.assert_array_equal(loaded.to_numpy(), cohort.to_numpy())
        np.testing.assert_array_equal(loaded.mask(2), cohort.mask(2))
        pd.testing.assert_frame_equal(loaded.clinical, cohort.clinical)
        np.testing.assert_array_equal(loaded.outcome, cohort.outcome)
        np.testing.assert_array_equal(loaded.spacing, cohort.spacing)
        assert loaded.ids.tolist() == cohort.ids.tolist()
        assert loaded.groups.tolist() == cohort.groups.tolist()
        assert loaded.channel_names == cohort.channel_names
        assert loaded.time_unit == "months"


def test_saving_a_slice_keeps_missing_masks_and_modalities(tmp_path: Path):
    present = np.ones((N, 2), dtype=bool)
    present[4, 0] = False
    cohort = make_cohort(has_mask=[True, False] * 3 + [True], present=present)
    stored = cohort[[4, 1]].save(tmp_path / "store")
    assert stored.has_masks.tolist() == [True, False]
    assert stored.present.tolist() == [[False, True], [True, True]]


def test_raw_cohorts_and_occupied_folders_are_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="prepare it first"):
        Cohort([np.zeros((1, 3, 4, 5)), np.zeros((1, 4, 4, 5))]).save(tmp_path / "raw")
    assert not (tmp_path / "raw").exists()
    make_cohort().save(tmp_path / "store")
    with pytest.raises(FileExistsError):
        make_cohort().save(tmp_path / "store")


def test_a_stored_mask_with_other_values_names_the_patient(tmp_path: Path):
    np.save(tmp_path / "masks.npy", np.full((2, 3, 4, 5), 255, dtype=np.uint8))
    masks = np.load(tmp_path / "masks.npy", mmap_mode="r")
    cohort = Cohort(np.zeros((2, 1, 3, 4, 5)), masks=masks, ids=["a", "b"])
    with pytest.raises(ValueError, match="mask of patient 'b' holds values"):
        cohort.mask(1)


def test_a_stored_cohort_pickles_as_its_path(tmp_path: Path):
    volumes = np.zeros((N, 2, 32, 32, 32), dtype=np.float32)
    in_memory = Cohort(volumes)
    stored = in_memory.save(tmp_path / "store")
    stored.volume(0)  # an open handle must not travel
    assert len(pickle.dumps(stored[:5])) < 10_000
    assert sys.getsizeof(stored) < 10_000
    assert sys.getsizeof(in_memory) > volumes.nbytes
    copied = pickle.loads(pickle.dumps(stored[2:4]))
    np.testing.assert_array_equal(copied.volume(0), stored.volume(2))


def test_a_rewritten_file_is_noticed(tmp_path: Path):
    stored = make_cohort().save(tmp_path / "store")
    before = joblib.hash(stored)
    pickled = pickle.dumps(stored)
    path = tmp_path / "store" / "volumes.npy"
    np.save(path, np.load(path) + 1)
    os.utime(path, ns=(time.time_ns(), time.time_ns() + 10**9))
    with pytest.raises(RuntimeError, match="changed after this cohort was made"):
        pickle.loads(pickled).volume(0)
    with pytest.raises(RuntimeError, match="changed after this cohort was made"):
        stored.fingerprint()
    assert joblib.hash(Cohort.load(tmp_path / "store")) != before


def test_whole_memory_maps_keep_their_file_and_slices_do_not(tmp_path: Path):
    array = np.arange(4 * 60, dtype=np.float32).reshape(4, 1, 3, 4, 5)
    np.save(tmp_path / "volumes.npy", array)
    whole = np.load(tmp_path / "volumes.npy", mmap_mode="r")
    assert len(pickle.dumps(Cohort(whole))) < 3000
    np.testing.assert_array_equal(Cohort(whole[1:]).volume(0), array[1])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(Cohort(whole[1:]))).volume(0), array[1])


# ---------------------------------------------------------------- identity


def test_joblib_hash_is_the_fingerprint_and_cheap(monkeypatch):
    cohort = make_cohort()
    first = joblib.hash(cohort)
    assert joblib.hash(make_cohort()) == first
    assert joblib.hash(cohort[1:]) != first
    assert joblib.hash(cohort[::-1]) != first
    monkeypatch.setattr(cohort._volumes, "read", lambda i: pytest.fail("voxels were read"))
    assert joblib.hash(cohort) == first


def test_case_keys_follow_the_patient_not_the_slice():
    cohort = make_cohort()
    assert cohort[[3, 0]].case_key(0) == cohort.case_key(3)
    volumes = cohort.to_numpy()
    volumes[3, 0, 0, 0, 0] += 1
    masks = np.stack([cohort.mask(i) for i in range(N)])
    masks[3, 0, 0, 0] ^= 1
    for changed in (
        make_cohort(volumes=volumes),
        make_cohort(masks=masks),
        make_cohort(spacing=1.0),
        make_cohort(present=np.arange(N)[:, None] != np.array([[3, 9]])),
    ):
        assert changed.case_key(3) != cohort.case_key(3)
    assert make_cohort(volumes=volumes).case_key(2) == cohort.case_key(2)


def stages(levels: list[str]) -> pd.DataFrame:
    return pd.DataFrame({"stage": pd.Categorical(["I"] * N, categories=levels)})


def test_fingerprint_changes_with_every_part():
    cohort = make_cohort()
    variants = [
        make_cohort(clinical=pd.DataFrame({"age": np.zeros(N), "sex": list("mfmfmfm")})),
        make_cohort(clinical=stages(["I", "II"])),
        make_cohort(clinical=stages(["II", "I"])),
        make_cohort(clinical=pd.DataFrame({"stage": [1] * N})),
        make_cohort(clinical=pd.DataFrame({"stage": ["1"] * N})),
        make_cohort(outcome=make_outcome([0] * 6 + [1], np.arange(1.0, N + 1))),
        make_cohort(ids=[f"q{i}" for i in range(N)]),
        make_cohort(groups=["a"] * N),
        make_cohort(channel_names=("CT", "PET")),
    ]
    prints = {variant.fingerprint() for variant in variants}
    assert len(prints | {cohort.fingerprint()}) == len(variants) + 1


# ---------------------------------------------------------------- plain arrays


def test_as_cohort_takes_arrays_and_refuses_doubled_parts():
    cohort = make_cohort()
    assert as_cohort(cohort) is cohort
    plain = as_cohort(cohort.to_numpy(), masks=np.ones((N, *SHAPE[1:])), clinical=np.ones((N, 2)))
    assert plain.has_masks.all()
    assert list(plain.clinical.columns) == ["clinical0", "clinical1"]
    with pytest.raises(ValueError, match="holds its own masks"):
        as_cohort(cohort, masks=np.ones((N, *SHAPE[1:])))
    with pytest.raises(TypeError, match=r"survimg\.Cohort"):
        as_cohort(np.zeros((3, 4)))
    with pytest.raises(TypeError, match=r"survimg\.Cohort.*Cohort\.from_dicts"):
        as_cohort([{"image": np.zeros(SHAPE), "time": 3.0}])
    with pytest.raises(ValueError, match=r"a list whose volumes differ in size.*prepare"):
        as_cohort([np.zeros((2, 4, 4, 4)), np.zeros((2, 5, 4, 4))])


def test_the_table_follows_the_slice_even_of_a_bootstrap_sample():
    table = make_cohort(present=np.arange(N)[:, None] != np.array([[3, 9]]))[[3, 0, 3]].table
    assert table.ids.tolist() == ["p3", "p0", "p3"]
    assert table.clinical["age"].tolist() == [3.0, 0.0, 3.0]
    assert table.outcome["time"].tolist() == [4.0, 1.0, 4.0]
    assert table.present.tolist() == [[False, True], [True, True], [False, True]]
    assert "<td style='text-align:left'>3</td>" in make_cohort()[[3, 0, 3]]._repr_html_()
