"""Client actors on the simulated network: every fault is a failure of its kind."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial

import attrs
import httpx
import pytest
import trio

from actors import Ref
from actors.testing import Network, Schedule, World, explore_cancellation, simulate
from actors.testing.answers import (
    Garbage,
    HugeBody,
    RedirectLoop,
    Status,
    WrongLength,
)
from actors.testing.links import (
    Blackhole,
    Cut,
    Link,
    Links,
    Refused,
    ResetAtOnce,
    TlsFailure,
    Unreachable,
)
from actors.testing.network import NetworkFault
from actors.testing.schedule import OneAtATime
from supervision import Child, System
from tests.validator.dialling import dialling
from validator.actors.miner import (
    AskMiner,
    MinerAnswered,
    MinerClient,
    MinerFailed,
    Result,
)
from validator.adapters.fiber import wire
from validator.adapters.fiber.crypto import Hotkey, RsaKey
from validator.adapters.fiber.server import Server
from validator.adapters.fiber.transport import connect
from validator.domain.answers import FailureKind
from validator.domain.metagraph import Miner
from validator.domain.payload import Payload
from validator.ports import Phase
from validator.settings import Settings

HOST, PATH = "8.8.8.8", "/geomagnetic-request"
RSA = RsaKey.generate()
VALIDATOR = Hotkey.from_seed(b"\x22" * 32)
MINER = Miner(0, Hotkey.from_seed(b"\x11" * 32).address, HOST, 443)
QUESTION = AskMiner(PATH, Payload.of({"data": 1}))
LARGE = AskMiner(PATH, Payload.of({"data": "x" * 300_000}))
SETTINGS = Settings(handshake_timeout=30, query_timeout=180)
EPOCH = 1_700_000_000


def now_ns() -> int:
    return EPOCH * 10**9 + int(trio.current_time() * 1e9)


@attrs.define
class MinerHost:
    """A miner's server behind the simulated network."""

    server: Server = attrs.field(
        factory=lambda: Server(RSA, {VALIDATOR.address: 5000.0}, frozenset({PATH}))
    )
    nonces: list[str] = attrs.field(factory=list)
    ahead: float = 0
    """Seconds that its clock is."""

    def respond(self, request: httpx.Request) -> httpx.Response:
        headers = dict(request.headers.items())
        self.nonces.append(headers.get(wire.NONCE, ""))
        taken = self.server.receive(
            wire.Request(request.method, request.url.path, headers, request.content),
            now_ns() + int(self.ahead * 1e9),
        )
        if isinstance(taken, wire.Response):
            return httpx.Response(taken.status, content=taken.body)
        return httpx.Response(200, json={"predicted_values": -0.5})


@asynccontextmanager
async def asked(host: MinerHost) -> AsyncGenerator[tuple[Network, Ref[MinerClient]]]:
    async with Network() as network:
        network.serve(HOST, MINER.port, host.respond)
        reach = connect(
            VALIDATOR,
            time_ns=now_ns,
            dial=dialling(network),
        )
        child = Child(
            "client", lambda: MinerClient(MINER, reach, SETTINGS), handler_timeout=500
        )
        async with System(child) as system:
            yield network, system.ref(child)


CUT = Links(down=Link(cut=Cut(40, "eof")))
SILENT = Links(down=Link(cut=Cut(40, "silence")))
RESET = Links(down=Link(cut=Cut(40, "reset")))
DRIP = Links(down=Link(rate=1.0))


