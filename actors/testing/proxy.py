"""Stands before a real server and spoils the connections to it, in real time."""

from __future__ import annotations

import socket
import struct
from collections.abc import Awaitable, Callable
from functools import partial
from os import PathLike
from types import TracebackType
from typing import Self, TypeAlias

import attrs
import trio

from actors.testing._beside import Beside
from actors.testing._line import Line
from actors.testing.links import Blackhole, Links, Refused, ResetAtOnce

ProxyFault: TypeAlias = Links | Refused | ResetAtOnce | Blackhole

_HOST = "127.0.0.1"
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # struct linger: on, for 0 seconds


@attrs.frozen
class ProxyStatistics:
    """What has passed a `ChaosProxy` so far."""

    accepted: int
    """Connections taken from clients since it began."""
    open: int
    """Those of them that are not over."""
    unreachable: int
    """Those that were reset because the server could not be reached."""
    up: int
    """Bytes handed to the server."""
    down: int
    """Bytes handed to clients."""


class ChaosProxy(Beside):
    """Relays TCP connections to a server, well or badly, for the length of a block.

    Use it as ``async with ChaosProxy(host, port) as proxy:`` and let the client connect
    to ``proxy.port`` on 127.0.0.1. Connections are good ones until `fault` says
    otherwise. All methods take effect at once and do not wait.

    Leaving the block, by whatever way, resets what is open and closes all sockets; no
    task of it is left. What the block raises leaves unchanged.
    """

    def __init__(self, host: str, port: int) -> None:
        self._connect: Callable[[], Awaitable[trio.SocketStream]] = partial(
            trio.open_tcp_stream, host, port
        )
        self._fault: ProxyFault = Links()
        self._thawed = trio.Event()
        self._thawed.set()
        self._open: set[_Connection] = set()
        self._accepted = self._unreachable = self._up = self._down = 0
        # Keeps the port ours while nobody listens on it.
        self._reserved: trio.socket.SocketType
        self._listener: trio.SocketListener | None = None

    @classmethod
    def before_unix(cls, path: str | PathLike[str]) -> Self:
        """Stand before a server that listens on a unix socket."""
        proxy = cls("", 0)
        proxy._connect = partial(trio.open_unix_socket, path)
        return proxy

    @property
    def port(self) -> int:
        """Where it listens, on 127.0.0.1; the same for the whole block."""
        port: int = self._reserved.getsockname()[1]
        return port

    def statistics(self) -> ProxyStatistics:
        """Count connections and bytes."""
        return ProxyStatistics(
            self._accepted, len(self._open), self._unreachable, self._up, self._down
        )

    # -- what is wrong --------------------------------------------------------------

    def fault(self, fault: ProxyFault) -> None:
        """Let this be wrong until the next call; `Links` of open connections too.

        The bytes until a cut are counted from now on, and from the beginning of later
        connections. The other faults leave connections that are open alone.
        """
        self._fault = fault
        if isinstance(fault, Links):
            for connection in self._open:
                connection.relink(fault)
        if isinstance(fault, Refused):
            self._stop_listening()
        elif self._listener is None:
            self._listen()

    def heal(self) -> None:
        """Let nothing be wrong any more. What has been cut stays so."""
        self.fault(Links())
        self.thaw()

    def freeze(self) -> None:
        """Let no byte and no end pass either way, on any connection, until `thaw`."""
        if self._thawed.is_set():
            self._thawed = trio.Event()

    def thaw(self) -> None:
        """Let pass what was held up."""
        self._thawed.set()

    def reset_all(self) -> None:
        """Reset all connections that are open, towards both sides."""
        for connection in self._open:
            connection.scope.cancel(reason="the proxy resets its connections")

    # -- listening --------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        self._reserved = _bound(0)
        await super().__aenter__()
        self._listen()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        self._stop_listening()
        self._reserved.close()
        return await super().__aexit__(kind, error, traceback)  # noqa: ASYNC102

    def _listen(self) -> None:
        listening = _bound(self.port)
        listening.listen(128)
        self._listener = trio.SocketListener(listening)
        self._inside().start_soon(self._accept, self._listener)

    def _stop_listening(self) -> None:
        if self._listener is not None:
            self._listener.socket.close()
            self._listener = None

    async def _accept(self, listener: trio.SocketListener) -> None:
        while True:
            try:
                client = await listener.accept()
            except trio.ClosedResourceError:
                return
            self._inside().start_soon(self._serve, client)

    # -- a connection -----------------------------------------------------------------

    async def _serve(self, client: trio.SocketStream) -> None:
        self._accepted += 1
        connection = _Connection(client)
        self._open.add(connection)
        try:
            with connection.scope:
                match self._fault:
                    case Links() as links:
                        await self._relay(connection, links)
                        connection.in_order = True
                    case Blackhole():
                        while await client.receive_some():
                            pass
                    case _:  # ResetAtOnce, or Refused came after the accepting
                        pass
        except* trio.BrokenResourceError:
            pass  # one of the two sides was reset, or is to be
        finally:
            self._open.discard(connection)
            connection.close()

    async def _relay(self, connection: _Connection, links: Links) -> None:
        try:
            server = await self._connect()
        except OSError as error:
            self._unreachable += 1
            raise trio.BrokenResourceError from error
        client = connection.client
        up, down = connection.join(server, links)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._pass, client, up, server, self._sent_up)
            nursery.start_soon(self._pass, server, down, client, self._sent_down)

    async def _pass(
        self,
        source: trio.SocketStream,
        line: Line,
        target: trio.SocketStream,
        count: Callable[[int], None],
    ) -> None:
        """Carry one direction, until its source has ended and all has arrived."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._deliver, line, target, count)
            try:
                # Also when nothing arrives any more, or the end would go unnoticed.
                while data := await source.receive_some():
                    await line.send(data)
                line.close()
            except trio.BrokenResourceError:
                line.reset()  # told by whoever delivers, after the last byte
            if line.is_silent:
                nursery.cancel_scope.cancel(reason="it has ended in silence")

    async def _deliver(
        self, line: Line, target: trio.SocketStream, count: Callable[[int], None]
    ) -> None:
        while True:
            data = await line.receive()
            while not self._thawed.is_set():
                await self._thawed.wait()
            if not data:
                await target.send_eof()
                return
            await target.send_all(data)
            count(len(data))

    def _sent_up(self, size: int) -> None:
        self._up += size

    def _sent_down(self, size: int) -> None:
        self._down += size


class _Connection:
    """One connection of a client, relayed or not."""

    def __init__(self, client: trio.SocketStream) -> None:
        self.client = client
        self.scope = trio.CancelScope()
        self.in_order = False
        """Whether both sides have hung up, so that neither needs to be reset."""
        self._server: trio.SocketStream | None = None
        self._lines: tuple[Line, Line] | None = None

    def join(self, server: trio.SocketStream, links: Links) -> tuple[Line, Line]:
        """Make the lines between the client and its server: up and down."""
        self._server = server
        self._lines = Line(links.up), Line(links.down)
        return self._lines

    def relink(self, links: Links) -> None:
        """Let both directions do something else from now on."""
        if self._lines is not None:
            self._lines[0].link, self._lines[1].link = links.up, links.down

    def close(self) -> None:
        """Hang up on both sides; in order, or with a reset."""
        for stream in (self.client, self._server):
            if stream is None:
                continue
            if not self.in_order and stream.socket.family != socket.AF_UNIX:
                stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            stream.socket.close()


def _bound(port: int) -> trio.socket.SocketType:
    bound = socket.socket()
    # So that one socket can listen on the port that another of ours reserves.
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    bound.bind((_HOST, port))
    bound.setblocking(False)
    return trio.socket.from_stdlib_socket(bound)
