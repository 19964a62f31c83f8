"""The embedded server against everything that can happen to it and its owner."""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest
import trio

import validator
from validator.adapters.embedded import (
    ClaimedDirectory,
    DataDirInUse,
    DataDirUnusable,
    PostgresDied,
    PostgresMissing,
    claim_directory,
    private_directory,
    serve,
)
from validator.adapters.embedded.binaries import PACKAGE, Account
from validator.adapters.postgres import check_dsn

AS_ROOT = os.geteuid() == 0

OWNER = """
import sys, trio
from pathlib import Path
from validator.adapters.embedded import claim_directory, private_directory, serve

async def main(directory):
    async with serve(directory):
        pid = (directory.data / "postmaster.pid").read_text().split()[0]
        print(directory.run, pid, flush=True)
        await trio.sleep_forever()

claim = claim_directory(Path(sys.argv[1])) if sys.argv[1:] else private_directory()
with claim as directory:
    trio.run(main, directory)
"""


@pytest.fixture
def base(monkeypatch: pytest.MonkeyPatch) -> Generator[Path]:
    """A TMPDIR of the test's own, short and open enough for the server's account."""
    with tempfile.TemporaryDirectory(prefix="pg", dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        monkeypatch.setenv("TMPDIR", folder)
        monkeypatch.setattr(tempfile, "tempdir", folder)
        yield Path(folder)


def start_owner(
    *arguments: str, python: str = sys.executable, user: str | None = None
) -> tuple[subprocess.Popen[str], Path, int]:
    """Run a server in a process of its own: the process, run folder, server's pid."""
    path = [Path(validator.__file__).parent.parent, Path(trio.__file__).parent.parent]
    owner = subprocess.Popen(
        [python, "-c", OWNER, *arguments],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": ":".join(map(str, path))},
        cwd="/",
        user=user,
        group=None if user is None else "nogroup",
        extra_groups=None if user is None else [],
    )
    assert owner.stdout is not None
    run, _, pid = owner.stdout.readline().rpartition(" ")
    owner.stdout.close()
    assert pid, "the owner did not start its server"
    return owner, Path(run), int(pid)


def gone(pid: int, within: float = 5) -> bool:
    """Whether the process ends within some seconds, reaped or not."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([pidfd], [], [], within)[0])
    finally:
        os.close(pidfd)


@contextmanager
def zombie(account: Account | None) -> Generator[int]:
    """Hold a dead process of the server's account that nobody has reaped."""
    process = subprocess.Popen(
        ["/bin/true"], user=None if account is None else account.uid
    )
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    yield process.pid
    process.wait()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def postmaster(directory: ClaimedDirectory) -> int:
    return int((directory.data / "postmaster.pid").read_text().split()[0])


# --- a life without accidents ------------------------------------------------


@pytest.mark.real
async def test_a_private_server_answers_and_leaves_nothing(base: Path) -> None:
    with private_directory() as directory:
        async with serve(directory) as dsn:
            pid = postmaster(directory)
            await check_dsn(dsn, schema="any")
        assert gone(pid)
    assert names(base) == []


@pytest.mark.real
async def test_two_private_servers_run_side_by_side(base: Path) -> None:
    with private_directory() as one, private_directory() as other:
        async with serve(one) as dsn, serve(other) as other_dsn:
            assert dsn != other_dsn
            await check_dsn(dsn, schema="any")
            await check_dsn(other_dsn, schema="any")


@pytest.mark.real
async def test_a_kept_directory_keeps_its_data_and_nothing_else(base: Path) -> None:
    home = base / "kept"
    for _ in range(2):
        with claim_directory(home) as directory:
            async with serve(directory) as dsn:
                await check_dsn(dsn, schema="any")
        assert names(home) == ["cluster"]
        assert names(base) == ["kept"]


@pytest.mark.real
async def test_a_cancelled_owner_stops_its_server(base: Path) -> None:
    with private_directory() as directory:
        with trio.move_on_after(30) as scope:
            async with serve(directory):
                pid = postmaster(directory)
                scope.cancel()
                await trio.sleep_forever()
        assert scope.cancelled_caught
        assert gone(pid)


@pytest.mark.real
async def test_an_error_in_the_block_comes_out_as_itself(base: Path) -> None:
    with private_directory() as directory:
        with pytest.raises(KeyError):
            async with serve(directory):
                raise KeyError("mine")


# --- accidents ---------------------------------------------------------------


@pytest.mark.real
async def test_a_killed_server_is_reported_and_can_be_served_again(base: Path) -> None:
    with private_directory() as directory:
        with pytest.raises(PostgresDied, match="killed by signal 9") as caught:
            async with serve(directory) as before:
                os.kill(postmaster(directory), signal.SIGKILL)
                await trio.sleep_forever()
        assert "ready to accept connections" in caught.value.log

        async with serve(directory) as dsn:
            assert dsn == before
            await check_dsn(dsn, schema="any")


@pytest.mark.real
async def test_a_server_that_cannot_start_shows_its_log(base: Path) -> None:
    with private_directory() as directory:
        async with serve(directory):
            pass
        with (directory.data / "postgresql.conf").open("a") as settings:
            settings.write("no_such_setting = 1\n")

        with pytest.raises(PostgresDied, match="no_such_setting"):
            async with serve(directory):
                pytest.fail("started")


@pytest.mark.real
def test_the_server_goes_with_a_killed_owner_and_its_folder_at_the_next_start(
    base: Path,
) -> None:
    owner, run, pid = start_owner()
    owner.kill()
    owner.wait()

    assert gone(pid)
    assert run.is_dir()
    with private_directory():
        assert not run.exists()


@pytest.mark.real
async def test_a_server_that_outlived_its_owner_is_stopped_at_the_next_start(
    base: Path,
) -> None:
    home = base / "kept"
    owner, _, pid = start_owner(str(home))
    os.kill(pid, signal.SIGSTOP)  # it cannot obey the kernel's signal
    owner.kill()
    owner.wait()
    os.kill(pid, signal.SIGCONT)

    with claim_directory(home) as directory:
        async with serve(directory) as dsn:
            await check_dsn(dsn, schema="any")
        assert gone(pid)


@pytest.mark.real
def test_the_folder_of_a_run_killed_with_its_server_is_removed(base: Path) -> None:
    owner, run, pid = start_owner()
    os.kill(pid, signal.SIGSTOP)  # so that it cannot clear up before it is killed
    owner.kill()
    owner.wait()
    os.kill(pid, signal.SIGKILL)

    with private_directory():
        assert not run.exists()


@pytest.mark.real
def test_the_server_of_a_killed_run_is_stopped_before_its_folder_goes(
    base: Path,
) -> None:
    owner, _, pid = start_owner()
    os.kill(pid, signal.SIGSTOP)
    owner.kill()
    owner.wait()
    revival = threading.Timer(0.5, os.kill, (pid, signal.SIGCONT))
    revival.start()

    with private_directory():
        assert gone(pid, within=0)
    revival.join()


@pytest.mark.real
async def test_the_lock_file_of_an_unreaped_server_is_no_hindrance(base: Path) -> None:
    with private_directory() as directory:
        async with serve(directory):
            pass
        with zombie(directory.account) as pid:
            (directory.data / "postmaster.pid").write_text(f"{pid}\n")
            async with serve(directory) as dsn:
                await check_dsn(dsn, schema="any")


# --- whose directory it is ---------------------------------------------------


@pytest.mark.real
def test_a_second_owner_is_refused_while_the_first_one_lives(base: Path) -> None:
    home = base / "kept"
    owner, _, _ = start_owner(str(home))
    try:
        with pytest.raises(DataDirInUse, match="stop that one first") as caught:
            with claim_directory(home):
                pytest.fail("claimed")
        assert "\n" not in str(caught.value)
    finally:
        owner.terminate()
        owner.wait()
    with claim_directory(home):
        pass


def test_a_claim_of_the_same_process_is_refused_too(base: Path) -> None:
    with claim_directory(base / "kept"):
        with pytest.raises(DataDirInUse):
            with claim_directory(base / "kept"):
                pytest.fail("claimed")


def make_file(path: Path) -> None:
    path.write_text("")


def make_full(path: Path) -> None:
    path.mkdir()
    (path / "thesis.tex").write_text("")


def make_older(path: Path) -> None:
    (path / "cluster").mkdir(parents=True)
    (path / "cluster" / "PG_VERSION").write_text("16\n")


def make_orphan(path: Path) -> None:
    """Leave even the parent out."""
    path.parent.rmdir()


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (make_file, "not a directory"),
        (make_full, "holds other files"),
        (make_older, "PostgreSQL 16"),
        (make_orphan, "No such file"),
    ],
)
def test_an_unusable_directory_is_refused_in_one_line(
    base: Path, make: Callable[[Path], None], reason: str
) -> None:
    home = base / "parent" / "kept"
    home.parent.mkdir()
    make(home)

    with pytest.raises(DataDirUnusable, match=reason) as caught:
        with claim_directory(home):
            pytest.fail("claimed")

    assert str(home) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(not AS_ROOT, reason="only root's server runs as another account")
