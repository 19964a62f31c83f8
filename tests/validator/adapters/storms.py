"""The database tree on a real server, with something that spoils the way between."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import attrs
import trio

from actors import ActorError, Rejected
from actors.events import Event
from actors.testing import ChaosProxy
from supervision import Backoff, System
from validator.actors.asking import DatabaseClient
from validator.actors.connection import Patience
from validator.actors.database import Tuning, database
from validator.actors.questions import OpenHour, PendingHours, Ping
from validator.adapters.postgres import open_store, postgres
from validator.adapters.postgres_session import Limits
from validator.adapters.postgres_store import PostgresStore
from validator.adapters.postgres_units import Connection
from validator.app import PATIENT, QUICK

LIMITS = Limits(query=1, transaction=2, connect=1)
TUNING = Tuning(
    patience=Patience(question=10, connect=1, idle=5, doubt=0.5, pause=0.2, settle=5),
    drain=1,
    probe=Backoff(first=0.05, factor=2, cap=0.3),
    intensity=PATIENT,
    backoff=QUICK,
)
DEADLINE = 8.0
"""Seconds that whoever asks gives the database."""

SLACK = 2.0
"""Seconds by which an answer may be late on a machine that is not ours alone."""

FIRST = datetime(2000, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


@attrs.define
class Ledger:
    """Who writes what, and what was acknowledged."""

    ref: DatabaseClient
    hours: Iterator[datetime] = attrs.field(
        factory=lambda: (FIRST + n * HOUR for n in count())
    )
    acknowledged: set[datetime] = attrs.field(factory=set[datetime])
    failed: int = 0
    slowest: float = 0.0
    errors: set[str] = attrs.field(factory=set[str])

    async def write(self) -> None:
        """Write one more."""
        hour, begin = next(self.hours), trio.current_time()
        try:
            await self.ref.ask(OpenHour(hour), timeout=DEADLINE)
        except (Rejected, ActorError) as error:
            self.failed += 1
            self.errors.add(type(error).__name__)
        else:
            self.acknowledged.add(hour)
        self.slowest = max(self.slowest, trio.current_time() - begin)

    @asynccontextmanager
    async def under_load(self, writers: int = 8) -> AsyncGenerator[None]:
        """Let so many write all the time, and each finish what it has begun."""
        going = True

        async def writer() -> None:
            while going:
                await self.write()

        async with trio.open_nursery() as nursery:
            for _ in range(writers):
                nursery.start_soon(writer)
            try:
                yield
            finally:
                going = False

    async def check(self) -> None:
        """The database can be used, and all that was acknowledged is there."""
        with trio.fail_after(DEADLINE + SLACK):
            await self.ref.ask(Ping(), timeout=DEADLINE)
        stored = await self.ref.ask(
            PendingHours(FIRST + 10_000_000 * HOUR), timeout=DEADLINE
        )
        assert len(stored) == len(set(stored)), "duplicates"
        assert self.acknowledged <= set(stored), "what was acknowledged is lost"
        assert self.slowest <= DEADLINE + SLACK, "somebody waited past its deadline"


@asynccontextmanager
async def behind_proxy(
    dsn: str, events: list[Event], tuning: Tuning = TUNING, schema: str = "storms"
) -> AsyncGenerator[tuple[ChaosProxy, Ledger]]:
    """Run the tree with a proxy before the server; nothing is left over at the end."""
    folder = Path(parse_qs(urlsplit(dsn).query)["host"][0])
    async with ChaosProxy.before_unix(folder / ".s.PGSQL.5432") as proxy:
        through = f"postgresql://postgres@127.0.0.1:{proxy.port}/postgres"
        async with running(through, events, tuning, schema) as ref:
            yield proxy, Ledger(ref)
    await no_backend_is_left(dsn)


@asynccontextmanager
async def running(
    dsn: str,
    events: list[Event],
    tuning: Tuning = TUNING,
    schema: str = "storms",
    *,
    fresh: bool = True,
) -> AsyncGenerator[DatabaseClient]:
    """Run the tree."""
    opening = postgres(dsn, schema=schema, fresh=fresh, limits=LIMITS)
    tree = database(opening, lambda: system, tuning)
    system = System(
        tree.supervisor, intensity=PATIENT, backoff=QUICK, on_event=[events.append]
    )
    async with system:
        yield tree.client(system)


async def backends(dsn: str) -> int:
    """How many connections the server has, beside the one that asks."""
    return int(
        await look(
            dsn,
            "SELECT count(*) FROM pg_stat_activity WHERE backend_type = "
            "'client backend' AND pid <> pg_backend_pid()",
        )
    )


async def no_backend_is_left(dsn: str) -> None:
    with trio.fail_after(10):
        while await backends(dsn):  # noqa: ASYNC110 - the server tells nobody
            await trio.sleep(0.1)


async def look(dsn: str, statement: str) -> int:
    """Run a statement beside the tree; return its value."""

    async def unit(connection: Connection) -> int:
        value: int = await connection.fetchval(statement)
        return value

    async with open_store(dsn, schema="beside", fresh=False) as store:
        assert isinstance(store, PostgresStore)
        return await store._session.run("look", unit, writes=False)
