"""The process that decodes compressed DICOM: run as a script, with limits that it sets itself.

    python decoder.py FOLDER NUMBER BYTES SECONDS

Reads ``0.dcm``, ``1.dcm``, ... in the folder and writes each frame to standard output: a status (0
if it was decoded), the number of its rows and columns as 64-bit integers, and its pixels as 32-bit
ones, all little-endian. It imports nothing of survimg.
"""

from __future__ import annotations

import struct
import sys
from pathlib import Path

__all__: list[str] = []


def _limit(n_bytes: int, seconds: int) -> None:
    try:
        import resource
    except ImportError:  # Windows: the caller's time limit remains
        return
    for kind, value in (
        (resource.RLIMIT_AS, n_bytes), (resource.RLIMIT_CPU, seconds), (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(kind)[1]
        limit = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (limit, hard))


def _decode(folder: Path, number: int) -> None:
    import SimpleITK as sitk  # noqa: N813  # the name its own documentation uses

    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    for i in range(number):
        reader = sitk.ImageFileReader()
        reader.SetImageIO("GDCMImageIO")
        reader.SetFileName(str(folder / f"{i}.dcm"))
        reader.SetOutputPixelType(sitk.sitkInt32)
        try:
            pixels = sitk.GetArrayFromImage(reader.Execute())
        except RuntimeError:
            sys.stdout.buffer.write(struct.pack("<qqq", 1, 0, 0))
            return
        rows, columns = pixels.shape[-2:]
        sys.stdout.buffer.write(struct.pack("<qqq", 0, rows, columns))
        sys.stdout.buffer.write(pixels.astype("<i4").tobytes())
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    _limit(int(sys.argv[3]), int(sys.argv[4]))
    _decode(Path(sys.argv[1]), int(sys.argv[2]))
