"""Rounds: all miners at once, each result as it comes, and whose fault it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager

import attrs
import pytest
import trio

from actors import Actor, Ask, AskTimeout, Ref
from actors.events import Event
from supervision import (
    Breakers,
    Child,
    GetBreakers,
    Supervisor,
    System,
)
from supervision.events import BreakerOpened, Waited
from validator.actors.miner import (
    MinerAnswered,
    MinerClient,
    MinerFailed,
    NotServing,
    Result,
)
from validator.actors.rounds import (
    ALL_MINERS,
    AskMiners,
    ResultTaker,
    Rounds,
    RoundSummary,
    TakeResult,
    miner_policy,
)
from validator.domain.metagraph import Miner
from validator.domain.payload import Payload
from validator.events import ClockOff, MinerTimedOut, MinerTrouble, NobodyHeard
from validator.ports import MinerConnection, MinerError, Seen
from validator.settings import Settings

PAYLOAD = Payload.of({"data": 1})
DOWN = MinerError("unreachable", "nobody there")
REFUSED = MinerError("refused", "HTTP 401")


@attrs.define
class Peer:
    """A miner's server."""

    takes: float = 0
    refuses: Exception | None = None
    greets: bool = True
    has_key: bool = False
    asked: int = 0
    greeted: int = 0
    cancelled: int = 0
    seen: Seen = attrs.field(factory=Seen)

    @asynccontextmanager
    async def connect(self, miner: Miner) -> AsyncGenerator[MinerConnection]:
        yield self

    async def handshake(self) -> None:
        await trio.lowlevel.checkpoint()
        self.greeted += 1
        if not self.greets:
            raise DOWN
        self.has_key = True

    async def ask(self, path: str, payload: Payload, *, limit: int) -> object:
        self.asked += 1
        try:
            await trio.sleep(self.takes)
        except trio.Cancelled:
            self.cancelled += 1
            raise
        if self.refuses is not None:
            raise self.refuses
        return "answer"


@attrs.frozen
class GetTaken(Ask["Taker", Sequence[tuple[float, Result]]]):
    """What was told, and when."""


class Taker(Actor, ResultTaker):
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.taken: list[tuple[float, Result]] = []

    @TakeResult.handled
    def take(self, m: TakeResult) -> None:
        assert m.round == "round"
        self.taken.append((trio.current_time(), m.result))

    @GetTaken.handled
    def get(self, m: GetTaken) -> Sequence[tuple[float, Result]]:
        taken, self.taken = self.taken, []
        return taken


@attrs.frozen
class Field:
    """Miners, and what it takes to ask them."""

    roster: Mapping[Miner, Ref[MinerClient]]
    rounds: Ref[Rounds]
    taker: Ref[Taker]
    breakers: Ref[Breakers]
    system: System

    async def hold(self, deadline: float = 100) -> RoundSummary:
        ask = AskMiners("round", self.roster, "/p", PAYLOAD, deadline, self.taker)
        return await self.rounds.ask(ask)

    async def taken(self) -> dict[int, tuple[float, Result]]:
        results = await self.taker.ask(GetTaken())
        return {result.miner.uid: (when, result) for when, result in results}


@asynccontextmanager
async def field(
    peers: Sequence[Peer | None],
    events: list[Event],
    *,
    at_once: int = 256,
    size: int = 10**9,
) -> AsyncGenerator[Field]:
    settings = Settings(miners_at_once=at_once, bytes_in_flight=size)
    clients: dict[Miner, Child[MinerClient]] = {}
    for uid, peer in enumerate(peers):
        miner = Miner(uid, f"hotkey-{uid}", "192.0.2.1", 0 if peer is None else 1)
        connect = (peer or Peer()).connect
        clients[miner] = Child(
            miner.hotkey,
            lambda m=miner, c=connect: MinerClient(m, c, settings),  # type: ignore[misc]
            handler_timeout=1000,
        )
    breakers = Child("breakers", lambda: Breakers(miner_policy), mailbox=1024)
    rounds = Child("rounds", lambda: Rounds(system.ref(breakers), settings))
    taker = Child("taker", Taker, mailbox=2)
    miners = Child("miners", lambda: Supervisor(*clients.values()))
    system = System(miners, breakers, rounds, taker, on_event=[events.append])
    async with system:
        roster = {
            miner: system.find(f"app/miners/{miner.hotkey}", MinerClient)
            for miner in clients
        }
        yield Field(
            roster,
            system.ref(rounds),
            system.ref(taker),
            system.ref(breakers),
            system,
        )


