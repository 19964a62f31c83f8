"""One direction of a connection, on trio's clock: bytes go in, and come out later."""

from __future__ import annotations

import math
from collections import deque

import trio

from actors.testing.links import Ending, Link

WINDOW = 65_536
"""Bytes on their way, or arrived and not taken, beyond which the sender waits."""

_TICK = 0.1
"""Seconds between two pieces of what a slow link carries."""


class Line:
    """Carries bytes in order, as its link does.

    The link may be replaced at any time. What is on its way arrives as it would have;
    the bytes until a cut are counted from then on.
    """

    def __init__(self, link: Link) -> None:
        # When a piece arrives, and the piece. Invariant: ordered by time.
        self._flying: deque[tuple[float, bytes]] = deque()
        self._size = 0
        """Bytes in ``_flying``."""
        self._free_at = -math.inf
        """When the last byte sent has left the sender."""
        self._ending: Ending | None = None
        self._ends_at = math.inf
        """When the receiver notices the ending: not before the last piece."""
        self._news = trio.lowlevel.ParkingLot()
        self.link = link

    @property
    def link(self) -> Link:
        """What it does to the bytes that are sent from now on."""
        return self._link

    @link.setter
    def link(self, link: Link) -> None:
        self._link = link
        self._passed = 0
        self._cut_if_due()

    # -- the sender's end -----------------------------------------------------------

    async def send(self, data: bytes) -> None:
        """Send all, waiting for the receiver while a window's worth is on its way.

        Raises:
            trio.BrokenResourceError: it was reset.
        """
        await trio.lowlevel.checkpoint()
        size = max(1, int(min(WINDOW, self._link.rate * _TICK)))
        for start in range(0, len(data), size):
            while self._size >= WINDOW and self._ending is None:
                await self._news.park()
            if self._ending == "reset":
                raise trio.BrokenResourceError("connection reset by peer")
            if self._ending is None:
                self._put(data[start : start + size])

    def _put(self, piece: bytes) -> None:
        link, now = self._link, trio.current_time()
        if link.cut is not None:
            piece = piece[: link.cut.after - self._passed]
        self._free_at = max(now, self._free_at) + len(piece) / link.rate
        self._flying.append((self._arrival(), piece))
        self._size += len(piece)
        self._passed += len(piece)
        self._cut_if_due()
        self._news.unpark_all()

    def _arrival(self) -> float:
        """When what leaves now arrives: never before what left earlier."""
        at = max(self._free_at, trio.current_time()) + self._link.latency
        return max(at, self._flying[-1][0]) if self._flying else at

    def _cut_if_due(self) -> None:
        cut = self._link.cut
        if cut is not None and self._passed >= cut.after:
            self._end(cut.how)

    def close(self) -> None:
        """Nothing more will be sent; the receiver learns of it after the last byte."""
        self._end("eof")

    def reset(self) -> None:
        """Break it. What is on its way arrives before the receiver learns of it."""
        self._end("reset")

    def _end(self, how: Ending) -> None:
        if self._ending is None:  # the first stands
            self._ending = how
            if how != "silence":
                self._ends_at = self._arrival()
            self._news.unpark_all()

    @property
    def is_silent(self) -> bool:
        """Whether nothing arrives any more, not even an end."""
        return self._ending == "silence"

    # -- the receiver's end ---------------------------------------------------------

    @property
    def readable(self) -> bool:
        """Whether receiving would not wait."""
        return self._due() <= trio.current_time()

    def _due(self) -> float:
        return self._flying[0][0] if self._flying else self._ends_at

    async def receive(self, limit: int = WINDOW) -> bytes:
        """Wait for bytes; none at the end. Cancelled, it has taken none.

        Raises:
            trio.BrokenResourceError: it was reset, and all before that was taken.
        """
        await trio.lowlevel.checkpoint()
        while not self.readable:
            with trio.move_on_at(self._due()):
                await self._news.park()
        if not self._flying:
            if self._ending == "reset":
                raise trio.BrokenResourceError("connection reset by peer")
            return b""
        at, piece = self._flying.popleft()
        if len(piece) > limit:
            self._flying.appendleft((at, piece[limit:]))
            piece = piece[:limit]
        self._size -= len(piece)
        self._news.unpark_all()
        return piece
