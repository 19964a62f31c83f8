"""The answer to one ask: a cell that is settled exactly once, synchronously."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from outcome import Error, Outcome
from trio.lowlevel import Abort, Task, current_task, reschedule

from actors._core.errors import AskTimeout
from actors._core.messages import Ask
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

    __slots__ = ("by", "mailbox", "message", "task")

    def __init__(self, message: Ask[Any, Any], mailbox: Mailbox) -> None:
        self.message = message
        self.mailbox = mailbox
        # Invariant: the asker waits for this cell iff `task` is set. It is cleared
        # before the asker is rescheduled, so the first outcome wins.
        self.task: Task | None = current_task()
        self.by: Handling | None = None
        """Set when the handler begins: from then on it may have been executed."""

    def settle(self, outcome: Outcome[Any]) -> None:
        """Answer. If the asker has gone meanwhile, the answer is reported and lost."""
        task, self.task = self.task, None
        if task is not None:
            reschedule(task, outcome)
        else:
            self.mailbox.emit(LateReply(self.mailbox.path, self.message))

    def abandon(self, _raise_cancel: object = None) -> Abort:
        """The asker goes. What has not begun never will."""
        self.task = None
        if self.by is None:
            self.mailbox.withdraw(self)
        elif self.message.abandon == "cancel":
            self.by.abandoned(self)
        return Abort.SUCCEEDED

    def expire(self) -> None:
        """Abandon on behalf of the asker and tell it so."""
        if (task := self.task) is None:
            return
        started = self.by is not None
        detail = (
            "no reply in time; the handler had begun"
            if started
            else f"not begun in time; {self.mailbox.describe()}"
        )
        self.abandon()
        reschedule(
            task,
            Error(AskTimeout(self.mailbox.path, self.message, detail, started=started)),
        )
