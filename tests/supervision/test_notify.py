"""What the environment says of a service manager, and talking to one that is deaf."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from supervision.notify import ServiceManager

ME = str(os.getpid())


def test_without_a_socket_nobody_is_told() -> None:
    manager = ServiceManager.from_environment({"WATCHDOG_USEC": "1000000"})
    assert manager == ServiceManager(None, None)
    manager.say("READY=1")


@pytest.mark.parametrize("pid", [{}, {"WATCHDOG_PID": ME}])
def test_the_interval_is_read_in_seconds(pid: dict[str, str]) -> None:
    environ = {"NOTIFY_SOCKET": "/n", "WATCHDOG_USEC": "1500000", **pid}
    assert ServiceManager.from_environment(environ) == ServiceManager("/n", 1.5)


def test_an_interval_meant_for_another_process_is_not_ours() -> None:
    environ = {"NOTIFY_SOCKET": "@n", "WATCHDOG_USEC": "1500000", "WATCHDOG_PID": "1"}
    assert ServiceManager.from_environment(environ) == ServiceManager("\0n", None)


@pytest.mark.parametrize(
    ("environ", "what"),
    [
        ({"NOTIFY_SOCKET": "vsock:2:1"}, "NOTIFY_SOCKET must be an absolute path"),
        ({"NOTIFY_SOCKET": "/n", "WATCHDOG_USEC": "soon"}, "must be microseconds"),
        ({"NOTIFY_SOCKET": "/n", "WATCHDOG_USEC": "0"}, "must be microseconds"),
    ],
)
def test_what_is_malformed_is_refused(environ: dict[str, str], what: str) -> None:
    with pytest.raises(ValueError, match=what):
        ServiceManager.from_environment(environ)


def test_a_manager_that_is_gone_or_does_not_read_is_no_reason_to_fail_or_wait(
    tmp_path: Path,
) -> None:
    address = str(tmp_path / "notify")
    manager = ServiceManager(address, None)
    manager.say("READY=1")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as deaf:
        deaf.bind(address)
        for _ in range(2000):  # more than any queue of datagrams holds
            manager.say("WATCHDOG=1")
    manager.say("STOPPING=1")
