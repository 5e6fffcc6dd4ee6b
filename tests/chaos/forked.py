"""The decoder of compressed DICOM in a fork, which saves the start of Python and ITK."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from typing import Any
from unittest import mock

import SimpleITK as sitk  # noqa: F401, N813  # so that forks need not load it

from survimg.io.dicom import decoder, pixels

__all__ = ["forked_decoder"]


def forked_decoder() -> Any:
    """Return a patch under which the decoder, with its limits, runs in a fork of this process."""
    return mock.patch.object(pixels.subprocess, "run", _run)


def _run(command: list[str], *, timeout: float, **_: Any) -> Any:
    """Stand in for `subprocess.run` of the decoder."""
    reader, writer = os.pipe()
    if (child := os.fork()) == 0:
        os.close(reader)
        try:
            with os.fdopen(writer, "w") as sys.stdout:
                decoder._limit(int(command[4]), int(command[5]))
                decoder._decode(decoder.Path(command[2]), int(command[3]))
        finally:
            os._exit(1)  # whatever happened: what counts is what was written
    os.close(writer)
    parts, end = [], time.monotonic() + timeout
    with os.fdopen(reader, "rb", buffering=0) as pipe:
        while select.select([pipe], [], [], max(end - time.monotonic(), 0))[0]:
            if not (part := pipe.read(1 << 20)):
                break
            parts.append(part)
        else:
            os.kill(child, 9)
    os.waitpid(child, 0)
    return subprocess.CompletedProcess(command, 0, b"".join(parts))
