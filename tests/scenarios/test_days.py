"""The whole validator in virtual time: days of data in a moment."""

from __future__ import annotations

import io
import json
import math
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from random import Random

import attrs
import pytest
import trio

from actors import Exit
from actors.events import Event
from supervision import GetMetrics
from supervision.events import Restarted
from validator.adapters.dst_files import DstFiles
from validator.adapters.fiber.wire import Response
from validator.app import Ports, Validator, build
from validator.domain.dst import Nanotesla
from validator.domain.metagraph import Metagraph, Miner
from validator.domain.payload import Payload
from validator.domain.schedule import HOUR
from validator.domain.scoring import Excuse, Prediction, ScoredHour
from validator.domain.weights import merits
from validator.events import (
    HourScored,
    LeaseElsewhere,
    MinerLeft,
    NobodyAnswered,
    QuestionSkipped,
    RoundEnded,
    RoundVoid,
    RowsReset,
    WeightsSet,
)
from validator.logs import event_log, make_logger
from validator.ports import MinerConnection, MinerError, Seen, StoreUnavailable
from validator.settings import Settings
from validator.simulation.behaviours import Behaviour, parse_question, react
from validator.simulation.calendar import SimulatedCalendar
from validator.simulation.chain import Registration, SimulatedChain
from validator.simulation.leases import MemoryLeases
from validator.simulation.store import MemoryStore

FIRST = datetime(2015, 3, 17, 20, tzinfo=UTC)
DAY = {
    FIRST + n * HOUR: Nanotesla(round(-100 + 80 * math.cos(n / 4)))
    for n in range(-24, 60)
}


class Peer:
    """One miner as ``behaviours`` has it, without a socket."""

    def __init__(self, miner: Miner, behaviour: Behaviour) -> None:
        self._miner = miner
        self._behaviour = behaviour
        self._key = False

    @property
    def has_key(self) -> bool:
        return self._key

    async def handshake(self) -> None:
        await trio.sleep(0.1)
        self._key = True

    @property
    def seen(self) -> Seen:
        return Seen()

    async def ask(self, path: str, payload: Payload, *, limit: int) -> object:
        asked = parse_question(json.loads(payload.text))
        reaction = react(
            self._behaviour,
            asked,
            truth=DAY[asked.hour] / 100,
            seed=1,
            uid=self._miner.uid,
            hotkey=self._miner.hotkey,
        )
        if reaction.response == "hang":
            await trio.sleep_forever()
        if not isinstance(reaction.response, Response):
            raise MinerError("malformed", "no HTTP")
        if reaction.response.status != 200:
            raise MinerError("refused", "HTTP 403")
        try:
            answer: object = json.loads(reaction.response.body)
        except ValueError:
            raise MinerError("malformed", "no JSON") from None
        return answer


@attrs.define(slots=False)
class World:
    """A validator and everything round it, with a list of what was reported."""

    miners: Mapping[Miner, Behaviour]
    series: Mapping[datetime, Nanotesla] = attrs.field(factory=lambda: DAY)
    later: tuple[Registration, ...] = ()
    store: MemoryStore = attrs.field(factory=MemoryStore)
    leases: MemoryLeases = attrs.field(factory=MemoryLeases)
    events: list[Event] = attrs.field(factory=list[Event])
    sink: Callable[[Event], None] | None = None

    def __attrs_post_init__(self) -> None:
        self.calendar = SimulatedCalendar(FIRST - timedelta(minutes=1), hour=3600)
        newcomers = {registration.miner for registration in self.later}
        first = [
            Registration(self.calendar.now(), miner)
            for miner in self.miners
            if miner not in newcomers
        ]
        self.chain = SimulatedChain([*first, *self.later], calendar=self.calendar)

    @asynccontextmanager
    async def _connect(self, miner: Miner) -> AsyncGenerator[MinerConnection]:
        yield Peer(miner, self.miners.get(miner, "honest"))

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[Validator]:
        sinks = [self.events.append, *([self.sink] if self.sink else [])]
        ports = Ports(
            chain=self.chain,
            connect=self._connect,
            open_database=self.store.database,
            open_lease=self.leases.open,
            dst=DstFiles(self.series),
            calendar=self.calendar,
        )
        validator = build(ports, Settings(), on_event=sinks, random=Random(1))
        async with validator.system:
            self.calendar.go()
            yield validator

    async def run(self, hours: float) -> None:
        async with self.running():
            await trio.sleep(hours * 3600)
        assert await self.store.processing_rows() == 0

    def all(self, kind: type[Event]) -> list[Event]:
        return [event for event in self.events if isinstance(event, kind)]

    def scored(self) -> list[datetime]:
        return [e.hour for e in self.events if isinstance(e, HourScored)]


