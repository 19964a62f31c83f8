"""A database with troubles, and the tree that is to cope with them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from random import Random
from typing import TypeVar

import trio

from actors.events import Event
from supervision import Metrics, System
from validator.actors.asking import DatabaseClient
from validator.actors.database import Tuning, database
from validator.app import PATIENT, QUICK
from validator.domain.metagraph import Miner
from validator.ports import (
    OpenStore,
    Store,
    StoreUnavailable,
)
from validator.simulation.store import MemoryStore

HOUR = datetime(2015, 3, 17, 20, tzinfo=UTC)
MINER = Miner(7, "a", "127.0.0.1", 8000)
TUNING = Tuning(intensity=PATIENT, backoff=QUICK)

E = TypeVar("E", bound=Event)


async def _at_once() -> None:
    pass


class TroubledStore(MemoryStore):
    """A database that has ``trouble`` before it does what it is asked to."""

    trouble: Callable[[], Awaitable[None]] = staticmethod(_at_once)
    down = False
    """Whether it cannot be connected to."""
    hangs = False
    """Whether who connects meanwhile hears nothing."""
    loops = 0
    """How many loops have been opened."""
    connections = 0
    """How many are open now."""
    tries = 0
    """How often somebody tried to connect."""
    pings = 0

    @asynccontextmanager
    async def database(self) -> AsyncGenerator[OpenStore]:
        self.loops += 1
        async with self.open():
            pass
        yield self.open
        assert self.connections == 0

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[Store]:
        self.tries += 1
        await trio.lowlevel.checkpoint()
        if self.down and self.hangs:
            await trio.sleep_forever()
        if self.down:
            raise StoreUnavailable("the database is down")
        self.connections += 1
        try:
            yield self
        finally:
            self.connections -= 1

    async def ping(self) -> None:
        self.pings += 1
        await self.trouble()
        await super().ping()

    async def miners(self) -> Sequence[Miner]:
        await self.trouble()
        return await super().miners()

    async def register_miners(self, miners: Sequence[Miner]) -> None:
        await self.trouble()
        await super().register_miners(miners)

    def fails(self, error: Exception, *, times: int = 1) -> None:
        """Let the next operations fail with it, after a second."""

        async def fail() -> None:
            nonlocal times
            times -= 1
            if not times:
                self.trouble = _at_once
            await trio.sleep(1)
            raise error

        self.trouble = fail


@asynccontextmanager
async def serving(
    store: TroubledStore,
    events: list[Event],
    tuning: Tuning = TUNING,
    *,
    metrics: Metrics | None = None,
) -> AsyncGenerator[DatabaseClient]:
    async with running(store, events, tuning, metrics=metrics) as (_, client):
        yield client
    assert store.connections == 0


@asynccontextmanager
async def running(
    store: TroubledStore,
    events: list[Event],
    tuning: Tuning = TUNING,
    *,
    metrics: Metrics | None = None,
) -> AsyncGenerator[tuple[System, DatabaseClient]]:
    tree = database(store.database, lambda: system, tuning)
    system = System(
        tree.supervisor,
        name="v",
        intensity=PATIENT,
        backoff=QUICK,
        on_event=[events.append, *([metrics] if metrics else [])],
        random=Random(1),
    )
    async with system:
        yield system, tree.client(system)


def of(kind: type[E], events: list[Event]) -> list[E]:
    return [event for event in events if isinstance(event, kind)]
