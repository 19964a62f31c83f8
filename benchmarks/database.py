"""The database tree against asyncpg in asyncio: ``python -m benchmarks.database``.

The peer is what a user of asyncio would write: asyncpg's own pool, of as many
connections as ours may have, with the same statements in the same transactions. It runs
in a process of its own, as importing trio-asyncio changes asyncio for everybody in a
process; both share one core with the server. Wall time is what is compared, because it
is what callers wait for; the CPU time of the client is told beside it.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, TypeAlias, cast

import attrs
import trio

from benchmarks.harness import no_collector, pin
from benchmarks.table import Row, options, report
from supervision import System
from validator.actors.asking import DatabaseClient
from validator.actors.database import Tuning, database
from validator.actors.questions import (
    Ping,
    RecordScores,
    RegisterMiners,
    SavePredictions,
    ScoreRows,
)
from validator.adapters import embedded
from validator.domain.dst import Nanotesla, ScaledDst
from validator.domain.metagraph import MINERS_AT_ONCE, Miner, in_chunks
from validator.domain.scoring import EarnedRow, Prediction, Score, ScoredHour

MINERS = tuple(Miner(uid, f"hotkey-{uid}", "127.0.0.1", 8000) for uid in range(256))
HOUR = timedelta(hours=1)
SCORED = datetime(2000, 1, 1, tzinfo=UTC)
"""The first of 40 hours that are scored: what is read."""
ASKED = datetime(2010, 1, 1, tzinfo=UTC)
"""The first of the hours that are inserted; every time others."""

Spent: TypeAlias = tuple[float, float]
"""Wall and CPU seconds."""


@attrs.frozen
class Case:
    """What is compared: so many operations by so many callers."""

    name: str
    kind: str
    callers: int
    operations: int
    floor: float
    aim: float


CASES = (
    Case("single reads, 1 caller", "read", 1, 300, 0.5, 0.75),
    Case("single reads, 5 callers", "read", 5, 600, 0.5, 0.75),
    Case("single reads, 15 callers", "read", 15, 600, 0.5, 0.75),
    Case("upsert of 256 rows", "upsert", 1, 30, 0.6, 0.9),
    Case("insert of 10,240 rows", "insert", 1, 2, 0.8, 0.95),
    Case("read of 10,240 rows", "scan", 1, 3, 0.8, 0.95),
)


def predictions(first: datetime, hours: int) -> tuple[Prediction, ...]:
    """One prediction of every miner for each of so many hours."""
    return tuple(
        Prediction(first + n * HOUR, miner.hotkey, ScaledDst(-0.5))
        for n in range(hours)
        for miner in MINERS
    )


def scored(n: int) -> ScoredHour:
    """One hour with a score of every miner."""
    scores = tuple(Score(miner.hotkey, ScaledDst(-0.5), 0.5) for miner in MINERS)
    return ScoredHour(SCORED + n * HOUR, Nanotesla(-50), scores)


UPSERT = predictions(SCORED - HOUR, 1)


@attrs.define
class Measured:
    """One of the two, and how it does what is compared."""

    operate: Callable[[str, Sequence[Prediction]], Awaitable[None]]
    together: Callable[[Callable[[], Awaitable[None]], int], Awaitable[None]]
    """Let so many callers do the same at once."""
    _turn: int = 0

    async def spend(self, case: Case) -> Spent:
        """Do a case, and say what one operation costs."""
        rounds = case.operations if case.kind == "insert" else 1
        each = case.operations // case.callers // rounds
        spent = [await self._round(case, each) for _ in range(rounds)]
        walls, cpus = zip(*spent, strict=True)
        return sum(walls) / case.operations, sum(cpus) / case.operations

    async def _round(self, case: Case, each: int) -> Spent:
        self._turn += 1
        fresh = predictions(ASKED + self._turn * 40 * HOUR, 40)

        async def repeat() -> None:
            for _ in range(each):
                await self.operate(case.kind, fresh)

        with no_collector():
            wall, cpu = time.perf_counter(), time.process_time()
            await self.together(repeat, case.callers)
            return time.perf_counter() - wall, time.process_time() - cpu


# -- ours -----------------------------------------------------------------------------


async def _together(repeat: Callable[[], Awaitable[None]], callers: int) -> None:
    async with trio.open_nursery() as nursery:
        for _ in range(callers):
            nursery.start_soon(repeat)


async def _operate(ref: DatabaseClient, kind: str, fresh: Sequence[Prediction]) -> None:
    match kind:
        case "read":
            await ref.ask(Ping(), timeout=60)
        case "upsert":
            await ref.ask(SavePredictions(UPSERT), timeout=60)
        case "insert":
            await ref.ask(SavePredictions(tuple(fresh)), timeout=60)
        case _:
            check(await ref.ask(ScoreRows(SCORED), timeout=60))


def check(rows: Sequence[EarnedRow]) -> None:
    """Make sure that they were all read."""
    if sum(len(row.scores) for row in rows) != 40 * len(MINERS):
        raise SystemExit("not all rows were read")


@asynccontextmanager
async def _ours(dsn: str) -> AsyncGenerator[Measured]:
    # It imports trio-asyncio, and the peer imports this module.
    from validator.adapters.postgres import postgres  # noqa: PLC0415

    opening = postgres(dsn, schema="bench_ours", fresh=True)
    tree = database(opening, lambda: system, Tuning())
    system = System(tree.supervisor)
    async with system:
        ref = tree.client(system)
        for some in in_chunks(MINERS, MINERS_AT_ONCE):
            await ref.ask(RegisterMiners(some), timeout=60)
        for n in range(40):
            await ref.ask(RecordScores(scored(n)), timeout=60)
        yield Measured(partial(_operate, ref), _together)


# -- both -----------------------------------------------------------------------------


@asynccontextmanager
async def _peer(dsn: str) -> AsyncGenerator[Callable[[int], Awaitable[Spent]]]:
    command = [sys.executable, "-m", "benchmarks.database_peer", dsn]
    process = await trio.lowlevel.open_process(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    stdin = cast("trio.abc.SendStream", process.stdin)
    stdout = cast("trio.abc.ReceiveStream", process.stdout)

    async def hear() -> Any:
        said = b""
        while not said.endswith(b"\n"):
            more = await stdout.receive_some()
            if not more:
                raise SystemExit("the peer has ended")
            said += more
        return json.loads(said)

    async def spend(number: int) -> Spent:
        await stdin.send_all(f"{number}\n".encode())
        wall, cpu = await hear()
        return wall, cpu

    try:
        await hear()
        yield spend
    finally:
        process.terminate()


async def _measure(rounds: int) -> list[tuple[list[Spent], list[Spent]]]:
    """What each case costs us and the peer, round by round."""
    spent = [(list[Spent](), list[Spent]()) for _ in CASES]
    with embedded.private_directory() as directory:
        async with (
            embedded.serve(directory) as dsn,
            _peer(dsn) as peer,
            _ours(dsn) as ours,
        ):
            for turn in range(rounds + 1):
                for number, case in enumerate(CASES):
                    both = await ours.spend(case), await peer(number)
                    if turn:  # the first is for warming up
                        for mine, seen in zip(spent[number], both, strict=True):
                            mine.append(seen)
    return spent


def rows(rounds: int) -> Iterator[Row]:
    """Every measure."""
    spent = trio.run(_measure, rounds)
    for case, (mine, theirs) in zip(CASES, spent, strict=True):
        ratios = [peer[0] / own[0] for own, peer in zip(mine, theirs, strict=True)]
        (wall, cpu), (wall_peer, cpu_peer) = _medians(mine), _medians(theirs)
        yield Row(case.name, case.floor, case.aim).found(
            statistics.median(ratios),
            f"{wall:.0f} us ({cpu:.0f} CPU), asyncpg's pool {wall_peer:.0f} "
            f"({cpu_peer:.0f} CPU)",
        )
    # It imports trio-asyncio, as `_ours` does.
    from benchmarks import database_memory  # noqa: PLC0415

    yield from database_memory.rows()


def _medians(spent: Sequence[Spent]) -> Spent:
    wall, cpu = zip(*spent, strict=True)
    return statistics.median(wall) * 1e6, statistics.median(cpu) * 1e6


if __name__ == "__main__":
    parser = options("database")
    parser.add_argument("--rounds", type=int, default=7, metavar="N")
    arguments = parser.parse_args()
    pin()
    sys.exit(report(rows(arguments.rounds), arguments.json))
