"""Searches, cross-validations and benchmarks on the machines of a Dask cluster, through joblib.

For users whose batch system ends jobs in the middle of a search (SLURM's time limits, machines
that are taken back). joblib's own Dask backend keeps arguments from 1 kB on (outcomes, folds) on
one worker alone, and all fits fail when it dies. Here small arguments travel with each task, and
large ones are a task of their own, which the scheduler repeats elsewhere.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import os
import pickle
import platform
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import joblib
from joblib.parallel import ParallelBackendBase, SequentialBackend

if TYPE_CHECKING:
    from distributed import Client, Future

__all__ = ["DaskBackend", "dask_cluster", "library_versions"]

#: Arguments of this size or more are sent once instead of with every task.
LARGE = 1 << 20
#: Larger ones are refused: the scheduler would hold them.
TOO_LARGE = 1 << 30
_PACKAGES = (
    "survimg", "numpy", "pandas", "scipy", "scikit-learn", "scikit-survival", "torch", "skorch",
    "joblib", "dask", "distributed", "cloudpickle",
)  # fmt: skip


@contextlib.contextmanager
def dask_cluster(
    scheduler: str | Client,
    *,
    timeout: float = 30.0,
    workers_timeout: float = 600.0,
    identity: Callable[[], Mapping[str, str]] | None = None,
    import_from: Sequence[str | os.PathLike[str]] = (),
) -> Iterator[DaskBackend]:
    """Run the fits of a block on a Dask cluster: searches, cross-validations, benchmarks.

    Everything that computes through joblib with ``n_jobs=None`` or ``-1`` does so on the cluster.
    A fit whose worker dies is done again by another worker. What a fit runs in parallel itself is
    computed in turn.

    Parameters
    ----------
    scheduler : str or distributed.Client
        Address, such as ``tcp://node7:8786``, or a client, which stays open.
    timeout : float, default=30
        Seconds to wait for the scheduler's answer.
    workers_timeout : float, default=600
        Seconds to wait for the first worker; those of a batch system wait in its queue.
    identity : callable, optional
        Names what must be the same here and on every worker, as strings by name; by default
        `library_versions`.
    import_from : sequence of path-like, optional
        Folders of your own modules, which workers must be able to import from.

    Yields
    ------
    DaskBackend

    Raises
    ------
    ConnectionError
        No scheduler answers.
    TimeoutError
        No worker has come.
    ImportError
        Dask is not installed, or workers have other versions of Python or the libraries. Those that
        join later are checked before their first fit.
    ValueError
        Workers compute several tasks at once in threads of one process, which would make the
        results of networks depend on each other.

    Examples
    --------
    >>> with dask_cluster("tcp://node7:8786"):  # doctest: +SKIP
    ...     GridSearchCV(DeepMTS(n_threads=4), grid, cv=EventStratifiedKFold(5)).fit(X, X.outcome)
    """
    with contextlib.ExitStack() as stack:
        client = (
            stack.enter_context(_connected(scheduler, timeout))
            if isinstance(scheduler, str)
            else scheduler
        )
        folders = [os.path.abspath(folder) for folder in import_from]
        backend = DaskBackend(client, identity or library_versions, folders)
        backend.check_workers(workers_timeout)
        stack.enter_context(joblib.parallel_config(backend=backend, n_jobs=-1))
        yield backend


class DaskBackend(ParallelBackendBase):
    """joblib's way to a Dask cluster on which nothing is lost with a worker.

    Made by `dask_cluster`.

    Parameters
    ----------
    client : distributed.Client
    identity : callable
        What must be the same here and on every worker.
    folders : sequence of str
        Where workers look for modules besides.

    Attributes
    ----------
    bytes_sent : int
        Size of all that was sent to the scheduler so far: tasks, and large arguments once per
        parallel call.
    """

    supports_retrieve_callback = True
    default_n_jobs = -1

    def __init__(
        self, client: Client, identity: Callable[[], Mapping[str, str]], folders: Sequence[str]
    ) -> None:
        super().__init__(nesting_level=0)
        self.client = client
        self.bytes_sent = 0
        self._check = functools.partial(_check_identity, identity, dict(identity()))
        self._folders = list(folders)
        self._large: dict[int, tuple[Any, Future]] = {}
        self._pending: set[Future] = set()
        self._lock = threading.RLock()

    def check_workers(self, timeout: float) -> None:
        """Wait for a worker, and check those that are there; see `dask_cluster`.

        Parameters
        ----------
        timeout : float
            Seconds.
        """
        try:
            self.client.submit(_nothing, pure=False).result(timeout=timeout)
        except TimeoutError:
            raise TimeoutError(
                f"The Dask scheduler at {self.client.scheduler.address} has had no worker for "
                f"{timeout:g} s. Start workers (dask worker ADDRESS --nthreads 1), or wait longer "
                "(workers_timeout)."
            ) from None
        threads = {name: n for name, n in self.client.nthreads().items() if n > 1}
        if threads:
            name, n = next(iter(threads.items()))
            raise ValueError(
                f"The Dask worker {name} computes {n} fits at once in threads of one process, "
                "which share torch's random stream and threads. Start workers with --nthreads 1 "
                "(and several per machine with --nworkers), or LocalCluster(threads_per_worker=1); "
                "a network takes its own threads with n_threads."
            )
        for message in self.client.run(self._check).values():
            if message is not None:
                raise ImportError(message)

    def effective_n_jobs(self, n_jobs: int | None) -> int:
        """Return how many fits to keep in flight: `n_jobs`, or as many as there are workers."""
        if n_jobs is not None and n_jobs > 0:
            return n_jobs
        # joblib takes 1 to mean this process. One worker is left for a while when another died.
        return max(2, sum(self.client.nthreads().values()))

    def submit(
        self, func: Any, callback: Callable[[Future], None] | None = None
    ) -> Future:
        """Send a batch of calls.

        Raises
        ------
        ValueError
            An argument of more than 1 GiB.
        """
        with self._lock:
            large: dict[int, Future] = {}
            items = [
                (
                    function,
                    [self._replaced(value, large) for value in args],
                    {name: self._replaced(value, large) for name, value in kwargs.items()},
                )
                for function, args, kwargs in func.items
            ]
            future = self._send(
                _compute,
                self._pickled(items),
                large,
                self._check,
                self._folders,
            )
            self._pending.add(future)
        if callback is not None:
            future.add_done_callback(callback)
        return future

    # What joblib before 1.5 calls submit.
    apply_async = submit

    def retrieve_result_callback(self, out: Future) -> Any:
        """Return the result of a finished batch.

        Raises
        ------
        ChildProcessError
            Worker after worker died over it.
        """
        from distributed.scheduler import KilledWorker

        with self._lock:
            self._pending.discard(out)
        try:
            return out.result()
        except KilledWorker as error:
            raise ChildProcessError(
                f"{error.allowed_failures + 1} workers died one after the other over the same fit, "
                f"the last one at {error.last_worker.address}. Most often their memory was too "
                "small: see their logs, and give workers more memory (--memory-limit), or the fit "
                "less (micro_batch_size)."
            ) from None

    def get_nested_backend(self) -> tuple[ParallelBackendBase, int | None]:
        """Return what parallel calls inside a fit use: one call after the other."""
        return SequentialBackend(nesting_level=1), None

    def stop_call(self) -> None:
        """Let go of the large arguments of a parallel call."""
        with self._lock:
            self._large.clear()

    def abort_everything(self, ensure_ready: bool = True) -> None:  # noqa: ARG002
        """Cancel what has not begun."""
        with self._lock:
            pending = list(self._pending)
            self._pending.clear()
        self.client.cancel(pending)

    def _replaced(self, value: Any, large: dict[int, Future]) -> Any:
        """Return what stands for a large argument instead of it; `large` gets its future."""
        from dask.sizeof import sizeof

        size = int(sizeof(value))  # of a cohort on disk, that of its index alone
        if size < LARGE:
            return value
        if size > TOO_LARGE:
            raise ValueError(
                f"{type(value).__name__} holds {size / 2**30:.1f} GiB in memory, too much to send "
                "to a cluster. Save a cohort to storage that all machines share "
                "(cohort.save(FOLDER)) and load it from there: then only its path is sent."
            )
        key = id(value)
        if key not in self._large:
            # The value is kept with it, so that no other object gets its id meanwhile.
            self._large[key] = value, self._send(pickle.loads, self._pickled(value))
        large[key] = self._large[key][1]
        return _Large(key)

    def _pickled(self, value: Any) -> bytes:
        import cloudpickle  # type: ignore[import-untyped]

        content: bytes = cloudpickle.dumps(value)
        self.bytes_sent += len(content)
        return content

    def _send(self, function: Callable[..., Any], *args: Any) -> Future:
        import dask

        # Dask warns of large tasks because people send the same data again and again.
        with dask.config.set({"distributed.admin.large-graph-warning-threshold": TOO_LARGE * 2}):
            return self.client.submit(function, *args, pure=False)


@functools.cache
def library_versions() -> dict[str, str]:
    """Versions of Python, survimg and the libraries that results depend on."""
    versions = {"python": platform.python_version()}
    for name in _PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return versions


class _Large(NamedTuple):
    """Stands for a large argument inside a task."""

    key: int


def _nothing() -> None:
    """Be computed by some worker."""


def _compute(
    payload: bytes,
    large: Mapping[int, Any],
    check: Callable[[], str | None],
    folders: Sequence[str],
) -> list[Any]:
    """Compute a batch of calls, on a worker."""
    message = check()
    if message is not None:
        raise ImportError(message)
    sys.path.extend(folder for folder in folders if folder not in sys.path)
    items = pickle.loads(payload)  # noqa: S301 - from the client that this cluster computes for

    def real(value: Any) -> Any:
        return large[value.key] if isinstance(value, _Large) else value

    with joblib.parallel_config(backend=SequentialBackend(nesting_level=1), n_jobs=None):
        return [
            function(*map(real, args), **{name: real(value) for name, value in kwargs.items()})
            for function, args, kwargs in items
        ]


def _check_identity(
    identity: Callable[[], Mapping[str, str]], expected: Mapping[str, str]
) -> str | None:
    """Say how this process differs from the one that sends the work; None if it does not."""
    here = identity()
    names = sorted(set(here) | set(expected))
    differing = [
        f"{name} {here.get(name, 'absent')} instead of {expected.get(name, 'absent')}"
        for name in names
        if here.get(name) != expected.get(name)
    ]
    if not differing:
        return None
    return (
        f"The Dask worker on {platform.node()} has {', '.join(differing)}: its fits would not be "
        "those of this machine. Install the same versions there."
    )


@contextlib.contextmanager
def _connected(address: str, timeout: float) -> Iterator[Client]:
    try:
        from distributed import Client
    except ImportError:
        raise ImportError(
            "Computing on a Dask cluster needs Dask: pip install dask distributed."
        ) from None
    try:
        client = Client(address, timeout=timeout, set_as_default=False)
    except (OSError, ValueError) as error:
        raise ConnectionError(
            f"No Dask scheduler answers at {address!r} within {timeout:g} s ({error}). Start one "
            "with `dask scheduler` and give the address that it prints, such as "
            "tcp://HOST:8786; it and its workers need survimg, dask and distributed."
        ) from error
    with client:
        yield client
