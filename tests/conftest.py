"""Fixtures shared by all tests."""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Before anything loads torch: threads that spin while they wait slow each other down fivefold on a
# machine that is also doing something else.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import pytest

_connect = socket.socket.connect


def _connect_on_this_machine(self: socket.socket, address: Any) -> None:
    """Refuse connections to public addresses: neither survimg nor its tests need any."""
    if self.family in (socket.AF_INET, socket.AF_INET6):
        host = str(address[0])
        own = {"localhost", socket.gethostname()}
        if host not in own and not _is_own_address(host):
            raise PermissionError(f"A test tried to connect to {address}; tests use no network.")
    _connect(self, address)


def _is_own_address(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_private


# Before the tests import survimg, so that importing counts too.
socket.socket.connect = _connect_on_this_machine  # type: ignore[method-assign]


_running: list[pytest.Item] = []


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Note whose fixtures and body run."""
    _running[:] = [item]
    return (yield)


@pytest.fixture(scope="session", autouse=True)
def automatic_precision_is_float32() -> Iterator[None]:
    """Make ``precision="auto"`` float32 on every processor, except in tests marked otherwise.

    Where the hardware computes bfloat16, "auto" trains other weights, and no test may rest on the
    rounding of one machine. Tests marked ``any_precision`` hold in both.
    """
    from survimg.compute import devices

    ask = devices.has_bfloat16

    def ask_if_marked(device: Any) -> bool:
        return _running[0].get_closest_marker("any_precision") is not None and ask(device)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(devices, "has_bfloat16", ask_if_marked)
        yield


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """Folder with real patients and reference values; tests skip where it is absent."""
    folder = Path(os.environ.get("SURVIMG_SHARED", Path(__file__).parents[2] / "shared"))
    if not (folder / "data").is_dir():
        pytest.skip(f"no shared data at {folder} (set SURVIMG_SHARED)")
    return folder
