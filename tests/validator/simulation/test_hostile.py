"""Every hostile miner against a real client: a failure of its kind, and no more."""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from random import Random

import psutil
import pytest
import trio

from actors import Actor, Ref
from actors.events import Event
from supervision import Breakers, Child, Supervisor, System
from validator.actors.miner import (
    AskMiner,
    MinerAnswered,
    MinerClient,
    MinerFailed,
    Result,
    ShakeHands,
)
from validator.actors.rounds import (
    AskMiners,
    ResultTaker,
    Rounds,
    TakeResult,
    miner_policy,
)
from validator.adapters.fiber.addresses import LOOPBACK
from validator.adapters.fiber.crypto import Hotkey, RsaKey
from validator.adapters.fiber.server import Server
from validator.adapters.fiber.transport import connect
from validator.domain.answers import AnswerRefused, FailureKind
from validator.domain.metagraph import Miner
from validator.domain.payload import Payload
from validator.domain.tasks.geomagnetic import PATH, parse_answer
from validator.events import CertificateChanged
from validator.settings import Settings
from validator.simulation.behaviours import (
    BEHAVIOURS,
    DISHONEST,
    FAILS_WITH,
    HOSTILE,
    Behaviour,
)
from validator.simulation.miner_server import (
    HOST,
    PATHS,
    MinerServer,
    self_signed_tls,
)

pytestmark = pytest.mark.real

VALIDATOR = Hotkey.from_seed(b"\x22" * 32)
MINER = Hotkey.from_seed(b"\x11" * 32).address
QUESTION = AskMiner(
    PATH,
    Payload.of({"data": {"timestamp": "2015-03-17T20:00:00+00:00", "value": -1.6}}),
    64_000,
)
SETTINGS = Settings(handshake_timeout=1.0, query_timeout=1.0)


@pytest.fixture(scope="module")
def rsa() -> RsaKey:
    return RsaKey.generate()


@pytest.fixture(scope="module")
def tls() -> ssl.SSLContext:
    return self_signed_tls()


@asynccontextmanager
async def client_of(
    behaviour: Behaviour,
    rsa: RsaKey,
    tls: ssl.SSLContext,
    events: list[Event],
    spares: int = 2,
) -> AsyncGenerator[Ref[MinerClient]]:
    server = MinerServer(
        uid=0,
        hotkey=MINER,
        behaviour=behaviour,
        server=Server(rsa, {VALIDATOR.address: 5000.0}, PATHS),
        seed=1,
        hour_seconds=10.0,
        spares=spares,
    )
    async with trio.open_nursery() as nursery:
        port = await nursery.start(server.serve, tls)
        miner = Miner(0, MINER, HOST, port)
        reach = connect(VALIDATOR, allowed=LOOPBACK)
        child = Child(
            "client", lambda: MinerClient(miner, reach, SETTINGS), handler_timeout=20
        )
        async with System(child, on_event=[events.append]) as system:
            yield system.ref(child)
        nursery.cancel_scope.cancel()


def kind_of(result: Result) -> FailureKind | None:
    if isinstance(result, MinerAnswered):
        forecast = parse_answer(result.answer)
        return forecast.kind if isinstance(forecast, AnswerRefused) else None
    assert isinstance(result, MinerFailed)
    return result.kind


BAD = [*DISHONEST, *HOSTILE]


def test_what_to_make_of_each_behaviour_is_said() -> None:
    assert FAILS_WITH.keys() == {*BEHAVIOURS}


@pytest.mark.parametrize("behaviour", BAD)
async def test_a_hostile_miner_fails_by_its_kind_and_the_client_lives_on(
    rsa: RsaKey, tls: ssl.SSLContext, events: list[Event], behaviour: Behaviour
) -> None:
    async with client_of(behaviour, rsa, tls, events) as client:
        begin = trio.current_time()
        first = await client.ask(QUESTION)
        assert trio.current_time() - begin < 5
        second = await client.ask(QUESTION)

    assert kind_of(first) == kind_of(second) == FAILS_WITH[behaviour]


