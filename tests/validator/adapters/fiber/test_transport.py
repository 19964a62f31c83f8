"""The validator's side over real sockets, against simulated and hostile servers."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import psutil
import pytest
import trio

from validator.adapters.fiber import streams
from validator.adapters.fiber.addresses import LOOPBACK
from validator.adapters.fiber.crypto import Hotkey, RsaKey
from validator.adapters.fiber.server import Server
from validator.adapters.fiber.transport import HANDSHAKE_LIMIT, MAX_PIECES, connect
from validator.domain.answers import FailureKind
from validator.domain.metagraph import Miner
from validator.domain.payload import Payload
from validator.domain.tasks.geomagnetic import PATH
from validator.ports import KeyUnknown, MinerConnection, MinerError, Seen
from validator.simulation.behaviours import Behaviour
from validator.simulation.miner_server import HOST, MinerServer, self_signed_tls

pytestmark = pytest.mark.real

SEED = b"the seed that nobody must see..."
HOTKEY = Hotkey.from_seed(SEED)
MINER = Hotkey.from_seed(b"\x11" * 32).address
QUESTION = Payload.of(
    {
        "data": {
            "name": "Geomagnetic Data",
            "timestamp": "2015-03-17T20:00:00+00:00",
            "value": -1.6,
            "historical_values": None,
        }
    }
)


@pytest.fixture(scope="module")
def rsa() -> RsaKey:
    return RsaKey.generate()


@pytest.fixture(scope="module")
def tls() -> ssl.SSLContext:
    return self_signed_tls()


@asynccontextmanager
async def connected(port: int) -> AsyncGenerator[MinerConnection]:
    miner = Miner(0, MINER, HOST, port)
    with trio.fail_after(10):  # nothing here takes long; what does is a hang
        async with connect(HOTKEY, allowed=LOOPBACK)(miner) as connection:
            yield connection


def miner_server(
    behaviour: Behaviour, rsa: RsaKey, kind: type[MinerServer] = MinerServer
) -> MinerServer:
    return kind(
        uid=0,
        hotkey=MINER,
        behaviour=behaviour,
        server=Server(rsa, {HOTKEY.address: 5000.0}, frozenset({PATH})),
        seed=1,
        hour_seconds=1.0,
    )


@asynccontextmanager
async def simulated(
    behaviour: Behaviour, rsa: RsaKey, tls: ssl.SSLContext
) -> AsyncGenerator[MinerConnection]:
    async with served(miner_server(behaviour, rsa), tls) as connection:
        yield connection


@asynccontextmanager
async def served(
    miner: MinerServer, tls: ssl.SSLContext
) -> AsyncGenerator[MinerConnection]:
    async with trio.open_nursery() as nursery:
        port = await nursery.start(miner.serve, tls)
        async with connected(port) as connection:
            yield connection
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def serving(
    handler: Callable[[trio.SSLStream[trio.SocketStream]], Awaitable[None]],
    tls: ssl.SSLContext,
) -> AsyncGenerator[MinerConnection]:
    """A server that does what ``handler`` does, and a connection to it."""
    async with trio.open_nursery() as nursery:
        (tcp,) = await trio.open_tcp_listeners(0, host=HOST)
        listener = trio.SSLListener(tcp, tls, https_compatible=True)
        await nursery.start(trio.serve_listeners, handler, [listener])
        async with connected(tcp.socket.getsockname()[1]) as connection:
            yield connection
        nursery.cancel_scope.cancel()


def saying(
    response: bytes,
) -> Callable[[trio.SSLStream[trio.SocketStream]], Awaitable[None]]:
    """A handler that says ``response`` to whatever it is sent, and hangs up."""

    async def handler(stream: trio.SSLStream[trio.SocketStream]) -> None:
        await trio.lowlevel.checkpoint()
        with suppress(trio.BrokenResourceError):  # the client had enough
            async with stream:
                await stream.receive_some()
                await stream.send_all(response)

    return handler


async def failure_of_handshake(connection: MinerConnection) -> FailureKind:
    with pytest.raises(MinerError) as caught:
        await connection.handshake()
    assert not connection.has_key
    return caught.value.kind


async def test_a_miner_answers_after_one_handshake_as_often_as_asked(
    rsa: RsaKey, tls: ssl.SSLContext
) -> None:
    async with simulated("honest", rsa, tls) as connection:
        await connection.handshake()

        answers = [await connection.ask(PATH, QUESTION, limit=64_000) for _ in range(3)]

        assert connection.has_key
        assert isinstance(answers[0], dict)
        assert abs(answers[0]["predicted_values"] - -1.6) < 2
        assert answers[0] == answers[1] == answers[2]


async def test_a_slow_miner_answers_within_a_quarter_of_an_hour(
    rsa: RsaKey, tls: ssl.SSLContext
) -> None:
    async with simulated("slow", rsa, tls) as connection:
        await connection.handshake()
        began = trio.current_time()

        await connection.ask(PATH, QUESTION, limit=64_000)

        assert 0.15 <= trio.current_time() - began < 0.5


async def test_an_expired_key_costs_one_handshake_and_no_answer(
    rsa: RsaKey, tls: ssl.SSLContext
) -> None:
    async with simulated("expired_key", rsa, tls) as connection:
        await connection.handshake()

        with pytest.raises(KeyUnknown):
            await connection.ask(PATH, QUESTION, limit=64_000)
        assert not connection.has_key
        await connection.handshake()

        assert isinstance(await connection.ask(PATH, QUESTION, limit=64_000), dict)


async def test_asking_without_a_handshake_says_that_the_key_is_unknown(
    rsa: RsaKey, tls: ssl.SSLContext
) -> None:
    async with simulated("honest", rsa, tls) as connection:
        with pytest.raises(KeyUnknown):
            await connection.ask(PATH, QUESTION, limit=64_000)


@pytest.mark.parametrize(
    ("behaviour", "kind"), [("refusing", "refused"), ("garbage", "malformed")]
)
async def test_a_miner_that_gives_no_answer_fails_by_its_kind(
    rsa: RsaKey, tls: ssl.SSLContext, behaviour: Behaviour, kind: FailureKind
) -> None:
    async with simulated(behaviour, rsa, tls) as connection:
        await connection.handshake()
        for hour in range(8):  # garbage comes in two sorts, drawn by the hour
            timestamp = f"2015-03-17T{hour:02}:00:00+00:00"
            question = Payload.of({"data": {"timestamp": timestamp, "value": 0.0}})

            with pytest.raises(MinerError) as caught:
                await connection.ask(PATH, question, limit=64_000)

            assert caught.value.kind == kind
            assert not isinstance(caught.value, KeyUnknown)
            assert connection.has_key


async def test_nan_is_an_answer_of_no_use_and_a_wrong_shape_is_for_the_domain(
    rsa: RsaKey, tls: ssl.SSLContext
) -> None:
    async with simulated("nan", rsa, tls) as connection:
        await connection.handshake()
        with pytest.raises(MinerError) as caught:
            await connection.ask(PATH, QUESTION, limit=64_000)
        assert caught.value.kind == "not_finite"
    async with simulated("wrong_shape", rsa, tls) as connection:
        await connection.handshake()
        answer = await connection.ask(PATH, QUESTION, limit=64_000)
        assert "predicted_values" not in str(answer)


async def test_after_a_cancelled_question_the_connection_is_usable(
    rsa: RsaKey, tls: ssl.SSLContext
) -> None:
    async with simulated("hanging", rsa, tls) as connection:
        await connection.handshake()
        with trio.move_on_after(0.1) as scope:
            await connection.ask(PATH, QUESTION, limit=64_000)

        await connection.handshake()

        assert scope.cancelled_caught
        assert connection.has_key


async def say_nothing(stream: trio.SocketStream) -> None:
    async with stream:
        await trio.sleep_forever()


async def test_a_tls_handshake_that_is_cut_off_leaves_no_socket() -> None:
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, say_nothing, 0)
        port = listeners[0].socket.getsockname()[1]
        async with connected(port) as connection:
            for _ in range(3):
                with trio.move_on_after(0.1):
                    await connection.handshake()
            ours = [
                each
                for each in psutil.Process().net_connections("tcp")
                if getattr(each.raddr, "port", None) == port
            ]
        nursery.cancel_scope.cancel()

    assert ours == []


async def test_a_connection_that_was_closed_meanwhile_costs_nothing(
    tls: ssl.SSLContext,
) -> None:
    heard: list[bytes] = []

    async def answer_once(stream: trio.SSLStream[trio.SocketStream]) -> None:
        async with stream:
            heard.append(bytes(await stream.receive_some()))
            await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
            # Takes the next request, and hangs up on it.
            heard.append(bytes(await stream.receive_some()))

    async with serving(answer_once, tls) as connection:
        with pytest.raises(MinerError, match="no text at 'public_key'"):
            await connection.handshake()
        with pytest.raises(MinerError, match="no text at 'public_key'"):
            await connection.handshake()

    assert sum(bool(each) for each in heard) == 3, "once in vain"


class OnceOnly(MinerServer):
    """Takes one request of each connection, and hangs up on the second."""

    async def _respond(
        self, connection: Any, stream: Any, request: Any, number: int
    ) -> bool:
        if number > 1:
            raise trio.BrokenResourceError
        return await super()._respond(connection, stream, request, number)


async def test_a_miner_that_hangs_up_after_each_answer_costs_nothing(
    rsa: RsaKey, tls: ssl.SSLContext
) -> None:
    async with served(miner_server("honest", rsa, OnceOnly), tls) as connection:
        for _ in range(2):
            await connection.handshake()

            assert await connection.ask(PATH, QUESTION, limit=64_000)


async def test_a_connection_that_was_idle_for_long_is_not_used_again(
    tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests: list[int] = []

    async def answer(stream: trio.SSLStream[trio.SocketStream]) -> None:
        requests.append(0)
        async with stream:
            while await stream.receive_some():
                requests[-1] += 1
                await stream.send_all(b"HTTP/1.1 501 No\r\nContent-Length: 0\r\n\r\n")

    async with serving(answer, tls) as connection:
        await failure_of_handshake(connection)
        await failure_of_handshake(connection)
        monkeypatch.setattr(streams, "KEEP_IDLE", 0.0)
        await failure_of_handshake(connection)

    assert requests == [2, 1]


async def test_what_comes_after_an_answer_is_no_answer_to_the_next_question(
    tls: ssl.SSLContext,
) -> None:
    async def answer_twice(stream: trio.SSLStream[trio.SocketStream]) -> None:
        async with stream:
            while await stream.receive_some():
                await stream.send_all(
                    b"HTTP/1.1 501 No\r\nContent-Length: 0\r\n\r\n"
                    b"HTTP/1.1 502 No\r\nContent-Length: 0\r\n\r\n"
                )

    async with serving(answer_twice, tls) as connection:
        for _ in range(3):
            with pytest.raises(MinerError, match="HTTP 501"):
                await connection.handshake()


async def test_nobody_listening_is_unreachable() -> None:
    with socket.socket() as unused:
        unused.bind((HOST, 0))  # bound and not listening: refuses connections
        async with connected(unused.getsockname()[1]) as connection:
            with pytest.raises(MinerError, match="Connection refused") as caught:
                await connection.handshake()
            assert caught.value.kind == "unreachable"


async def test_a_server_without_tls_is_unreachable() -> None:
    async def answer(stream: trio.SocketStream) -> None:
        await stream.send_all(b"HTTP/1.1 200 OK\r\n\r\n")

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, answer, 0)
        async with connected(listeners[0].socket.getsockname()[1]) as connection:
            assert await failure_of_handshake(connection) == "unreachable"
        nursery.cancel_scope.cancel()


def redirect(to: bytes) -> bytes:
    head = b"HTTP/1.1 307 Look There\r\nContent-Length: 0\r\nLocation: "
    return head + to + b"\r\n\r\n"


@pytest.mark.parametrize(
    ("response", "kind"),
    [
        (b"", "unreachable"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "malformed"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\ncut", "malformed"),
        (b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 50_000, "malformed"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", "malformed"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 1\r\n\r\nx",
            "malformed",
        ),
        (redirect(b"https://127.0.0.1:1/"), "refused"),
        (redirect(b"http://["), "refused"),
    ],
    ids=[
        "hangs up",
        "no HTTP",
        "cut off",
        "endless headers",
        "empty",
        "compressed",
        "redirect",
        "redirect to nowhere",
    ],
)
async def test_what_a_hostile_server_says_becomes_a_failure_of_its_kind(
    tls: ssl.SSLContext, response: bytes, kind: FailureKind
) -> None:
    async with serving(saying(response), tls) as connection:
        assert await failure_of_handshake(connection) == kind


@pytest.mark.parametrize("framing", [b"", b"Content-Length: 500000000\r\n"])
async def test_an_endless_body_is_cut(tls: ssl.SSLContext, framing: bytes) -> None:
    head = b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n"

    async with serving(saying(head + b" " * 3 * HANDSHAKE_LIMIT), tls) as connection:
        with pytest.raises(MinerError, match="more than 16000 bytes") as caught:
            await connection.handshake()

        assert caught.value.kind == "malformed"


async def test_an_answer_in_tiny_pieces_is_cut(tls: ssl.SSLContext) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

    async with serving(saying(head + b"1\r\n \r\n" * 100_000), tls) as connection:
        with pytest.raises(MinerError, match=f"more than {MAX_PIECES} pieces"):
            await connection.handshake()


async def test_a_private_address_is_asked_only_if_that_is_allowed() -> None:
    for ip in ("10.0.0.1", "169.254.1.1", "::ffff:127.0.0.1", "localhost"):
        async with connect(HOTKEY)(Miner(0, MINER, ip, 1)) as connection:
            assert await failure_of_handshake(connection) == "forbidden_address"


async def test_what_the_server_shows_of_itself_is_remembered(
    rsa: RsaKey, tls: ssl.SSLContext
) -> None:
    async def answer(stream: trio.SSLStream[trio.SocketStream]) -> None:
        while await stream.receive_some():
            await stream.send_all(
                b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n"
                b"Date: Thu, 01 Jan 1970 00:00:10 GMT\r\n\r\n"
            )

    async with serving(answer, tls) as connection:
        assert connection.seen == Seen()
        await failure_of_handshake(connection)
        seen = connection.seen

    assert seen.certificate is not None
    assert len(seen.certificate) == 64
    assert seen.clock_offset == pytest.approx(10 - time.time(), abs=60)


async def test_what_a_miner_wants_remembered_is_not(tls: ssl.SSLContext) -> None:
    heard: list[bytes] = []

    async def answer(stream: trio.SSLStream[trio.SocketStream]) -> None:
        while received := await stream.receive_some():
            heard.append(bytes(received))
            await stream.send_all(
                b"HTTP/1.1 503 No\r\nSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n"
            )

    async with serving(answer, tls) as connection:
        await failure_of_handshake(connection)
        await failure_of_handshake(connection)

    assert len(heard) == 2
    assert b"cookie" not in heard[1].lower()


async def test_the_secret_does_not_show_in_the_connection(
    rsa: RsaKey, tls: ssl.SSLContext
) -> None:
    async with simulated("honest", rsa, tls) as connection:
        await connection.handshake()

        assert "nobody must see" not in repr(connection)
        assert SEED.hex() not in repr(connection)
        assert HOTKEY.address in repr(connection)
