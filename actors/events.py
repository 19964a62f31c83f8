"""What the runtime reports, as frozen values.

An event is emitted in the same step as the decision it reports, so the order of
events is the order of decisions. Sinks are plain functions: they must not block
and cannot fail the runtime. Logs, metrics and test oracles are sinks of this one
stream; applications add events of their own by subclassing :class:`Event`.
"""
# Without slots, as those of a frozen class are set one by one through a method of
# ``object``: that would be a twentieth of the cost of a restart, which makes seven.

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import attrs

from actors._core.exits import Exit


@attrs.frozen(slots=False)
class Event:
    """Base of all events."""

    path: str
    """Whom it is about: the path of an actor."""


Sink = Callable[[Event], None]


@attrs.frozen(slots=False)
class Started(Event):
    """An incarnation has finished ``started()`` and serves its mailbox."""

    incarnation: int


@attrs.frozen(slots=False)
class Failed(Event):
    """An incarnation has failed; its cleanup has not begun yet."""

    incarnation: int
    exit: Exit


@attrs.frozen(slots=False)
class Stopped(Event):
    """An incarnation has ended without failing; its cleanup is over."""

    incarnation: int
    exit: Exit


@attrs.frozen(slots=False)
class Cleaned(Event):
    """The cleanup of an incarnation is over: which of its steps did what."""

    incarnation: int
    done: Sequence[str]
    failed: Sequence[tuple[str, Exception]]
    abandoned: Sequence[str]
    """Steps that were cut off, or never got a turn, because the budget ran out."""


@attrs.frozen(slots=False)
class TempFilesRemoved(Event):
    """The temporary directory of an incarnation was removed, with files in it."""

    incarnation: int
    count: int
    names: Sequence[str]
    """The first 20 of them, as paths in that directory."""


DeadLetterReason = Literal["gone", "overflow", "unhandled", "volatile", "crashed"]
"""gone: the receiver has stopped for good, or is stuck; overflow: there was no room;
unhandled: no handler; volatile: its incarnation ended; crashed: its handler failed."""


@attrs.frozen(slots=False)
class DeadLetter(Event):
    """A told message will not be handled, and nobody is waiting to be told so."""

    message: object
    reason: DeadLetterReason


@attrs.frozen(slots=False)
class LateReply(Event):
    """A handler answered after its asker had gone."""

    message: object


@attrs.frozen(slots=False)
class MailboxHigh(Event):
    """The mailbox is full: senders wait, or their messages are refused."""

    length: int
    capacity: int


@attrs.frozen(slots=False)
class MailboxNormal(Event):
    """A mailbox that was full has been drained to half of its capacity."""

    length: int
    capacity: int


@attrs.frozen(slots=False)
class OperationStarted(Event):
    """``Context.operation`` was entered."""

    operation: str
    resources: object = None
    """What the process used then, as the runtime's ``measure`` read it; or None."""


@attrs.frozen(slots=False)
class OperationSlow(Event):
    """An operation has exceeded its soft limit; it goes on."""

    operation: str
    seconds: float
    soft: float
    progress: str
    """What it said last that it is at."""
    stack: Sequence[str]
    """Where it waits: one ``file:line function`` per frame, outermost first."""
    resources: object = None


OperationOutcome = Literal["completed", "failed", "timed out", "cancelled"]


@attrs.frozen(slots=False)
class OperationEnded(Event):
    """``Context.operation`` was left."""

    operation: str
    seconds: float
    outcome: OperationOutcome
    resources: object = None


@attrs.frozen(slots=False)
class Frozen(Event):
    """Work was cancelled, and has not ended within the cleanup budget of its actor.

    It shields itself, and trio cannot end it. Repeated every minute while it lasts.
    """

    incarnation: int
    operation: str
    """The operation, or the class of the message that is being handled."""
    seconds: float
    """How long it has been at work."""
    stack: Sequence[str]
