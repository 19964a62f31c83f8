"""One end of a connection in memory."""

from __future__ import annotations

import trio

from actors.testing._line import WINDOW, Line
from actors.testing.links import Links, TlsFailure


class NetworkStream(trio.abc.HalfCloseableStream):
    """A byte stream of a `Network`: one end of a connection.

    Cancelled, receiving has taken nothing. Closing is an end in order for what was
    sent before; what the other end sends from then on finds the connection broken.
    """

    def __init__(self, outgoing: Line, incoming: Line) -> None:
        self._outgoing = outgoing
        self._incoming = incoming
        self._closed = False
        self._peer = self
        self._tls_failure: TlsFailure | None = None
        self.encrypted = False
        """Whether it passes for it; see `start_tls`."""

    @classmethod
    def pair(
        cls, links: Links, tls_failure: TlsFailure | None = None
    ) -> tuple[NetworkStream, NetworkStream]:
        """Both ends of a new connection: the client's, and the server's."""
        up, down = Line(links.up), Line(links.down)
        client, server = cls(up, down), cls(down, up)
        client._peer, server._peer = server, client
        client._tls_failure = tls_failure
        return client, server

    def relink(self, links: Links) -> None:
        """Of a server's end: let its connection do something else from now on."""
        self._incoming.link, self._outgoing.link = links.up, links.down

    @property
    def readable(self) -> bool:
        """Whether receiving would not wait: there is something, or it has ended."""
        return self._closed or self._incoming.readable

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send all of it; see ``trio.abc.SendStream``."""
        self._check_open()
        await self._outgoing.send(bytes(data))

    async def wait_send_all_might_not_block(self) -> None:
        """Return at once, as trio allows."""
        self._check_open()
        await trio.lowlevel.checkpoint()

    async def send_eof(self) -> None:
        """Send nothing more; the other direction stays open."""
        self._check_open()
        self._outgoing.close()
        await trio.lowlevel.checkpoint()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Wait for bytes; see ``trio.abc.ReceiveStream``."""
        self._check_open()
        try:
            return await self._incoming.receive(max_bytes or WINDOW)
        except trio.BrokenResourceError:
            self._check_open()  # closed meanwhile
            self._outgoing.reset()  # a reset ends both directions
            raise

    async def start_tls(self) -> None:
        """Let both ends pass for encrypted; nothing is.

        Raises:
            trio.BrokenResourceError: because of a `TlsFailure`; it is closed.
        """
        self._check_open()
        await trio.lowlevel.checkpoint()
        if self._tls_failure is not None:
            self.close()
            raise trio.BrokenResourceError(self._tls_failure.reason)
        self.encrypted = self._peer.encrypted = True

    async def aclose(self) -> None:
        """Close it at once."""
        self.close()
        await trio.lowlevel.checkpoint()

    def close(self) -> None:
        """The same, without a checkpoint."""
        if not self._closed:
            self._closed = True
            self._outgoing.close()
            self._incoming.reset()

    def reset(self) -> None:
        """Break both directions."""
        self._outgoing.reset()
        self._incoming.reset()

    def _check_open(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError("this end of the connection was closed")
