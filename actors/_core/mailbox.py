"""The mailbox: bounded, first come first served, and older than its readers.

It belongs to the role, not to the incarnation: messages, waiting senders and counters
survive a restart. Built on a deque and ``wait_task_rescheduled`` rather than on a
memory channel, because closing a channel discards what it holds without telling
anybody, and because a channel has no second lane.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Collection, Hashable, Mapping
from itertools import compress
from typing import TYPE_CHECKING, Any, Literal

from outcome import Error
from trio.lowlevel import Abort, Task, reschedule, wait_task_rescheduled

from actors._core.errors import ActorGone, MailboxFull, Unhandled
from actors._core.messages import Message, Posted, check_frozen, check_kind
from actors._core.record import Record
from actors._core.reply import WOKEN, Call, Sender, is_volatile
from actors.events import DeadLetter, DeadLetterReason, MailboxHigh, MailboxNormal

if TYPE_CHECKING:
    from actors._core.exits import Exit
    from actors._core.runtime import Runtime
    from actors.events import Event

Overflow = Literal["wait", "drop_oldest"]
"""What happens when there is no room: whoever sends waits (a `tell` is refused), or
the oldest message is thrown out: an ask ends in `MailboxFull`, a tell is a dead letter.
"""

STOP = object()
"""On the system lane: end after the message in hand."""


class Mailbox(Record):
    """Two lanes of messages for one role.

    An item of a lane is a told message, the `Call` of an ask, or on the system lane
    `STOP` or something `Posted`.
    """

    __slots__ = (
        "accepts",
        "answers",
        "capacity",
        "clock",
        "closed",
        "handles",
        "is_high",
        "overflow",
        "parked",
        "room",
        "runtime",
        "system",
        "user",
        "waiting",
        "watchers",
    )

    def __init__(
        self,
        path: str,
        capacity: int,
        runtime: Runtime,
        overflow: Overflow = "wait",
    ) -> None:
        if not 1 <= capacity < math.inf or capacity != int(capacity):
            raise ValueError(
                f"{path}: a mailbox has room for a whole number of messages, at least "
                f"1; got mailbox={capacity!r}"
            )
        if overflow not in ("wait", "drop_oldest"):
            raise ValueError(
                f"{path}: overflow must be 'wait' or 'drop_oldest', got {overflow!r}"
            )
        super().__init__(path)
        self.capacity = capacity
        self.overflow: Overflow = overflow
        self.runtime = runtime
        # The lanes are made on first use: an idle actor is smaller without them. The
        # first message of a class takes the slow path, as `accepts` is empty.
        self.user: deque[tuple[Any, float]] = _NOTHING
        """Items, and when each was put there."""
        self.clock: Callable[[], float] = float
        """Trio time; stands still at 0.0 if nothing is to be measured, and until the
        first incarnation."""
        self.system: deque[Any] | None = None
        self.room = capacity
        """`user` may grow to this length: the capacity, plus abandoned calls that
        still lie in it (they are skipped, and take nobody's place). -1 when closed."""
        # Invariant: somebody waits here only while there is no room.
        self.waiting: OrderedDict[Sender | Call, float] = _NOBODY
        """Who, and since when, by `clock`."""
        self.parked: Task | None = None
        """The reader, iff it sleeps because there is nothing for it to read."""
        self.handles: Collection[type] | None = None
        """What the receiver's class handles; None until the first incarnation."""
        self.accepts: set[type] | frozenset[type] = frozenset()
        """`Tell` classes found to be handled: the fast path of tell and send."""
        self.answers: set[type] | frozenset[type] = frozenset()
        """`Ask` classes found to be handled: the fast path of ask."""
        self.closed: Exit | None = None
        """How the role ended: for good, unless it is started again after all."""
        self.is_high = False
        self.watchers: dict[Hashable, Callable[[Exit], None]] | None = None
        """Whom to tell when the role has ended for good."""

    # -- senders ----------------------------------------------------------------

    def has_room(self) -> bool:
        return len(self.user) < self.room

    @property
    def length(self) -> int:
        """Messages that wait to be handled; what was abandoned is none."""
        return len(self.user) - max(0, self.room - self.capacity)

    def put(self, item: object) -> None:
        """Append to the user lane and wake the reader. The caller made sure of room."""
        if self.user is _NOTHING:
            self.user = deque()
        self.user.append((item, self.clock()))
        if self.parked is not None:
            self.wake()

    def wake(self) -> None:
        """Wake the reader, which is `parked`."""
        task: Any = self.parked
        self.parked = None
        reschedule(task, WOKEN)

    def post(self, item: object) -> None:
        """Append to the system lane, which is never full."""
        if self.system is None:
            self.system = deque()
        self.system.append(item)
        if self.parked is not None:
            self.wake()

    def put_later(self, message: Message[Any]) -> Awaitable[None]:
        """Queue up with a message, and return what waits for its turn."""
        sender = Sender(message, self)
        self.queue_up(sender)
        # Awaited by the caller: a coroutine less for each message that has to wait.
        return wait_task_rescheduled(sender.withdraw)  # noqa: ASYNC105

    def queue_up(self, who: Sender | Call) -> None:
        """Stand in the line for room."""
        if not self.is_high:  # asked here too: a call less for each sender that waits
            self.note_high()
        if self.waiting is _NOBODY:
            self.waiting = OrderedDict()
        self.waiting[who] = self.clock()
        self.room_waits += 1

    def step_out(self, who: Sender | Call) -> bool:
        """Leave the line for room, without having been let in; False: was not in it."""
        since = self.waiting.pop(who, None)
        if since is None:
            return False
        self.room_wait_time += self.clock() - since
        return True

    def throw_out_oldest(self) -> None:
        """Make room by giving up the oldest message."""
        while True:
            item, _ = self.user.popleft()
            if type(item) is not Call:
                self.dead_letter(item, "overflow")
            elif item.task is None:
                self.room -= 1
                continue
            else:
                item.settle(Error(self.full(item.message, "thrown out as the oldest")))
            return

    def check(self, message: Message[Any], *, asked: bool = False) -> None:
        """Refuse what cannot be sent at all.

        Raises:
            TypeError: it is no message, of the other kind, or its class is not frozen.
            Unhandled: the receiver is known to have no handler for it.
        """
        kind = type(message)
        if kind in (self.answers if asked else self.accepts):
            return
        check_kind(self.path, message, asked=asked)
        check_frozen(kind)
        if self.handles is None:
            return
        if not any(base in self.handles for base in kind.__mro__):
            raise Unhandled(
                self.path,
                message,
                f"{self.receiver} has no handler for {kind.__name__}",
            )
        # The fast path is that of the user lane, once there is one.
        if self.user is not _NOTHING and not message.system:
            if asked:
                self.answers = {*self.answers, kind}
            else:
                self.accepts = {*self.accepts, kind}

    def gone(self, message: object) -> ActorGone:
        if self.state == "stuck":
            return ActorGone(self.path, message, f"cannot be ended; {self.doing()}")
        kind = self.closed.kind if self.closed else "never started"
        return ActorGone(self.path, message, f"stopped for good ({kind})")

    def full(self, message: object, what: str = "no room") -> MailboxFull:
        return MailboxFull(
            self.path,
            message,
            f"{what}; {self.describe()}; use `await ref.send(...)` or an ask with a "
            "timeout to wait for room",
        )

    def describe(self) -> str:
        """Say how full it is and what its reader is doing, for an error."""
        text = f"{self.length} of {self.capacity} messages"
        if (age := self.oldest_age()) is not None:
            text += f", the oldest for {age:.3g} s"
        if self.waiting:
            text += f", {len(self.waiting)} waiting for room"
        return f"{text}; {self.doing()}"

    def oldest_age(self) -> float | None:
        """Seconds the oldest message has waited; None: there is none, or unknown."""
        if self.clock is not float:
            for item, put_at in self.user:
                if type(item) is not Call or item.task is not None:
                    return self.clock() - put_at
        return None

    def dead_letter(self, message: object, reason: DeadLetterReason) -> None:
        self.runtime.dead_letter(DeadLetter(self.path, message, reason))

    def withdraw(self, call: Call) -> None:
        """An asker left before its call was begun."""
        if self.step_out(call) or self.room < 0:
            return
        if call.message.system:
            return
        self.room += 1
        if self.room > 2 * self.capacity + 64:
            # A stuck reader skips nothing: do not let what was abandoned pile up.
            self._keep(lambda item: not (type(item) is Call and item.task is None))
            self.room = self.capacity
        self.admit(self.clock())

    def _keep(self, wanted: Callable[[Any], bool]) -> list[Any]:
        """Drop from the user lane what is not wanted, and return it."""
        entries = [*self.user]
        keep = [wanted(item) for item, _ in entries]
        self.user.clear()
        self.user.extend(compress(entries, keep))
        return [item for (item, _), kept in zip(entries, keep, strict=True) if not kept]

    # -- the reader ---------------------------------------------------------------

    def leave(self, _raise_cancel: object) -> Abort:
        self.parked = None
        return Abort.SUCCEEDED

    def skipped(self, call: Call) -> None:
        """The reader found an abandoned call and threw it away."""
        if not call.message.system:
            self.room -= 1

    def account(self, handled: int, seconds: float, waited: float) -> None:
        """After a turn of the reader."""
        self.handled += handled
        self.handling_time += seconds
        if self.clock is not float:
            self.mailbox_time += waited
        if self.is_high and not self.waiting and 2 * self.length <= self.capacity:
            self.is_high = False
            self.emit(MailboxNormal(self.path, self.length, self.capacity))

    def admit(self, now: float) -> None:
        """Move messages that wait into the room there is, first come first served.

        The message moves before its sender wakes: it is either withdrawn or
        accepted, never both, and the capacity is exact. An asker is not woken here;
        its reply does that. ``now`` is by `clock`.
        """
        user, waiting, room = self.user, self.waiting, self.room
        while waiting and len(user) < room:
            who, since = waiting.popitem(last=False)
            self.room_wait_time += now - since
            if type(who) is Sender:
                user.append((who.message, now))
                reschedule(who.task, WOKEN)
            else:
                user.append((who, now))
        if user and self.parked is not None:
            self.wake()

    def note_high(self) -> None:
        """Somebody found it full; reported once until it has drained."""
        if not self.is_high:
            self.is_high = True
            self.emit(MailboxHigh(self.path, self.length, self.capacity))

    # -- the end ------------------------------------------------------------------

    def serve(self, receiver: str, handles: Mapping[type, str] | None) -> None:
        """A new incarnation begins to read; what it handles is known from now on."""
        if self.receiver != receiver:
            self.accepts = self.answers = frozenset()
        self.receiver, self.handles = receiver, handles
        if self.clock is float and self.runtime.metrics:
            self.clock = self.runtime.now
            self._stamp_anew()
        if self.system is not None:
            # A stop was meant for a predecessor that was cancelled before it read it.
            self.system = deque(item for item in self.system if item is not STOP)

    def _stamp_anew(self) -> None:
        now = self.clock()
        if self.user:
            self.user = deque((item, now) for item, _ in self.user)
        for who in self.waiting:
            self.waiting[who] = now

    def drop_volatile(self) -> None:
        """An incarnation has ended: what was meant for it alone ends with it."""
        if not (self.system or self.user or self.waiting):
            return
        dropped: list[Any] = [item for item in self.system or () if is_volatile(item)]
        if dropped:
            self.system = deque(i for i in self.system or () if not is_volatile(i))
        if self.user:
            dropped += self._keep(lambda item: not is_volatile(item))
        for who in [*self.waiting]:
            if type(who) is Call and is_volatile(who) and self.step_out(who):
                dropped.append(who)
        for item in dropped:
            if type(item) is not Call:
                self.dead_letter(item, "volatile")
            elif item.task is None:
                self.skipped(item)
            else:
                ended = "the incarnation it was meant for has ended"
                item.settle(Error(ActorGone(self.path, item.message, ended)))
        self.admit(self.clock())

    def close(self, exit_: Exit) -> None:
        """Stopped for good: whoever waits is told so, at once. Idempotent."""
        if self.closed is not None:
            return
        self.closed, self.room = exit_, -1
        if self.state != "stuck":
            self.state = "stopped"
        items, waiting = self._keep(lambda _item: False), [*self.waiting]
        if self.system is not None:
            items = [item for item in self.system if item is not STOP] + items
            self.system = None
        for item in items:
            self._refuse(item)
        for who in waiting:
            self.step_out(who)
            if isinstance(who, Sender):
                reschedule(who.task, Error(self.gone(who.message)))
            else:
                self._refuse(who)
        watchers, self.watchers = self.watchers, None
        for tell in (watchers or {}).values():
            tell(exit_)

    def reopen(self) -> None:
        """Accept messages again: somebody will read them after all."""
        if self.closed is not None:
            self.closed, self.room = None, self.capacity

    def _refuse(self, item: object) -> None:
        if isinstance(item, Posted):
            return
        if not isinstance(item, Call):
            self.dead_letter(item, "gone")
        elif item.task is not None:
            item.settle(Error(self.gone(item.message)))

    def watch(self, key: Hashable, tell: Callable[[Exit], None]) -> None:
        """Call ``tell`` when the role has ended for good; at once if it has."""
        if self.closed is not None:
            tell(self.closed)
            return
        if self.watchers is None:
            self.watchers = {}
        self.watchers[key] = tell

    def unwatch(self, key: Hashable) -> None:
        """Do not call it any more."""
        if self.watchers is not None:
            self.watchers.pop(key, None)

    def emit(self, event: Event) -> None:
        self.runtime.emit(event)


_NOTHING: deque[tuple[Any, float]] = deque(maxlen=0)
_NOBODY: OrderedDict[Any, Any] = OrderedDict()
"""Shared by all mailboxes that nobody waits for; never added to."""
