"""Every exception a caller can see. The class is the caller's next move.

An ask ends in exactly one of: the reply, :class:`Rejected`, one of the
:class:`ActorError` family, or the caller's own cancellation.
"""

from __future__ import annotations


class Rejected(Exception):
    """Raised *by a handler* to answer an ask with a domain error.

    The asker gets this very exception; the actor does not fail. Raised while
    handling a tell there is nobody to answer, and the actor fails.
    """


class Stop(Exception):
    """Raised by a handler to end its own actor normally.

    In a function actor `Inbox.receive` raises it, when the actor is asked to stop.
    A transient or temporary child that ends so is not started again.
    """


class ActorError(Exception):
    """Base of what an ask or a send can end in, apart from a reply or `Rejected`."""

    def __init__(self, path: str, message: object, detail: str) -> None:
        super().__init__(path, message, detail)
        self.path = path
        """The receiver."""
        self.message = message
        self.detail = detail
        """What happened, and what the receiver was doing."""

    def __str__(self) -> str:
        return f"{self.path}: {self.detail} (message: {self.message!r})"


class ActorCrashed(ActorError):
    """The incarnation that had begun this message ended; ``__cause__`` says how.

    The message **may have been executed**, wholly or in part, and is not replayed.
    The cause is what the handler raised, or :class:`HandlerTimeout`, or
    :class:`Stopped`.
    """


class ActorGone(ActorError):
    """The receiver has stopped for good, or is stuck. **Never executed**.

    Also what a ``volatile`` message ends in whose incarnation has ended.
    """


class MailboxFull(ActorError):
    """There was no room for the message. It was **never executed**.

    Use ``await ref.send(...)`` or an ask with a timeout to wait for room.
    """


class AskTimeout(ActorError, TimeoutError):
    """The ask's deadline passed.

    ``started`` tells whether the handler had begun. If not, the message was
    **never executed** and never will be. If so, it may have been.
    """

    def __init__(
        self, path: str, message: object, detail: str, *, started: bool = False
    ) -> None:
        super().__init__(path, message, detail)
        self.started = started


class AskCycle(ActorError):
    """Waiting would have been for oneself: a asks b asks a.

    The message was **never executed**.

    Reply from a task of its own (``ctx.defer``), or tell instead of asking.
    """


class Unhandled(ActorError, TypeError):
    """The receiver's class has no handler for this message: it was not executed."""


class HandlerTimeout(TimeoutError):
    """A handler exceeded its time limit and was cancelled; its actor has failed."""


class OperationTimeout(TimeoutError):
    """An operation exceeded its hard limit and was cancelled."""


class Stopped(Exception):
    """The actor was stopped while it handled a message."""
