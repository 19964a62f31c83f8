"""The database tree turns a database's troubles into definite answers and events."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from random import Random
from typing import TypeVar

import attrs
import pytest
import trio

from actors import ActorCrashed, AskTimeout, Ref, Rejected
from actors.events import Event, Failed
from supervision import Breakers, Child, GetBreakers, Metrics, System
from supervision.events import Restarted, Waited
from validator.actors.connection import Patience
from validator.actors.database import Tuning, database
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
from validator.events import (
    DatabaseTimedOut,
    HealthCheckFailed,
    ManyDatabaseFailures,
    PoolReset,
    ResettingPool,
    RowsReset,
    SlowDatabase,
    SlowHealthCheck,
)
from validator.ports import (
    ConnectionLost,
    OpenStore,
    OutcomeUnknown,
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

    async def register_miner(self, miner: Miner) -> None:
        await self.trouble()
        await super().register_miner(miner)

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
) -> AsyncGenerator[Ref[Database]]:
    async with running(store, events, tuning, metrics=metrics) as (system, child):
        yield system.ref(child)
    assert store.connections == 0


@asynccontextmanager
async def running(
    store: TroubledStore,
    events: list[Event],
    tuning: Tuning = TUNING,
    *,
    metrics: Metrics | None = None,
) -> AsyncGenerator[tuple[System, Child[Database]]]:
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
        yield system, tree.connections


def of(kind: type[E], events: list[Event]) -> list[E]:
    return [event for event in events if isinstance(event, kind)]


# -- what becomes of a question --------------------------------------------------------


async def test_an_operation_that_exceeds_its_limit_is_rejected_and_reported(
    events: list[Event],
) -> None:
    store = TroubledStore()

    async def too_slow() -> None:
        await trio.sleep(30)
        raise TimeoutError("miners exceeded 30 s")

    async with serving(store, events) as ref:
        store.trouble = too_slow
        with pytest.raises(Rejected, match="exceeded 30 s") as caught:
            await ref.ask(KnownMiners(), timeout=100)
        store.trouble = _at_once
        assert await ref.ask(KnownMiners(), timeout=100) == ()

    assert isinstance(caught.value.__cause__, TimeoutError)
    (event,) = of(DatabaseTimedOut, events)
    assert event.operation == "known_miners"
    assert event.seconds == pytest.approx(30)
    assert not of(Restarted, events), "the connection is good: nobody had to die"


@pytest.mark.parametrize("error", [ConnectionLost("lost"), OutcomeUnknown("lost")])
async def test_what_is_lost_with_its_connection_is_asked_again_on_another(
    events: list[Event], error: Exception
) -> None:
    store = TroubledStore()

    async with serving(store, events) as ref:
        await ref.ask(KnownMiners(), timeout=1)
        store.fails(error)
        await ref.ask(RegisterMiner(MINER), timeout=10)
        assert await ref.ask(KnownMiners(), timeout=1) == (MINER,)
        assert (store.connections, store.tries) == (1, 3)

    assert not of(Restarted, events)


async def test_a_question_that_kills_its_connections_is_given_up(
    events: list[Event],
) -> None:
    store = TroubledStore()

    async with serving(store, events) as ref:
        store.fails(ConnectionLost("killed"), times=99)
        with pytest.raises(Rejected, match="killed") as caught:
            await ref.ask(KnownMiners(), timeout=100)
        assert isinstance(caught.value.__cause__, ConnectionLost)
        store.trouble = _at_once
        assert await ref.ask(KnownMiners(), timeout=100) == ()


async def test_once_the_outcome_is_unknown_it_stays_so_if_no_repetition_succeeds(
    events: list[Event],
) -> None:
    store = TroubledStore()

    async with serving(store, events) as ref:
        await ref.ask(KnownMiners(), timeout=1)

        async def breaks() -> None:
            store.down = True
            raise OutcomeUnknown("no answer to commit")

        store.trouble = breaks
        with pytest.raises(Rejected, match="no answer to commit") as caught:
            await ref.ask(RegisterMiner(MINER), timeout=200)

    assert isinstance(caught.value.__cause__, OutcomeUnknown)


async def test_while_the_database_is_away_questions_wait_for_it(
    events: list[Event],
) -> None:
    store = TroubledStore()

    async with serving(store, events) as ref:
        store.down = True
        begin = trio.current_time()
        async with trio.open_nursery() as nursery:
            for _ in range(40):
                nursery.start_soon(partial(ref.ask, KnownMiners(), timeout=100))
            await trio.sleep(1)
            tries = store.tries
            await trio.sleep(19)
            assert store.tries - tries < 12, "it is probed, not hammered"
            store.down = False

        assert trio.current_time() - begin < 35
    assert not of(Restarted, events)


async def test_who_waits_longer_than_the_database_is_given_gets_its_answer(
    events: list[Event],
) -> None:
    store = TroubledStore()
    tuning = attrs.evolve(TUNING, patience=Patience(question=10))

    async with serving(store, events, tuning) as ref:
        store.down = True
        with pytest.raises(AskTimeout):
            await ref.ask(RegisterMiner(MINER), timeout=3)
        with pytest.raises(Rejected, match="down") as caught:
            await ref.ask(RegisterMiner(MINER), timeout=20)

    assert isinstance(caught.value.__cause__, StoreUnavailable)


async def test_a_server_that_does_not_answer_when_connected_to_costs_ten_seconds(
    events: list[Event],
) -> None:
    class Silent(TroubledStore):
        silent = False

        @asynccontextmanager
        async def open(self) -> AsyncGenerator[Store]:
            if self.silent:
                await trio.sleep_forever()
            async with super().open() as store:
                yield store

    store = Silent()
    async with serving(store, events) as ref:
        store.silent = True
        with pytest.raises(Rejected, match="database is down"):
            await ref.ask(KnownMiners(), timeout=200)

    event = of(DatabaseTimedOut, events)[0]
    assert event.operation == "connect"
    assert event.seconds == pytest.approx(10)


async def test_a_bug_costs_the_one_who_met_it_and_a_connection(
    events: list[Event],
) -> None:
    store = TroubledStore()

    async with serving(store, events) as ref:
        store.fails(ZeroDivisionError("a bug"))
        with pytest.raises(ActorCrashed) as caught:
            await ref.ask(KnownMiners(), timeout=100)
        assert isinstance(caught.value.__cause__, ZeroDivisionError)
        assert await ref.ask(KnownMiners(), timeout=100) == ()
        await trio.sleep(1)

    assert [e.path for e in of(Restarted, events)] == ["v/database/connections/0"]


async def test_a_slow_operation_succeeds_and_is_reported(events: list[Event]) -> None:
    store = TroubledStore()

    async with serving(store, events) as ref:
        store.trouble = partial(trio.sleep, 4.9)
        await ref.ask(KnownMiners(), timeout=100)
        store.trouble = partial(trio.sleep, 5.1)
        await ref.ask(RegisterMiner(MINER), timeout=100)

    (event,) = of(SlowDatabase, events)
    assert event.operation == "register_miner"
    assert event.seconds == pytest.approx(5.1)


async def test_a_read_nobody_waits_for_is_cancelled_and_a_write_is_not(
    events: list[Event],
) -> None:
    store = TroubledStore()
    tuning = attrs.evolve(TUNING, kept=1, extra=0)

    async with serving(store, events, tuning) as ref:
        store.trouble = partial(trio.sleep, 50)
        with trio.move_on_after(1):
            await ref.ask(KnownMiners(), timeout=100)
        with trio.move_on_after(1):
            await ref.ask(RegisterMiner(MINER), timeout=100)
        store.trouble = _at_once
        begin = trio.current_time()
        assert await ref.ask(KnownMiners(), timeout=100) == (MINER,)
        assert trio.current_time() - begin == pytest.approx(49)

    assert not of(Restarted, events)


async def test_reset_rows_are_reported_if_there_were_any(events: list[Event]) -> None:
    store = TroubledStore()

    async with serving(store, events) as ref:
        await ref.ask(RegisterMiner(MINER), timeout=1)
        prediction = Prediction(HOUR, MINER.hotkey, ScaledDst(-0.5))
        await ref.ask(SavePredictions((prediction,)), timeout=1)
        await ref.ask(ClaimPredictions(HOUR, "somebody", 1), timeout=1)
        assert await ref.ask(ProcessingRows(), timeout=1) == 1
        assert await ref.ask(ReleaseClaims("somebody"), timeout=1) == 1
        assert await ref.ask(ReleaseClaims("somebody"), timeout=1) == 0
        assert await ref.ask(ProcessingRows(), timeout=1) == 0

    assert of(RowsReset, events) == [RowsReset("somebody", 1)]


# -- connections -----------------------------------------------------------------------


async def test_connections_come_with_the_load_and_five_stay(
    events: list[Event],
) -> None:
    store = TroubledStore()

    async with serving(store, events) as ref:
        store.trouble = partial(trio.sleep, 10)
        begin = trio.current_time()
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(partial(ref.ask, KnownMiners(), timeout=100))
            await trio.sleep(5)
            assert store.connections == 15
        assert trio.current_time() - begin == pytest.approx(20)
        await trio.sleep(50)
        assert store.connections == 15
        await trio.sleep(40)
        assert store.connections == 5


async def test_who_asks_alone_needs_one_connection(events: list[Event]) -> None:
    store = TroubledStore()

    async with serving(store, events) as ref:
        for _ in range(10):
            await ref.ask(KnownMiners(), timeout=100)
        assert store.connections == 1


async def test_a_connection_that_was_idle_for_long_is_tried_before_it_is_used(
    events: list[Event],
) -> None:
    store = TroubledStore()

    async with serving(store, events) as ref:
        await ref.ask(KnownMiners(), timeout=100)
        await trio.sleep(29)
        await ref.ask(KnownMiners(), timeout=100)
        assert store.pings == 0
        await trio.sleep(31)
        await ref.ask(KnownMiners(), timeout=100)
        assert (store.pings, store.tries) == (1, 2)
        await trio.sleep(31)
        store.fails(ConnectionLost("gone in its sleep"))
        await ref.ask(KnownMiners(), timeout=100)
        assert (store.pings, store.tries) == (2, 3)


async def test_an_idle_connection_that_says_nothing_is_replaced_after_ten_seconds(
    events: list[Event],
) -> None:
    store = TroubledStore()

    async def for_ever() -> None:
        store.trouble = _at_once
        await trio.sleep_forever()

    async with serving(store, events) as ref:
        await ref.ask(KnownMiners(), timeout=100)
        await trio.sleep(31)
        store.trouble = for_ever
        begin = trio.current_time()
        await ref.ask(KnownMiners(), timeout=100)
        assert trio.current_time() - begin == pytest.approx(10)


async def test_how_long_was_waited_for_a_connection_is_measured(
    events: list[Event],
) -> None:
    store = TroubledStore()
    tuning = attrs.evolve(TUNING, kept=1, extra=0)

    async with serving(store, events, tuning, metrics=Metrics()) as ref:
        store.trouble = partial(trio.sleep, 10)
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(partial(ref.ask, KnownMiners(), timeout=100))

    waits = of(Waited, events)
    assert {event.what for event in waits} == {"connections"}
    assert len(waits) == 2


# -- resets ---------------------------------------------------------------------------


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

    async def ask(ref: Ref[Database], seconds: float, name: str) -> None:
        store.trouble = partial(trio.sleep, seconds)
        try:
            await ref.ask(RegisterMiner(MINER), timeout=100)
        except ActorCrashed:
            answers.append(f"{name}: cut off")
        else:
            answers.append(f"{name}: done")

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

    assert answers == ["short: done", "long: cut off", "asked meanwhile: done"]


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
                with suppress(ActorCrashed):
                    await ref.ask(RegisterMiner(MINER), timeout=100)

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

    async with running(store, events) as (system, child):
        store.down = True
        with pytest.raises(Rejected):
            await system.ref(child).ask(KnownMiners(), timeout=200)
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
                with pytest.raises(Rejected):
                    await ref.ask(RegisterMiner(MINER), timeout=200)
        store.down = False
        await trio.sleep(30)
        assert await ref.ask(KnownMiners(), timeout=100) in {(), (MINER,)}

    assert not of(Restarted, events)