def cast(*behaviours: Behaviour) -> dict[Miner, Behaviour]:
    return {
        Miner(uid, f"hotkey-{uid}", "127.0.0.1", 8000 + uid): behaviour
        for uid, behaviour in enumerate(behaviours)
    }


async def test_a_day_rewards_those_who_answer_and_nobody_else() -> None:
    world = World(
        cast("honest", "nan", "honest", "hanging", "refusing", "wrong_shape", "garbage")
    )
    await world.run(26.5)

    assert world.scored() == [FIRST + n * HOUR for n in range(1, 26)], "each hour once"
    assert all(
        event.truth == DAY[event.hour]
        for event in world.events
        if isinstance(event, HourScored)
    )
    assert world.chain.weights.keys() == {0, 2}
    assert world.all(Restarted) == []
    (first, *_) = (e for e in world.events if isinstance(e, RoundEnded))
    assert dict(first.failed) == {
        "not_finite": 1,
        "timeout": 1,
        "refused": 1,
        "wrong_shape": 1,
        "malformed": 1,
    }


async def test_a_newcomer_inherits_nothing_of_its_predecessor() -> None:
    newcomer = Miner(1, "newcomer", "127.0.0.1", 9000)
    when = FIRST + timedelta(hours=5, minutes=30)
    miners = cast("honest", "honest", "honest")
    world = World(
        {**miners, newcomer: "refusing"}, later=(Registration(when, newcomer),)
    )
    await world.run(9.5)

    assert [e.hotkey for e in world.events if isinstance(e, MinerLeft)] == ["hotkey-1"]
    assert world.chain.weights.keys() == {0, 2}
    rows = await world.store.score_rows(FIRST)
    assert len(rows) == 8
    assert all(row.scores.keys() == {"hotkey-0", "hotkey-2"} for row in rows)


async def test_a_port_that_moved_costs_a_miner_nothing() -> None:
    moved = Miner(0, "hotkey-0", "127.0.0.1", 9000)
    world = World(
        cast("honest", "honest"), later=(Registration(FIRST + 2.5 * HOUR, moved),)
    )
    await world.run(6.5)

    assert world.all(MinerLeft) == []
    rows = await world.store.score_rows(FIRST)
    assert [row.scores.keys() for row in rows] == [{"hotkey-0", "hotkey-1"}] * 5


async def test_a_value_that_is_missing_is_waited_for_and_no_other_is_taken() -> None:
    gap = FIRST + 2 * HOUR
    series = {hour: value for hour, value in DAY.items() if hour != gap}
    world = World(cast("honest", "honest"), series=series)
    await world.run(6.5)

    assert gap not in world.scored()
    assert gap in await world.store.pending_hours(FIRST + 6 * HOUR)
    # The question that would have had to begin with the missing value was not asked.
    (skipped,) = [e for e in world.events if isinstance(e, QuestionSkipped)]
    assert skipped.hour == gap + 2 * HOUR


async def test_nobody_answering_is_reported_and_earns_nobody_anything() -> None:
    world = World(cast("refusing", "hanging"))
    await world.run(3.5)

    assert len(world.all(NobodyAnswered)) == 4
    assert len(world.scored()) == 2
    assert world.all(WeightsSet) == []