@pytest.mark.parametrize("behaviour", ["reset", "slow_loris", "bomb", "redirect"])
async def test_a_miner_may_be_hostile_from_its_first_word_on(
    rsa: RsaKey, tls: ssl.SSLContext, events: list[Event], behaviour: Behaviour
) -> None:
    async with client_of(behaviour, rsa, tls, events, spares=0) as client:
        failed = await client.ask(ShakeHands())

    assert isinstance(failed, MinerFailed)
    assert failed.phase == "handshake"
    assert failed.kind == FAILS_WITH[behaviour]


async def test_another_certificate_is_reported_each_time_and_believed(
    rsa: RsaKey, tls: ssl.SSLContext, events: list[Event]
) -> None:
    async with client_of("new_certificate", rsa, tls, events) as client:
        for _ in range(3):
            assert isinstance(await client.ask(QUESTION), MinerAnswered)

    changes = [event for event in events if isinstance(event, CertificateChanged)]
    assert len(changes) == 2, "the second and the third question"


@pytest.mark.parametrize(("behaviour", "ahead"), [("clock_119", 119), ("honest", 0)])
async def test_how_far_the_clocks_are_apart_is_read_off_the_answer(
    rsa: RsaKey,
    tls: ssl.SSLContext,
    events: list[Event],
    behaviour: Behaviour,
    ahead: float,
) -> None:
    async with client_of(behaviour, rsa, tls, events) as client:
        result = await client.ask(QUESTION)

    assert isinstance(result, MinerAnswered)
    assert result.clock_offset == pytest.approx(ahead, abs=2)


class Taker(Actor, ResultTaker):
    """Keeps what it is told."""

    def __init__(self, taken: list[Result]) -> None:
        self._taken = taken

    @TakeResult.handled
    def take(self, m: TakeResult) -> None:
        self._taken.append(m.result)


async def test_in_a_mix_of_all_each_fails_by_its_kind_and_nothing_is_left(
    rsa: RsaKey, tls: ssl.SSLContext
) -> None:
    files = psutil.Process().num_fds()
    behaviours = list(BEHAVIOURS)
    Random(1).shuffle(behaviours)
    taken: list[Result] = []
    async with trio.open_nursery() as nursery:
        miners: dict[Miner, Child[MinerClient]] = {}
        reach = connect(VALIDATOR, allowed=LOOPBACK)
        patient = Settings(handshake_timeout=3.0, query_timeout=3.0)
        for uid, behaviour in enumerate(behaviours):
            server = MinerServer(
                uid=uid,
                hotkey=f"{MINER}-{uid}",
                behaviour=behaviour,
                server=Server(rsa, {VALIDATOR.address: 5000.0}, PATHS),
                seed=1,
                hour_seconds=2.0,
            )
            port = await nursery.start(server.serve, tls)
            miner = Miner(uid, server.hotkey, HOST, port)
            miners[miner] = Child(
                miner.hotkey, partial(MinerClient, miner, reach, patient)
            )
        breakers = Child("breakers", lambda: Breakers(miner_policy), mailbox=100)
        rounds = Child("rounds", lambda: Rounds(system.ref(breakers), patient))
        taker = Child("taker", lambda: Taker(taken))
        clients = Child("miners", lambda: Supervisor(*miners.values()))
        system = System(clients, breakers, rounds, taker)
        async with system:
            roster = {
                miner: system.find(f"app/miners/{miner.hotkey}", MinerClient)
                for miner in miners
            }
            ask = AskMiners(
                "round", roster, PATH, QUESTION.payload, 10, system.ref(taker), 64_000
            )
            for _ in range(2):
                summary = await system.ref(rounds).ask(ask)
                assert summary.asked == len(behaviours)
                assert summary.trouble is None
        nursery.cancel_scope.cancel()

    assert len(taken) == 2 * len(behaviours)
    for result in taken:
        behaviour = behaviours[result.miner.uid]
        assert (behaviour, kind_of(result)) == (behaviour, FAILS_WITH[behaviour])
    assert psutil.Process().num_fds() == files
