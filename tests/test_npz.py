"""Arrays as files: what was written comes back, and nothing else is read."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest

from survimg.npz import pack_arrays, unpack_arrays

ARRAYS = {
    "numbers": np.arange(12.0).reshape(3, 4),
    "fortran": np.asfortranarray(np.arange(6).reshape(2, 3)),
    "text": np.array(["a", "büro"]),
    "scalar": np.array(3),
    "empty": np.zeros((0, 5)),
}


def equal(found, expected=ARRAYS):
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


def test_arrays_come_back_and_equal_arrays_give_equal_bytes():
    content = pack_arrays(ARRAYS)
    equal(unpack_arrays(content))
    assert content == pack_arrays(dict(ARRAYS))


def test_files_of_numpy_are_read_and_compressed_ones_within_a_limit():
    plain, compressed = io.BytesIO(), io.BytesIO()
    np.savez(plain, **ARRAYS)
    np.savez_compressed(compressed, **ARRAYS)
    equal(unpack_arrays(plain.getvalue()))
    equal(unpack_arrays(compressed.getvalue(), largest=4096))
    with pytest.raises(ValueError, match="compressed"):
        unpack_arrays(compressed.getvalue())


def test_a_bomb_is_not_inflated():
    buffer = io.BytesIO()
    np.savez_compressed(buffer, zeros=np.zeros(10_000_000))
    assert len(buffer.getvalue()) < 100_000
    with pytest.raises(ValueError, match="larger than it can be"):
        unpack_arrays(buffer.getvalue(), largest=1_000_000)


def test_objects_are_neither_written_nor_read():
    with pytest.raises(ValueError, match="'evil' holds Python objects"):
        pack_arrays({"evil": np.array([{}], dtype=object)})
    buffer = io.BytesIO()
    np.savez(buffer, evil=np.array([{}], dtype=object))
    with pytest.raises(ValueError, match="Python objects"):
        unpack_arrays(buffer.getvalue())


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("names", [["readme.txt"], ["a.npy", "a.npy"]])
def test_other_members_and_the_same_name_twice_are_refused(names):
    buffer, member = io.BytesIO(), io.BytesIO()
    np.save(member, np.zeros(2))
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, member.getvalue())
    with pytest.raises(ValueError, match="out of place"):
        unpack_arrays(buffer.getvalue())


def test_changed_bytes_are_refused_or_change_nothing():
    content = pack_arrays(ARRAYS)
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(1000):
        changed = bytearray(content)
        changed[rng.integers(len(changed))] ^= 1 << rng.integers(8)
        try:
            found = unpack_arrays(bytes(changed))
        except ValueError:
            refused += 1
        else:
            equal({name: found[name] for name in ARRAYS if name in found},
                  {name: ARRAYS[name] for name in ARRAYS if name in found})
    assert refused > 700
