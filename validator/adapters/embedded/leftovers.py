"""Servers that outlived their owner.

Only call this while holding the owner's lock of the directory: then whatever runs
in it is an orphan. Processes are recognised by their working directory, because a
process id in a file may belong to somebody else by now.
"""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

ESCALATION = (
    (signal.SIGINT, 10.0),  # disconnect everybody, write a checkpoint, end
    (signal.SIGQUIT, 5.0),  # end at once; the next start recovers from the log
    (signal.SIGKILL, 5.0),
)
"""How a server is stopped: signal, and the seconds it gets to obey."""


def stop_leftovers(directory: Path) -> None:
    """End every PostgreSQL process that works in or below ``directory``.

    Blocks until they are gone, up to 20 s each; at once when there is none.
    """
    for number, seconds in ESCALATION:
        with _processes(directory) as pidfds:
            for pidfd in pidfds:
                with suppress(ProcessLookupError):
                    signal.pidfd_send_signal(pidfd, number)
            for pidfd in pidfds:
                select.select([pidfd], [], [], seconds)


@contextmanager
def _processes(directory: Path) -> Generator[list[int]]:
    pidfds: list[int] = []
    try:
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and _works_in(directory, entry):
                with suppress(ProcessLookupError):
                    pidfds.append(os.pidfd_open(int(entry.name)))
        yield pidfds
    finally:
        for pidfd in pidfds:
            os.close(pidfd)


def _works_in(directory: Path, process: Path) -> bool:
    try:
        name = (process / "comm").read_text().strip()
        # A zombie has no working directory, so it never counts: it holds nothing,
        # and where nobody reaps orphans it stays for ever.
        if name not in {"postgres", "initdb"}:
            return False
        return (process / "cwd").readlink().is_relative_to(directory)
    except OSError:
        return False