async def test_operators_read_of_a_slow_chain_while_it_is_slow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stream = io.StringIO()
    log = event_log(make_logger(style="json", level="info", stream=stream))
    world = World(cast("honest"), sink=log)
    metagraph = world.chain.metagraph

    async def slowly() -> Metagraph:
        await trio.sleep(45)
        return await metagraph()

    async with world.running() as validator:
        monkeypatch.setattr(world.chain, "metagraph", slowly)
        await trio.sleep(600)
        watchdog = validator.system.ref(validator.watchdog)
        metrics = await watchdog.ask(GetMetrics())

    texts = [json.loads(line)["event"] for line in stream.getvalue().splitlines()]
    alert = texts.index(
        "TIMEOUT_ALERT - Task: metagraph | Operation: metagraph_sync | "
        "Duration: 30.00s | Timeout: 30s | Status: processing | Errors: 0"
    )
    assert texts[alert + 1].startswith("Memory Usage at Timeout - RSS: ")
    assert any(
        text.startswith("Task metagraph completed operation: metagraph_sync | Memory")
        for text in texts[alert:]
    )
    assert "Slow metagraph sync: 45.00s" in texts[alert:]
    assert "system.summary" in texts
    sync = metrics["validator/chain/metagraph"].operations["metagraph_sync"]
    assert (sync.completed, sync.failed) == (2, 0)


class FlakyStore(MemoryStore):
    """Goes away when it is told to, for some seconds."""

    away_until = -math.inf

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[FlakyStore]:
        self._check()
        async with super().open():
            yield self

    def _check(self) -> None:
        if trio.current_time() < self.away_until:
            raise StoreUnavailable("the database is away")

    async def save_predictions(
        self, predictions: Sequence[Prediction], excuses: Sequence[Excuse] = ()
    ) -> int:
        self._check()
        return await super().save_predictions(predictions, excuses)


async def test_a_database_that_is_away_in_a_round_costs_nothing() -> None:
    store = FlakyStore()
    world = World(cast("honest", "honest", "honest"), store=store)
    async with world.running():
        await trio.sleep(2.9 * 3600)
        store.away_until = trio.current_time() + 0.1 * 3600 + 90
        await trio.sleep(6 * 3600)

    assert world.scored() == [FIRST + n * HOUR for n in range(1, 8)]
    rows = await store.score_rows(FIRST)
    assert [len(row.scores) for row in rows] == [3] * 7
    assert world.chain.weights.keys() == {0, 1, 2}
    assert await store.processing_rows() == 0


class CutOff(Peer):
    """Nobody can be reached while the world is offline."""

    def __init__(self, miner: Miner, world: Offline) -> None:
        super().__init__(miner, "honest")
        self._world = world

    async def ask(self, path: str, payload: Payload, *, limit: int) -> object:
        if self._world.offline:
            raise MinerError("unreachable", "no route to host")
        return await super().ask(path, payload, limit=limit)


class Offline(World):
    """A world whose network can be taken away."""

    offline = False

    @asynccontextmanager
    async def _connect(self, miner: Miner) -> AsyncGenerator[MinerConnection]:
        yield CutOff(miner, self)


async def test_a_network_of_ours_that_is_down_costs_nobody_anything() -> None:
    world = Offline(cast("honest", "honest", "honest", "honest", "honest", "honest"))
    async with world.running():
        await trio.sleep(2.5 * 3600)
        world.offline = True
        await trio.sleep(3600)
        world.offline = False
        await trio.sleep(3 * 3600)

    (void,) = world.all(RoundVoid)
    assert isinstance(void, RoundVoid)
    assert void.why == "network"
    assert world.scored() == [FIRST + n * HOUR for n in (1, 2, 3, 5)]
    assert void.hour == FIRST + 4 * HOUR
    rows = await world.store.score_rows(FIRST)
    assert [len(row.scores) for row in rows] == [6] * 4
    assert len(world.chain.weights) == 6


