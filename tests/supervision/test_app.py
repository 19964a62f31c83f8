"""A process around a tree: what it exits with, and what it tells its manager."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio

from actors import Actor, Exit
from supervision import Child, MaxRestarts, System, SystemFailed
from supervision.app import EXIT_STUCK, App, run_app

pytestmark = pytest.mark.real

PATIENCE = 30.0
"""Seconds after which a test gives up; it does not depend on the speed."""


class Tidy(Actor):
    """Notes that it was stopped in order."""

    def __init__(self, said: list[str]) -> None:
        self._said = said

    async def stopping(self, exit_: Exit) -> None:
        self._said.append(exit_.kind)


# -- exit codes ---------------------------------------------------------------------


@pytest.mark.parametrize(("returned", "code"), [(None, 0), (0, 0), (3, 3)])
def test_the_exit_code_is_what_main_returns(returned: int | None, code: int) -> None:
    said: list[str] = []

    async def main(app: App) -> int | None:
        async with app.serve(System(Child("tidy", lambda: Tidy(said)))):
            return returned

    assert run_app(main) == code
    assert said == ["shutdown"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_the_tree_in_order(number: signal.Signals) -> None:
    said: list[str] = []

    async def main(app: App) -> None:
        async with app.serve(System(Child("tidy", lambda: Tidy(said)))):
            os.kill(os.getpid(), number)
            await trio.sleep(PATIENCE)

    before = signal.getsignal(number)
    assert run_app(main) == 128 + number
    assert said == ["shutdown"]
    assert signal.getsignal(number) is before


def test_what_main_raises_is_raised_unchanged() -> None:
    async def main(app: App) -> None:
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        run_app(main)


def test_a_tree_that_gives_up_fails_the_process() -> None:
    class Broken(Actor):
        async def run(self) -> None:
            raise ValueError("broken")

    async def main(app: App) -> None:
        async with app.serve(System(Child("broken", Broken))):
            await trio.sleep(PATIENCE)

    with pytest.raises(SystemFailed, match="app has failed") as caught:
        run_app(main)
    assert isinstance(caught.value.__cause__, MaxRestarts)


def test_it_has_to_be_the_main_thread() -> None:
    async def main(app: App) -> None:
        raise AssertionError

    async def elsewhere() -> None:
        await trio.to_thread.run_sync(run_app, main)

    with pytest.raises(RuntimeError, match="only the main thread"):
        trio.run(elsewhere)


def test_a_limit_that_is_none_is_refused() -> None:
    async def main(app: App) -> None:
        raise AssertionError

    with pytest.raises(ValueError, match="stuck_exit must be positive"):
        run_app(main, stuck_exit=0)


# -- as a process -------------------------------------------------------------------

PREAMBLE = """
import sys, attrs, trio
from actors import Actor, Tell
from supervision import Child, System
from supervision.app import run_app
from supervision import StopChild

class Hanging(Actor):
    async def leave(self, exit_):
        print("leaving", flush=True)
        await trio.sleep_forever()  # shielded, and not bounded

@attrs.frozen
class Work(Tell["Slow"]):
    pass

class Slow(Actor):
    async def started(self):
        self.ctx.cleanup("tidy", self.tidy)
        self.ctx.me.tell(Work())
    async def tidy(self):
        print("tidied up", flush=True)
    @Work.handled
    async def work(self, m: Work) -> None:
        print("working", flush=True)
        await trio.sleep_forever()
"""


@contextmanager
def process(code: str, **environ: str) -> Iterator[subprocess.Popen[str]]:
    started = subprocess.Popen(
        [sys.executable, "-c", PREAMBLE + code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environ},
    )
    try:
        yield started
    finally:
        started.kill()
        started.communicate()


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


STUCK = """
async def main(app):
    stuck = Child("stuck", Hanging, shutdown=0, cleanup=0)
    async with app.serve(System(stuck)) as system:
        await system.root.ask(StopChild("stuck"))

sys.exit(run_app(main, stuck_exit=0.5))
"""


def test_an_actor_that_stays_stuck_ends_the_process_with_a_code_of_its_own() -> None:
    with process(STUCK) as app:
        _, errors = app.communicate(timeout=PATIENCE)
    assert app.returncode == EXIT_STUCK == 70
    assert errors.startswith("app/stuck, incarnation 1, has been stuck for ")


OVERDUE = """
async def main(app):
    stuck = Child("stuck", Hanging, shutdown=0, cleanup=0)
    async with app.serve(System(stuck, shutdown=2)):
        pass

