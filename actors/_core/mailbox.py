"""The mailbox: bounded, first come first served, and older than its readers.

It belongs to the role, not to the incarnation: messages and waiting senders
survive a restart. Built on a deque and ``wait_task_rescheduled`` rather than on a
memory channel, because closing a channel discards what it holds without telling
anybody, and because a channel has no second lane.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from outcome import Error
from trio.lowlevel import (
    Abort,
    Task,
    current_task,
    reschedule,
    wait_task_rescheduled,
)

from actors._core.errors import ActorGone, MailboxFull, Unhandled
from actors._core.reply import Call
from actors.events import DeadLetter, DeadLetterReason, MailboxHigh, MailboxNormal

if TYPE_CHECKING:
    from actors._core.exits import Exit
    from actors._core.messages import Message
    from actors._core.runtime import Runtime
    from actors.events import Event

STOP = object()
"""On the system lane: end after the message in hand."""


class Mailbox:
    """Two lanes of messages for one role.

    An item of a lane is a told message, or the `Call` of an ask.
    """

    __slots__ = (
        "accepts",
        "capacity",
        "closed",
        "handled",
        "handles",
        "incarnations",
        "is_high",
        "parked",
        "path",
        "receiver",
        "room",
        "runtime",
        "system",
        "user",
        "waiting",
        "waits_for",
    )

    def __init__(self, path: str, capacity: int, runtime: Runtime) -> None:
        self.path = path
        self.capacity = capacity
        self.runtime = runtime
        self.user: deque[Any] = deque()
        self.system: deque[Any] | None = None  # made on first use: most never need it
        self.room = capacity
        """`user` may grow to this length: the capacity, plus abandoned calls that
        still lie in it (they are skipped, and take nobody's place). -1 when closed."""
        # Invariant: somebody waits here only while there is no room.
        self.waiting: OrderedDict[Task | Call, Message[Any]] = OrderedDict()
        self.parked: Task | None = None
        """The reader, iff it sleeps because both lanes are empty."""
        self.handles: Collection[type] | None = None
        """What the receiver's class handles; None until the first incarnation."""
        self.accepts: set[type] = set()
        """Message classes found to be handled: the fast path of tell and ask."""
        self.closed: Exit | None = None
        self.is_high = False
        self.waits_for: list[Mailbox] = []
        """Whom the handler of this role waits for: an edge of the wait-for graph."""
        self.handled = 0
        """How many messages were handled, counted once per batch."""
        self.incarnations = 0
        """How many lives the role has had."""
        self.receiver = ""
        """The class name of the latest incarnation."""

    # -- senders ----------------------------------------------------------------

    def has_room(self) -> bool:
        return len(self.user) < self.room

    def put(self, item: object) -> None:
        """Append to the user lane and wake the reader. The caller made sure of room."""
        self.user.append(item)
        if (task := self.parked) is not None:
            self.parked = None
            reschedule(task)

    def post(self, item: object) -> None:
        """Append to the system lane, which is never full."""
        if self.system is None:
            self.system = deque()
        self.system.append(item)
        if (task := self.parked) is not None:
            self.parked = None
            reschedule(task)

    async def put_later(self, message: Message[Any]) -> None:
        """Wait in line for room. Cancelled: not delivered."""
        task = current_task()
        self.note_high()
        self.waiting[task] = message

        def abort(_raise_cancel: object) -> Abort:
            del self.waiting[task]
            return Abort.SUCCEEDED

        await wait_task_rescheduled(abort)

    def check(self, message: Message[Any]) -> None:
        """Raise `Unhandled` if the receiver is known to have no handler for it."""
        kind = type(message)
        if kind in self.accepts or self.handles is None:
            return
        if not any(base in self.handles for base in kind.__mro__):
            raise Unhandled(
                self.path,
                message,
                f"{self.receiver} has no handler for {kind.__name__}",
            )
        self.accepts.add(kind)

    def gone(self, message: object) -> ActorGone:
        kind = self.closed.kind if self.closed else "never started"
        return ActorGone(self.path, message, f"stopped for good ({kind})")

    def full(self, message: object) -> MailboxFull:
        return MailboxFull(
            self.path,
            message,
            f"no room; {self.describe()}; use `await ref.send(...)` to wait for room",
        )

    def describe(self) -> str:
        """Say how full it is, for an error."""
        text = f"{len(self.user)} of {self.capacity} messages"
        if self.waiting:
            text += f", {len(self.waiting)} waiting for room"
        return text

    def dead_letter(self, message: object, reason: DeadLetterReason) -> None:
        self.emit(DeadLetter(self.path, message, reason))

    def withdraw(self, call: Call) -> None:
        """An asker left before its call was begun."""
        if self.waiting.pop(call, None) is not None or self.closed is not None:
            return
        self.room += 1
        if self.room > 2 * self.capacity + 64:
            # A stuck reader skips nothing: do not let what was abandoned pile up.
            live = [m for m in self.user if not (type(m) is Call and m.task is None)]
            self.user.clear()
            self.user.extend(live)
            self.room = self.capacity
        self.admit()

    # -- the reader ---------------------------------------------------------------

    async def arrival(self) -> None:
        """Wait until there is something to read. Cancellation loses nothing."""
        self.parked = current_task()
        await wait_task_rescheduled(self._leave)

    def _leave(self, _raise_cancel: object) -> Abort:
        self.parked = None
        return Abort.SUCCEEDED

    def skipped(self) -> None:
        """The reader found an abandoned call and threw it away."""
        self.room -= 1

    def relieve(self) -> None:
        """After a message was taken from a mailbox that has been full."""
        if self.waiting:
            self.admit()
        elif 2 * len(self.user) <= self.capacity:
            self.is_high = False
            self.emit(MailboxNormal(self.path, len(self.user), self.capacity))

    def admit(self) -> None:
        """Move messages that wait into the room there is, first come first served.

        The message moves before its sender wakes: it is either withdrawn or
        accepted, never both, and the capacity is exact. An asker is not woken here;
        its reply does that.
        """
        while self.waiting and len(self.user) < self.room:
            key, message = self.waiting.popitem(last=False)
            if isinstance(key, Task):
                self.user.append(message)
                reschedule(key)
            else:
                self.user.append(key)
        if self.user and (task := self.parked) is not None:
            self.parked = None
            reschedule(task)

    def note_high(self) -> None:
        """Somebody found it full; reported once until it has drained."""
        if not self.is_high:
            self.is_high = True
            self.emit(MailboxHigh(self.path, len(self.user), self.capacity))

    # -- the end ------------------------------------------------------------------

    def serve(self, receiver: str, handles: Mapping[type, str]) -> None:
        """A new incarnation begins to read; what it handles is known from now on."""
        if self.receiver != receiver:
            self.accepts.clear()
        self.receiver, self.handles = receiver, handles
        if self.system is not None and STOP in self.system:
            # Meant for a predecessor that was cancelled before it read it.
            self.system = deque(item for item in self.system if item is not STOP)

    def close(self, exit_: Exit) -> None:
        """Stopped for good: whoever waits is told so, at once. Idempotent."""
        if self.closed is not None:
            return
        self.closed, self.room = exit_, -1
        items, waiting = list(self.user), list(self.waiting.items())
        self.user.clear()
        self.waiting.clear()
        if self.system is not None:
            items = [item for item in self.system if item is not STOP] + items
            self.system = None
        for item in items:
            self._refuse(item)
        for key, message in waiting:
            if isinstance(key, Task):
                reschedule(key, Error(self.gone(message)))
            else:
                self._refuse(key)

    def reopen(self) -> None:
        """Accept messages again: somebody will read them after all."""
        if self.closed is not None:
            self.closed, self.room = None, self.capacity

    def _refuse(self, item: object) -> None:
        if not isinstance(item, Call):
            self.dead_letter(item, "gone")
        elif item.task is not None:
            item.settle(Error(self.gone(item.message)))

    def emit(self, event: Event) -> None:
        self.runtime.emit(event)