class Crashing(Peer):
    """Our client of this miner crashes at one question."""

    async def ask(self, path: str, payload: Payload, *, limit: int) -> object:
        if parse_question(json.loads(payload.text)).hour == FIRST + 3 * HOUR:
            raise ZeroDivisionError("a bug of ours")
        return await super().ask(path, payload, limit=limit)


class Buggy(World):
    """A world in which a client of ours has a bug."""

    @asynccontextmanager
    async def _connect(self, miner: Miner) -> AsyncGenerator[MinerConnection]:
        yield (Crashing if miner.uid == 0 else Peer)(miner, "honest")


async def test_a_client_of_ours_that_crashes_costs_its_miner_nothing() -> None:
    world = Buggy(cast("honest", "honest"))
    await world.run(6.5)

    rows = await world.store.score_rows(FIRST)
    assert [0 if "hotkey-0" in row.scores else 1 for row in rows] == [0, 0, 1, 0, 0]
    now = world.calendar.now()
    earned = merits([row.seated({"hotkey-0": 0}) for row in rows], now=now, uids=[0])
    without = [rows[0], rows[1], rows[3], rows[4]]
    assert earned == merits(
        [row.seated({"hotkey-0": 0}) for row in without], now=now, uids=[0]
    )
    assert all("hotkey-1" in row.scores for row in rows), "nothing else has changed"


async def test_a_crash_between_claim_and_scores_is_made_good_by_the_next_life() -> None:
    class Careless(MemoryStore):
        broken = False

        async def record_scores(self, outcome: ScoredHour) -> bool:
            if not self.broken:
                self.broken = True
                raise ValueError("a bug")
            return await super().record_scores(outcome)

    store = Careless()
    world = World(cast("honest", "honest"), store=store)
    await world.run(5.5)

    assert world.scored() == [FIRST + n * HOUR for n in range(1, 5)]
    (reset,) = [e for e in world.events if isinstance(e, RowsReset)]
    assert reset.rows == 2
    rows = await store.score_rows(FIRST)
    assert [len(row.scores) for row in rows] == [2] * 4


async def test_stopping_in_mid_round_leaves_nothing_behind() -> None:
    world = World(cast("honest", "hanging", "honest"))
    tasks = _tasks()
    with trio.move_on_after(90):
        async with world.running():
            await trio.sleep_forever()

    assert await world.store.processing_rows() == 0
    assert _tasks() == tasks
    assert trio.current_time() < 100, "it did not wait for the one that hangs"


def _tasks() -> int:
    root = trio.lowlevel.current_root_task()
    todo, count = [root] if root is not None else [], 0
    while todo:
        count += 1
        for nursery in todo.pop().child_nurseries:
            todo += nursery.child_tasks
    return count


async def test_exits_of_the_tree_are_orderly(caplog: pytest.LogCaptureFixture) -> None:
    world = World(cast("honest"))
    async with world.running() as validator:
        await trio.sleep(3600)
        exit_ = await validator.system.stop(validator.tasks)
    assert exit_ == Exit("shutdown")
    assert caplog.text == ""


async def test_of_two_validators_with_one_hotkey_only_one_sets_weights() -> None:
    first = World(cast("honest"))
    second = World(cast("honest"), store=first.store, leases=first.leases)
    async with second.running():
        async with first.running():
            await trio.sleep(3.5 * 3600)
        told = [e for w in (first, second) for e in w.all(LeaseElsewhere)]
        (loser,) = [w for w in (first, second) if not w.all(WeightsSet)]
        assert len(told) == len(loser.all(LeaseElsewhere)) == 1
        assert loser.chain.weights == {}
        await trio.sleep(3600)

    assert second.all(WeightsSet), "who is left takes over"
    rows = await first.store.score_rows(FIRST)
    assert [row.scores.keys() for row in rows] == [{"hotkey-0"}] * 3
