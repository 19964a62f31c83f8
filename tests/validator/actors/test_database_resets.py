"""The pool is reset when it has to be, and the database is looked after."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from functools import partial

import attrs
import pytest
import trio
from troubled import MINER, TUNING, TroubledStore, of, running, serving

from actors import ActorError, AskTimeout, Rejected
from actors.events import Event, Failed
from supervision import Breakers, GetBreakers
from supervision.events import BreakerOpened, Restarted
from validator.actors.asking import DatabaseClient
from validator.actors.questions import (
    KnownMiners,
    RegisterMiners,
)
from validator.events import (
    HealthCheckFailed,
    ManyDatabaseFailures,
    PoolReset,
    ResettingPool,
    SlowHealthCheck,
)
from validator.ports import (
    ConnectionLost,
    OpenStore,
    OutcomeUnknown,
)


def news(events: list[Event]) -> list[str]:
    kinds = (ManyDatabaseFailures, ResettingPool, PoolReset)
    return [type(event).__name__ for event in events if isinstance(event, kinds)]


ALL_NEWS = ["ManyDatabaseFailures", "ResettingPool", "PoolReset"]


async def test_three_failures_in_a_row_reset_the_pool(events: list[Event]) -> None:
    store = TroubledStore()

    async with serving(store, events) as ref:
        store.fails(TimeoutError("out of time"), times=3)
        for n in range(3):
            assert news(events) == []
            with pytest.raises(Rejected):
                await ref.ask(KnownMiners(), timeout=100)
            assert store.tries == 2, n
        await trio.sleep(1)
        assert news(events) == ALL_NEWS
        assert await ref.ask(KnownMiners(), timeout=100) == ()
        assert (store.connections, store.tries) == (1, 3), "a new one"

    (reset,) = of(ManyDatabaseFailures, events)
    assert (reset.failures, reset.last) == (3, "out of time")


async def test_a_success_ends_the_row_of_failures(events: list[Event]) -> None:
    store = TroubledStore()

    async with serving(store, events) as ref:
        for _ in range(3):
            store.fails(TimeoutError("out of time"), times=2)
            for _ in range(2):
                with pytest.raises(Rejected):
                    await ref.ask(KnownMiners(), timeout=100)
            await ref.ask(KnownMiners(), timeout=100)

    assert news(events) == []


async def test_all_connections_that_a_restart_of_the_server_costs_count_once(
    events: list[Event],
) -> None:
    store = TroubledStore()

    async with serving(store, events) as ref:
        store.fails(ConnectionLost("the server was restarted"), times=15)
        async with trio.open_nursery() as nursery:
            for _ in range(15):
                nursery.start_soon(partial(ref.ask, KnownMiners(), timeout=100))

    assert news(events) == []


async def test_a_reset_lets_work_end_for_five_seconds_and_loses_no_question(
    events: list[Event],
) -> None:
    store = TroubledStore()
    answers: list[str] = []

    async def ask(ref: DatabaseClient, seconds: float, name: str) -> None:
        store.trouble = partial(trio.sleep, seconds)
        await ref.ask(RegisterMiners((MINER,)), timeout=100)
        answers.append(name)

    async with serving(store, events) as ref, trio.open_nursery() as nursery:
        for seconds, name in ((9, "long"), (7, "short")):
            nursery.start_soon(ask, ref, seconds, name)
            await trio.sleep(0.1)
        store.fails(TimeoutError("out of time"), times=3)
        for _ in range(3):
            with pytest.raises(Rejected):
                await ref.ask(KnownMiners(), timeout=100)
        await trio.sleep(0.1)
        assert news(events) == ALL_NEWS[:2]
        await ask(ref, 0, "asked meanwhile")

    assert answers[0] == "short"
    assert {*answers} == {"short", "long", "asked meanwhile"}, (
        "what was cut is repeated"
    )


async def test_what_a_reset_cuts_and_there_is_no_time_to_repeat_is_unknown(
    events: list[Event],
) -> None:
    store = TroubledStore()
    causes: list[BaseException | None] = []

    async def ask(ref: DatabaseClient) -> None:
        store.trouble = partial(trio.sleep, 50)
        with pytest.raises(Rejected, match="register_miners was cut off") as caught:
            await ref.ask(RegisterMiners((MINER,)), timeout=20)
        causes.append(caught.value.__cause__)

    async with serving(store, events) as ref, trio.open_nursery() as nursery:
        nursery.start_soon(ask, ref)
        await trio.sleep(0.1)
        store.fails(TimeoutError("out of time"), times=3)
        for _ in range(3):
            with pytest.raises(Rejected):
                await ref.ask(KnownMiners(), timeout=100)
        store.down = True

    (cause,) = causes
    assert isinstance(cause, OutcomeUnknown)


@pytest.mark.parametrize("hangs", [False, True])
async def test_that_no_connection_can_be_made_trips_the_breaker_and_resets_nothing(
    events: list[Event], *, hangs: bool
) -> None:
    store = TroubledStore()
    tuning = attrs.evolve(TUNING, kept=1, extra=14)

    async with running(store, events, tuning) as (_, ref):
        await ref.ask(RegisterMiners((MINER,)), timeout=1)
        store.down, store.hangs = True, hangs
        tries, store.trouble = store.tries, partial(trio.sleep, 1)
        async with trio.open_nursery() as nursery:
            for _ in range(60):
                nursery.start_soon(partial(ref.ask, KnownMiners(), timeout=100))
        assert (store.tries - tries) < 25, "it is probed, not hammered"
        assert store.connections == 1, "the one there is goes on working"

    assert of(BreakerOpened, events)[0].reason == "consecutive failures"
    assert news(events) == []


async def test_a_reset_lasts_until_the_database_answers(events: list[Event]) -> None:
    store = TroubledStore()

    async with serving(store, events) as ref:
        store.fails(TimeoutError("out of time"), times=3)
        for _ in range(3):
            with pytest.raises(Rejected):
                await ref.ask(KnownMiners(), timeout=100)
        store.down = True
        await trio.sleep(120)
        assert news(events) == ALL_NEWS[:2]
        store.down = False
        await trio.sleep(20)
        assert news(events) == ALL_NEWS

    (reset,) = of(PoolReset, events)
    assert reset.seconds == pytest.approx(125, abs=10)


@pytest.mark.parametrize("later", [0.1, 10])
async def test_stopping_in_the_middle_of_a_reset_fails_nobody(
    events: list[Event], later: float
) -> None:
    store = TroubledStore()

    async with trio.open_nursery() as nursery:
        async with serving(store, events) as ref:

            async def long() -> None:
                store.trouble = partial(trio.sleep, 20)
                with suppress(ActorError, Rejected):
                    await ref.ask(RegisterMiners((MINER,)), timeout=100)

            nursery.start_soon(long)
            await trio.sleep(0.1)
            store.fails(TimeoutError("out of time"), times=3)
            for _ in range(3):
                with pytest.raises(Rejected):
                    await ref.ask(KnownMiners(), timeout=100)
            store.down = True
            await trio.sleep(later)
        assert news(events) == ALL_NEWS[:2]

    failed = [e.path for e in of(Failed, events) if "connections/" not in e.path]
    assert failed == []


async def test_the_end_of_the_loop_is_the_end_of_all_connections(
    events: list[Event],
) -> None:
    class Breaks(TroubledStore):
        broken = trio.Event()

        @asynccontextmanager
        async def database(self) -> AsyncGenerator[OpenStore]:
            async with super().database() as opener, trio.open_nursery() as nursery:
                nursery.start_soon(self._break)
                yield opener
                nursery.cancel_scope.cancel()

        async def _break(self) -> None:
            await self.broken.wait()
            self.broken = trio.Event()
            raise RuntimeError("the loop broke")

    store = Breaks()
    async with serving(store, events) as ref:
        await ref.ask(KnownMiners(), timeout=1)
        store.broken.set()
        await trio.sleep(1)
        assert store.loops == 2
        assert await ref.ask(KnownMiners(), timeout=1) == ()

    assert {e.path for e in of(Restarted, events)} >= {
        "v/database/loop",
        "v/database/connections",
    }


# -- looking after it -----------------------------------------------------------------


async def test_every_five_minutes_the_database_is_asked_whether_it_is_well(
    events: list[Event],
) -> None:
    store = TroubledStore()

    async with serving(store, events):
        await trio.sleep(301)
        assert not of(SlowHealthCheck, events)
        store.trouble = partial(trio.sleep, 7)
        await trio.sleep(320)
        (slow,) = of(SlowHealthCheck, events)
        assert slow.seconds == pytest.approx(14), "an old connection is tried first"
        store.trouble = partial(trio.sleep, 1000)
        await trio.sleep(400)
        assert of(HealthCheckFailed, events)


async def test_a_database_that_is_down_is_known_by_its_breaker(
    events: list[Event],
) -> None:
    store = TroubledStore()

    async with running(store, events) as (system, ref):
        store.down = True
        with pytest.raises(AskTimeout):
            await ref.ask(KnownMiners(), timeout=200)
        breaker = system.find("v/database/breaker", Breakers)
        states = await breaker.ask(GetBreakers(), timeout=1)
        assert states["database"].state != "closed"


async def test_without_a_database_the_system_does_not_start(
    events: list[Event],
) -> None:
    store = TroubledStore()
    store.down = True

    with pytest.raises(Exception, match="did not start") as caught:
        async with serving(store, events):
            pytest.fail("it has started")

    error: BaseException = caught.value
    while error.__cause__ is not None:
        error = error.__cause__
    assert str(error) == "the database is down"


@pytest.mark.parametrize("minutes", [0.5, 10])
async def test_a_database_may_be_away_for_long(
    events: list[Event], minutes: float
) -> None:
    store = TroubledStore()

    async with serving(store, events) as ref:
        store.down = True
        store.fails(ConnectionLost("server closed the connection"))
        with trio.move_on_after(minutes * 60):
            while True:
                with pytest.raises(AskTimeout):
                    await ref.ask(RegisterMiners((MINER,)), timeout=200)
        store.down = False
        await trio.sleep(30)
        known = await ref.ask(KnownMiners(), timeout=100)
        assert len(known) <= 1

    assert not of(Restarted, events)
