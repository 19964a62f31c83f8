"""What carries the bytes to a miner: sockets, TLS, and the bodies of requests."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from typing import Any, Self, cast

import attrs
import httpcore
import httpx
import trio

from validator.adapters.fiber.wire import Body

# nginx, which stands before most miners, drops idle connections after 75 s: leave
# before it does, or a request may be written into a connection that is just closing.
_KEEP_IDLE = 60.0

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
            raise httpcore.RemoteProtocolError("more bytes than are read of a response")


class Transport(httpx.AsyncHTTPTransport):
    """The usual one, on connections of ours."""

    def __init__(self, trust: ssl.SSLContext, allowance: Allowance) -> None:
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=trust,
            keepalive_expiry=_KEEP_IDLE,
            network_backend=_Backend(allowance),
        )


class _Backend(httpcore.AsyncNetworkBackend):
    def __init__(self, allowance: Allowance) -> None:
        self._allowance = allowance

    async def connect_tcp(
        self, host: str, port: int, *args: Any, **kwargs: Any
    ) -> httpcore.AsyncNetworkStream:
        try:
            tcp = await trio.open_tcp_stream(host, port)
        except OSError as error:
            raise httpcore.ConnectError(str(error)) from error
        return _Stream(tcp, tcp, self._allowance)


@attrs.frozen
class _Stream(httpcore.AsyncNetworkStream):
    """A connection that counts what is read, and leaves no socket behind.

    httpcore's own closes it when a TLS handshake ends in an error, but not when that is
    cancelled: a miner that takes connections and says nothing would cost us a socket
    each time. And its limits on each read and write, which we have no use for, cost a
    tenth of an exchange.
    """

    _stream: trio.SocketStream | trio.SSLStream[trio.SocketStream]
    _tcp: trio.SocketStream
    _allowance: Allowance

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.AsyncNetworkStream:
        tls: trio.SSLStream[trio.SocketStream] = trio.SSLStream(
            self._tcp,
            ssl_context,
            server_hostname=server_hostname,
            https_compatible=True,
        )
        try:
            await tls.do_handshake()
        except trio.BrokenResourceError as error:
            self._tcp.socket.close()
            raise httpcore.ConnectError(_cause(error)) from error
        except trio.Cancelled:
            self._tcp.socket.close()
            raise
        return _Stream(tls, self._tcp, self._allowance)

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        try:
            data = bytes(await self._stream.receive_some(min(max_bytes, AT_ONCE)))
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise httpcore.ReadError(_cause(error)) from error
        self._allowance.spend(len(data))
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        try:
            await self._stream.send_all(buffer)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise httpcore.WriteError(_cause(error)) from error

    async def aclose(self) -> None:
        await self._stream.aclose()

    def get_extra_info(self, info: str) -> Any:
        if info == "is_readable":  # asked before a kept connection is used again
            return self._tcp.socket.is_readable()
        if info == "ssl_object" and isinstance(self._stream, trio.SSLStream):
            return self._stream._ssl_object
        return None


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
