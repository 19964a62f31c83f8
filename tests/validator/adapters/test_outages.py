"""The server itself is restarted, is away, or fills up; or the validator is killed.

Counts and times are samples; ``pytest --hypothesis-profile=soak`` takes them all.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from random import Random

import psutil
import pytest
import trio
from killed_writer import OWNER
from storms import (
    DEADLINE,
    FIRST,
    HOUR,
    Ledger,
    look,
    no_backend_is_left,
    running,
)

from actors import AskTimeout, Rejected
from actors.events import Event
from supervision.events import Restarted
from validator.actors.questions import (
    Ping,
    ProcessingRows,
    RegisterMiners,
    ReleaseClaims,
    SavePredictions,
)
from validator.adapters import embedded
from validator.domain.dst import ScaledDst
from validator.domain.metagraph import Miner
from validator.domain.scoring import Prediction
from validator.ports import StoreUnavailable

pytestmark = pytest.mark.real

START = 40.0
"""Seconds that a program may need to start on a machine that is not ours alone."""

HERE = Path(__file__).parent
CHECKOUT = HERE.parents[2]


@pytest.fixture
def soak(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--hypothesis-profile") == "soak")


class Server:
    """A server of this test's own, which may die and come back."""

    def __init__(
        self, directory: embedded.ClaimedDirectory, nursery: trio.Nursery
    ) -> None:
        self.dsn = directory.dsn
        self._directory = directory
        self._nursery = nursery

    @property
    def process(self) -> psutil.Process:
        lines = (self._directory.data / "postmaster.pid").read_text().splitlines()
        return psutil.Process(int(lines[0]))

    async def start(self) -> None:
        await self._nursery.start(self._serve)

    async def _serve(self, task_status: trio.TaskStatus[None]) -> None:
        try:
            async with embedded.serve(self._directory):
                task_status.started()
                await trio.sleep_forever()
        except embedded.PostgresDied:
            pass

    async def limit_files(self, size: str) -> None:
        """Let no file of the server grow beyond so many bytes."""
        account = self._directory.account
        user, group = (account.uid, account.gid) if account else (None, None)
        for process in (self.process, *self.process.children()):
            # The soft limit, and as its own user: raising it again needs no rights.
            command = ["prlimit", "--pid", f"{process.pid}", f"--fsize={size}:"]
            await trio.run_process(command, user=user, group=group)

    async def end_immediately(self) -> None:
        """As an operator does with ``pg_ctl stop -m immediate``."""
        process = self.process
        process.send_signal(signal.SIGQUIT)
        with trio.fail_after(10):
            while process.is_running() and process.status() != "zombie":  # noqa: ASYNC110
                await trio.sleep(0.01)
        await trio.sleep(0.1)


@asynccontextmanager
async def server() -> AsyncGenerator[Server]:
    with embedded.private_directory() as directory:
        async with trio.open_nursery() as nursery:
            one = Server(directory, nursery)
            await one.start()
            yield one
            nursery.cancel_scope.cancel()


async def test_a_server_that_is_restarted_costs_nobody_anything(
    events: list[Event],
) -> None:
    async with server() as one, running(one.dsn, events) as ref:
        ledger = Ledger(ref)
        async with ledger.under_load():
            for _ in range(3):
                # Between two outages something succeeds: they are no row of failures.
                await ledger.write()
                await one.end_immediately()
                await one.start()
            await ledger.write()
        await ledger.check()
        assert ledger.failed == 0
    assert not [event for event in events if isinstance(event, Restarted)]


async def test_a_server_may_be_away_for_a_while(
    events: list[Event], *, soak: bool
) -> None:
    away = 20 if soak else 4
    async with server() as one:
        async with running(one.dsn, events) as ref:
            ledger = Ledger(ref)
            async with ledger.under_load():
                await trio.sleep(0.5)
                await one.end_immediately()
                await trio.sleep(away)
                await one.start()
                await trio.sleep(1)
            await ledger.check()
            if away < DEADLINE:
                assert ledger.failed == 0, "it was back before anybody gave up"
        await no_backend_is_left(one.dsn)


def predictions(first: datetime, count: int) -> tuple[Prediction, ...]:
    return tuple(
        Prediction(first + n * HOUR, "a", ScaledDst(-1.0)) for n in range(count)
    )


@pytest.mark.skipif(not shutil.which("prlimit"), reason="it comes with util-linux")
async def test_a_full_disk_is_an_answer_and_no_end(events: list[Event]) -> None:
    async with server() as one, running(one.dsn, events) as ref:
        ledger = Ledger(ref)
        await ref.ask(
            RegisterMiners((Miner(1, "a", "127.0.0.1", 1),)), timeout=DEADLINE
        )
        await ledger.write()
        await one.limit_files(f"{2 * 2**20}")
        hours = predictions(FIRST, 5000)
        with pytest.raises((Rejected, AskTimeout)) as caught:
            for n in range(1, 20):
                hours = predictions(FIRST + n * 5000 * HOUR, 5000)
                await ref.ask(SavePredictions(hours), timeout=2 * DEADLINE)
        # The last of its tries may still be under way when its time is over.
        if isinstance(caught.value, Rejected):
            assert isinstance(caught.value.__cause__, StoreUnavailable)
        await ref.ask(Ping(), timeout=DEADLINE)

        await one.limit_files("unlimited")
        await ref.ask(SavePredictions(hours), timeout=DEADLINE)
        await ledger.write()
        await ledger.check()
    assert not [event for event in events if isinstance(event, Restarted)]


async def test_a_validator_that_is_killed_loses_nothing_that_was_acknowledged(
    events: list[Event], *, soak: bool
) -> None:
    random = Random(9)
    acknowledged: set[int] = set()
    async with server() as one:
        async with running(one.dsn, events):
            pass  # makes the schema
        for n in range(50 if soak else 4):
            acknowledged |= await run_and_kill(one.dsn, n, random.uniform(0.02, 0.5))
        assert acknowledged

        async with running(one.dsn, events, fresh=False) as ref:
            await ref.ask(ReleaseClaims(OWNER), timeout=DEADLINE)
            assert await ref.ask(ProcessingRows(), timeout=DEADLINE) == 0
            ledger = Ledger(ref)
            ledger.acknowledged = {FIRST + n * HOUR for n in acknowledged}
            await ledger.check()
        stored = await look(
            one.dsn, "SELECT count(*) FROM storms.geomagnetic_predictions"
        )
        assert stored >= len(acknowledged)
        await no_backend_is_left(one.dsn)


async def run_and_kill(dsn: str, number: int, after: float) -> set[int]:
    """Kill a writer in the middle of its writing; return what it was acknowledged."""
    command = [sys.executable, str(HERE / "killed_writer.py"), dsn, f"{number}00000"]
    path = f"{CHECKOUT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    process = await trio.lowlevel.open_process(
        command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": path}
    )
    said = bytearray()
    assert process.stdout is not None
    try:
        with trio.fail_after(START):
            while not said:
                said += await process.stdout.receive_some()
        await trio.sleep(after)
    finally:
        process.kill()
        with trio.CancelScope(shield=True):  # noqa: ASYNC102 - it is dead
            await process.wait()
    while more := await process.stdout.receive_some():
        said += more
    await process.stdout.aclose()
    return {int(line) for line in said.split(b"\n")[:-1]}
