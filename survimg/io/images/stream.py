"""Voxels from files: as many bytes as the header says, not one more, checksums included.

Sizes are compared with the file before memory is asked for. Deflate shrinks nothing to less than
1/1032 of its size, so that a small file cannot claim gigabytes; a stream that shrinks unusually
well is first inflated piece by piece without keeping it, and refused at once where that would take
seconds.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

__all__ = ["MAX_VOXELS", "inflated", "raw_bytes", "start_of"]

#: 4 GB in float32. No clinical volume has so many voxels; a damaged header may claim more.
MAX_VOXELS = 2**30

_MAX_RATIO = 1032  # of deflate
_CHUNK = 1 << 20
#: Streams that claim more than this many bytes, and shrink by more than this, are counted first.
_COUNT_FROM, _COUNT_RATIO = 1 << 25, 20
#: Those that claim more than this many, and shrink by more than this, are not read: inflating costs
#: two seconds per GB. A mask of 512 x 512 x 300 voxels in float64 has less.
_SHRUNK_MAX, _SHRUNK_RATIO = 640 << 20, 50
#: Bits of zlib's window, which also say what surrounds the stream.
_WINDOW = {"zlib": 15, "gzip": 31}
_GZIP = b"\x1f\x8b"
#: So many members of a gzip stream may be next to empty: each costs microseconds, and 20 bytes.
_EMPTY_MEMBERS, _LEAST_OF_A_MEMBER = 1000, 1024


def start_of(path: Path, n_bytes: int) -> bytes:
    """Return the first bytes of a file, inflated where it is gzip; fewer where it is shorter.

    Raises
    ------
    ValueError
        A damaged gzip stream.
    """
    with open(path, "rb") as file:
        content = file.read(n_bytes)
    if not content.startswith(_GZIP):
        return content
    content = b""
    for piece in _pieces(path, 0, "gzip", chunk=4096):
        content += piece
        if len(content) >= n_bytes:
            break
    return content[:n_bytes]


def raw_bytes(path: Path, start: int, n_bytes: int) -> np.ndarray:
    """Return the bytes of a file from a place to its end.

    Parameters
    ----------
    path : Path
    start, n_bytes : int
        Where they begin, and how many there must be.

    Returns
    -------
    ndarray of shape (n_bytes,), uint8

    Raises
    ------
    ValueError
        There are fewer, or more.
    """
    _check_length(path.stat().st_size - start, n_bytes, path)
    content = np.fromfile(path, dtype=np.uint8, count=n_bytes, offset=start)
    _check_length(content.size, n_bytes, path)
    return content


def inflated(path: Path, start: int, n_bytes: int, kind: str) -> np.ndarray:
    """Inflate the stream that fills a file from a place to its end.

    Parameters
    ----------
    path : Path
    start : int
    n_bytes : int
        How many bytes the stream must hold.
    kind : {"gzip", "zlib"}
        Both hold a checksum. A gzip stream may have several members.

    Returns
    -------
    ndarray of shape (n_bytes,), uint8

    Raises
    ------
    ValueError
        Truncated, damaged, a wrong checksum, more or fewer bytes, or something behind the stream;
        more than 640 MiB in less than a fiftieth of that.
    """
    available = max(path.stat().st_size - start, 0)
    if n_bytes > _MAX_RATIO * available:
        raise ValueError(
            f"{path} holds {available} bytes of compressed voxels, which cannot be the {n_bytes} "
            "of its header; it is truncated, or its header is damaged."
        )
    if n_bytes > _SHRUNK_MAX and n_bytes > _SHRUNK_RATIO * available:
        raise ValueError(
            f"{path} claims {n_bytes} bytes of voxels in {available} compressed ones. What shrinks "
            f"by more than {_SHRUNK_RATIO} is read up to {_SHRUNK_MAX >> 20} MiB; write the volume "
            "without compression, or with a smaller type (a mask as uint8)."
        )
    if n_bytes > _COUNT_FROM and n_bytes > _COUNT_RATIO * available:
        for _ in _counted(path, start, n_bytes, kind):
            pass
    content = np.empty(n_bytes, dtype=np.uint8)
    at = 0
    for piece in _counted(path, start, n_bytes, kind):
        content[at : at + len(piece)] = np.frombuffer(piece, dtype=np.uint8)
        at += len(piece)
    return content


def _counted(path: Path, start: int, n_bytes: int, kind: str) -> Iterator[bytes]:
    """Yield the content of a stream; unless this raises, there was as much as expected."""
    length = 0
    for piece in _pieces(path, start, kind, _CHUNK):
        length += len(piece)
        _check_length(max(length, n_bytes), n_bytes, path)
        yield piece
    _check_length(length, n_bytes, path)


def _pieces(path: Path, start: int, kind: str, chunk: int) -> Iterator[bytes]:
    """Yield the content of a stream; unless this raises, its end and its checksum were right."""
    stream = zlib.decompressobj(_WINDOW[kind])
    spare = _EMPTY_MEMBERS * _LEAST_OF_A_MEMBER
    with open(path, "rb") as file:
        file.seek(start)
        rest = b""
        while True:
            rest = rest or file.read(chunk)
            if stream.eof and rest:  # of one member; another one may follow
                rest += file.read(1) if len(rest) == 1 else b""
                if kind != "gzip" or rest[:2] != _GZIP:
                    raise ValueError(f"{path} goes on behind its compressed voxels.")
                spare -= _LEAST_OF_A_MEMBER
                if spare < 0:
                    raise ValueError(f"{path} is damaged: its gzip stream has empty parts.")
                stream = zlib.decompressobj(_WINDOW[kind])
            try:
                piece = b"" if stream.eof else stream.decompress(rest, chunk)
            except zlib.error as error:
                raise ValueError(f"{path} is damaged ({error}).") from None
            if piece:
                spare += len(piece)
                yield piece
            elif not rest:
                break
            rest = stream.unused_data if stream.eof else stream.unconsumed_tail
    if not stream.eof:
        raise ValueError(f"{path} is truncated: its compressed voxels have no end.")


def _check_length(length: int, expected: int, path: Path) -> None:
    if length < expected:
        raise ValueError(f"{path} is truncated: {expected - length} bytes of voxels are missing.")
    if length > expected:
        raise ValueError(
            f"{path} holds more than the {expected} bytes of voxels of its header; the header is "
            "damaged, or these are two files in one."
        )
