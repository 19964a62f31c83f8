"""Starts PostgreSQL as a child in the foreground, watches it, stops it."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

import trio

from validator.adapters.embedded.binaries import usable_copy
from validator.adapters.embedded.directory import ClaimedDirectory
from validator.adapters.embedded.leftovers import ESCALATION, stop_leftovers
from validator.adapters.groups import ungrouped

T = TypeVar("T")

_START_LIMIT = 60.0  # seconds, for creating a cluster and for recovery at a start
_STOP_LIMIT = sum(seconds for _, seconds in ESCALATION) + 1
_LOG_TAIL = 2000  # bytes shown in an error
_PR_SET_PDEATHSIG = 1  # linux/prctl.h

_SETTINGS: Mapping[str, str] = {
    "listen_addresses": "",  # the unix socket only
    "port": "5432",
    "unix_socket_permissions": "0700",
    "cluster_name": "validator",
    "max_connections": "40",  # ours are 15, and others may look in
    "shared_buffers": "16MB",
    "max_wal_size": "64MB",
    "io_method": "sync",  # no worker processes for a database of this size
    "timezone": "UTC",
    # Files in the data directory: shared memory outside would outlive a kill.
    "dynamic_shared_memory_type": "mmap",
}


class PostgresDied(Exception):
    """The server (or the program that creates its data) ended by itself."""

    def __init__(self, program: str, reason: str, log: str) -> None:
        super().__init__(f"{program} {reason}; the end of its log:\n{log}")
        self.program = program
        self.reason = reason
        self.log = log


@asynccontextmanager
async def serve(directory: ClaimedDirectory) -> AsyncGenerator[str]:
    """Run a server on ``directory`` during the block; the value is its DSN.

    Creates the database first where there is none. May be entered again on the same
    directory, also after the server died: the DSN stays the same. On the way out,
    cancelled or not, the server is stopped within 21 s. When this process is
    killed, the kernel tells the server to stop.

    Enter it in a thread that lives longer than the block, such as the main one: the
    server ends with the thread that started it.

    Raises:
        PostgresDied: the server did not start, or ended by itself. In the second
            case the block is cancelled; an error that leaves the block at the same
            time comes with it, in an exception group.
    """
    programs = await _in_thread(partial(_prepare, directory))
    if not (directory.data / "PG_VERSION").exists():
        await _create_cluster(directory, programs)
    server = _spawn(_command(directory, programs), directory)
    try:
        with ungrouped():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_watch, server, directory)
                await _ready(server, directory)
                yield directory.dsn
                nursery.cancel_scope.cancel()
    finally:
        with trio.move_on_after(_STOP_LIMIT, shield=True):
            await _stop(server)


def _prepare(directory: ClaimedDirectory) -> Path:
    """Clear away what an earlier server left; return where the programs are."""
    stop_leftovers(directory.data.parent)
    # Nobody works there any more, so the lock file is stale. The server would not
    # see that while its dead predecessor waits, as a zombie, to be reaped.
    (directory.data / "postmaster.pid").unlink(missing_ok=True)
    shutil.rmtree(_scratch(directory), ignore_errors=True)
    _log(directory).unlink(missing_ok=True)
    shutil.rmtree(directory.socket, ignore_errors=True)
    _make_private(directory.socket, directory)
    return usable_copy(directory.account, directory.run / "programs")


def _make_private(path: Path, directory: ClaimedDirectory) -> None:
    path.mkdir(mode=0o700)
    if directory.account is not None:
        os.chown(path, directory.account.uid, directory.account.gid)


async def _create_cluster(directory: ClaimedDirectory, programs: Path) -> None:
    # Created beside and renamed, so that a run killed half-way leaves no half
    # database under the final name.
    scratch = _scratch(directory)
    _make_private(scratch, directory)
    command = [
        *(str(programs / "bin" / "initdb"), "-D", str(scratch)),
        *("-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C"),
        *("--wal-segsize=1", "--no-instructions"),
        *([] if directory.durable else ["--no-sync"]),
    ]
    process = _spawn(command, directory)
    try:
        with trio.move_on_after(_START_LIMIT) as scope:
            await _ended(process)
    finally:
        with trio.move_on_after(_STOP_LIMIT, shield=True):
            await _stop(process)
    if process.returncode != 0:
        ending = "took too long" if scope.cancelled_caught else _status(process)
        raise PostgresDied("initdb", ending, _tail(directory))
    scratch.rename(directory.data)


def _command(directory: ClaimedDirectory, programs: Path) -> Sequence[str]:
    settings = {
        **_SETTINGS,
        "unix_socket_directories": str(directory.socket),
        "fsync": "on" if directory.durable else "off",
    }
    return [
        *(str(programs / "bin" / "postgres"), "-D", str(directory.data)),
        *(f"--{name}={value}" for name, value in settings.items()),
    ]


def _spawn(
    command: Sequence[str], directory: ClaimedDirectory
) -> subprocess.Popen[bytes]:
    account = directory.account
    # Not trio's own way to start processes: that forks in a worker thread, and the
    # kernel sends the parent-death signal when the forking *thread* ends.
    with _log(directory).open("ab") as log:
        return subprocess.Popen(  # noqa: S603 - the command is ours
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"},
            cwd=directory.data.parent,
            # Ctrl-C on the terminal is for us; we stop the server in our order.
            start_new_session=True,
            # The only place after the change of account (which clears the signal)
            # and before the program; it calls nothing that takes a lock.
            preexec_fn=_die_with_parent(),  # noqa: PLW1509
            user=None if account is None else account.uid,
            group=None if account is None else account.gid,
            extra_groups=None if account is None else [],
        )


def _die_with_parent() -> Callable[[], None]:
    parent = os.getpid()
    prctl = ctypes.CDLL(None, use_errno=True).prctl

    def arm() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGINT)
        if os.getppid() != parent:  # it died before the signal was armed
            os._exit(1)

    return arm


async def _ready(server: subprocess.Popen[bytes], directory: ClaimedDirectory) -> None:
    with trio.move_on_after(_START_LIMIT):
        while not _says_ready(server.pid, directory.data / "postmaster.pid"):  # noqa: ASYNC110 - a file gives no events
            await trio.sleep(0.01)
        return
    raise PostgresDied("postgres", "did not get ready in time", _tail(directory))


def _says_ready(pid: int, lock_file: Path) -> bool:
    # The eighth line is the server's state (miscadmin.h, LOCK_FILE_LINE_PM_STATUS).
    try:
        lines = lock_file.read_text().splitlines()
    except FileNotFoundError:
        return False
    return lines[:1] == [str(pid)] and [s.strip() for s in lines[7:8]] == ["ready"]


async def _watch(server: subprocess.Popen[bytes], directory: ClaimedDirectory) -> None:
    await _ended(server)
    raise PostgresDied("postgres", _status(server), _tail(directory))


async def _ended(process: subprocess.Popen[bytes]) -> None:
    """Wait until the process has ended, and reap it."""
    if process.poll() is not None:
        return
    pidfd = os.pidfd_open(process.pid)
    try:
        await trio.lowlevel.wait_readable(pidfd)
    finally:
        trio.lowlevel.notify_closing(pidfd)
        os.close(pidfd)
    process.wait()


async def _stop(process: subprocess.Popen[bytes]) -> None:
    for number, seconds in ESCALATION:
        if process.poll() is None:
            process.send_signal(number)
            with trio.move_on_after(seconds):
                await _ended(process)


def _status(process: subprocess.Popen[bytes]) -> str:
    code = process.returncode
    return f"was killed by signal {-code}" if code < 0 else f"ended with status {code}"


def _tail(directory: ClaimedDirectory) -> str:
    with _log(directory).open("rb") as log:
        log.seek(0, os.SEEK_END)
        log.seek(max(0, log.tell() - _LOG_TAIL))
        return log.read().decode(errors="replace").strip()


def _scratch(directory: ClaimedDirectory) -> Path:
    return directory.data.with_name("cluster.new")


def _log(directory: ClaimedDirectory) -> Path:
    return directory.run / "server.log"


async def _in_thread(blocking: Callable[[], T]) -> T:
    return await trio.to_thread.run_sync(blocking, limiter=trio.CapacityLimiter(1))
