"""What comes to an actor without a sender: timers, and news of other actors' end."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from actors._core.messages import Posted

if TYPE_CHECKING:
    from actors._core.exits import Exit
    from actors._core.incarnation import Incarnation
    from actors._core.messages import Message, Tell


class Timer(Posted):
    """A message to the actor itself, once or again and again.

    It is delivered like a message that was told, before all user messages. It dies
    with the incarnation that set it. A repeated one is due at fixed distances from
    when it was set; while one delivery waits to be handled there is no second, so
    what an actor is too busy for is left out.
    """

    __slots__ = ("_due", "_jitter", "_life", "_message", "_period", "pending")

    def __init__(
        self,
        life: Incarnation,
        message: Tell[Any],
        delay: float,
        *,
        period: float | None,
        jitter: float,
    ) -> None:
        self._life = life
        self._message = message
        self._period = period
        self._jitter = jitter
        self.pending = True
        """Whether it will still deliver something."""
        self._due = life.runtime.now() + delay
        self._arm()

    def cancel(self) -> None:
        """Deliver nothing more, not even what is due already. Idempotent."""
        self.pending = False

    def _arm(self) -> None:
        runtime = self._life.runtime
        jitter = runtime.random.uniform(0, self._jitter) if self._jitter else 0.0
        runtime.alarms.arm(self._due + jitter, self)

    def ring(self) -> None:
        """Due: stand in the system lane."""
        self._life.mailbox.post(self)

    def look(self, life: object) -> Message[Any] | None:
        """Its message, unless it has been cancelled or its incarnation has ended."""
        return self._message if self.pending and life is self._life else None

    def take(self, life: object) -> Message[Any] | None:
        """Its turn to be read."""
        if self.look(life) is None:
            return None
        if self._period is None:
            self.pending = False
        else:
            missed = (self._life.runtime.now() - self._due) // self._period
            self._due += self._period * (1 + max(0.0, missed))
            self._arm()
        return self._message


class Ended(Posted):
    """Somebody watched has stopped for good."""

    __slots__ = ("_exit", "_life", "_message", "_message_for")

    def __init__(
        self, life: Incarnation, message_for: Callable[[Exit], Tell[Any]], exit_: Exit
    ) -> None:
        self._life = life
        self._message_for = message_for
        self._exit = exit_
        self._message: Message[Any] | None = None

    def look(self, life: object) -> Message[Any] | None:
        """The message, made in the actor that asked for it, and once."""
        if self._message is None and life is self._life:
            self._message = self._message_for(self._exit)
        return self._message


def check_period(name: str, seconds: float, *, zero: bool = False) -> None:
    """Refuse what is no length of time.

    Raises:
        ValueError: naming ``name``.
    """
    if not (seconds > 0 or (zero and seconds == 0)) or math.isinf(seconds):
        least = "0 or more" if zero else "more than 0"
        raise ValueError(f"{name} must be {least} seconds and finite, got {seconds!r}")
