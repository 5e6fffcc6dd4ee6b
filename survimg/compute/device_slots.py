"""Places for fits on a device: as many train there at once as it has slots, whoever starts them.

Searches and cross-validations run fits side by side in processes (joblib's loky, Dask) or threads.
Each of them would put a network on the same GPU. Here a fit takes a slot of the device first, and
waits while there is none. A slot is a lock on a file in a folder that all processes of a user on a
machine share, so that it does not matter who started them; the operating system releases the lock
when a process ends, however it ends.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from filelock import FileLock, Timeout

__all__ = [
    "FOLDER_VARIABLE",
    "SLOTS_VARIABLE",
    "DeviceSlot",
    "device_slot",
    "slots_of",
    "slots_per_device",
]

_LOG = logging.getLogger("survimg.compute")
#: Environment variable with the slots of each kind of device, e.g. ``cuda=2,cpu=4``.
SLOTS_VARIABLE = "SURVIMG_DEVICE_SLOTS"
#: Environment variable with the folder of the locks.
FOLDER_VARIABLE = "SURVIMG_RUNTIME_DIR"
_UNLIMITED = "unlimited"
_SHORTEST_WAIT, _LONGEST_WAIT = 0.05, 1.0  # seconds between two looks for a free slot


class DeviceSlot:
    """The place of one fit on one of several devices; made by `device_slot`.

    Attributes
    ----------
    device : int
        Position, among those asked for, of the device that the slot is on.
    waited : float
        Seconds spent waiting so far, by `take_whole_device` too.
    """

    def __init__(self, keys: Sequence[str], n_slots: int | None) -> None:
        self.device = 0
        self.waited = 0.0
        self._keys = list(keys)
        self._n_slots = n_slots
        self._held: list[FileLock] = []

    def take_whole_device(self) -> bool:
        """Give the slot up, and take all slots of its device once their fits have ended.

        For a fit that ran out of memory while others used the device. Fits that want this at the
        same time get it one after the other; fits that come later wait.

        Returns
        -------
        bool
            False if the fit had the device for itself already, as far as slots tell: one slot, no
            limit, or a second call.
        """
        if self._n_slots is None or len(self._held) == self._n_slots:
            return False
        started = time.monotonic()
        self.release()
        key = self._keys[self.device]
        _LOG.info("Waiting for the other fits on %s to end.", key)
        with _lock(key, "turn"):
            for number in range(self._n_slots):
                lock = _lock(key, number)
                lock.acquire(poll_interval=_SHORTEST_WAIT)
                self._held.append(lock)
        self.waited += time.monotonic() - started
        return True

    def acquire(self) -> None:
        """Take a slot on the device with most free ones; wait until there is one."""
        if self._n_slots is None:
            return
        started, pause = time.monotonic(), _SHORTEST_WAIT
        while not self._try():
            if pause == _SHORTEST_WAIT:
                _LOG.info("Waiting for a free slot on %s.", " or ".join(self._keys))
            time.sleep(pause)
            pause = min(1.5 * pause, _LONGEST_WAIT)
        self.waited += time.monotonic() - started

    def release(self) -> None:
        """Give up what is held."""
        while self._held:
            self._held.pop().release()

    def _try(self) -> bool:
        assert self._n_slots is not None
        n_free_best = 0
        for device, key in enumerate(self._keys):
            with contextlib.suppress(Timeout), _lock(key, "turn").acquire(blocking=False):
                locks = [_lock(key, number) for number in range(self._n_slots)]
                free = [lock for lock in locks if _acquired(lock)]
                for lock in free[1:]:
                    lock.release()
                if len(free) > n_free_best:
                    self.release()
                    self.device, self._held, n_free_best = device, free[:1], len(free)
                elif free:
                    free[0].release()
        return bool(self._held)


@contextlib.contextmanager
def device_slot(kind: str, keys: Sequence[str]) -> Iterator[DeviceSlot]:
    """Hold a slot on one of several devices for the length of a block; wait until one is free.

    The devices fill up evenly: the one with most free slots comes first, of equals the first.

    Parameters
    ----------
    kind : str
        Of the devices, as torch names them: ``"cuda"``, ``"cpu"``. It decides how many slots each
        has, see `slots_per_device`.
    keys : sequence of str
        A name of each device that all processes of the machine agree on, such as its UUID.

    Yields
    ------
    DeviceSlot

    Raises
    ------
    ValueError
        The environment variable ``SURVIMG_DEVICE_SLOTS`` is malformed.
    PermissionError
        The folder of the locks belongs to somebody else.
    """
    slot = DeviceSlot(keys, slots_of(kind))
    try:
        slot.acquire()
        yield slot
    finally:
        slot.release()


def slots_of(kind: str) -> int | None:
    """Return how many fits may train at once on each device of a kind; None for any number.

    One unless the environment variable ``SURVIMG_DEVICE_SLOTS`` says otherwise; on the CPU, whose
    memory can be swapped and whose cores are shared out by the operating system, any number.

    Parameters
    ----------
    kind : str

    Raises
    ------
    ValueError
        The variable is malformed.
    """
    slots = _parse(os.environ.get(SLOTS_VARIABLE, ""))
    return slots.get(kind, None if kind == "cpu" else 1)


@contextlib.contextmanager
def slots_per_device(**slots: int | None) -> Iterator[None]:
    """Set the slots of each device for the length of a block.

    All processes must agree on the numbers. They travel in the environment variable
    ``SURVIMG_DEVICE_SLOTS``, which worker processes inherit when they *start*: enter the block
    before the first parallel call, or set the variable for the whole session, and for the workers
    of Dask where they are started.

    Parameters
    ----------
    **slots : int or None
        Fits at once on each device of a kind, None for any number: ``cuda=2, cpu=4``. Kinds that
        are not named keep their numbers.

    Raises
    ------
    ValueError
        A number below 1.
    """
    before = os.environ.get(SLOTS_VARIABLE)
    merged = {**_parse(before or ""), **slots}
    text = ",".join(f"{kind}={_UNLIMITED if n is None else n}" for kind, n in merged.items())
    _parse(text)
    os.environ[SLOTS_VARIABLE] = text
    try:
        yield
    finally:
        if before is None:
            del os.environ[SLOTS_VARIABLE]
        else:
            os.environ[SLOTS_VARIABLE] = before


def _parse(text: str) -> dict[str, int | None]:
    slots: dict[str, int | None] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        match = re.fullmatch(rf"([a-z]+)=([1-9]\d*|{_UNLIMITED})", part)
        if match is None:
            raise ValueError(
                f"{SLOTS_VARIABLE}={text!r} is malformed at {part!r}: give the fits at once on "
                f"each device of a kind, e.g. 'cuda=2,cpu=4' ('{_UNLIMITED}' for any number)."
            )
        kind, number = match.groups()
        slots[kind] = None if number == _UNLIMITED else int(number)
    return slots


def _acquired(lock: FileLock) -> bool:
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return False
    return True


def _lock(key: str, name: int | str) -> FileLock:
    stem = re.sub(r"[^\w.-]", "_", key)
    return FileLock(_folder() / f"{stem}.{name}.lock", mode=0o600)


def _folder() -> Path:
    """Make and check the folder of the locks, which nobody else may write to."""
    path = os.environ.get(FOLDER_VARIABLE)
    # Windows has no user numbers; its folder for temporary files is the user's own.
    user = getattr(os, "getuid", lambda: None)()
    folder = Path(path) if path else Path(tempfile.gettempdir()) / f"survimg-{user}"
    folder.mkdir(mode=0o700, parents=path is not None, exist_ok=True)
    if user is not None and (folder.lstat().st_uid != user or folder.is_symlink()):
        raise PermissionError(
            f"{folder}, where fits take their turns on a device, belongs to somebody else or is a "
            f"link. Set {FOLDER_VARIABLE} to a folder of your own, the same for all processes."
        )
    return folder
