"""Whoever waits at a mailbox: for an answer, or only for room.

The answer to an ask is a cell that is settled exactly once, synchronously.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Protocol, cast

from outcome import Error, Outcome
from trio.lowlevel import Abort, Task, current_task, reschedule

from actors._core.errors import AskTimeout
from actors._core.messages import Ask, Message
from actors.events import LateReply

if TYPE_CHECKING:
    from actors._core.mailbox import Mailbox


class Handling(Protocol):
    """Whoever has begun to handle a call."""

    def abandoned(self, call: Call, /) -> None:
        """The asker of a ``cancel`` ask is gone: end the work if it is still on."""
        ...


class Call:
    """An ask on its way.

    Settling is synchronous, hence legal in ``finally`` under cancellation: whatever
    a dying actor owes, it can still say.
    """

    __slots__ = ("_value", "asker", "by", "deadline", "mailbox", "message", "task")

    def __init__(self, message: Ask[Any, Any], mailbox: Mailbox) -> None:
        self.message = message
        self.mailbox = mailbox
        # Invariant: the asker waits for this cell iff `task` is set. It is cleared
        # before the asker is rescheduled, so the first outcome wins.
        self.task: Task | None = current_task()
        self._value: object = None
        self.by: Handling | None = None
        """Set when the handler begins: from then on it may have been executed."""
        self.deadline = math.inf
        """Trio time; once it has passed, no handler begins."""
        self.asker: Mailbox | None = None
        """The role whose handler asks, as long as it waits for the *reader* of
        `mailbox`: an edge of the wait-for graph."""

    def answer(self, value: object) -> None:
        """Reply. If the asker has gone meanwhile, the reply is reported and lost."""
        self._value = value
        self.settle(cast("Outcome[Any]", self))

    def unwrap(self) -> object:
        """As an outcome: the reply. A `Value` would cost as much as a tell."""
        # Alarms may keep the call for a while, but nobody is to keep its reply.
        value, self._value = self._value, None
        return value

    def settle(self, outcome: Outcome[Any]) -> None:
        """End the ask. If the asker has gone meanwhile, that is reported."""
        task, self.task = self.task, None
        if task is not None:
            reschedule(task, outcome)
        else:
            self._value = None
            self.mailbox.emit(LateReply(self.mailbox.path, self.message))

    def abandon(self, _raise_cancel: object = None) -> Abort:
        """The asker goes. What has not begun never will."""
        self.task = None
        if self.by is None:
            self.mailbox.withdraw(self)
        elif self.message.abandon == "cancel":
            self.by.abandoned(self)
        return Abort.SUCCEEDED

    def release(self) -> None:
        """The asker does not wait for the reader of the mailbox (any more)."""
        asker, self.asker = self.asker, None
        if asker is not None:
            asker.waits_no_more_for(self.mailbox)

    # -- as an alarm, for the deadline ----------------------------------------------

    @property
    def pending(self) -> bool:
        """Whether the asker still waits."""
        return self.task is not None

    def ring(self) -> None:
        """Abandon on behalf of the asker, whose time is over, and tell it so."""
        task, error = self.task, self._overdue(started=self.by is not None)
        self.abandon()
        reschedule(cast("Task", task), Error(error))

    def time_out(self) -> None:
        """The reader found it pending and overdue; it has left the mailbox."""
        task, self.task = self.task, None
        reschedule(cast("Task", task), Error(self._overdue(started=False)))

    def _overdue(self, *, started: bool) -> AskTimeout:
        box = self.mailbox
        if not started:
            box.expired += 1
        what = (
            "no reply in time; its handler had begun"
            if started
            else "not begun in time"
        )
        detail = f"{what}; {box.describe()}"
        return AskTimeout(box.path, self.message, detail, started=started)


def is_volatile(item: Any) -> bool:
    """Whether an item of a mailbox is meant for one incarnation alone."""
    message = item.message if type(item) is Call else item
    return isinstance(message, Message) and message.volatile


class Sender:
    """Whoever waits for room, for a message to which there is no answer."""

    __slots__ = ("_mailbox", "message", "task")

    def __init__(self, message: Message[Any], mailbox: Mailbox) -> None:
        self.message = message
        self.task = current_task()
        self._mailbox = mailbox

    def withdraw(self, _raise_cancel: object) -> Abort:
        """It is cancelled: the message is not delivered."""
        self._mailbox.step_out(self)
        return Abort.SUCCEEDED


class _Woken:
    """An outcome that says nothing. A `Value` can be used once, and costs more."""

    __slots__ = ()

    def unwrap(self) -> None:
        """Nothing."""


WOKEN = cast("Outcome[None]", _Woken())
