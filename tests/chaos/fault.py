"""What a bad input is here, the door it comes through, and what counts as handled."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from survimg.io import Image, write_image
from survimg.preprocessing import Preparation, prepare

__all__ = ["PATIENT", "Fault", "Result", "at_the_door", "attempt", "blob", "manifest"]

#: The patient whose files are broken; every refusal of a file must name it.
PATIENT = "patient-7"
REFUSALS = (ValueError, FileNotFoundError, LookupError)

Run = Callable[[Path, np.random.Generator], object]


@dataclass(frozen=True)
class Fault:
    """One kind of bad (or rare, but right) input.

    Attributes
    ----------
    group, name : str
        For the table.
    run : callable
        Makes the input in an empty folder and puts it through the library.
    named : tuple of str
        What the refusal must name; empty where the input is to be read, in which case `run` itself
        asserts that it was read correctly.
    trials : int
        How often the chaos script draws it.
    either : bool
        Random damage: may be refused, or be read if `run` asserts that nothing was changed.
    """

    group: str
    name: str
    run: Run
    named: tuple[str, ...] = ()
    trials: int = 1
    either: bool = False


@dataclass(frozen=True)
class Result:
    """What happened in one trial."""

    handled: bool
    what: str
    message: str = ""


def attempt(fault: Fault, folder: Path, seed: int) -> Result:
    """Run one trial and judge it."""
    rng = np.random.default_rng(seed)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fault.run(folder, rng)
    except REFUSALS as error:
        message = " ".join(str(error).split())
        if not fault.named and not fault.either:
            return Result(False, "refused, though right", message)
        missing = [name for name in fault.named if name not in message]
        if missing:
            return Result(False, f"refused without naming {missing}", message)
        return Result(True, "refused", message)
    except AssertionError as error:
        return Result(False, "read wrongly", str(error)[:300])
    except Exception as error:  # any other error is what is looked for
        return Result(False, f"crashed with {type(error).__name__}", str(error)[:300])
    if fault.named and not fault.either:
        return Result(False, "accepted silently")
    return Result(True, "read correctly")


def blob(shape: tuple[int, int, int] = (6, 7, 8), seed: int = 0) -> Image:
    """Return a small image with a place of its own."""
    array = np.random.default_rng(seed).normal(100, 30, size=shape).astype(np.float32)
    return Image(array, (3.0, 2.0, 1.5), (-20.0, 7.0, 100.0))


def manifest(folder: Path, image: Path | str, mask: Path | str = "") -> Path:
    """Write a manifest of two patients, the second of whom has the given files."""
    sound = blob()
    write_image(folder / "sound.nrrd", sound.array, sound)
    rows = ["patient_id,PT,mask", "patient-1,sound.nrrd,", f"{PATIENT},{image},{mask}"]
    (folder / "manifest.csv").write_text("\n".join(rows))
    return folder / "manifest.csv"


def at_the_door(
    folder: Path,
    image: Path | str,
    mask: Path | str = "",
    *,
    label: int | str | None = None,
) -> None:
    """Prepare a cohort with a broken file; a refusal must leave nothing behind."""
    csv = manifest(folder, image, mask)
    try:
        settings = Preparation(shape=(4, 4, 4), crop="fixed", normalise="none", label=label)
        prepare(csv, settings, folder / "out", progress=False)
    except REFUSALS:
        left = sorted(path.name for path in folder.glob("out*"))
        assert not left, f"left behind: {left}"
        raise
