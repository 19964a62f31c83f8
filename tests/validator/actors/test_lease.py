"""The lease holder: one of two, what becomes of it, and what is reset."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import attrs
import pytest
import trio

from actors import Actor, Ref
from actors.events import Event
from supervision import Child, System
from validator.actors.asking import DatabaseClient
from validator.actors.lease import LeaseHolder, MaySetWeights
from validator.actors.questions import Database, Question
from validator.domain.dst import ScaledDst
from validator.domain.metagraph import Miner
from validator.domain.scoring import Prediction
from validator.events import LeaseElsewhere, LeaseTaken, LeaseUncertain, RowsReset
from validator.ports import Lease, OpenLease, StoreUnavailable
from validator.settings import Settings
from validator.simulation.leases import MemoryLeases
from validator.simulation.store import MemoryStore

HOUR = datetime(2015, 3, 17, 20, tzinfo=UTC)


@attrs.define
class World:
    """A store, and whether it answers."""

    store: MemoryStore = attrs.field(factory=MemoryStore)
    down: bool = False


class Answers(Actor, Database):
    """A database that can be down."""

    def __init__(self, world: World) -> None:
        self._world = world

    @Question.handled
    async def answer(self, m: Question[Any]) -> Any:
        if self._world.down:
            await trio.sleep_forever()
        answer = await m.put(self._world.store)
        if (event := m.report(self.ctx.me.path, answer)) is not None:
            self.ctx.emit(event)
        return answer


@asynccontextmanager
async def holding(
    open_lease: OpenLease, events: list[Event], world: World | None = None
) -> AsyncGenerator[Ref[LeaseHolder]]:
    world = world or World()
    database = Child("database", lambda: Answers(world), handler_timeout=20)
    holder = Child(
        "lease",
        lambda: LeaseHolder(
            open_lease,
            database=DatabaseClient(system.ref(database)),
            settings=Settings(),
        ),
    )
    system = System(database, holder, on_event=[events.append])
    async with system:
        await trio.sleep(1)
        yield system.ref(holder)


def of(events: list[Event], *kinds: type[Event]) -> list[type[Event]]:
    return [type(event) for event in events if isinstance(event, kinds)]


LEASE = LeaseTaken, LeaseElsewhere, LeaseUncertain


async def test_of_two_holders_one_may_and_the_other_is_told_and_takes_over(
    events: list[Event],
) -> None:
    leases = MemoryLeases()
    async with holding(leases.open, events) as second:
        pass  # it has given it back at its end
    async with trio.open_nursery() as nursery:
        stop = trio.Event()

        async def first() -> None:
            async with holding(leases.open, []) as ref:
                assert await ref.ask(MaySetWeights(), timeout=1)
                await stop.wait()

        nursery.start_soon(first)
        await trio.sleep(2)
        events.clear()
        async with holding(leases.open, events) as second:
            await trio.sleep(100)
            assert not await second.ask(MaySetWeights(), timeout=1)
            stop.set()
            await trio.sleep(Settings().lease_interval + 1)
            assert await second.ask(MaySetWeights(), timeout=1)
            await trio.sleep(100)
    assert of(events, *LEASE) == [LeaseElsewhere, LeaseTaken], "each is told once"


async def test_who_takes_it_resets_what_dead_owners_left_in_work(
    events: list[Event],
) -> None:
    world = World(await store_with_a_dead_owner())
    async with holding(MemoryLeases().open, events, world):
        await trio.sleep(100)

    assert [(e.path, e.rows) for e in events if isinstance(e, RowsReset)] == [
        ("app/database", 1)
    ]
    assert await world.store.processing_rows() == 0


async def test_a_database_that_is_down_is_asked_to_reset_again_later(
    events: list[Event],
) -> None:
    world = World(await store_with_a_dead_owner(), down=True)
    async with holding(MemoryLeases().open, events, world) as holder:
        assert await holder.ask(MaySetWeights(), timeout=1), "that needs no database"
        await trio.sleep(1000)
        world.down = False
        await trio.sleep(1000)

    assert of(events, *LEASE) == [LeaseTaken]
    assert await world.store.processing_rows() == 0


async def store_with_a_dead_owner() -> MemoryStore:
    store = MemoryStore()
    await store.register_miners([Miner(1, "a", "127.0.0.1", 8000)])
    await store.save_predictions([Prediction(HOUR, "a", ScaledDst(-1.0))])
    await store.claim_predictions(HOUR, owner="validator/gone", incarnation=7)
    return store


@pytest.mark.parametrize("error", [StoreUnavailable("gone"), TimeoutError("slow")])
async def test_a_lost_connection_is_no_lease_until_there_is_another(
    events: list[Event], error: Exception
) -> None:
    leases = MemoryLeases()
    broken = False

    class Breakable:
        def __init__(self, lease: Lease) -> None:
            self._lease = lease

        async def take(self) -> bool:
            if broken:
                raise error
            return await self._lease.take()

    @asynccontextmanager
    async def open_lease() -> AsyncGenerator[Lease]:
        if broken:
            raise error
        async with leases.open() as lease:
            yield Breakable(lease)

    async with holding(open_lease, events) as holder:
        assert await holder.ask(MaySetWeights(), timeout=1)
        broken = True
        assert not await holder.ask(MaySetWeights(), timeout=1)
        await trio.sleep(100)
        assert not await holder.ask(MaySetWeights(), timeout=1)
        broken = False
        await trio.sleep(100)
        assert await holder.ask(MaySetWeights(), timeout=1)

    told = of(events, *LEASE)
    assert told[0] is told[-1] is LeaseTaken
    assert set(told[1:-1]) == {LeaseUncertain}
