"""A network that is not there: hosts, connections and their faults, on trio's clock."""

from __future__ import annotations

import errno
import socket
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias, cast, get_args

import attrs
import trio

from actors.testing._beside import Beside
from actors.testing._stream import NetworkStream
from actors.testing.answers import AnswerFault
from actors.testing.links import (
    Blackhole,
    Links,
    NameUnknown,
    Refused,
    ResetAtOnce,
    TlsFailure,
    Unreachable,
)

if TYPE_CHECKING:
    import httpx

ConnectionFault: TypeAlias = (
    Links | Refused | ResetAtOnce | Blackhole | NameUnknown | Unreachable | TlsFailure
)
NetworkFault: TypeAlias = ConnectionFault | AnswerFault

Handler: TypeAlias = Callable[[NetworkStream], Awaitable[object]]


_GOOD = Links()


@attrs.define(eq=False)
class _Host:
    """One host, and what is wrong with it."""

    ports: dict[int, Handler] = attrs.field(factory=dict[int, Handler])
    speaks_http: bool = False
    fault: NetworkFault = _GOOD
    times: int | None = None
    """How often the fault is still to be met; None: always."""
    open: set[NetworkStream] = attrs.field(factory=set[NetworkStream])
    """The servers' ends of its connections."""

    def take(self, *, answer: bool) -> NetworkFault | None:
        """What meets the next connection, or the next answer."""
        fault = self.fault
        if isinstance(fault, get_args(AnswerFault)) != answer:
            return None
        if self.times is not None:
            self.times -= 1
            if self.times == 0:
                self.fault, self.times = _GOOD, None
        return fault


class Network(Beside):
    """Hosts, and connections to them in memory, for the length of a block.

    Use it as ``async with Network() as network:``. All time that anything takes is
    trio's, so that a clock that jumps makes timeouts pass at once; no name is looked up
    and no socket opened. Connections are good and take no time until `fault` says
    otherwise.

    Leaving the block ends all servers. What a server raises ends the block, like any
    task of a nursery; but that its client has gone is no error. What the block raises
    leaves unchanged.
    """

    def __init__(self) -> None:
        self._hosts: dict[str, _Host] = {}

    # -- hosts ------------------------------------------------------------------------

    def serve(
        self,
        host: str,
        port: int,
        respond: Callable[[httpx.Request], httpx.Response | Awaitable[httpx.Response]],
    ) -> None:
        """Let a host answer HTTP/1.1 requests with what ``respond`` returns.

        It gets an ``httpx.Request`` whose body has been read, and returns an
        ``httpx.Response``, at once or awaited: like the handler of an
        ``httpx.MockTransport``.

        Raises:
            ImportError: httpx is not installed.
            ValueError: somebody listens there already.
        """
        from actors.testing import _http  # noqa: PLC0415 - only if it is used

        known = self._host(host)
        take = partial(known.take, answer=True)
        server = _http.Server(host, port, respond, cast("Any", take))
        self.listen(host, port, server.serve)
        known.speaks_http = True

    def listen(self, host: str, port: int, handler: Handler) -> None:
        """Let ``handler`` serve every connection to a host: it gets the server's end.

        The stream is closed when the handler returns.

        Raises:
            ValueError: somebody listens there already.
        """
        known = self._host(host)
        if port in known.ports:
            raise ValueError(f"somebody listens on {host}:{port} already")
        known.ports[port] = handler

    def _host(self, host: str) -> _Host:
        return self._hosts.setdefault(host, _Host())

    # -- what is wrong ----------------------------------------------------------------

    def fault(
        self, host: str, fault: NetworkFault, *, times: int | None = None
    ) -> None:
        """Let this be wrong with a host until the next call.

        Faults of connections meet those that are made from now on, faults of answers
        the requests that are answered from now on. `Links` are those of connections
        that are open, too, if nothing is said about how many times.

        Args:
            host: Who; it must listen somewhere.
            fault: What is wrong.
            times: How many connections or answers it meets, before the host is well
                again. None: all until the next call.

        Raises:
            ValueError: there is no such host, or it speaks no HTTP and only that could
                be wrong like this.
        """
        known = self._hosts.get(host)
        if known is None:
            raise ValueError(
                f"there is no host {host!r}, but {sorted(self._hosts)}; make it with "
                "serve() or listen()"
            )
        if isinstance(fault, get_args(AnswerFault)) and not known.speaks_http:
            raise ValueError(f"{host!r} speaks no HTTP; {fault!r} means nothing to it")
        if times is not None and times < 1:
            raise ValueError(f"a fault is met once or more, got times={times!r}")
        known.fault, known.times = fault, times
        if isinstance(fault, Links) and times is None:
            for stream in known.open:
                stream.relink(fault)

    def heal(self, host: str) -> None:
        """Let nothing be wrong with a host any more. What has been cut stays so."""
        self.fault(host, _GOOD)

    # -- connecting -------------------------------------------------------------------

    def client(self, **options: Any) -> httpx.AsyncClient:
        """Make a client whose connections lead through this network; you close it.

        Proxies and what else the environment says are ignored. TLS is not simulated:
        ``https`` needs no certificate, and hides nothing.

        Args:
            options: As for ``httpx.AsyncClient``.

        Raises:
            ImportError: httpx is not installed.
        """
        from actors.testing import _http  # noqa: PLC0415 - only if it is used

        return _http.client(self, options)

    async def connect(self, host: str, port: int) -> NetworkStream:
        """Connect to a host, as ``trio.open_tcp_stream`` does; you close the stream.

        Raises:
            ConnectionRefusedError: nobody listens there.
            socket.gaierror: there is no such host.
        """
        known = self._hosts.get(host)
        fault = None if known is None else known.take(answer=False)
        if known is None or isinstance(fault, NameUnknown):
            await trio.lowlevel.checkpoint()
            raise socket.gaierror(
                socket.EAI_NONAME, f"Name or service not known: {host!r}"
            )
        if isinstance(fault, Unreachable):
            await trio.sleep_forever()
        links = fault if isinstance(fault, Links) else _GOOD
        await trio.sleep(links.up.latency + links.down.latency)
        handler = known.ports.get(port)
        if handler is None or isinstance(fault, Refused):
            raise ConnectionRefusedError(
                errno.ECONNREFUSED, f"Connection refused: {host}:{port}"
            )
        tls = fault if isinstance(fault, TlsFailure) else None
        client, server = NetworkStream.pair(links, tls)
        if isinstance(fault, ResetAtOnce):
            client.reset()
        elif not isinstance(fault, Blackhole):
            self._inside().start_soon(
                _serve, known, handler, server, name=f"server {host}:{port}"
            )
        return client


async def _serve(host: _Host, handler: Handler, stream: NetworkStream) -> None:
    host.open.add(stream)
    try:
        await handler(stream)
    except* trio.BrokenResourceError:
        pass  # its client has gone, or is out of reach
    finally:
        host.open.discard(stream)
        stream.close()
