"""Where the fits of ``survimg benchmark`` run: on this machine, or on a Dask cluster."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["add_cluster", "check_cluster", "cluster_of"]


def add_cluster(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the cluster."""
    parser.add_argument(
        "--backend", choices=("loky", "dask"), default="loky",
        help="run fits in processes of this machine (loky, default; see --n-jobs) or on the "
        "workers of a Dask cluster (see --scheduler)",
    )
    parser.add_argument(
        "--scheduler", metavar="ADDRESS",
        help="address of the Dask scheduler, such as tcp://HOST:8786",
    )


def check_cluster(arguments: argparse.Namespace) -> None:
    """Refuse options that contradict each other, and a cluster that does not answer."""
    if arguments.backend != "dask":
        if arguments.scheduler is not None:
            raise ValueError("--scheduler needs --backend dask.")
        return
    if arguments.scheduler is None:
        raise ValueError(
            "--backend dask needs --scheduler ADDRESS, the address that `dask scheduler` prints."
        )
    if arguments.n_jobs != 1:
        raise ValueError(
            "--n-jobs applies to this machine; a cluster computes as many fits as it has workers."
        )
    with cluster_of(arguments, {}):
        pass


def cluster_of(
    arguments: argparse.Namespace, models: Mapping[str, Any]
) -> contextlib.AbstractContextManager[Any]:
    """Return a context in which fits run where the command line says."""
    if arguments.backend != "dask":
        return contextlib.nullcontext()
    from survimg.benchmark.identity import code_identity
    from survimg.compute import dask_cluster

    from_users = any(":" in name for name in models)
    return dask_cluster(
        arguments.scheduler, identity=code_identity, import_from=[Path.cwd()] if from_users else []
    )
