"""One simulated miner: the miner's side of the protocol on a TLS listener of its own.

HTTP is h11 on bare trio streams, because some behaviours need to step outside HTTP.
Whatever a client sends, the server goes on; an exception that does come out of here
is a bug of the simulation.
"""

from __future__ import annotations

import os
import socket
import ssl
import struct
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import formatdate
from functools import cache, partial
from ipaddress import ip_address
from typing import TypeAlias, assert_never

import attrs
import h11
import trio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from validator.adapters.fiber.crypto import RsaKey
from validator.adapters.fiber.server import FAILED, KEY_UNKNOWN, Server
from validator.adapters.fiber.wire import (
    PUBLIC_KEY_PATH,
    Request,
    Response,
    public_key_body,
)
from validator.domain.tasks.geomagnetic import PATH
from validator.simulation.behaviours import (
    FAILS_WITH,
    Behaviour,
    NotAQuestion,
    Question,
    Reaction,
    Stunt,
    parse_question,
    react,
)

HOST = "127.0.0.1"

PATHS = frozenset({PATH})
"""Where simulated miners take questions."""

_MAX_REQUEST = 8_000_000  # bytes; a question has some 50 kB
_CLOSE_WITHIN = 1.0

_Stream: TypeAlias = trio.SSLStream[trio.SocketStream]


CLOCKS: Mapping[Behaviour, float] = {"clock_119": 119.0, "clock_121": 121.0}
"""Seconds that a miner's clock is ahead."""


