"""HTTP over a `Network`: a server that speaks h11, and httpx on streams in memory."""

from __future__ import annotations

import inspect
import ssl
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Generator,
    Iterator,
    Mapping,
)
from contextlib import contextmanager, suppress
from functools import cache
from typing import TYPE_CHECKING, Any, Self, cast

import attrs
import trio

from actors.testing._line import WINDOW
from actors.testing._stream import NetworkStream
from actors.testing.answers import (
    AnswerFault,
    Garbage,
    HugeBody,
    RedirectLoop,
    Status,
    WrongLength,
)

try:
    import h11
    import httpcore
    import httpx
except ImportError as error:
    raise ImportError(
        "HTTP in the simulated network needs httpx and h11: install actor-tree[testing]"
    ) from error

if TYPE_CHECKING:
    from actors.testing.network import Network


# -- the client ---------------------------------------------------------------------


def client(network: Network, options: Mapping[str, Any]) -> httpx.AsyncClient:
    """Make a client whose connections lead through ``network``."""
    limits = options.get("limits") or httpx.Limits()
    pool = httpcore.AsyncConnectionPool(
        ssl_context=_nothing_to_trust(),
        max_connections=limits.max_connections,
        max_keepalive_connections=limits.max_keepalive_connections,
        # Real time, which has nothing to do with ours, would decide.
        keepalive_expiry=None,
        network_backend=_Backend(network),
    )
    return httpx.AsyncClient(transport=_Transport(pool), trust_env=False, **options)


@cache
def _nothing_to_trust() -> ssl.SSLContext:
    # Nobody ever asks it. One for all, as making one takes as long as an exchange; the
    # default would even read all certificates of the system.
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


class _Transport(httpx.AsyncHTTPTransport):
    """The usual one, with a pool of ours."""

    def __init__(self, pool: httpcore.AsyncConnectionPool) -> None:
        self._pool = pool

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if isinstance(request.stream, httpx.ByteStream):
            request.stream = _InOnePiece(b"".join(request.stream))
        return await super().handle_async_request(request)


@attrs.frozen
class _InOnePiece(httpx.AsyncByteStream):
    """The body of a request.

    The one of httpx is an asynchronous generator, which is left half way whenever
    sending fails: a warning at each of the faults that this is all about.
    """

    _body: bytes

    def __aiter__(self) -> AsyncIterator[bytes]:
        return _Piece(self._body)


@attrs.define
class _Piece:
    _rest: bytes | None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        piece, self._rest = self._rest, None
        if piece is None:
            raise StopAsyncIteration
        return piece


@attrs.frozen
class _Backend(httpcore.AsyncNetworkBackend):
    """Where httpx gets its connections from."""

    _network: Network

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Any = None,
    ) -> httpcore.AsyncNetworkStream:
        with _limited(timeout, httpcore.ConnectTimeout, httpcore.ConnectError):
            return _Stream(await self._network.connect(host, port))

    async def sleep(self, seconds: float) -> None:
        await trio.sleep(seconds)


@attrs.frozen
class _Stream(httpcore.AsyncNetworkStream):
    """A connection as httpx wants it."""

    _stream: NetworkStream

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        with _limited(timeout, httpcore.ReadTimeout, httpcore.ReadError):
            return await self._stream.receive_some(max_bytes)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        with _limited(timeout, httpcore.WriteTimeout, httpcore.WriteError):
            await self._stream.send_all(buffer)

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.AsyncNetworkStream:
        with _limited(timeout, httpcore.ConnectTimeout, httpcore.ConnectError):
            await self._stream.start_tls()
        return self

    def get_extra_info(self, info: str) -> Any:
        # What a pool asks before it uses a connection again: has it ended meanwhile?
        return self._stream.readable if info == "is_readable" else None


@contextmanager
def _limited(
    seconds: float | None, late: type[Exception], broken: type[Exception]
) -> Generator[None, None, None]:
    try:
        with trio.move_on_after(float("inf") if seconds is None else seconds) as scope:
            yield
    except (trio.BrokenResourceError, trio.ClosedResourceError, OSError) as error:
        raise broken(str(error)) from error
    if scope.cancelled_caught:
        raise late


# -- the server -----------------------------------------------------------------------


