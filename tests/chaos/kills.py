"""Commands that are killed, starved of disk, refused a folder, and run twice at the same time.

Every command runs in a fork of this process, which has loaded the libraries already: a death costs
a fraction of a second. What lies on disk after each death is compared with what the command leaves
when nobody disturbs it.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import hashlib
import json
import os
import random
import resource
import shutil
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

__all__ = ["SIGNALS", "Command", "Row", "at_the_same_time", "disk_full", "killed", "read_only"]

SIGNALS = {
    "SIGKILL": [signal.SIGKILL], "SIGTERM": [signal.SIGTERM], "Ctrl-C": [signal.SIGINT],
    "Ctrl-C twice": [signal.SIGINT, signal.SIGINT],
}  # fmt: skip
_LIMIT = 300.0  # seconds that a command may take before it counts as hanging


@dataclass
class Command:
    """A command and what it leaves.

    Attributes
    ----------
    name : str
    run : callable
        Takes the folder, writes below it, returns an exit status; called again it continues.
    whole : callable
        Digest of the finished output in a folder, or None while there is none.
    parts : callable
        Digest by name of the finished parts of an unfinished output; raises if one is torn.
    lock : str
        Path of the lock below the folder; empty where the command has none.
    begin : callable
        Puts what the command works on into a new folder.
    """

    name: str
    run: Callable[[Path], int]
    whole: Callable[[Path], str | None]
    parts: Callable[[Path], dict[str, str]]
    lock: str = ""
    begin: Callable[[Path], None] = lambda folder: None
    reference: str = field(default="", init=False)
    all_parts: dict[str, str] = field(default_factory=dict, init=False)
    seconds: float = field(default=0.0, init=False)
    largest: int = field(default=0, init=False)


@dataclass
class Row:
    """One line of the table."""

    command: str
    fault: str
    trials: int = 0
    losses: int = 0
    what: str = ""


def measure(command: Command, folder: Path) -> None:
    """Run a command undisturbed: what it leaves is what every other run must leave."""
    folder.mkdir()
    command.begin(folder)
    before = {path: path.stat().st_size for path in folder.rglob("*") if path.is_file()}
    started = time.monotonic()
    status, message = _wait(_start(command, folder), folder)
    if status != 0:
        raise RuntimeError(f"{command.name} fails undisturbed: {status}, {message}")
    command.seconds = time.monotonic() - started
    command.reference = command.whole(folder) or ""
    command.largest = max(
        path.stat().st_size
        for path in folder.rglob("*")
        if path.is_file() and before.get(path) != path.stat().st_size and path.name != "log"
    )


def killed(command: Command, folder: Path, n_kills: int, seed: int) -> list[Row]:
    """Kill a command at random moments, start it again, until it was killed often enough."""
    rng = random.Random(seed)
    names = list(SIGNALS)
    rows = {name: Row(command.name, name) for name in names}
    episode = 0
    while sum(row.trials for row in rows.values()) < n_kills:
        episode += 1
        where = folder / f"run-{episode}"
        where.mkdir(parents=True)
        command.begin(where)
        before: dict[str, str] = {}
        last = names[0]
        for _ in range(4):  # then it may finish: the end of a run is hit as well
            name = names[sum(row.trials for row in rows.values()) % len(names)]
            pid = _start(command, where)
            seconds = rng.uniform(0, command.seconds)
            time.sleep(seconds)
            if not _kill(pid, SIGNALS[name]):
                command.seconds = seconds  # it was measured beside more work than there is now
                break
            rows[name].trials += 1
            last = name
            rows[name].losses += _lost(command, where, before)
            before = command.parts(where)
        status, message = 0, "it ended with another result"
        if command.whole(where) is None:
            status, message = _wait(_start(command, where), where)
        if status != 0 or command.whole(where) != command.reference:
            rows[last].losses += 1
            rows[last].what = f"the last run: status {status}, {message}"
        shutil.rmtree(where)
    for row in rows.values():
        row.what = row.what or "nothing torn; the same command did the rest, with the same result"
    return list(rows.values())


def disk_full(command: Command, folder: Path, n_trials: int, seed: int) -> Row:
    """Let every file end at a random size (RLIMIT_FSIZE), then run again without the limit."""
    rng = random.Random(seed)
    row = Row(command.name, "no space for a file")
    messages = set()
    for k in range(n_trials):
        where = folder / f"full-{k}"
        where.mkdir()
        command.begin(where)
        limit = rng.randint(0, command.largest - 1)
        status, message = _wait(_start(command, where, lambda n=limit: _limit(n)), where)
        row.trials += 1
        said = any(word in message for word in ("rrno", "large", "disk full"))
        messages.add("an OSError" if said else message[:80])
        row.losses += status == 0 or _lost(command, where, {})
        status, message = _wait(_start(command, where), where)
        row.losses += status != 0 or command.whole(where) != command.reference
        shutil.rmtree(where)
    row.what = f"{', '.join(sorted(messages))}; nothing torn; run again with space: same result"
    return row


def read_only(command: Command, folder: Path) -> Row:
    """Run a command in a folder that it may not write to."""
    row = Row(command.name, "a read-only folder", trials=1)
    where = folder / "read-only"
    where.mkdir()
    command.begin(where)
    given = sorted(where.rglob("*"))
    for path in (where, *given):
        if path.is_dir():
            path.chmod(0o555)
    status, message = _wait(_start(command, where, _without_privileges), folder)
    row.losses = int(status == 0 or "ermission" not in message or sorted(where.rglob("*")) != given)
    row.what = "refused, naming the folder" if not row.losses else f"status {status}: {message}"
    return row


def at_the_same_time(command: Command, folder: Path, n_trials: int, seed: int) -> Row:
    """Start a command twice on one output, the second while the first is under way."""
    rng = random.Random(seed)
    row = Row(command.name, "two runs, one output")
    k = 0
    while row.trials < n_trials and k < 10 * n_trials:
        where, k = folder / f"twice-{k}", k + 1
        where.mkdir()
        command.begin(where)
        first = _start(command, where)
        if command.lock:
            _until((where / command.lock).exists)
        time.sleep(rng.uniform(0, command.seconds / 4))
        os.kill(first, signal.SIGSTOP)
        if command.lock and not _is_held(where / command.lock):  # it has done its work: again
            os.kill(first, signal.SIGCONT)
            _wait(first, where)
            shutil.rmtree(where)
            continue
        second = _start(command, where, log="second.log")
        if not command.lock:  # both may write
            os.kill(first, signal.SIGCONT)
        status, message = _wait(second, where, "second.log")
        os.kill(first, signal.SIGCONT)
        row.trials += 1
        ended, _ = _wait(first, where)
        refused = status != 0 and f"process {first}" in message
        as_it_must = refused if command.lock else status == 0
        right = as_it_must and ended == 0 and command.whole(where) == command.reference
        row.losses += not right
        if not right:
            sys.stderr.write(f"{command.name} twice: {status}, {ended}: {message}\n")
        shutil.rmtree(where)
    row.what = (
        "the second refused, naming the process that holds the lock; the first unharmed"
        if command.lock else "both ended with the same result"
    )
    return row


def _is_held(lock: Path) -> bool:
    try:
        with open(lock) as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    return False


def _lost(command: Command, where: Path, before: dict[str, str]) -> int:
    """Count what is torn or gone: 1 or 0."""
    try:
        found = command.whole(where)
        if found is not None:
            return int(found != command.reference)
        now = command.parts(where)
    except Exception as error:  # whatever a torn file makes of a reader
        sys.stderr.write(f"{command.name}: {type(error).__name__}: {error}\n")
        return 1
    return int(any(now.get(name) != digest for name, digest in before.items()))


def _start(
    command: Command, where: Path, prepare: Callable[[], None] | None = None, log: str = "log"
) -> int:
    target = (where.parent if prepare is _without_privileges else where) / log
    handle = os.open(target, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o644)
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        os.close(handle)
        return pid
    status = 70
    try:
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        # shells let what they start in the background ignore Ctrl-C
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if prepare is not None:
            prepare()
        status = command.run(where)
    except KeyboardInterrupt:
        status = 130
    except BaseException as error:  # the child must not run on into the parent's code
        os.write(2, f"{type(error).__name__}: {error}\n".encode())
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(status)
    raise AssertionError


def _wait(pid: int, where: Path, log: str = "log") -> tuple[int, str]:
    ended = time.monotonic() + _LIMIT
    while time.monotonic() < ended:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            text = (where / log).read_text(errors="replace") if (where / log).exists() else ""
            return os.waitstatus_to_exitcode(status), " ".join(text.split())[-300:]
        time.sleep(0.005)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return -1, "it hung"


def _kill(pid: int, numbers: list[signal.Signals]) -> bool:
    """Kill a process; returns False if it had ended by itself."""
    found, _ = os.waitpid(pid, os.WNOHANG)
    if found:
        return False
    for k, number in enumerate(numbers):
        if k:  # while it ends because of the first
            time.sleep(0.01)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status) != 0


def _until(condition: Callable[[], bool]) -> None:
    ended = time.monotonic() + _LIMIT
    while not condition() and time.monotonic() < ended:
        time.sleep(0.002)


def _limit(size: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def _without_privileges() -> None:
    """Let permissions count for root as well, who may otherwise write everywhere."""
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    nothing = (ctypes.c_uint32 * 6)()
    if os.geteuid() == 0 and ctypes.CDLL(None).capset(header, nothing) != 0:
        raise OSError("capabilities cannot be dropped")


def digest(*contents: bytes) -> str:
    """Return one digest of some contents."""
    found = hashlib.sha256()
    for content in contents:
        found.update(len(content).to_bytes(8, "little") + content)
    return found.hexdigest()


def rows_of(store: Path, name: str) -> np.ndarray:
    """Map the array of a store into memory."""
    return np.load(store / name, mmap_mode="r", allow_pickle=False)


def json_of(path: Path) -> dict:
    """Read JSON; a torn file raises."""
    return json.loads(path.read_text("utf-8"))
