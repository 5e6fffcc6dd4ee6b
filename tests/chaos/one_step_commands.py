"""Commands that write their output in one step: what lies there is whole, or nothing lies there."""

from __future__ import annotations

import multiprocessing
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from commands import store_digest
from kills import Command, digest

from survimg.cli import main
from survimg.datasets import write_phantom_manifest

__all__ = ["COMMANDS", "one_step_command"]

_SHAPE = ["--shape", "16", "16", "16", "--spacing", "8"]
_NET = [
    "fit", "--model", "deepmts", "--iterations", "2", "--threads", "1", "--set", "batch_size=4",
    "--set", "batch_norm_batches=1", "--set", "precision=float32",
]  # fmt: skip


def _inputs(folder: Path) -> None:
    """Make a manifest, a prepared cohort, a network and a finished run, once."""
    manifest = write_phantom_manifest(folder / "images", n=8, shape=(16, 16, 16), random_state=0)
    store = str(folder / "cohort")
    for words in (
        ["prepare", str(manifest), "--out", store, *_SHAPE],
        [*_NET, "--cohort", store, "--out", str(folder / "network")],
        ["benchmark", "--cohort", store, "--models", "clinical-volume-cox", "--folds", "2",
         "--out", str(folder / "run")],
    ):  # fmt: skip
        if main([*words, "-q"]) != 0:
            raise RuntimeError(f"{words} failed")


def _fit(inputs: Path, out: Path) -> list[str]:
    return ["fit", "--model", "clinical-volume-cox", "--cohort", str(inputs / "cohort"),
            "--out", str(out)]  # fmt: skip


def _predict(inputs: Path, out: Path) -> list[str]:
    return ["predict", "--model", str(inputs / "network"), "--cohort", str(inputs / "cohort"),
            "--masks", "--out", str(out)]  # fmt: skip


def _explain(inputs: Path, out: Path) -> list[str]:
    return ["explain", "--model", str(inputs / "network"), "--cohort", str(inputs / "cohort"),
            "--method", "grad_cam", "--patients", "phantom-0000", "phantom-0001",
            "--out", str(out)]  # fmt: skip


def _register(inputs: Path, out: Path) -> list[str]:
    return ["prepare", str(inputs / "images" / "manifest.csv"), "--out", str(out), *_SHAPE,
            "--crop", "fixed", "--register", "rigid",
            "--on-failed-registration", "translate"]  # fmt: skip


def _compare(inputs: Path, out: Path) -> list[str]:
    return ["compare", str(inputs / "run"), str(inputs / "run"), "--html", str(out)]


def _report(inputs: Path, out: Path) -> list[str]:
    return ["report", str(out)]


COMMANDS: dict[str, tuple[Callable[[Path, Path], list[str]], str]] = {
    "fit": (_fit, "out"), "predict": (_predict, "out"), "explain": (_explain, "out"),
    "prepare --register": (_register, "out"), "compare": (_compare, "page.html"),
    "report": (_report, "out"),
}  # fmt: skip


def one_step_command(name: str, inputs: Path) -> Command:
    """Return ``survimg NAME`` on inputs that are made where there are none."""
    if not inputs.exists():  # elsewhere: a process in which torch has computed must not fork
        process = multiprocessing.get_context("spawn").Process(target=_inputs, args=(inputs,))
        process.start()
        process.join()
        if process.exitcode != 0:
            raise RuntimeError("The inputs cannot be made.")
    _load()
    words, target = COMMANDS[name]
    digests = {"report": _report_digest, "prepare --register": store_digest}
    whole = digests.get(name, _digest)

    def run(folder: Path) -> int:
        status = main([*words(inputs, folder / target), "-q"])
        # Of two at once the second is told that the output is there.
        late = status == 2 and name != "report" and whole(folder / target) is not None
        return 0 if late else status

    def begin(folder: Path) -> None:
        if name == "report":  # its folder is that of a finished run, without pages and tables
            shutil.copytree(inputs / "run", folder / target)
            for path in _report_files(folder / target):
                path.unlink()

    lock = "out.registration/lock" if name == "prepare --register" else ""
    return Command(
        f"survimg {name}", run, lambda folder: whole(folder / target), lambda folder: {}, lock,
        begin=begin,
    )  # fmt: skip


def _load() -> None:
    """Load the libraries once, before the forks."""
    import captum.attr  # noqa: F401
    import matplotlib.figure  # noqa: F401
    import monai  # noqa: F401
    import skorch  # noqa: F401
    import torch
    import torch._dynamo  # which the first optimiser loads

    import survimg.estimators
    import survimg.explain
    import survimg.report  # noqa: F401

    torch.set_num_threads(1)


def _digest(out: Path) -> str | None:
    if not out.exists():
        return None
    files = [out] if out.is_file() else sorted(p for p in out.rglob("*") if p.is_file())
    names = [path.relative_to(out.parent).as_posix().encode() for path in files]
    return digest(*names, *(path.read_bytes() for path in files))


def _report_files(run: Path) -> Sequence[Path]:
    pages = [run / name for name in ("report.html", "scores.csv", "folds.csv",
                                     "predictions.parquet")]  # fmt: skip
    return [path for path in (*pages, *sorted((run / "tables").glob("*"))) if path.exists()]


def _report_digest(run: Path) -> str | None:
    """Pages and tables, each of which is whole; the page comes last."""
    if not (run / "report.html").exists():
        for path in _report_files(run):
            if path.stat().st_size == 0 or path.name.endswith("tmp"):
                raise RuntimeError(f"{path} is torn")
        return None
    return digest(*(path.read_bytes() for path in _report_files(run)))