def of(kind: type[Event], events: list[Event]) -> list[Event]:
    return [event for event in events if isinstance(event, kind)]


async def test_each_result_is_told_as_it_comes_and_the_summary_after_the_last(
    events: list[Event],
) -> None:
    peers = [Peer(takes=3), Peer(takes=1), Peer(takes=2, refuses=REFUSED), None]

    async with field(peers, events) as f:
        begin = trio.current_time()
        summary = await f.hold()
        assert trio.current_time() - begin == pytest.approx(3)
        taken = await f.taken()

    assert summary == RoundSummary(3, 2, Counter({"refused": 1}))
    assert [round(taken[uid][0] - begin) for uid in range(4)] == [3, 1, 2, 0]
    assert isinstance(taken[0][1], MinerAnswered)
    assert isinstance(taken[2][1], MinerFailed)
    assert isinstance(taken[3][1], NotServing)
    (complaint,) = of(MinerTrouble, events)
    assert isinstance(complaint, MinerTrouble)
    said = complaint.text.format(**attrs.asdict(complaint))
    assert said == "HTTP error from miner hotkey-2: HTTP 401"


async def test_a_round_lasts_until_its_deadline_and_not_longer(
    events: list[Event],
) -> None:
    peers = [Peer(takes=1e6), Peer(takes=1), Peer(takes=59)]

    async with field(peers, events) as f:
        begin = trio.current_time()
        summary = await f.hold(60)
        assert trio.current_time() - begin == pytest.approx(60)
        taken = await f.taken()
        assert peers[0].cancelled == 1
        peers[0].takes = 0
        assert (await f.hold(60)).answered == 3, "and leaves nothing behind"

    assert summary.failed == {"timeout": 1}
    assert len(taken) == 3
    (cut,) = of(MinerTimedOut, events)
    assert isinstance(cut, MinerTimedOut)
    assert (cut.hotkey, cut.phase) == ("hotkey-0", "query")


async def test_no_more_are_asked_at_once_than_there_are_permits(
    events: list[Event],
) -> None:
    peers = [Peer(takes=1) for _ in range(7)]

    async with field(peers, events, at_once=3) as f:
        begin = trio.current_time()
        assert (await f.hold()).answered == 7
        assert trio.current_time() - begin == pytest.approx(3)

    waits = [event for event in of(Waited, events) if isinstance(event, Waited)]
    assert Counter(round(each.seconds) for each in waits if each.what == "permit") == {
        1: 3,
        2: 1,
    }


async def test_no_more_bytes_are_under_way_than_there_may_be(
    events: list[Event],
) -> None:
    peers = [Peer(takes=1) for _ in range(4)]

    async with field(peers, events, size=5_000_000) as f:  # 2 MB for an answer
        begin = trio.current_time()
        assert (await f.hold()).answered == 4
        assert trio.current_time() - begin == pytest.approx(2)
    async with field(peers, events, size=1) as f:
        begin = trio.current_time()
        assert (await f.hold()).answered == 4
        assert trio.current_time() - begin == pytest.approx(4), "one by one"


async def test_who_gets_no_permit_before_the_deadline_was_never_asked_and_did_not_fail(
    events: list[Event],
) -> None:
    peers = [Peer(takes=1e6), Peer(takes=1e6)]

    async with field(peers, events, at_once=1) as f:
        summary = await f.hold(10)

    assert summary.failed == {"timeout": 1, "ours": 1}
    assert sum(peer.asked for peer in peers) == 1


