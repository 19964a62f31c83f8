"""One simulated miner: the miner's side of the protocol on a TLS listener of its own.

HTTP is h11 on bare trio streams, because some behaviours need to step outside HTTP.
Whatever a client sends, the server goes on; an exception that does come out of here
is a bug of the simulation.
"""

from __future__ import annotations

import os
import ssl
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import TypeAlias

import attrs
import h11
import trio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from validator.adapters.fiber.server import FAILED, KEY_UNKNOWN, Server
from validator.adapters.fiber.wire import Request, Response
from validator.domain.tasks.geomagnetic import PATH
from validator.simulation.behaviours import (
    Behaviour,
    NotAQuestion,
    Reaction,
    parse_question,
    react,
)

HOST = "127.0.0.1"

PATHS = frozenset({PATH})
"""Where simulated miners take questions."""

_MAX_REQUEST = 8_000_000  # bytes; a question has some 50 kB
_CLOSE_WITHIN = 1.0

_Stream: TypeAlias = trio.SSLStream[trio.SocketStream]


@attrs.define
class MinerServer:
    """Serves one miner; ``server`` holds what it remembers of validators."""

    uid: int
    hotkey: str
    behaviour: Behaviour
    server: Server
    seed: int
    hour_seconds: float
    truth: Mapping[str, float] = attrs.field(factory=dict[str, float])
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
        tls_listener = trio.SSLListener(tcp, tls, https_compatible=True)
        await trio.serve_listeners(self._converse, [tls_listener])

    async def _converse(self, stream: _Stream) -> None:
        connection = h11.Connection(h11.SERVER)
        try:
            while (request := await _next_request(connection, stream)) is not None:
                if not await self._respond(connection, stream, request):
                    break
        except h11.RemoteProtocolError:
            pass  # no HTTP: nobody there to complain to
        except trio.BrokenResourceError:
            pass  # no TLS, or gone
        finally:
            with trio.move_on_after(_CLOSE_WITHIN, shield=True):
                await stream.aclose()

    async def _respond(
        self, connection: h11.Connection, stream: _Stream, request: Request
    ) -> bool:
        """Return whether the connection can take another request."""
        reaction = self._receive(request)
        await trio.sleep(reaction.delay * self.hour_seconds)
        match reaction.response:
            case None:
                # Hang for as long as anybody waits, or each hour would cost a socket.
                while await stream.receive_some():
                    pass
                return False
            case bytes(no_http):
                await stream.send_all(no_http)
                return False
            case Response() as response:
                await _send(connection, stream, request, response)
        if {connection.our_state, connection.their_state} != {h11.DONE}:
            return False
        connection.start_next_cycle()
        return True

    def _receive(self, request: Request) -> Reaction:
        asked = self.server.receive(request, time.time_ns())
        if isinstance(asked, Response):
            return Reaction(asked)
        try:
            question = parse_question(asked.payload)
        except NotAQuestion:
            return Reaction(FAILED)
        if self.behaviour == "expired_key" and self._expired != question.hour:
            self._expired = question.hour
            self.server.forget_keys()
            return Reaction(KEY_UNKNOWN)
        return react(
            self.behaviour,
            question,
            truth=self.truth.get(question.hour.isoformat()),
            seed=self.seed,
            uid=self.uid,
            hotkey=self.hotkey,
        )


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
    connection: h11.Connection, stream: _Stream, request: Request, response: Response
) -> None:
    head = h11.Response(
        status_code=response.status,
        headers=[
            ("content-type", response.content_type),
            ("content-length", str(len(response.body))),
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
