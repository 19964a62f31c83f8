"""What becomes of a question to the database: one definite answer."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from functools import partial

import attrs
import pytest
import trio
from troubled import HOUR, MINER, TUNING, TroubledStore, _at_once, of, serving

from actors import ActorCrashed, AskTimeout, Rejected
from actors.events import Event
from supervision.events import Restarted
from validator.actors.questions import (
    ClaimPredictions,
    KnownMiners,
    ProcessingRows,
    RegisterMiners,
    ReleaseClaims,
    SavePredictions,
)
from validator.domain.dst import ScaledDst
from validator.domain.metagraph import Miner
from validator.domain.scoring import Prediction
from validator.events import (
    DatabaseTimedOut,
    RowsReset,
    SlowDatabase,
)
from validator.ports import (
    ConnectionLost,
    OutcomeUnknown,
    Store,
    StoreUnavailable,
)


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
        await ref.ask(RegisterMiners((MINER,)), timeout=10)
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
            await ref.ask(RegisterMiners((MINER,)), timeout=200)

    assert isinstance(caught.value.__cause__, OutcomeUnknown)


@pytest.mark.parametrize("error", [StoreUnavailable("full"), OutcomeUnknown("lost")])
async def test_nothing_is_repeated_for_somebody_who_does_not_wait(
    events: list[Event], error: Exception
) -> None:
    asked = 0

    class Fails(TroubledStore):
        async def register_miners(self, miners: Sequence[Miner]) -> None:
            nonlocal asked
            asked += 1
            await trio.sleep(0.4)
            raise error

    async with serving(Fails(), events) as ref:
        with trio.move_on_after(1.5) as scope:
            await ref.ask(RegisterMiners((MINER,)), timeout=100)
        assert scope.cancelled_caught
        await trio.sleep(1)
        before = asked
        assert before > 1
        await trio.sleep(100)
        assert asked == before
        begin = trio.current_time()
        with pytest.raises(Rejected, match=str(error)) as caught:
            await ref.ask(RegisterMiners((MINER,)), timeout=4)
        assert trio.current_time() - begin <= 4
        before = asked
        await trio.sleep(100)
        assert asked == before

    assert caught.value.__cause__ is error


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


async def test_who_asks_in_vain_is_told_in_time_that_nothing_was_begun(
    events: list[Event],
) -> None:
    store = TroubledStore()

    async with serving(store, events) as ref:
        store.down = True
        begin = trio.current_time()
        with pytest.raises(AskTimeout) as caught:
            await ref.ask(RegisterMiners((MINER,)), timeout=20)
        assert trio.current_time() - begin == pytest.approx(20)
        assert not caught.value.started
        store.down = False
        await trio.sleep(60)
        assert await ref.ask(KnownMiners(), timeout=100) == ()


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
        with pytest.raises(AskTimeout):
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
        await ref.ask(RegisterMiners((MINER,)), timeout=100)

    (event,) = of(SlowDatabase, events)
    assert event.operation == "register_miners"
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
            await ref.ask(RegisterMiners((MINER,)), timeout=100)
        store.trouble = _at_once
        begin = trio.current_time()
        assert await ref.ask(KnownMiners(), timeout=100) == (MINER,)
        assert trio.current_time() - begin == pytest.approx(49)

    assert not of(Restarted, events)


async def test_reset_rows_are_reported_if_there_were_any(events: list[Event]) -> None:
    store = TroubledStore()

    async with serving(store, events) as ref:
        await ref.ask(RegisterMiners((MINER,)), timeout=1)
        prediction = Prediction(HOUR, MINER.hotkey, ScaledDst(-0.5))
        await ref.ask(SavePredictions((prediction,)), timeout=1)
        await ref.ask(ClaimPredictions(HOUR, "somebody", 1), timeout=1)
        assert await ref.ask(ProcessingRows(), timeout=1) == 1
        assert await ref.ask(ReleaseClaims("somebody"), timeout=1) == 1
        assert await ref.ask(ReleaseClaims("somebody"), timeout=1) == 0
        assert await ref.ask(ProcessingRows(), timeout=1) == 0

    assert of(RowsReset, events) == [RowsReset("somebody", 1)]
