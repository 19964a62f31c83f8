"""What carries the bytes to a miner: sockets, TLS, HTTP, and the bodies of requests.

HTTP is h11 on a trio stream. The pool of httpx is made for many exchanges with many
servers at once; here is one server, and one exchange at a time, and the pool took a
quarter of a round's processor time.
"""

from __future__ import annotations

import hashlib
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Self, cast

import attrs
import h11
import httpx
import trio

from validator.adapters.fiber.wire import Body

KEEP_IDLE = 60.0
"""Seconds that a connection is kept unused.

nginx, which stands before most miners, drops idle ones after 75 s: leave before it
does, or a request may be written into a connection that is just closing.
"""

AT_ONCE = 16_384
"""Bytes that are read, and so understood, without letting others run."""


@attrs.define
class Allowance:
    """How many bytes may still be read in an exchange, as they come out of TLS.

    What comes before a body has no end of its own: a miner can send preliminary
    responses for ever, 2,600 in 64 kB, each of which costs us 50 us.
    """

    left: int = 0

    def spend(self, size: int) -> None:
        """Count what was read."""
        self.left -= size
        if self.left < 0:
            raise httpx.RemoteProtocolError("more bytes than are read of a response")


@attrs.frozen
class Line:
    """A connection to a server, on which nothing has been said yet."""

    stream: trio.abc.Stream
    readable: Callable[[], bool]
    """Whether something has arrived, or it has ended."""
    certificate: str | None = None
    """SHA-256 of what the server has shown, in hexadecimal digits."""


Dial = Callable[[str, int], Awaitable[Line]]
"""Connects to an address, or raises ``OSError`` or ``trio.BrokenResourceError``."""


def dial_tls(trust: ssl.SSLContext) -> Dial:
    """Return what connects by TCP and TLS, and leaves no socket behind if it fails."""

    async def dial(host: str, port: int) -> Line:
        # No name is to be resolved, and there is but one address to try.
        tcp = trio.socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        try:
            await tcp.connect((host, port))
            tls = trio.SSLStream(
                trio.SocketStream(tcp),
                trust,
                server_hostname=host,
                https_compatible=True,
            )
            await tls.do_handshake()
        except BaseException:
            tcp.close()
            raise
        der = tls.getpeercert(binary_form=True)
        return Line(tls, tcp.is_readable, hashlib.sha256(der or b"").hexdigest())

    return dial


