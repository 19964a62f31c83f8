"""Against pykka and triotp, where they are installed."""

from __future__ import annotations

import json
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path

from benchmarks.echo import Echo
from benchmarks.harness import Case, Operate, Spent, cheaper, measure
from benchmarks.messages import ask, channel, send
from benchmarks.table import Row
from supervision import Child, Supervisor, System

NO_PYKKA = "pykka is not installed: pip install '.[bench]'"
PYKKA_TELL = Row("pykka, pinned: tell", 1.2, 3)
PYKKA_ASK = Row("pykka, pinned: ask", 0.6, 1)
PYKKA_SPAWN = Row("pykka, pinned: spawn", 3, 5)
PYKKA_REQUEST = Row("pykka, pinned: spawn, one request each", 1, 3)
TRIOTP_TELL = Row("triotp, each against its own channel: tell", 3, 10)
TRIOTP_ASK = Row("triotp, each against its own channel: ask", 2, 4)


@asynccontextmanager
async def spawn() -> AsyncIterator[Operate]:
    """Start a supervisor with so many children, which are all up then."""
    async with System() as system:

        async def operate(n: int) -> None:
            children = [Child(str(i), Echo) for i in range(n)]
            await system.start(Child(f"of {n}", lambda: Supervisor(*children)))

        yield operate


@asynccontextmanager
async def spawn_by_request() -> AsyncIterator[Operate]:
    """Start actors one after the other, and ask for each."""
    async with System() as system:

        async def operate(n: int) -> None:
            for i in range(n):
                await system.start(Child(f"{i} of {n}", Echo))

        yield operate


def pykka_rows() -> Iterator[Row]:
    """Threads on the same one core."""
    if find_spec("pykka") is None:
        for row in PYKKA_TELL, PYKKA_ASK, PYKKA_SPAWN, PYKKA_REQUEST:
            yield row.unmeasured(NO_PYKKA)
        return
    from benchmarks import pykka_cases  # noqa: PLC0415 - needs an extra

    cases = {
        "send": Case(send, 20_000),
        "pykka tell": Case(pykka_cases.tell, 4_000),
        "ask": Case(ask, 2_000),
        "pykka ask": Case(pykka_cases.ask, 1_000),
        "spawn": Case(spawn, 200),
        "request": Case(spawn_by_request, 200),
        "pykka spawn": Case(pykka_cases.spawn, 100),
    }
    spent = measure(cases, rounds=15)
    yield PYKKA_TELL.found(*cheaper(spent, "send", "pykka tell"))
    yield PYKKA_ASK.found(*cheaper(spent, "ask", "pykka ask"))
    yield PYKKA_SPAWN.found(*cheaper(spent, "spawn", "pykka spawn"))
    yield PYKKA_REQUEST.found(*cheaper(spent, "request", "pykka spawn"))


def triotp_rows(python: Path | None) -> Iterator[Row]:
    """A process of its own, run by the interpreter that has it.

    Interpreter and trio may differ, so each side is taken as a ratio to the bare
    memory channel of its own process.
    """
    if python is None:
        for row in TRIOTP_TELL, TRIOTP_ASK:
            yield row.unmeasured("name an interpreter that has it with --triotp")
        return
    done = subprocess.run(  # noqa: S603 - the user names it
        [python, Path(__file__).with_name("triotp_script.py")],
        stdout=subprocess.PIPE,
        check=True,
    )
    theirs = Spent(json.loads(done.stdout))
    cases = {
        "channel": Case(channel, 4_000),
        "tell": Case(send, 20_000),
        "ask": Case(ask, 2_000),
    }
    ours = measure(cases, rounds=15)
    for row, case in (TRIOTP_TELL, "tell"), (TRIOTP_ASK, "ask"):
        mine = ours.times_cheaper("channel", case)
        other = theirs.times_cheaper("channel", case)
        yield row.found(other / mine, f"{mine:.2f} channels, triotp {other:.2f}")