@attrs.define
class MinerServer:
    """Serves one miner; ``server`` holds what it remembers of validators.

    One that behaves badly does so from the question on, or with ``spares`` = 0 from
    its first response on.
    """

    uid: int
    hotkey: str
    behaviour: Behaviour
    server: Server
    seed: int
    hour_seconds: float
    truth: Mapping[str, float] = attrs.field(factory=dict[str, float])
    spares: int = 2
    """So many responses of each connection are as they should be."""
    # The hour whose question cost us a key last; only used by `expired_key`.
    _expired: datetime | None = attrs.field(default=None, init=False)

    async def serve(
        self,
        tls: ssl.SSLContext,
        *,
        task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve until cancelled; reports the port once it accepts connections."""
        (tcp,) = await trio.open_tcp_listeners(0, host=HOST)
        port: int = tcp.socket.getsockname()[1]
        task_status.started(port)
        await trio.serve_listeners(partial(self._accept, tls), [tcp])

    async def _accept(self, tls: ssl.SSLContext, tcp: trio.SocketStream) -> None:
        if self.behaviour == "half_open":
            await _swallow(tcp)
            await tcp.aclose()
            return
        if self.behaviour == "new_certificate":
            tls = self_signed_tls()
        await self._converse(
            trio.SSLStream(tcp, tls, server_side=True, https_compatible=True)
        )

    async def _converse(self, stream: _Stream) -> None:
        connection = h11.Connection(h11.SERVER)
        spared = 0
        try:
            while (request := await _next_request(connection, stream)) is not None:
                spared += 1
                if not await self._respond(connection, stream, request, spared):
                    break
        except h11.RemoteProtocolError:
            pass  # no HTTP: nobody there to complain to
        except trio.BrokenResourceError:
            pass  # no TLS, or gone
        finally:
            with trio.move_on_after(_CLOSE_WITHIN, shield=True):
                await stream.aclose()

    async def _respond(
        self, connection: h11.Connection, stream: _Stream, request: Request, number: int
    ) -> bool:
        """Return whether the connection can take another request."""
        reaction = self._receive(request, number)
        await trio.sleep(reaction.delay * self.hour_seconds)
        match reaction.response:
            case Response() as response:
                await _send(connection, stream, request, response, self._now_ns())
            case bytes(said):
                await stream.send_all(said)
                return False
            case stunt:
                await _perform(stunt, stream, self.hour_seconds)
                return False
        if self.behaviour == "new_certificate":
            return False
        if {connection.our_state, connection.their_state} != {h11.DONE}:
            return False
        connection.start_next_cycle()
        return True

    def _now_ns(self) -> int:
        return time.time_ns() + int(CLOCKS.get(self.behaviour, 0.0) * 1e9)

    def _receive(self, request: Request, number: int) -> Reaction:
        asked = self.server.receive(request, self._now_ns())
        if self.behaviour == "wrong_key" and request.path == PUBLIC_KEY_PATH:
            return Reaction(Response(200, public_key_body(_foreign_key(), 0.0)))
        if isinstance(asked, Response):
            if number <= self.spares or FAILS_WITH[self.behaviour] is None:
                return Reaction(asked)
            question = Question(datetime(2024, 1, 1, tzinfo=UTC), 0.0)
            return self._react(question)
        try:
            question = parse_question(asked.payload)
        except NotAQuestion:
            return Reaction(FAILED)
        if self.behaviour == "expired_key" and self._expired != question.hour:
            self._expired = question.hour
            self.server.forget_keys()
            return Reaction(KEY_UNKNOWN)
        return self._react(question)

    def _react(self, question: Question) -> Reaction:
        return react(
            self.behaviour,
            question,
            truth=self.truth.get(question.hour.isoformat()),
            seed=self.seed,
            uid=self.uid,
            hotkey=self.hotkey,
        )


@cache
def _foreign_key() -> str:
    return RsaKey.generate().public_pem


_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # struct linger: on, for 0 seconds


_ENDLESS: Mapping[Stunt, tuple[bytes, bytes]] = {
    "flood": (b"HTTP/1.1 200 OK\r\n\r\n", b" " * 10_000),
    "chatter": (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 400),
}


async def _perform(stunt: Stunt, stream: _Stream, hour_seconds: float) -> None:
    """Do something else than answer, for as long as anybody bears it."""
    match stunt:
        case "hang":
            # For as long as anybody waits, or each hour would cost a socket.
            await _swallow(stream)
        case "reset":
            tcp = stream.transport_stream
            tcp.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            tcp.socket.close()
            raise trio.BrokenResourceError
        case "drip":
            await stream.send_all(b"HTTP/1.1 200 OK\r\n")
            while True:
                await stream.send_all(b"a")
                await trio.sleep(0.01 * hour_seconds)
        case "flood" | "chatter":
            head, piece = _ENDLESS[stunt]
            await stream.send_all(head)
            while True:
                await stream.send_all(piece)
        case "huge":
            await stream.send_all(
                b"HTTP/1.1 200 OK\r\nContent-Length: 50000000\r\n\r\n"
            )
            for _ in range(5_000):
                await stream.send_all(b" " * 10_000)
        case _:
            assert_never(stunt)


async def _swallow(stream: trio.abc.ReceiveStream) -> None:
    with suppress(trio.BrokenResourceError):
        while await stream.receive_some():
            pass


async def _next_request(connection: h11.Connection, stream: _Stream) -> Request | None:
    """Read one whole request; None: the client has left."""
    head: h11.Request | None = None
    body = bytearray()
    while True:
        await trio.lowlevel.checkpoint()  # a flood that is read already must not block
        event = connection.next_event()
        match event:
            case h11.NEED_DATA:
                connection.receive_data(bytes(await stream.receive_some()))
            case h11.Request():
                head = event
            case h11.Data():
                body += event.data
                if len(body) > _MAX_REQUEST:
                    return None
            case h11.EndOfMessage() if head is not None:
                return Request(
                    head.method.decode(),
                    head.target.partition(b"?")[0].decode(),
                    {
                        name.decode(): value.decode("latin-1")
                        for name, value in head.headers
                    },
                    bytes(body),
                )
            case _:
                return None


async def _send(
    connection: h11.Connection,
    stream: _Stream,
    request: Request,
    response: Response,
    now_ns: int,
) -> None:
    head = h11.Response(
        status_code=response.status,
        headers=[
            ("content-type", response.content_type),
            ("content-length", str(len(response.body))),
            ("date", formatdate(now_ns / 1e9, usegmt=True)),
        ],
    )
    body = h11.Data(data=b"" if request.method == "HEAD" else response.body)
    parts = [connection.send(event) for event in (head, body, h11.EndOfMessage())]
    await stream.send_all(b"".join(part or b"" for part in parts))


def self_signed_tls() -> ssl.SSLContext:
    """Make a certificate for the simulated miners, and a server context with it.

    One for all of them, on an elliptic curve: hundreds would cost seconds of processor
    time and show nothing, since validators do not look at them.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, HOST)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        # Nobody checks the dates either; fixed ones need no clock.
        .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2120, 1, 1, tzinfo=UTC))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address(HOST))]),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ) + certificate.public_bytes(serialization.Encoding.PEM)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    # The ssl module reads keys from files only; one in memory cannot be left behind.
    with os.fdopen(os.memfd_create("miner.pem"), "wb") as file:
        file.write(pem)
        file.flush()
        context.load_cert_chain(f"/proc/self/fd/{file.fileno()}")
    return context