def test_a_directory_the_servers_account_may_not_enter_is_refused_not_opened(
    base: Path,
) -> None:
    base.chmod(0o700)
    with pytest.raises(DataDirUnusable, match="may not go there"):
        with claim_directory(base / "kept"):
            pytest.fail("claimed")

    assert mode(base) == 0o700
    assert names(base) == []


@pytest.mark.skipif(AS_ROOT, reason="root may write everywhere")
def test_a_directory_we_may_not_write_to_is_refused(base: Path) -> None:
    home = base / "kept"
    home.mkdir(0o500)
    with pytest.raises(DataDirUnusable, match="not writable"):
        with claim_directory(home):
            pytest.fail("claimed")


@pytest.mark.real
async def test_a_path_too_long_for_a_socket_is_no_hindrance(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = base / ("d" * 60) / ("e" * 60)
    deep.mkdir(parents=True)
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    with claim_directory(deep / "kept") as directory:
        async with serve(directory) as dsn:
            await check_dsn(dsn, schema="any")


# --- where the programs are --------------------------------------------------


def test_without_the_programs_the_extra_to_install_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(PostgresMissing, match=r"actor-tree\[validator\]"):
        with private_directory():
            pytest.fail("started")


@pytest.mark.real
@pytest.mark.skipif(not AS_ROOT, reason="only root's server runs as another account")
async def test_programs_below_a_closed_home_are_copied(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = find_spec(PACKAGE)
    assert spec is not None
    assert spec.origin is not None
    package = Path(spec.origin).parent
    closed = base / "home"
    closed.mkdir(0o700)
    ignored = shutil.ignore_patterns("*.a", "include", "pginstall")
    for source in (package, package.with_name(f"{PACKAGE}.libs")):
        shutil.copytree(source, closed / source.name, symlinks=True, ignore=ignored)
    monkeypatch.syspath_prepend(closed)

    with private_directory() as directory:
        async with serve(directory) as dsn:
            await check_dsn(dsn, schema="any")
            assert (directory.run / "programs").is_dir()
    assert mode(closed) == 0o700


@pytest.mark.real
@pytest.mark.skipif(not AS_ROOT, reason="the other tests run as a user already")
def test_it_runs_for_an_ordinary_user_too(base: Path) -> None:
    python = shutil.which("python{}.{}".format(*sys.version_info), path="/usr/bin")
    nobody = Account("nobody", 65534, 65534)
    needed = [python, trio.__file__, validator.__file__]
    if not all(path and nobody.reaches(Path(path).parent) for path in needed):
        pytest.skip("no Python and packages that an ordinary user can reach")
    assert python is not None
    os.chown(base, nobody.uid, nobody.gid)

    owner, run, pid = start_owner(python=python, user="nobody")
    assert run.owner() == "nobody"
    owner.send_signal(signal.SIGKILL)
    owner.wait()

    assert gone(pid)


@pytest.mark.real
async def test_the_socket_is_closed_to_other_users(base: Path) -> None:
    with private_directory() as directory:
        async with serve(directory) as dsn:
            folder = dsn.partition("host=")[2].partition("&")[0]
            assert mode(Path(folder)) == mode(Path(folder, ".s.PGSQL.5432")) == 0o700