sys.exit(run_app(main))
"""


def test_a_stop_that_hangs_ends_the_process_when_its_time_is_over() -> None:
    with process(OVERDUE) as app:
        _, errors = app.communicate(timeout=PATIENCE)
    assert app.returncode == EXIT_STUCK
    first, *_, last = errors.splitlines()
    assert first == "app cannot end, and its time to is over:"
    assert "app/stuck would not die:" in errors
    assert any(line.endswith("leave") for line in errors.splitlines()), "where"
    assert last.strip() == "the process ends with exit code 70"


def test_a_failure_is_on_standard_error_and_the_code_is_1() -> None:
    with process("async def main(app): 1 / 0\nsys.exit(run_app(main))") as app:
        _, errors = app.communicate(timeout=PATIENCE)
    assert app.returncode == 1
    assert errors.splitlines()[-1] == "ZeroDivisionError: division by zero"


PATIENT = """
async def main(app):
    slow = Child("slow", Slow, shutdown=1000, handler_timeout=None)
    async with app.serve(System(slow, shutdown=1000)):
        await trio.sleep_forever()

sys.exit(run_app(main))
"""


def test_a_second_signal_ends_the_patience_but_not_the_cleanup() -> None:
    with process(PATIENT) as app:
        assert said(app) == "working"
        app.send_signal(signal.SIGINT)
        app.send_signal(signal.SIGTERM)
        output, _ = app.communicate(timeout=PATIENCE)
    assert output == "tidied up\n"
    assert app.returncode == 130, "the first signal counts"


HANGING = """
async def main(app):
    async with app.serve(System(Child("hanging", Hanging))):
        print("up", flush=True)
        await trio.sleep_forever()

sys.exit(run_app(main))
"""


def test_a_third_signal_ends_the_process_at_once() -> None:
    with process(HANGING) as app:
        assert said(app) == "up"
        app.send_signal(signal.SIGINT)
        assert said(app) == "leaving"
        # Different ones: signals of one kind that are pending together are one.
        app.send_signal(signal.SIGTERM)
        app.send_signal(signal.SIGINT)
        _, errors = app.communicate(timeout=PATIENCE)
    assert app.returncode in {130, 143}, "whichever arrived last"
    assert errors.startswith("ended at once by a third SIG")


# -- the service manager ------------------------------------------------------------


class Manager:
    """A service manager's end of the socket."""

    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address)
        self._socket.settimeout(PATIENCE)

    def heard(self) -> str:
        return self._socket.recv(4096).decode()

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def manager(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Manager]:
    name = f"/actor-tree-test-{os.getpid()}"
    if request.param == "path":
        name = str(tmp_path / "notify")
        manager = Manager(name)
        monkeypatch.setenv("NOTIFY_SOCKET", name)
    else:
        manager = Manager(f"\0{name}")
        monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")
    yield manager
    manager.close()


def test_the_service_manager_is_told_of_start_state_and_stop(manager: Manager) -> None:
    async def main(app: App) -> None:
        app.status("reading\nsettings")
        async with app.serve(System(Child("tidy", lambda: Tidy([])))):
            os.kill(os.getpid(), signal.SIGTERM)
            await trio.sleep(PATIENCE)

    run_app(main)

    assert manager.heard() == "STATUS=reading settings"
    assert manager.heard() == "READY=1\nSTATUS=running"
    assert manager.heard() == "STOPPING=1\nSTATUS=stopping: SIGTERM"


def test_signs_of_life_come_at_half_of_the_interval_also_while_stopping(
    manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "100000")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))

    class Lingering(Actor):
        async def stopping(self, exit_: Exit) -> None:
            await trio.sleep(0.5)

    async def main(app: App) -> None:
        async with app.serve(System(Child("lingering", Lingering))):
            pass

    run_app(main)

    signs = 0
    while manager.heard() != "READY=1\nSTATUS=running":
        pass
    while signs < 5:
        assert manager.heard() == "WATCHDOG=1"
        signs += 1