@pytest.mark.parametrize(
    ("fault", "kind", "seconds"),
    [
        (Refused(), "unreachable", 0),
        (ResetAtOnce(), "unreachable", 0),
        (TlsFailure(), "unreachable", 0),
        (Unreachable(), "timeout", 30),
        (Blackhole(), "timeout", 30),
        (CUT, "malformed", 0),
        (RESET, "unreachable", 0),
        (SILENT, "timeout", 30),
        (DRIP, "timeout", 30),
        (Garbage(), "malformed", 0),
        (HugeBody(), "malformed", 0),
        (RedirectLoop(), "refused", 0),
        (Status(500), "refused", 0),
        (WrongLength(10), "malformed", 0),
    ],
    ids=repr,
)
async def test_a_fault_of_the_network_is_a_failure_of_its_kind_and_not_for_ever(
    fault: NetworkFault, kind: FailureKind, seconds: float
) -> None:
    async with asked(MinerHost()) as (network, client):
        network.fault(HOST, fault)
        begin = trio.current_time()
        failed = await client.ask(QUESTION)
        assert trio.current_time() - begin == pytest.approx(seconds, abs=0.1)
        network.heal(HOST)
        well = await client.ask(QUESTION)

    assert isinstance(failed, MinerFailed)
    assert (failed.kind, failed.phase) == (kind, "handshake")
    assert isinstance(well, MinerAnswered)


@pytest.mark.parametrize(
    ("fault", "kind", "phase"),
    [
        (Garbage(), "malformed", "query"),
        (HugeBody(), "malformed", "query"),
        (Status(403), "refused", "query"),
        (RedirectLoop(), "refused", "query"),
        (SILENT, "timeout", "query"),
    ],
    ids=repr,
)
async def test_what_goes_wrong_in_the_question_is_told_from_the_handshake(
    fault: NetworkFault, kind: FailureKind, phase: Phase
) -> None:
    async with asked(MinerHost()) as (network, client):
        assert isinstance(await client.ask(QUESTION), MinerAnswered)
        network.fault(HOST, fault)
        failed = await client.ask(QUESTION)

    assert isinstance(failed, MinerFailed)
    assert (failed.kind, failed.phase) == (kind, phase)


async def test_no_nonce_is_ever_sent_twice_whatever_happens() -> None:
    host = MinerHost()

    async with asked(host) as (network, client):
        for fault in (None, Status(400), CUT, Garbage(), Status(401), None):
            if fault is not None:
                network.fault(HOST, fault, times=1)
            await client.ask(QUESTION)
        host.server.forget_keys()
        assert isinstance(await client.ask(QUESTION), MinerAnswered)

    signed = [nonce for nonce in host.nonces if nonce]
    assert len(signed) > 8
    assert len(set(signed)) == len(signed)


@pytest.mark.parametrize(
    ("ahead", "answered"), [(119, True), (-119, True), (121, False), (-121, False)]
)
async def test_a_clock_is_tolerated_for_two_minutes(
    ahead: float, answered: bool
) -> None:
    async with asked(MinerHost(ahead=ahead)) as (_, client):
        result = await client.ask(QUESTION)

    assert isinstance(result, MinerAnswered) is answered
    if isinstance(result, MinerFailed):
        assert "nonce is not valid" in result.detail


async def test_a_key_that_expires_costs_one_handshake() -> None:
    host = MinerHost()

    async with asked(host) as (_, client):
        for _ in range(3):
            assert isinstance(await client.ask(QUESTION), MinerAnswered)
            await trio.sleep(5.1 * 3600)

    assert len(host.nonces) == 3 + 2 * (1 + 3), "hello, exchange, question, each time"


async def ask_in_world(world: World, times: int) -> list[Result]:
    async with asked(MinerHost()) as (network, client):
        network.fault(HOST, CUT, times=1)
        return [await client.ask(LARGE) for _ in range(times)]


@pytest.mark.parametrize("seed", range(5))
def test_whoever_runs_first_the_results_are_the_same(seed: int) -> None:
    schedule: Schedule = OneAtATime(seed)

    results = simulate(partial(ask_in_world, times=3), schedule=schedule, seed=seed)

    kinds = [type(result) for result in results.value]
    assert kinds == [MinerFailed, MinerAnswered, MinerAnswered]


def test_a_client_may_be_cancelled_at_any_step() -> None:
    async def main(world: World) -> None:
        await ask_in_world(world, times=2)

    report = explore_cancellation(main)

    assert report.runs > 50
