"""What the kit itself writes into the trace, beside the events of the runtime."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import attrs

from actors.events import Event
from supervision import plan
from supervision.testing.faults import Fault, Point

Ending = Literal[
    "done", "deferred", "rejected", "stopped", "raised", "interrupted", "cancelled"
]
"""interrupted: by a ``base_exception``; stopped: it raised `actors.Stop`."""


@attrs.frozen
class Made(Event):
    """A factory has made the actor of the next incarnation: its life begins."""

    incarnation: int


@attrs.frozen
class Entered(Event):
    """An incarnation has come to a point where a fault may strike it."""

    incarnation: int
    point: Point
    nth: int
    fault: Fault | None
    number: int | None = None
    """Of the message, if the script sent it."""


@attrs.frozen
class Left(Event):
    """It is past that point."""

    incarnation: int
    point: Point
    nth: int
    ending: Ending
    number: int | None = None


@attrs.frozen
class Leaving(Event):
    """A supervisor has ended, and begins to stop its children."""

    incarnation: int


@attrs.frozen
class Decided(Event):
    """A supervisor took notice of something, and decided what to do about it."""

    event: plan.Event
    actions: Sequence[plan.Action]
    happened: float
    """When that was of which it took notice, perhaps only now."""


@attrs.frozen
class Sent(Event):
    """The script has sent a message, or asked for something."""

    number: int
    """Counts what the script sends."""
    what: str
    """What is sent: the message, in words."""
    kind: Literal["tell", "ask", "request"]
    """request: to a supervisor, or one that every actor understands."""
    timeout: float | None
    accepted: bool
    """Of a tell: whether it was."""
    waiting: int
    """How many messages wait in the mailbox now."""


@attrs.frozen
class Answered(Event):
    """What came of a question of the script."""

    number: int
    outcome: str
    """``reply``, or the class of what was raised."""
    started: bool
    """Of a timeout: whether the handler had begun."""


@attrs.frozen
class Blocked(Event):
    """The clock went on while nobody could run."""

    seconds: float


@attrs.frozen
class Idle(Event):
    """All has been left alone for long enough: whoever can be up is.

    The path is that of an actor, the rest is how it stands.
    """

    state: str
    busy: bool
    waiting: int
    """Messages in its mailbox."""


@attrs.frozen
class Stopping(Event):
    """The code around the system leaves its block, or is cancelled there."""

    why: Literal["the script is over", "stop", "cancelled"]


@attrs.frozen
class Ended(Event):
    """The system has ended: nothing of it is left."""

    outcome: str
    """``stopped``, or the class of what was raised."""
    cause: str
    """The class of its cause; empty without one."""
