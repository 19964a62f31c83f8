"""The validator's own actors, struck at every point: its promises hold all the same.

Its ports are fakes that note what was asked and answered; the rules compare that with
what is stored and what reaches the chain.
"""

from __future__ import annotations

import json
from collections.abc import (
    AsyncGenerator,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
import trio
from hypothesis import given, settings

from actors import Actor, Ref
from supervision import Child
from supervision.roles import ref_of
from supervision.system import System
from supervision.testing import (
    Fault,
    InvariantBroken,
    Oracle,
    Run,
    Scenario,
    TellAt,
    Tree,
    run_scenario,
    scenarios,
)
from validator.actors.geomagnetic import Geomagnetic
from validator.actors.metagraph import Sync
from validator.actors.weights import ScoresChanged
from validator.adapters.dst_files import DstFiles
from validator.app import PATIENT, QUICK, Ports, make_roles
from validator.domain.dst import Nanotesla, ScaledDst, scaled
from validator.domain.metagraph import Miner
from validator.domain.payload import Payload
from validator.domain.schedule import HOUR
from validator.domain.scoring import EarnedRow, ScoredHour
from validator.domain.tasks import geomagnetic
from validator.domain.weights import WINDOW, compute_weights, quantise
from validator.ports import MinerConnection, Seen
from validator.settings import Settings
from validator.simulation.behaviours import parse_question
from validator.simulation.calendar import SimulatedCalendar
from validator.simulation.chain import Registration, SimulatedChain
from validator.simulation.leases import MemoryLeases
from validator.simulation.store import MemoryStore

FIRST = datetime(2015, 3, 17, 20, tzinfo=UTC)
SERIES = {FIRST + n * HOUR: Nanotesla(-50 - 10 * (n % 7)) for n in range(-48, 96)}
PACE = 12.0  # seconds of the run in an hour of data time

# What each hotkey's forecast is off by: so a score tells whose it is.
ERRORS = {"exact": 0.0, "near": 0.2, "newcomer": 0.4}
EXACT, NEAR, NEWCOMER = (
    Miner(uid, hotkey, "127.0.0.1", 8000 + n)
    for n, (uid, hotkey) in enumerate([(0, "exact"), (1, "near"), (1, "newcomer")])
)

SETTINGS = Settings(
    handshake_timeout=1,
    query_timeout=2,
    database_timeout=5,
    source_timeout=2,
    chain_timeout=4,
    lease_interval=2,
    metagraph_interval=timedelta(minutes=20),
    weights_interval=timedelta(minutes=5),
)


def worth(hotkey: str, hour: datetime) -> float:
    """What the forecast of ``hotkey`` for ``hour`` is worth, if it gave one."""
    forecast = ScaledDst(scaled(SERIES[hour]) + ERRORS[hotkey])
    return geomagnetic.score(forecast, SERIES[hour])


class Peer:
    """A miner that answers at once, and is off by what its hotkey says."""

    def __init__(self, miner: Miner, answered: set[tuple[datetime, str]]) -> None:
        self._hotkey = miner.hotkey
        self._answered = answered
        self.has_key = False
        self.seen = Seen()

    async def handshake(self) -> None:
        await trio.sleep(0.01)
        self.has_key = True

    async def ask(self, path: str, payload: Payload, *, limit: int) -> object:
        await trio.sleep(0.1)
        hour = parse_question(json.loads(payload.text)).hour
        self._answered.add((hour, self._hotkey))
        return {"predicted_values": scaled(SERIES[hour]) + ERRORS[self._hotkey]}


class Records(MemoryStore):
    """A store that notes what was scored, and what was read for the weights."""

    def __init__(self) -> None:
        super().__init__()
        self.outcomes: list[ScoredHour] = []
        self.read: list[tuple[datetime, Sequence[EarnedRow]]] = []

    async def record_scores(self, outcome: ScoredHour) -> bool:
        recorded = await super().record_scores(outcome)
        if recorded:
            self.outcomes.append(outcome)
        return recorded

    async def score_rows(self, since: datetime) -> Sequence[EarnedRow]:
        rows = await super().score_rows(since)
        self.read.append((since + WINDOW, rows))
        return rows


class Chain(SimulatedChain):
    """A chain that notes which weights it accepted, and who was registered then."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.accepted: list[tuple[Mapping[int, int], Mapping[str, int]]] = []

    async def set_weights(self, weights: Mapping[int, int]) -> int:
        block = await super().set_weights(weights)
        registered = {m.hotkey: uid for uid, m in self._registered().items()}
        self.accepted.append((weights, registered))
        return block


class Finder(Actor):
    """The first child: gives the others the refs of their siblings."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def started(self) -> None:
        self._world.registry = self.ctx._life.runtime.registry


class World:
    """All that is round the actors in one run, and a stand-in for their system."""

    registry: Any
    series: Mapping[datetime, Nanotesla] = SERIES

    def __init__(self) -> None:
        self.calendar = SimulatedCalendar(FIRST - timedelta(minutes=10), hour=PACE)
        begin = self.calendar.now()
        registrations = [Registration(begin, EXACT), Registration(begin, NEAR)]
        registrations.append(
            Registration(FIRST + timedelta(hours=2, minutes=35), NEWCOMER)
        )
        self.chain = Chain(registrations, calendar=self.calendar)
        self.store = Records()
        self.answered: set[tuple[datetime, str]] = set()

    def ref(self, child: Child[Any]) -> Ref[Any]:
        return ref_of(self.registry, child)

    @asynccontextmanager
    async def connect(self, miner: Miner) -> AsyncGenerator[MinerConnection]:
        await trio.lowlevel.checkpoint()
        yield Peer(miner, self.answered)

    def children(self) -> list[Child[Any]]:
        ports = Ports(
            chain=self.chain,
            connect=self.connect,
            open_database=self.store.database,
            open_lease=MemoryLeases().open,
            dst=DstFiles(self.series),
            calendar=self.calendar,
        )
        self.calendar.go()
        roles = make_roles(ports, SETTINGS, lambda: cast("System", self))
        return [Child("finder", lambda: Finder(self)), *roles.children]


class Worlds:
    """Makes a tree for each run, and remembers the world of the latest."""

    def __init__(self, make: type[World] = World) -> None:
        self._make = make

    def children(self) -> list[Child[Any]]:
        self.latest = self._make()
        return self.latest.children()

    def tree(self) -> Tree:
        return Tree(
            self.children,
            name="validator",
            intensity=PATIENT,
            backoff=QUICK,
            messages={
                "validator/chain/metagraph": [Sync()],
                "validator/tasks/weights": [ScoresChanged(FIRST)],
            },
        )

    def oracle(self) -> Oracle:
        oracle = Oracle()

        @oracle.rule("scores-are-their-owners")
        def scores_are_their_owners(run: Run) -> Iterator[str]:
            world = self.latest
            for outcome in world.store.outcomes:
                for score in outcome.scores:
                    if score.score != worth(score.hotkey, outcome.hour):
                        yield f"{score.hotkey} got {score.score} for {outcome.hour}"
                    if (outcome.hour, score.hotkey) not in world.answered:
                        yield f"{score.hotkey} never answered about {outcome.hour}"
            for (hour, _), row in world.store._rows.items():
                for hotkey, stored in row.items():
                    if stored != worth(hotkey, hour):
                        yield f"{hotkey} has {stored} for {hour}"

        @oracle.rule("weights-are-right")
        def weights_are_right(run: Run) -> Iterator[str]:
            yield from wrong_weights(self.latest)

        @oracle.rule("nothing-stays-processing")
        def nothing_stays_processing(run: Run) -> Iterator[str]:
            yield from left_processing(run, self.latest.store)

        return oracle


def wrong_weights(world: World) -> Iterator[str]:
    """Weights follow from what was read last, and go to whoever earned them."""
    for weights, registered in world.chain.accepted:
        if not any(
            weights == expected(now, rows, registered) for now, rows in world.store.read
        ):
            yield f"{dict(weights)} is not what {registered} have earned"


def expected(
    now: datetime, rows: Sequence[EarnedRow], registered: Mapping[str, int]
) -> Mapping[int, int]:
    """What the weights are if these rows count, and these miners are registered."""
    seated = [row.seated(registered) for row in rows]
    return quantise(compute_weights(seated, now=now, uids=[*registered.values()]))


def left_processing(run: Run, store: MemoryStore) -> Iterator[str]:
    """Who could clean up, or start anew, has left no row in work."""
    hours = store._hours.values()
    claims = {claim for hour in hours for claim in hour.claims.values()}
    for owner, incarnation in {(c.owner, c.incarnation) for c in claims}:
        lives = run.lives[owner]
        (life,) = [life for life in lives if life.number == incarnation]
        if any(later.up for later in lives if later.number > incarnation):
            yield f"the next life of {owner} has left rows in work"
        endings = {passage.ending for passage in life.at("cleanup")}
        if life.over is not None and not life.interrupted and endings <= {"done"}:
            yield f"life {incarnation} of {owner} is over, and has rows in work"


EXAMPLES = settings().max_examples // 2
worlds = Worlds()
tree = worlds.tree()
oracle = worlds.oracle()


def test_without_a_fault_hours_are_scored_and_weights_set() -> None:
    run_scenario(
        Scenario([TellAt(60, "validator/chain/metagraph", Sync())]), tree, oracle=oracle
    )

    world = worlds.latest
    assert len(world.store.outcomes) >= 6
    assert len(world.chain.accepted) >= 6
    assert {score.hotkey for each in world.store.outcomes for score in each.scores} == {
        *ERRORS
    }


@settings(max_examples=EXAMPLES)
@given(scenarios(tree))
def test_whatever_the_plan_the_promises_hold(scenario: Scenario) -> None:
    run_scenario(scenario, tree, oracle=oracle)


def test_a_newcomer_that_nobody_has_noticed_yet_gets_no_weight_of_its_predecessor() -> (
    None
):
    # Data time 22:37: it is registered since 22:35, and the next look is at 22:50.
    changed = TellAt(33.4, "validator/tasks/weights", ScoresChanged(FIRST))
    run_scenario(Scenario([changed]), tree, oracle=oracle)


# -- and if they did not hold? --------------------------------------------------------


def broken_by(planted: Worlds, scenarios: Iterable[Scenario]) -> set[str]:
    """The rules that these scenarios break."""
    tree, oracle, rules = planted.tree(), planted.oracle(), set[str]()
    for scenario in scenarios:
        try:
            run_scenario(scenario, tree, oracle=oracle)
        except InvariantBroken as broken:
            rules.add(broken.rule)
    return rules


def test_a_task_that_leaves_its_claims_is_found_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Careless(Geomagnetic):
        async def started(self) -> None:
            pass

    monkeypatch.setattr("validator.app.Geomagnetic", Careless)
    connection = "validator/database/connections/0"
    crashes = (
        Scenario(faults=[Fault(connection, "handle", nth, "crash")])
        for nth in range(20, 50)
    )
    assert broken_by(Worlds(), crashes) == {"nothing-stays-processing"}


def test_scores_against_the_value_of_another_hour_are_found_out() -> None:
    shifted = {hour + HOUR: value for hour, value in SERIES.items()}

    class Shifted(World):
        series = shifted

    assert broken_by(Worlds(Shifted), [Scenario()]) == {"scores-are-their-owners"}
