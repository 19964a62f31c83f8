"""Any history has the same answers in both stores, and every write may be repeated."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from inspect import getmembers, isfunction
from typing import Any

import pytest
import trio
from hypothesis import settings, strategies as st
from hypothesis.stateful import initialize, rule, run_state_machine_as_test

from supervision.testing import TrioStateMachine, awaited
from validator.adapters.postgres import postgres_opener
from validator.domain.dst import Nanotesla, ScaledDst
from validator.domain.metagraph import Miner
from validator.domain.scoring import Excuse, Prediction, Score, ScoredHour
from validator.domain.soil import (
    CELLS,
    PreparedRegion,
    Region,
    ScoredTarget,
    SoilForecast,
    SoilScore,
)
from validator.ports import OpenStore, Store
from validator.simulation.store import MemoryStore

START = datetime(2015, 3, 17, 20, tzinfo=UTC)
END = START + timedelta(days=1)

uids = st.integers(0, 3)
hotkeys = st.sampled_from(["a", "B", "b"])
times = st.sampled_from([START + timedelta(hours=n) for n in range(2)])
numbers = st.integers(0, 2)
owners = st.sampled_from(["geo", "soil"])
values = st.sampled_from([-2.5, 0.0, 1e300]).map(ScaledDst)
worth = st.floats(0, 1)


def region(at: datetime, number: int, west: float, content: bytes) -> PreparedRegion:
    box = (west, 0.0, 10.0, 1.0)
    return PreparedRegion(Region(at, number, box, box, 32633), b"II*\0" + content)


def forecast(at: datetime, number: int, hotkey: str, value: float) -> SoilForecast:
    return SoilForecast(at, number, hotkey, (value,) * CELLS, (0.5,) * CELLS)


miners = st.builds(Miner, uids, hotkeys, st.just("127.0.0.1"), st.just(8000))
several_miners = st.lists(
    miners, max_size=3, unique_by=(lambda m: m.uid, lambda m: m.hotkey)
)
predictions = st.lists(st.builds(Prediction, times, hotkeys, values), max_size=4)
excuses = st.lists(st.builds(Excuse, times, hotkeys), max_size=3)
outcomes = st.builds(
    ScoredHour,
    times,
    st.integers(-500, 50).map(Nanotesla),
    st.lists(st.builds(Score, hotkeys, values, worth), max_size=4).map(tuple),
)
regions = st.lists(
    st.builds(region, times, numbers, st.floats(0, 2), st.binary(max_size=3)),
    max_size=3,
)
forecasts = st.lists(
    st.builds(forecast, times, numbers, hotkeys, st.floats(0, 1)), max_size=4
)
soil_outcomes = st.builds(
    ScoredTarget,
    times,
    st.lists(
        st.builds(SoilScore, numbers, hotkeys, st.just(0.1), st.just(0.2), worth),
        unique_by=lambda score: (score.number, score.hotkey),
        max_size=4,
    ).map(tuple),
)


async def all_that_can_be_seen(store: Store) -> list[Any]:
    at_all_times = [START + timedelta(hours=n) for n in range(2)]
    return [
        await store.miners(),
        await store.pending_hours(END),
        await store.score_rows(START),
        await store.processing_rows(),
        await store.due_targets(until=END, now=END),
        await store.due_targets(until=END, now=START),
        *[
            (await store.regions(at), await store.unsent_regions(at, limit=2))
            for at in at_all_times
        ],
        *[await store.soil_forecasts(at, 0, limit=2) for at in at_all_times],
    ]


class BothStores(TrioStateMachine):
    """One history for both stores: the same answers, and the same to be seen."""

    opener: OpenStore  # of a fresh store in PostgreSQL

    def _run(self) -> None:
        trio.run(self._serve)  # a server knows nothing of virtual time

    @initialize()
    @awaited
    async def open(self) -> None:
        self.stores: list[Store] = [
            await self.stack.enter_async_context(MemoryStore().open()),
            await self.stack.enter_async_context(type(self).opener()),
        ]

    async def both(self, ask: Callable[[Store], Awaitable[Any]]) -> Any:
        in_memory, in_postgres = [await ask(store) for store in self.stores]
        assert in_memory == in_postgres
        return in_memory

    async def write(self, method: str, *args: Any, again: bool, **kwargs: Any) -> None:
        def ask(store: Store) -> Awaitable[Any]:
            work: Awaitable[Any] = getattr(store, method)(*args, **kwargs)
            return work

        await self.both(ask)
        seen = await self.both(all_that_can_be_seen)
        if again:
            await self.both(ask)
            assert await self.both(all_that_can_be_seen) == seen

    @rule(some=several_miners, again=st.booleans())
    @awaited
    async def register_miners(self, some: list[Miner], again: bool) -> None:
        await self.write("register_miners", some, again=again)

    @rule(some=st.lists(hotkeys, max_size=2), again=st.booleans())
    @awaited
    async def forget_miners(self, some: list[str], again: bool) -> None:
        await self.write("forget_miners", some, again=again)

    @rule(hour=times, again=st.booleans())
    @awaited
    async def open_hour(self, hour: datetime, again: bool) -> None:
        await self.write("open_hour", hour, again=again)

    @rule(given=predictions, excuses=excuses, again=st.booleans())
    @awaited
    async def save_predictions(
        self, given: list[Prediction], excuses: list[Excuse], again: bool
    ) -> None:
        await self.write("save_predictions", given, excuses, again=again)

    @rule(hour=times, owner=owners, life=st.integers(1, 2), again=st.booleans())
    @awaited
    async def claim(self, hour: datetime, owner: str, life: int, again: bool) -> None:
        claim: dict[str, Any] = {"owner": owner, "incarnation": life, "again": again}
        await self.write("claim_predictions", hour, **claim)
        await self.write("claim_target", hour, **claim)

    @rule(owner=st.none() | owners, again=st.booleans())
    @awaited
    async def release_claims(self, owner: str | None, again: bool) -> None:
        await self.write("release_claims", owner=owner, again=again)

    @rule(outcome=outcomes, again=st.booleans())
    @awaited
    async def record_scores(self, outcome: ScoredHour, again: bool) -> None:
        await self.write("record_scores", outcome, again=again)

    @rule(prepared=regions, again=st.booleans())
    @awaited
    async def save_regions(self, prepared: list[PreparedRegion], again: bool) -> None:
        await self.write("save_regions", prepared, again=again)

    @rule(at=times, number=numbers, again=st.booleans())
    @awaited
    async def region_sent(self, at: datetime, number: int, again: bool) -> None:
        await self.write("region_sent", at, number, again=again)

    @rule(given=forecasts, again=st.booleans())
    @awaited
    async def save_soil_forecasts(self, given: list[SoilForecast], again: bool) -> None:
        await self.write("save_soil_forecasts", given, again=again)

    @rule(outcome=soil_outcomes, again=st.booleans())
    @awaited
    async def record_soil_scores(self, outcome: ScoredTarget, again: bool) -> None:
        await self.write("record_soil_scores", outcome, again=again)

    @rule(at=times, attempt=st.integers(1, 3), retry=times, again=st.booleans())
    @awaited
    async def postpone_target(
        self, at: datetime, attempt: int, retry: datetime, again: bool
    ) -> None:
        kwargs: dict[str, Any] = {"attempt": attempt, "retry_at": retry, "error": "x"}
        await self.write("postpone_target", at, again=again, **kwargs)

    @rule(at=times, again=st.booleans())
    @awaited
    async def abandon_target(self, at: datetime, again: bool) -> None:
        await self.write("abandon_target", at, again=again)

    @rule(before=times, again=st.booleans())
    @awaited
    async def prune(self, before: datetime, again: bool) -> None:
        await self.write("prune", before, again=again)

    def teardown(self) -> None:
        if hasattr(self, "stores"):
            self.wait_for(self._forget_everybody)
        super().teardown()

    async def _forget_everybody(self) -> None:
        """What belongs to a miner goes with it: no row is left behind."""
        for store in self.stores:
            for miner in await store.miners():
                await store.forget_miners([miner.hotkey])
            assert all(not row.scores for row in await store.score_rows(START))
            for at in [START + timedelta(hours=n) for n in range(2)]:
                assert await store.soil_forecasts(at, 0) == ()
                claim = store.claim_predictions(at, owner="x", incarnation=1)
                assert await claim == ()


@pytest.mark.real
def test_any_history_gives_the_same_answers_and_every_write_may_be_repeated(
    dsn: str,
) -> None:
    class Machine(BothStores):
        @staticmethod
        def opener() -> Any:
            return postgres_opener(dsn, schema="contract", fresh=True)()

    # A server is slow: few examples, and more of them where there is time.
    examples = max(10, settings().max_examples // 8)
    run_state_machine_as_test(
        Machine,
        settings=settings(max_examples=examples, stateful_step_count=20, deadline=None),
    )


READS = {
    *("ping", "miners", "pending_hours", "score_rows", "processing_rows"),
    *("regions", "unsent_regions", "soil_forecasts", "due_targets"),
}


def test_every_write_of_the_port_is_part_of_the_histories() -> None:
    written = {name for name, _ in getmembers(BothStores, isfunction)}
    written |= {"claim_predictions", "claim_target"}  # by the rule `claim`
    methods = {name for name, _ in getmembers(Store, isfunction) if name[0] != "_"}

    assert methods - READS <= written
