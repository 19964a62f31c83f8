"""The connections of the database's pool come, are tried, and go."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import attrs
import pytest
import trio
from troubled import TUNING, TroubledStore, _at_once, of, serving

from actors import Rejected
from actors.events import Event
from supervision import Metrics
from supervision.events import Waited
from validator.actors.questions import (
    KnownMiners,
)
from validator.domain.metagraph import Miner
from validator.ports import ConnectionLost


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


@pytest.mark.parametrize("hangs", [False, True])
async def test_a_question_goes_to_whoever_is_free_first(
    events: list[Event], *, hangs: bool
) -> None:
    store = TroubledStore()
    tuning = attrs.evolve(TUNING, kept=1, extra=1)
    begin, ends = 0.0, list[float]()

    async def ask(seconds: float) -> None:
        store.trouble = partial(trio.sleep, seconds)
        await ref.ask(KnownMiners(), timeout=100)
        ends.append(trio.current_time() - begin)

    async with serving(store, events, tuning) as ref:
        await ref.ask(KnownMiners(), timeout=100)
        store.down, store.hangs, begin = True, hangs, trio.current_time()
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(ask, 2)
        assert ends == pytest.approx([2, 4, 6]), "nobody waited for another connection"
        assert store.tries > 2, "that was tried, though"


async def test_when_one_connection_is_lost_the_others_prove_that_they_live(
    events: list[Event],
) -> None:
    store = TroubledStore()

    async with serving(store, events) as ref:
        store.trouble = partial(trio.sleep, 1)
        async with trio.open_nursery() as nursery:
            for _ in range(15):
                nursery.start_soon(partial(ref.ask, KnownMiners(), timeout=100))
        assert store.connections == 15
        store.fails(ConnectionLost("somebody ended it"))
        begin = trio.current_time()
        await ref.ask(KnownMiners(), timeout=100)
        assert trio.current_time() - begin == pytest.approx(1)
        assert store.pings == 0, "a new one answered before"
        store.trouble = partial(trio.sleep, 1)
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(partial(ref.ask, KnownMiners(), timeout=100))
        assert 0 < store.pings <= 14


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


class Deadly(TroubledStore):
    """A database whose connections die of a question."""

    killed = 0

    async def miners(self) -> Sequence[Miner]:
        self.killed += 1
        raise ConnectionLost("the server has died of it")


async def test_a_question_that_kills_each_connection_is_given_up_after_five(
    events: list[Event],
) -> None:
    store = Deadly()
    async with serving(store, events) as client:
        with pytest.raises(Rejected, match="died of it") as caught:
            await client.ask(KnownMiners(), timeout=1000)
        assert isinstance(caught.value.__cause__, ConnectionLost)
        assert store.killed == 5
