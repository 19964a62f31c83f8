"""What others may wait for. Most have nobody who does, and cost next to nothing."""

from __future__ import annotations

from collections.abc import Callable

import trio


class Moment:
    """It comes once, and several tasks may wait for it."""

    __slots__ = ("_event", "has_come")

    def __init__(self) -> None:
        self.has_come = False
        self._event: trio.Event | None = None

    def comes(self) -> None:
        """Wake those who wait. Idempotent."""
        self.has_come = True
        event, self._event = self._event, None
        if event is not None:
            event.set()

    async def wait(self) -> None:
        """Wait until it has come."""
        if self.has_come:
            await trio.lowlevel.checkpoint()
            return
        if self._event is None:
            self._event = trio.Event()
        await self._event.wait()


PAST = Moment()
"""Has come already."""
PAST.comes()


class Occasion:
    """It comes again and again, and several may want to be told once."""

    __slots__ = ("_asked",)

    def __init__(self) -> None:
        self._asked: list[Callable[[Exception | None], None]] | None = None

    def then(self, tell: Callable[[Exception | None], None]) -> None:
        """Call ``tell`` the next time; with the reason, if it will not come."""
        if self._asked is None:
            self._asked = []
        self._asked.append(tell)

    def comes(self, error: Exception | None = None) -> None:
        """Tell those who asked; ``error``: why it will not come."""
        asked, self._asked = self._asked, None
        for tell in asked or ():
            tell(error)
