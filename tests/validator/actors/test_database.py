"""The database actor turns a store's troubles into definite answers and events."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from random import Random

import pytest
import trio

from actors import ActorCrashed, Ref, Rejected
from actors.events import Event
from supervision import Child, System
from supervision.events import Restarted
from validator.actors.database import Connection
from validator.actors.questions import (
    ClaimPredictions,
    Database,
    KnownMiners,
    ProcessingRows,
    RegisterMiner,
    ReleaseClaims,
    SavePredictions,
)
from validator.app import PATIENT, QUICK
from validator.domain.dst import ScaledDst
from validator.domain.metagraph import Miner
from validator.domain.scoring import Prediction
from validator.events import DatabaseTimedOut, RowsReset, SlowDatabase
from validator.ports import Store, StoreUnavailable
from validator.simulation.store import MemoryStore

HOUR = datetime(2015, 3, 17, 20, tzinfo=UTC)
MINER = Miner(7, "a", "127.0.0.1", 8000)


async def _at_once() -> None:
    pass


class TroubledStore(MemoryStore):
    """A store that has ``trouble`` before it does what it is asked to."""

    trouble: Callable[[], Awaitable[None]] = staticmethod(_at_once)
    down = False
    """Whether it cannot be connected to."""
    connections = 0
    """How many are open now."""

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[Store]:
        await trio.lowlevel.checkpoint()
        if self.down:
            raise StoreUnavailable("the database is down")
        self.connections += 1
        try:
            yield self
        finally:
            self.connections -= 1

    async def miners(self) -> Sequence[Miner]:
        await self.trouble()
        return await super().miners()

    async def register_miner(self, miner: Miner) -> None:
        await self.trouble()
        await super().register_miner(miner)


@asynccontextmanager
async def serving(
    store: TroubledStore, events: list[Event], *, seed: int = 1
) -> AsyncGenerator[Ref[Database]]:
    child = Child("database", lambda: Connection(store.open), handler_timeout=200)
    sinks = [events.append]
    async with System(
        child, intensity=PATIENT, backoff=QUICK, on_event=sinks, random=Random(seed)
    ) as system:
        yield system.ref(child)
    assert store.connections == 0


def restarts(events: list[Event]) -> int:
    return sum(isinstance(event, Restarted) for event in events)


async def test_an_operation_that_exceeds_its_limit_is_rejected_and_reported(
    events: list[Event],
) -> None:
    store = TroubledStore()

    async def too_slow() -> None:
        await trio.sleep(30)
        raise TimeoutError("miners exceeded 30 s")

    async with serving(store, events) as database:
        store.trouble = too_slow
        with pytest.raises(Rejected, match="exceeded 30 s"):
            await database.ask(KnownMiners(), timeout=100)
        store.trouble = _at_once
        assert await database.ask(KnownMiners(), timeout=100) == ()

    (event,) = [event for event in events if isinstance(event, DatabaseTimedOut)]
    assert event.operation == "known_miners"
    assert event.seconds == pytest.approx(30)
    assert restarts(events) == 0, "the connection is good: nobody had to die"


async def test_a_database_that_went_away_crashes_the_asker_in_hand_and_no_other(
    events: list[Event],
) -> None:
    store = TroubledStore()

    async def went_away() -> None:
        store.trouble = _at_once
        await trio.sleep(1)
        raise StoreUnavailable("server closed the connection")

    async with serving(store, events) as database:
        store.trouble = went_away
        crashed: list[BaseException | None] = []

        async def in_hand() -> None:
            with pytest.raises(ActorCrashed) as caught:
                await database.ask(RegisterMiner(MINER), timeout=100)
            crashed.append(caught.value.__cause__)

        async def waiting() -> None:
            await trio.sleep(0.5)
            await database.ask(RegisterMiner(MINER), timeout=100)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(in_hand)
            nursery.start_soon(waiting)
        assert await database.ask(KnownMiners(), timeout=100) == (MINER,)
        assert store.connections == 1

    assert isinstance(crashed[0], StoreUnavailable)
    assert restarts(events) == 1


async def test_a_slow_operation_succeeds_and_is_reported(events: list[Event]) -> None:
    store = TroubledStore()

    async with serving(store, events) as database:
        store.trouble = partial(trio.sleep, 4.9)
        await database.ask(KnownMiners(), timeout=100)
        store.trouble = partial(trio.sleep, 5.1)
        await database.ask(RegisterMiner(MINER), timeout=100)

    (event,) = [event for event in events if isinstance(event, SlowDatabase)]
    assert event.operation == "register_miner"
    assert event.seconds == pytest.approx(5.1)


async def test_a_read_nobody_waits_for_is_cancelled_and_a_write_is_not(
    events: list[Event],
) -> None:
    store = TroubledStore()

    async with serving(store, events) as database:
        store.trouble = partial(trio.sleep, 50)
        with trio.move_on_after(1):
            await database.ask(KnownMiners(), timeout=100)
        with trio.move_on_after(1):
            await database.ask(RegisterMiner(MINER), timeout=100)
        store.trouble = _at_once
        begin = trio.current_time()
        assert await database.ask(KnownMiners(), timeout=100) == (MINER,)
        assert trio.current_time() - begin == pytest.approx(49)

    assert restarts(events) == 0


async def test_reset_rows_are_reported_if_there_were_any(events: list[Event]) -> None:
    store = TroubledStore()

    async with serving(store, events) as database:
        await database.ask(RegisterMiner(MINER), timeout=1)
        prediction = Prediction(HOUR, MINER.hotkey, ScaledDst(-0.5))
        await database.ask(SavePredictions((prediction,)), timeout=1)
        await database.ask(ClaimPredictions(HOUR, "somebody", 1), timeout=1)
        assert await database.ask(ProcessingRows(), timeout=1) == 1
        assert await database.ask(ReleaseClaims("somebody"), timeout=1) == 1
        assert await database.ask(ReleaseClaims("somebody"), timeout=1) == 0
        assert await database.ask(ProcessingRows(), timeout=1) == 0

    resets = [event for event in events if isinstance(event, RowsReset)]
    assert resets == [RowsReset("somebody", 1)]


@pytest.mark.parametrize("seed", range(20))
async def test_a_database_may_be_away_for_half_a_minute(
    events: list[Event], seed: int
) -> None:
    store = TroubledStore()

    async def gone() -> None:
        store.down = True
        raise StoreUnavailable("server closed the connection")

    async with serving(store, events, seed=seed) as database:
        store.trouble = gone
        with pytest.raises(ActorCrashed):
            await database.ask(KnownMiners(), timeout=100)
        store.trouble = _at_once
        await trio.sleep(30)
        store.down = False
        assert await database.ask(KnownMiners(), timeout=100) == ()