@attrs.frozen
class Server:
    """Answers requests, one after the other on each connection."""

    _host: str
    _port: int
    _respond: Callable[[httpx.Request], httpx.Response | Awaitable[httpx.Response]]
    _take_fault: Callable[[], AnswerFault | None]
    """Returns what is wrong with the next answer."""

    async def serve(self, stream: NetworkStream) -> None:
        """Serve one connection until either side has had enough."""
        connection = h11.Connection(h11.SERVER)
        with suppress(h11.RemoteProtocolError):  # a client that speaks no HTTP
            while request := await self._next_request(connection, stream):
                response = await self._answer(request)
                if isinstance(response, bytes):
                    await stream.send_all(response)
                    return
                await _send(connection, stream, request, response)
                if connection.our_state is not h11.DONE:
                    return
                connection.start_next_cycle()

    async def _next_request(
        self, connection: h11.Connection, stream: NetworkStream
    ) -> httpx.Request | None:
        head, body = None, b""
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                connection.receive_data(await stream.receive_some())
            elif isinstance(event, h11.Request):
                head = event
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage) and head is not None:
                return self._request(head, body, encrypted=stream.encrypted)
            else:  # the client has hung up
                return None

    def _request(
        self, head: h11.Request, body: bytes, *, encrypted: bool
    ) -> httpx.Request:
        scheme = "https" if encrypted else "http"
        return httpx.Request(
            head.method.decode(),
            f"{scheme}://{self._host}:{self._port}{head.target.decode()}",
            headers=list(head.headers),
            content=body,
        )

    async def _answer(self, request: httpx.Request) -> httpx.Response | bytes:
        """What to say; raw bytes are the last."""
        match self._take_fault():
            case Garbage(data):
                return data
            case WrongLength(by):
                return await _off_by(by, await self._right_answer(request))
            case Status(code):
                return httpx.Response(code, headers={"content-length": "0"})
            case HugeBody(size):
                return httpx.Response(200, content=_zeros(size))
            case RedirectLoop():
                headers = {"location": str(request.url), "content-length": "0"}
                return httpx.Response(307, headers=headers)
            case None:
                return await self._right_answer(request)

    async def _right_answer(self, request: httpx.Request) -> httpx.Response:
        response = self._respond(request)
        return await response if inspect.isawaitable(response) else response


def _zeros(size: int) -> Iterator[bytes]:
    for begin in range(0, size, WINDOW):
        yield bytes(min(WINDOW, size - begin))


async def _off_by(by: int, response: httpx.Response) -> bytes:
    body = await _body(response)
    head = f"HTTP/1.1 {response.status_code} {response.reason_phrase}\r\n".encode()
    for name, value in response.headers.raw:
        if name.lower() not in {b"content-length", b"transfer-encoding"}:
            head += name + b": " + value + b"\r\n"
    length = max(0, len(body) + by)
    return head + f"content-length: {length}\r\n\r\n".encode() + body


async def _body(response: httpx.Response) -> bytes:
    if isinstance(response.stream, httpx.SyncByteStream):
        return b"".join(response.stream)
    return b"".join([chunk async for chunk in _asynchronous(response)])


async def _send(
    connection: h11.Connection,
    stream: NetworkStream,
    request: httpx.Request,
    response: httpx.Response,
) -> None:
    head = h11.Response(
        status_code=response.status_code,
        reason=response.reason_phrase,
        headers=response.headers.raw,
    )
    data = connection.send(head)
    if request.method == "HEAD" or response.status_code in {204, 304}:
        pass
    # What is both is not read as an asynchronous generator, for one that is left half
    # way, because the connection breaks, is complained about.
    elif isinstance(response.stream, httpx.SyncByteStream):
        for chunk in response.stream:
            data += connection.send(h11.Data(data=chunk))
            if len(data) >= WINDOW:
                await stream.send_all(data)
                data = b""
    else:
        async for chunk in _asynchronous(response):
            await stream.send_all(data)
            data = connection.send(h11.Data(data=chunk))
    await stream.send_all(data + connection.send(h11.EndOfMessage()))


def _asynchronous(response: httpx.Response) -> httpx.AsyncByteStream:
    return cast("httpx.AsyncByteStream", response.stream)
