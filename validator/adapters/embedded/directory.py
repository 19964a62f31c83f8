"""Which directory the server lives in, and that it is ours alone.

A directory is owned by holding an exclusive ``flock`` on it: the kernel gives it
back however the owner ends, so a lock never outlives its owner. Everything here
blocks (up to a minute when a killed run's server has to be stopped): call it before
the event loop starts.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

import attrs

from validator.adapters.embedded.binaries import (
    MAJOR,
    Account,
    installed,
    service_account,
)
from validator.adapters.embedded.leftovers import stop_leftovers

PREFIX = "validator-demo-"
_SOCKET = "socket/.s.PGSQL.5432"
_SOCKET_LIMIT = 107  # bytes of a unix socket's path, without the final NUL


class DataDirInUse(Exception):
    """Another running process owns the directory; nothing was changed."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"data directory {path} is in use by another run; "
            "stop that one first or give another directory"
        )
        self.path = path


class DataDirUnusable(Exception):
    """The directory cannot hold the database; says why. Nothing was started."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"data directory {path} cannot be used: {reason}")
        self.path = path
        self.reason = reason


@attrs.frozen(kw_only=True)
class ClaimedDirectory:
    """A directory that is ours until the claim ends; what ``serve`` works on."""

    data: Path
    """The database cluster. Its parent is ours too."""
    run: Path
    """Socket, log, copies of programs: gone when the claim ends."""
    account: Account | None
    """Who the server runs as; None: who we run as."""
    durable: bool
    """Whether the data must survive a crash of the machine."""

    @property
    def socket(self) -> Path:
        """The directory of the server's unix socket."""
        return self.run / "socket"

    @property
    def dsn(self) -> str:
        """How to connect to the server, whenever it runs."""
        return f"postgresql://postgres@/postgres?host={self.socket}&port=5432"


@contextmanager
def claim_directory(path: Path) -> Generator[ClaimedDirectory]:
    """Own ``path`` and keep a database in it; created if its parent exists.

    Refuses before anything is started, and leaves foreign files and the permissions
    of existing directories alone.

    Raises:
        DataDirInUse: another running process owns it.
        DataDirUnusable: not a directory, not ours, not writable, holds something
            else, or the server's account may not go there.
        PostgresMissing: the embedded PostgreSQL is not installed.
    """
    installed()
    account = service_account()
    home = path.absolute()
    try:
        home = path.resolve()
        _create(home, account)
        _check(home, account)
        lock = _try_lock(home)
    except OSError as error:
        raise DataDirUnusable(home, error.strerror or str(error)) from error
    if lock is None:
        raise DataDirInUse(home)
    try:
        with _run_directory(account) as run:
            yield ClaimedDirectory(
                data=home / "cluster", run=run, account=account, durable=True
            )
    finally:
        os.close(lock)


@contextmanager
def private_directory() -> Generator[ClaimedDirectory]:
    """Own a fresh directory under TMPDIR, removed at the end with all it holds.

    What killed runs of this account left there is removed first, and their servers
    are stopped. Runs side by side do not disturb each other.

    Raises:
        DataDirUnusable: no directory for temporary files can be used.
        PostgresMissing: the embedded PostgreSQL is not installed.
    """
    installed()
    account = service_account()
    with _run_directory(account) as run:
        yield ClaimedDirectory(
            data=run / "cluster", run=run, account=account, durable=False
        )


def _create(home: Path, account: Account | None) -> None:
    if home.exists():
        return
    if account is not None and not account.reaches(home.parent):
        raise DataDirUnusable(home, _unreachable(account))
    home.mkdir()
    home.chmod(_mode(account))


def _check(home: Path, account: Account | None) -> None:
    # Asked in the order in which the answers help: what it is, whose it is, what
    # is in it.
    if not home.is_dir():
        raise DataDirUnusable(home, "it is not a directory")
    if home.stat().st_uid != os.geteuid():
        raise DataDirUnusable(home, "it belongs to another user")
    if not os.access(home, os.R_OK | os.W_OK | os.X_OK):
        raise DataDirUnusable(home, "it is not writable")
    if account is not None and not account.reaches(home):
        raise DataDirUnusable(home, _unreachable(account))
    names = {entry.name for entry in home.iterdir()}
    if names and not any(name.startswith("cluster") for name in names):
        raise DataDirUnusable(home, "it holds other files; give an empty directory")
    version = home / "cluster" / "PG_VERSION"
    if version.exists() and (found := version.read_text().strip()) != str(MAJOR):
        raise DataDirUnusable(
            home, f"its data is of PostgreSQL {found}, this program runs {MAJOR}"
        )


def _unreachable(account: Account) -> str:
    return (
        f"account {account.name!r}, as which the server runs for root, may not go "
        "there; give a directory it can reach"
    )


def _mode(account: Account | None) -> int:
    # The server's own account has to pass through, but need not list.
    return 0o700 if account is None else 0o711


def _try_lock(directory: Path) -> int | None:
    """Return the descriptor that holds the lock; None: taken, or just removed."""
    try:
        lock = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Between opening and locking, its former owner may have removed it.
        if os.path.samestat(os.fstat(lock), directory.stat()):
            return lock
    except (BlockingIOError, FileNotFoundError):
        pass
    except BaseException:
        os.close(lock)
        raise
    os.close(lock)
    return None


@contextmanager
def _run_directory(account: Account | None) -> Generator[Path]:
    base = _base(account)
    _remove_stale(base)
    while True:
        path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=base))
        # A neighbour clearing up may take a directory that is not locked yet.
        if (lock := _try_lock(path)) is not None:
            break
    try:
        path.chmod(_mode(account))
        yield path
    finally:
        try:
            _remove(path)
        finally:
            os.close(lock)


def _base(account: Account | None) -> Path:
    wanted = Path(tempfile.gettempdir()).resolve()
    for base in (wanted, Path("/tmp")):  # noqa: S108 - the name inside is random
        socket = base / f"{PREFIX}12345678" / _SOCKET
        if (
            len(os.fsencode(socket)) <= _SOCKET_LIMIT
            # Other characters mean something in a DSN or in the server's settings.
            and re.fullmatch(r"[A-Za-z0-9._/-]+", str(base))
            and os.access(base, os.W_OK | os.X_OK)
            and (account is None or account.reaches(base))
        ):
            return base
    raise DataDirUnusable(
        wanted, "no short path for temporary files; set TMPDIR to a reachable one"
    )


def _remove_stale(base: Path) -> None:
    for path in base.glob(f"{PREFIX}*"):
        # What cannot be removed must not keep us from starting.
        with suppress(OSError):
            status = path.lstat()
            if status.st_uid != os.geteuid() or not stat.S_ISDIR(status.st_mode):
                continue
            lock = _try_lock(path)
            if lock is not None:
                try:
                    _remove(path)
                finally:
                    os.close(lock)


def _remove(path: Path) -> None:
    stop_leftovers(path)
    shutil.rmtree(path)
