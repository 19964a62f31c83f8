"""The miner client: one handshake, two limits, and failures that are data."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import attrs
import pytest
import trio

from actors import Ref
from actors.events import Event
from supervision import Child, System
from validator.actors.miner import (
    AskMiner,
    MinerAnswered,
    MinerClient,
    MinerFailed,
    NotServing,
    ShakeHands,
)
from validator.domain.metagraph import Miner
from validator.domain.payload import Payload
from validator.events import CertificateChanged, HandshakeDone, MinerTimedOut
from validator.ports import KeyUnknown, MinerConnection, MinerError, Seen
from validator.settings import Settings

MINER = Miner(7, "hotkey-of-7", "127.0.0.1", 8007)
QUESTION = AskMiner("/path", Payload.of({"data": 1}))
SETTINGS = Settings(handshake_timeout=30, query_timeout=180)


@attrs.define
class Peer:
    """A miner that takes its time, forgets keys, and writes down what it gets."""

    handshake_takes: float = 0
    answer_takes: float = 0
    forgets: int = 0
    """How many of the next questions find their key forgotten."""
    refuses: MinerError | None = None
    has_key: bool = False
    seen: Seen = attrs.field(factory=Seen)
    log: list[str] = attrs.field(factory=list)

    @asynccontextmanager
    async def connect(self, miner: Miner) -> AsyncGenerator[MinerConnection]:
        self.log.append(f"open {miner.uid}")
        try:
            yield self
        finally:
            self.log.append("close")

    async def handshake(self) -> None:
        self.log.append("handshake")
        await trio.sleep(self.handshake_takes)
        self.has_key = True

    async def ask(self, path: str, payload: Payload, *, limit: int) -> object:
        self.log.append(f"ask {path} {payload.text.decode()}")
        await trio.sleep(self.answer_takes)
        if self.refuses is not None:
            raise self.refuses
        if self.forgets:
            self.forgets -= 1
            self.has_key = False
            raise KeyUnknown("refused", "HTTP 400")
        return {"answer": len(self.log)}


@asynccontextmanager
async def client_of(
    peer: Peer, events: list[Event], miner: Miner = MINER
) -> AsyncGenerator[Ref[MinerClient]]:
    child = Child(
        "client",
        lambda: MinerClient(miner, peer.connect, SETTINGS),
        handler_timeout=2 * SETTINGS.round_timeout,
    )
    async with System(child, on_event=[events.append]) as system:
        yield system.ref(child)


def timeouts(events: list[Event]) -> list[tuple[str, float]]:
    return [(e.phase, e.seconds) for e in events if isinstance(e, MinerTimedOut)]


ASK = 'ask /path {"data": 1}'


async def test_hands_are_shaken_once_and_the_key_is_kept(events: list[Event]) -> None:
    peer = Peer()

    async with client_of(peer, events) as client:
        assert peer.log == ["open 7"], "nothing is sent before there is a question"
        for _ in range(3):
            result = await client.ask(QUESTION)
            assert isinstance(result, MinerAnswered)
            assert result.miner == MINER

    assert peer.log == ["open 7", "handshake", ASK, ASK, ASK, "close"]
    done = [event for event in events if isinstance(event, HandshakeDone)]
    assert [event.hotkey for event in done] == ["hotkey-of-7"]


async def test_a_forgotten_key_costs_one_handshake_and_one_retry(
    events: list[Event],
) -> None:
    peer = Peer()

    async with client_of(peer, events) as client:
        await client.ask(QUESTION)
        peer.log.clear()
        peer.forgets = 1
        assert isinstance(await client.ask(QUESTION), MinerAnswered)
        assert peer.log == [ASK, "handshake", ASK]


async def test_a_key_forgotten_twice_is_a_refusal(events: list[Event]) -> None:
    peer = Peer()

    async with client_of(peer, events) as client:
        await client.ask(QUESTION)
        peer.log.clear()
        peer.forgets = 2
        result = await client.ask(QUESTION)
        assert isinstance(result, MinerFailed)
        assert (result.kind, result.phase) == ("refused", "query")
        assert peer.log == [ASK, "handshake", ASK]
        assert isinstance(await client.ask(QUESTION), MinerAnswered)
        assert peer.log[3:] == ["handshake", ASK]


async def test_a_failure_is_an_answer_with_its_kind_and_duration(
    events: list[Event],
) -> None:
    peer = Peer(answer_takes=2, refuses=MinerError("malformed", "no JSON"))

    async with client_of(peer, events) as client:
        result = await client.ask(QUESTION)
        assert isinstance(result, MinerFailed)
        assert (result.miner, result.kind) == (MINER, "malformed")
        assert result.phase == "query"
        assert result.detail == "no JSON"
        assert result.seconds == pytest.approx(2)
        peer.refuses = None
        assert isinstance(await client.ask(QUESTION), MinerAnswered)


async def test_a_handshake_that_drags_on_is_cut_off(events: list[Event]) -> None:
    peer = Peer(handshake_takes=31)

    async with client_of(peer, events) as client:
        result = await client.ask(QUESTION)
        assert isinstance(result, MinerFailed)
        assert (result.kind, result.phase) == ("timeout", "handshake")
        assert result.seconds == pytest.approx(30)
        peer.handshake_takes = 29
        assert isinstance(await client.ask(QUESTION), MinerAnswered)

    assert timeouts(events) == [("handshake", 30)]


async def test_a_question_that_drags_on_is_cut_off(events: list[Event]) -> None:
    peer = Peer(handshake_takes=29, answer_takes=181)

    async with client_of(peer, events) as client:
        result = await client.ask(QUESTION)
        assert isinstance(result, MinerFailed)
        assert (result.kind, result.phase) == ("timeout", "query")
        assert result.seconds == pytest.approx(29 + 180)
        peer.answer_takes = 179
        assert isinstance(await client.ask(QUESTION), MinerAnswered)

    assert timeouts(events) == [("query", 180)]
    assert peer.log.count("handshake") == 1, "the key is still good"


async def test_the_limit_of_a_question_covers_its_second_handshake(
    events: list[Event],
) -> None:
    peer = Peer(has_key=True, forgets=1, answer_takes=80, handshake_takes=25)

    async with client_of(peer, events) as client:
        result = await client.ask(QUESTION)
        assert isinstance(result, MinerFailed)
        assert result.seconds == pytest.approx(180)

    assert timeouts(events) == [("query", 180)]


async def test_a_second_handshake_has_its_own_limit_too(events: list[Event]) -> None:
    peer = Peer(has_key=True, forgets=1, handshake_takes=31)

    async with client_of(peer, events) as client:
        result = await client.ask(QUESTION)
        assert isinstance(result, MinerFailed)
        assert (result.kind, result.phase) == ("timeout", "handshake")

    assert timeouts(events) == [("handshake", 30)]


async def test_an_abandoned_question_is_cancelled_and_leaves_the_client_usable(
    events: list[Event],
) -> None:
    peer = Peer(answer_takes=100)

    async with client_of(peer, events) as client:
        with trio.move_on_after(1) as scope:
            await client.ask(QUESTION)
        assert scope.cancelled_caught
        peer.answer_takes = 0
        begin = trio.current_time()
        assert isinstance(await client.ask(QUESTION), MinerAnswered)
        assert trio.current_time() == begin, "nothing of the first is waited for"

    assert timeouts(events) == []
    assert peer.log == ["open 7", "handshake", ASK, ASK, "close"]


async def test_a_miner_without_an_address_is_not_asked_and_has_not_failed(
    events: list[Event],
) -> None:
    peer = Peer()

    for nowhere in (attrs.evolve(MINER, port=0), attrs.evolve(MINER, ip="::")):
        async with client_of(peer, events, nowhere) as client:
            assert await client.ask(QUESTION) == NotServing(nowhere)

    assert peer.log == ["open 7", "close"] * 2


async def test_hands_are_shaken_on_request_and_a_refusal_is_an_answer(
    events: list[Event],
) -> None:
    peer = Peer()

    async with client_of(peer, events) as client:
        assert await client.ask(ShakeHands()) is None
        assert isinstance(await client.ask(QUESTION), MinerAnswered)
        peer.handshake_takes = 31
        failed = await client.ask(ShakeHands())
        assert isinstance(failed, MinerFailed)
        assert (failed.kind, failed.phase) == ("timeout", "handshake")

    assert peer.log == ["open 7", "handshake", ASK, "handshake", "close"]


async def test_a_certificate_that_changes_is_reported_and_believed(
    events: list[Event],
) -> None:
    peer = Peer()

    async with client_of(peer, events) as client:
        for shown in (None, "aa", "aa", "bb", "bb"):
            peer.seen = Seen(certificate=shown)
            assert isinstance(await client.ask(QUESTION), MinerAnswered)

    (changed,) = [event for event in events if isinstance(event, CertificateChanged)]
    assert (changed.hotkey, changed.before, changed.now) == ("hotkey-of-7", "aa", "bb")


async def test_a_result_says_how_far_the_clocks_are_apart(events: list[Event]) -> None:
    peer = Peer(seen=Seen(clock_offset=-90.5))

    async with client_of(peer, events) as client:
        answered = await client.ask(QUESTION)
        peer.refuses = MinerError("refused", "HTTP 401")
        failed = await client.ask(QUESTION)

    assert isinstance(answered, MinerAnswered)
    assert isinstance(failed, MinerFailed)
    assert answered.clock_offset == failed.clock_offset == -90.5