async def test_a_miner_that_fails_is_only_greeted_and_one_that_recovers_loses_nothing(
    events: list[Event],
) -> None:
    peer = Peer(has_key=True, refuses=MinerError("malformed", "noise"), greets=False)

    async with field([peer, Peer()], events) as f:
        for _ in range(5):
            assert (await f.hold()).failed == {"malformed": 1}
        await f.taken()
        assert (await f.hold()).failed == {"breaker_open": 1}
        assert (peer.asked, peer.greeted) == (5, 1)
        _, result = (await f.taken())[0]
        assert isinstance(result, MinerFailed)
        assert (result.phase, result.detail) == (
            "handshake",
            "nobody there; before that malformed: noise",
        )
        peer.greets, peer.refuses = True, None
        assert (await f.hold()).answered == 2
        assert (await f.hold()).answered == 2

    assert (peer.asked, peer.greeted) == (7, 2)


async def test_when_nobody_is_heard_no_breaker_of_a_miner_opens(
    events: list[Event],
) -> None:
    peers = [Peer(greets=False) for _ in range(6)]

    async with field(peers, events) as f:
        for _ in range(7):
            summary = await f.hold()
            assert (summary.asked, summary.trouble) == (6, "network")
            asked = sum(peer.greeted for peer in peers)
            again = await f.hold()
            assert (again.asked, again.trouble) == (0, "network")
            assert sum(peer.greeted for peer in peers) == asked, "spared"
            await trio.sleep(1000)
        for peer in peers:
            peer.greets = True
        assert (await f.hold()).answered == 6
        states = await f.breakers.ask(GetBreakers())

    assert {status.state for status in states.values()} == {"closed"}
    opened = [e.key for e in of(BreakerOpened, events) if isinstance(e, BreakerOpened)]
    assert set(opened) == {ALL_MINERS}
    assert len(of(NobodyHeard, events)) == 7


async def test_a_clock_that_is_wrong_is_said_to_be_and_costs_no_miner_its_breaker(
    events: list[Event],
) -> None:
    wrong = Seen(clock_offset=130.0)
    peers = [Peer(refuses=REFUSED, seen=wrong) for _ in range(6)]

    async with field(peers, events) as f:
        for _ in range(6):
            summary = await f.hold()
            assert (summary.trouble, summary.clock_error) == ("clock", 130.0)
        peers[0].refuses = None
        summary = await f.hold()
        assert (summary.trouble, summary.clock_error) == (None, 130.0)
        assert summary.answered == 1

    assert of(BreakerOpened, events) == []
    assert len(of(ClockOff, events)) == 7


async def test_a_client_that_crashes_is_our_failure_and_not_the_miners(
    events: list[Event],
) -> None:
    peers = [Peer(), Peer(refuses=ZeroDivisionError())]

    async with field(peers, events) as f:
        for _ in range(7):
            assert (await f.hold()).failed == {"ours": 1}
            await trio.sleep(60)

    assert peers[1].asked == 7
    assert of(BreakerOpened, events) == []


async def test_a_round_nobody_waits_for_is_abandoned(events: list[Event]) -> None:
    peers = [Peer(takes=50) for _ in range(3)]

    async with field(peers, events, at_once=2) as f:
        ask = AskMiners("round", f.roster, "/p", PAYLOAD, 100, f.taker)
        with pytest.raises(AskTimeout):
            await f.rounds.ask(ask, timeout=10)
        for peer in peers:
            peer.takes = 0
        begin = trio.current_time()
        assert (await f.hold()).answered == 3
        assert trio.current_time() == begin, "its permits are free"

    assert sum(peer.cancelled for peer in peers) == 2


async def test_rounds_share_the_miners_and_the_permits(events: list[Event]) -> None:
    peers = [Peer(takes=1), Peer(takes=1)]

    async with field(peers, events) as f:
        begin = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(f.hold)
            nursery.start_soon(f.hold)
        assert trio.current_time() - begin == pytest.approx(2)
        assert len(await f.taker.ask(GetTaken())) == 4
