"""What others may wait for. Most have nobody who does, and cost next to nothing."""

from __future__ import annotations

from collections.abc import Callable

import trio

BEGUN, SETTLED, OVER = 1, 2, 3
"""begun: its start is over, however it went; settled: nobody has to wait for it any
more, as it is over or stuck; over: its task has ended."""


class Course:
    """How far one life of a child has come. Each stage includes those before it."""

    __slots__ = ("_events", "stage")

    def __init__(self, stage: int = 0) -> None:
        self.stage = stage
        self._events: dict[int, trio.Event] | None = None

    def reach(self, stage: int) -> None:
        """Wake those who wait for it. Idempotent."""
        if self.stage < stage:  # noqa: PLR1730 - a call each time
            self.stage = stage
        if self._events is not None:
            for wanted, event in self._events.items():
                if wanted <= stage:
                    event.set()

    async def wait(self, stage: int) -> None:
        """Wait until it has come so far."""
        if self.stage >= stage:
            await trio.lowlevel.checkpoint()
            return
        if self._events is None:
            self._events = {}
        await self._events.setdefault(stage, trio.Event()).wait()


PAST = Course(OVER)
"""That of whoever has not been started."""


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
        if self._asked is not None:
            asked, self._asked = self._asked, None
            for tell in asked:
                tell(error)