@attrs.define
class Transport(httpx.AsyncBaseTransport):
    """Speaks with one server, one exchange at a time, and keeps the connection.

    An exchange that fails or is cancelled costs its connection. No socket is left
    behind, whatever an exchange was at. Nothing here has a limit in time.
    """

    _dial: Dial
    allowance: Allowance = attrs.field(factory=Allowance, init=False)
    certificate: str | None = attrs.field(default=None, init=False)
    """As the server showed it last."""
    _kept: _Connection | None = attrs.field(default=None, init=False)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request, and read the head of its response."""
        connection, self._kept = self._kept, None
        if connection is not None and not connection.is_fresh():
            await connection.aclose()
            connection = None
        if connection is None:
            connection = await self._connect(request.url.host, request.url.port or 443)
        try:
            await connection.send(request)
            head = await connection.head()
        except BaseException:
            await connection.aclose()
            raise
        return httpx.Response(
            head.status_code,
            headers=list(head.headers),
            stream=_Answer(self, connection),
        )

    async def _connect(self, host: str, port: int) -> _Connection:
        try:
            line = await self._dial(host, port)
        except (OSError, trio.BrokenResourceError) as error:
            raise httpx.ConnectError(_cause(error)) from error
        self.certificate = line.certificate
        return _Connection(line, self.allowance)

    async def take_back(self, connection: _Connection) -> None:
        """Keep the connection for the next exchange, if it can be used again."""
        if connection.is_done():
            self._kept = connection
        else:
            await connection.aclose()

    async def aclose(self) -> None:
        """Close what is kept."""
        if self._kept is not None:
            await self._kept.aclose()


@attrs.define(eq=False)
class _Connection:
    """One connection, and what HTTP there is on it."""

    _line: Line
    _allowance: Allowance
    _http: h11.Connection = attrs.field(
        factory=lambda: h11.Connection(h11.CLIENT), init=False
    )
    _idle_since: float = attrs.field(default=0.0, init=False)

    def is_done(self) -> bool:
        """End an exchange; say whether there can be another one."""
        http = self._http
        if http.our_state is not h11.DONE or http.their_state is not h11.DONE:
            return False
        if http.trailing_data[0]:  # it would be taken for the next answer
            return False
        http.start_next_cycle()
        self._idle_since = trio.current_time()
        return True

    def is_fresh(self) -> bool:
        """Whether the server still keeps it, as far as can be seen."""
        idle = trio.current_time() - self._idle_since
        # What could be read now would be a farewell, or no answer to a question.
        return idle < KEEP_IDLE and not self._line.readable()

    async def send(self, request: httpx.Request) -> None:
        """Send it whole; in one piece if it is small."""
        http = self._http
        head = h11.Request(
            method=request.method,
            target=request.url.raw_path,
            headers=request.headers.raw,
        )
        unsent = http.send(head) or b""
        async for chunk in cast("httpx.AsyncByteStream", request.stream):
            unsent += http.send(h11.Data(data=chunk)) or b""
            if len(unsent) >= AT_ONCE:
                await self._write(unsent)
                unsent = b""
        unsent += http.send(h11.EndOfMessage()) or b""
        await self._write(unsent)

    async def _write(self, data: bytes) -> None:
        try:
            await self._line.stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise httpx.WriteError(_cause(error)) from error

    async def head(self) -> h11.Response:
        """Read the head of the response, and over whatever goes before it."""
        while True:
            event = await self.event()
            if type(event) is h11.Response:  # isinstance takes longer: ABCs
                return event

    async def event(self) -> h11.Event:
        """Read what comes next of the response."""
        while True:
            try:
                event = self._http.next_event()
            except h11.RemoteProtocolError as error:
                raise httpx.RemoteProtocolError(str(error)) from error
            if event is not h11.NEED_DATA:
                return cast("h11.Event", event)
            data = await self._read()
            if not data and self._http.their_state is h11.SEND_RESPONSE:
                raise httpx.ReadError("disconnected without sending a response")
            self._http.receive_data(data)

    async def _read(self) -> bytes:
        try:
            data = bytes(await self._line.stream.receive_some(AT_ONCE))
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise httpx.ReadError(_cause(error)) from error
        self._allowance.spend(len(data))
        return data

    async def aclose(self) -> None:
        """Close it at once: nobody waits for a farewell."""
        await trio.aclose_forcefully(self._line.stream)


@attrs.frozen
class _Answer(httpx.AsyncByteStream):
    """The body of a response, and what becomes of its connection after it."""

    _transport: Transport
    _connection: _Connection

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        event = await self._connection.event()
        if type(event) is h11.Data:
            return bytes(event.data)
        raise StopAsyncIteration

    async def aclose(self) -> None:
        await self._transport.take_back(self._connection)


def _cause(error: Exception) -> str:
    """What was at the bottom of it, as trio keeps it."""
    return str(error.__cause__ or error)


# -- bodies -------------------------------------------------------------------------
#
# Not httpx's own, which are asynchronous generators: left half way whenever sending
# fails, they would wait for the garbage collector to complain about them.


@attrs.frozen
class Whole(httpx.AsyncByteStream):
    """A body in one piece, or none."""

    _body: bytes

    def __aiter__(self) -> AsyncIterator[bytes]:
        return _Iterator(iter((self._body,) if self._body else ()), None)


@attrs.frozen
class Pieces(httpx.AsyncByteStream):
    """A body that is made while it is sent, in threads."""

    _body: Body
    _threads: trio.CapacityLimiter

    def __aiter__(self) -> AsyncIterator[bytes]:
        return _Iterator(self._body.pieces(), self._threads)


@attrs.frozen
class _Iterator:
    """Hands out pieces; those that take long to make are made in threads."""

    _pieces: Any
    _threads: trio.CapacityLimiter | None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if self._threads is None:
            piece = next(self._pieces, None)
        else:
            piece = await trio.to_thread.run_sync(
                next, self._pieces, None, limiter=self._threads
            )
        if piece is None:
            raise StopAsyncIteration
        return cast("bytes", piece)
