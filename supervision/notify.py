"""Telling the service manager how the process is: systemd's notification protocol."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from contextlib import suppress

import attrs


@attrs.frozen
class ServiceManager:
    """Whoever started this process and wants to be told; or nobody.

    Datagrams to a unix socket. One that cannot be delivered at once is lost: a
    service manager that does not listen is no reason to wait, or to fail.
    """

    address: str | None
    """The socket; a leading NUL stands for the abstract namespace. None: nobody."""
    watchdog: float | None
    """Seconds after which it takes a silent process for dead; None: never."""

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> ServiceManager:
        """Read ``NOTIFY_SOCKET``, ``WATCHDOG_USEC`` and ``WATCHDOG_PID``.

        Raises:
            ValueError: what stands there is malformed.
        """
        address = environ.get("NOTIFY_SOCKET")
        if not address:
            return cls(None, None)
        if address[0] not in "@/":
            raise ValueError(
                "NOTIFY_SOCKET must be an absolute path, or @ and an abstract name; "
                f"got {address!r}"
            )
        address = address.replace("@", "\0", 1) if address[0] == "@" else address
        return cls(address, _watchdog(environ))

    def say(self, *lines: str) -> None:
        """Send lines such as ``READY=1`` in one datagram."""
        if self.address is None:
            return
        kind = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        with socket.socket(socket.AF_UNIX, kind) as unix, suppress(OSError):
            unix.sendto("\n".join(lines).encode(), self.address)

    def status(self, text: str) -> None:
        """Say in one line what the process is at."""
        self.say(f"STATUS={' '.join(text.split())}")


def _watchdog(environ: Mapping[str, str]) -> float | None:
    # It is inherited: a child of the process it is meant for must not heed it.
    if environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    text = environ.get("WATCHDOG_USEC")
    if text is None:
        return None
    if not text.isdecimal() or not int(text):
        raise ValueError(f"WATCHDOG_USEC must be microseconds, got {text!r}")
    return int(text) / 1e6
