"""What the runtime reports, as frozen values.

An event is emitted in the same step as the decision it reports, so the order of
events is the order of decisions. Sinks are plain functions: they must not block
and cannot fail the runtime. Logs, metrics and test oracles are sinks of this one
stream; applications add events of their own by subclassing :class:`Event`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import attrs

from actors._core.exits import Exit


@attrs.frozen
class Event:
    """Base of all events."""

    path: str
    """Whom it is about: the path of an actor."""


Sink = Callable[[Event], None]


@attrs.frozen
class Started(Event):
    """An incarnation has finished ``started()`` and serves its mailbox."""

    incarnation: int


@attrs.frozen
class Failed(Event):
    """An incarnation has failed; its cleanup has not begun yet."""

    incarnation: int
    exit: Exit


@attrs.frozen
class Stopped(Event):
    """An incarnation has ended without failing; its cleanup is over."""

    incarnation: int
    exit: Exit


@attrs.frozen
class Cleaned(Event):
    """The cleanup of an incarnation is over: which of its steps did what."""

    incarnation: int
    done: Sequence[str]
    failed: Sequence[tuple[str, Exception]]
    abandoned: Sequence[str]
    """Steps that were cut off, or never got a turn, because the budget ran out."""


DeadLetterReason = Literal["gone", "overflow", "unhandled"]


@attrs.frozen
class DeadLetter(Event):
    """A told message will not be handled, and nobody is waiting to be told so."""

    message: object
    reason: DeadLetterReason


@attrs.frozen
class LateReply(Event):
    """A handler answered after its asker had gone."""

    message: object


@attrs.frozen
class MailboxHigh(Event):
    """The mailbox is full: senders wait, or their messages are refused."""

    length: int
    capacity: int


@attrs.frozen
class MailboxNormal(Event):
    """A mailbox that was full has been drained to half of its capacity."""

    length: int
    capacity: int


@attrs.frozen
class OperationStarted(Event):
    """``Context.operation`` was entered."""

    operation: str


OperationOutcome = Literal["completed", "failed", "timed out", "cancelled"]


@attrs.frozen
class OperationEnded(Event):
    """``Context.operation`` was left."""

    operation: str
    seconds: float
    outcome: OperationOutcome
