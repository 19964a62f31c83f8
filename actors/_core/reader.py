"""Reading a mailbox: one message at a time, each within its limit, all in turns.

A turn is `BATCH` messages or `Actor._quantum` seconds, or ends when a handler has
waited; between two turns others may run. What is counted and timed is so once a turn.
The clock is read once for every message: that tells when the turn is over, when the
message was begun, and how long it had waited.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import CoroutineType
from typing import TYPE_CHECKING, Any

import trio
from outcome import Error
from trio.lowlevel import wait_task_rescheduled

from actors._core.errors import (
    ActorCrashed,
    HandlerTimeout,
    Rejected,
    Stopped as StoppedCause,
    Unhandled,
)
from actors._core.exits import Exit
from actors._core.leash import Leash
from actors._core.mailbox import STOP
from actors._core.messages import Deferred, Posted
from actors._core.operations import REPEAT, stack_of
from actors._core.refs import served
from actors._core.reply import Call
from actors.events import Frozen

if TYPE_CHECKING:
    from actors._core.actor import Actor
    from actors._core.alarms import ScheduledCall
    from actors._core.mailbox import Mailbox
    from actors._core.runtime import Runtime

BATCH = 64
"""Messages of one turn."""

Handler = Callable[[Any, Any], Any]

_COROUTINE: Any = CoroutineType


class Reader:
    """What an incarnation reads with; what of it can be seen from outside."""

    __slots__ = (
        "_abandoned",
        "_deferred",
        "_freeze_check",
        "_limits_suspended",
        "_since",
        "_waited",
        "cleanup",
        "current",
        "given_up",
        "handler_timeout",
        "leash",
        "mailbox",
        "number",
        "progress",
        "runtime",
        "suspended",
        "task",
    )

    def __init__(
        self,
        mailbox: Mailbox,
        handler_timeout: float | None,
        cleanup: float,
        leash: Leash | None,
    ) -> None:
        self.mailbox: Mailbox = mailbox
        self.runtime: Runtime = mailbox.runtime
        self.handler_timeout = math.inf if handler_timeout is None else handler_timeout
        self.cleanup = cleanup
        mailbox.incarnations += 1
        self.number = mailbox.incarnations
        self.task: trio.lowlevel.Task | None = None
        self.leash = leash or Leash()
        self.suspended = False
        self.current: Any = None
        """The message in hand, or its `Call`. Out of date only while the reader does
        not wait, so that nobody else can look."""
        self.progress = ""
        self._since = 0.0
        """When the handler in hand began (trio time)."""
        self._waited = False
        """Whether the handler in hand has been suspended."""
        self._abandoned = False
        """The scope was cancelled because the asker of the call in hand has gone."""
        self._limits_suspended = 0
        """How many operations of the handler in hand limit it instead."""
        self._deferred: dict[Call, None] | None = None
        self._freeze_check: ScheduledCall | None = None
        self.given_up: Exit | None = None
        """How it has ended for everybody but itself: work of it does not end."""

    async def idle(self) -> None:
        """Wait for something to read; outside the scope, which costs time and memory.

        Many actors wait for long, or for ever, for their first message.
        """
        box = self.mailbox
        if not (box.user or box.system or self.leash.is_spent()):
            box.parked = self.task
            await wait_task_rescheduled(box.leave)

    def cancel(self, reason: str) -> None:
        """Cancel whatever it does."""
        self.leash.cancel(reason)
        if self.mailbox.parked is not None:  # idle
            self.mailbox.wake()

    # One function, and long: whatever is called per message is paid per message.
    async def read(self, actor: Actor) -> Exit | None:  # noqa: C901, PLR0912, PLR0915
        """Handle messages until told to stop, or until the scope is spent."""
        box, leash, clock = self.mailbox, self.leash, self.runtime.now
        task, leave, table = self.task, box.leave, type(actor)._table
        quantum = actor._quantum
        item: Any
        message: Any
        result: Any
        if box.system or box.user:
            # Whoever goes on in the task of a predecessor has had its turn.
            await trio.lowlevel.checkpoint()
        else:
            box.parked = task
            await wait_task_rescheduled(leave)
        while True:
            user = box.user
            readable = () if self.suspended else user
            if len(user) > box.peak:
                box.peak = max(box.peak, box.length)
            handled, waited = 0, 0.0
            self._waited = False
            begin = now = clock()
            end = begin + quantum
            try:
                while handled < BATCH and now < end:
                    if box.system:
                        item = box.system.popleft()
                        if item is STOP:
                            self.current = None
                            return Exit("shutdown")
                        if isinstance(item, Posted):
                            self.current = None
                            item = item.take(self)
                            if item is None:
                                continue
                    elif readable:
                        item, put_at = user.popleft()
                        waited += now - put_at
                        if box.waiting:
                            box.admit(now if box.clock is not float else 0.0)
                    else:
                        break
                    call = message = None
                    if type(item) is Call:
                        if item.task is None:
                            box.skipped(item)
                            continue
                        if item.deadline <= now:
                            item.time_out()
                            continue
                        call, message = item, item.message
                        item.by = self
                    else:
                        message = item
                    self.current, self._since = item, now
                    handler = table.get(type(message))  # pyright: ignore[reportUnknownArgumentType]
                    if handler is None:
                        handler = _inherited(table, message)
                        if handler is None:
                            self._unhandled(call, message)
                            continue
                    try:
                        result = handler(actor, message)
                        if type(result) is _COROUTINE:
                            result = await result
                    except Rejected as error:
                        if call is None:
                            raise
                        box.rejected += 1
                        call.settle(Error(error))
                    else:
                        if call is not None:
                            if type(result) is not Deferred:
                                call.answer(result)
                            elif not result.answers(call):
                                raise RuntimeError(
                                    f"{box.path}: what defer() returned for another "
                                    f"ask does not answer {message!r}"
                                )
                    handled += 1
                    now = clock()
                    if self._waited:
                        if leash.is_spent():
                            self.current = None
                            return None
                        break
                    if box.system is not None:
                        readable = () if self.suspended else user
            finally:
                # Nobody has put down since when, if nothing is measured.
                waited = 0.0 if box.clock is float else waited
                box.account(handled, clock() - begin, waited)
            if leash.deadline is not math.inf:
                leash.limit(math.inf)
            self.current = None
            if box.system or (box.user and not self.suspended):
                if not self._waited:  # else others have had their turn meanwhile
                    await trio.lowlevel.checkpoint()
            else:
                box.parked = task
                await wait_task_rescheduled(leave)

    def waits(self) -> None:
        """The reader is about to be suspended: by a handler, if one is at work.

        A handler that never waits costs neither a deadline nor a look at the scope.
        """
        if self.current is not None and not self._waited:
            self._waited = True
            if not self._limits_suspended:
                self._limit(self._since + self.handler_timeout)

    def _unhandled(self, call: Call | None, message: object) -> None:
        # Only messages sent before the first incarnation get here: from then on
        # the sender is refused in its own frame.
        self.current = None
        if call is None:
            self.mailbox.dead_letter(message, "unhandled")
            return
        detail = f"{self.mailbox.receiver} has no handler for {type(message).__name__}"
        call.settle(Error(Unhandled(self.mailbox.path, message, detail)))

    # -- the limit of a handler -----------------------------------------------------

    def _limit(self, deadline: float) -> None:
        if math.isinf(deadline):
            return
        self.leash.limit(deadline)
        if self._freeze_check is None:
            self._check_for_freeze(deadline + self.cleanup)

    @contextmanager
    def without_limit(self) -> Generator[None, None, None]:
        """Suspend the handler's own limit, if it is a handler that calls.

        Afterwards the handler has its whole limit again.
        """
        if self.current is None or served() is not self.mailbox:
            yield
            return
        self._limits_suspended += 1
        self.leash.limit(math.inf)
        try:
            yield
        finally:
            self._limits_suspended -= 1
            if not self._limits_suspended:
                self._limit(self.runtime.now() + self.handler_timeout)

    def abandoned(self, call: Call) -> None:
        """The asker of a ``cancel`` ask in hand has gone."""
        if self.current is call:
            self._abandoned = self._waited = True
            self.leash.cancel("its asker has gone")

    # -- answers that come later ----------------------------------------------------

    def hold(self, call: Call) -> None:
        """Answer a call later; if that comes to nothing, the end of this life does."""
        self._deferred = self._deferred or {}
        self._deferred[call] = None

    def release(self, call: Call) -> bool:
        """A call that was held is answered: whether it still was to be."""
        if self._deferred is None or call not in self._deferred:
            return False
        del self._deferred[call]
        return True

    # -- what cannot be ended -------------------------------------------------------

    def _check_for_freeze(self, at: float) -> None:
        # One check is under way at a time, and moved on when it finds nothing: a
        # handler that waits should not cost an entry in the heap of alarms each.
        alarms = self.runtime.alarms
        self._freeze_check = alarms.call_at(at, self._is_it_frozen)

    def _is_it_frozen(self) -> None:
        self._freeze_check, now = None, self.runtime.now()
        due = self.leash.deadline + self.cleanup
        if math.isinf(due):
            return
        if now >= due:
            self.frozen(self.current_kind or "", now - self._since)
            due = now + REPEAT
        self._check_for_freeze(due)

    def frozen(self, what: str, seconds: float, stack: list[str] | None = None) -> None:
        """Report work that was cancelled and does not end; nobody is to wait for it."""
        box = self.mailbox
        box.emit(
            Frozen(
                box.path,
                self.number,
                what,
                seconds,
                stack_of(self.task) if stack is None else stack,
            )
        )
        if box.state != "stuck":
            limit = HandlerTimeout(f"{box.path}: {what} was cancelled and went on")
            self.give_up(Exit("timeout", limit, self.message))

    def give_up(self, exit_: Exit) -> None:
        """Nobody is to wait for this incarnation, although a task of it still lives.

        What it had begun ends in `ActorCrashed`; all else, until its successor
        starts, in `ActorGone`.
        """
        self.given_up, self.mailbox.state = exit_, "stuck"
        self.settle(exit_)
        self.mailbox.close(exit_)
        self.cancel(f"{self.mailbox.path} was given up")

    def settle(self, exit_: Exit) -> None:
        """Tell all whose questions were begun that there will be no answer."""
        if self._deferred is not None:
            deferred, self._deferred = self._deferred, None
            for call in deferred:
                self._crash(call, exit_)
        current = self.current
        if type(current) is Call:
            self._crash(current, exit_)
        elif current is not None and exit_.kind != "normal":
            self.mailbox.dead_letter(current, "crashed")

    def _crash(self, call: Call, exit_: Exit) -> None:
        if call.task is None:
            return
        path = self.mailbox.path
        detail = f"ended while handling it ({exit_.kind})"
        crashed = ActorCrashed(path, call.message, detail)
        crashed.__cause__ = exit_.failure or StoppedCause(f"{path}: {exit_.kind}")
        call.settle(Error(crashed))

    # -- looking --------------------------------------------------------------------

    @property
    def message(self) -> Any:
        """The message in hand, or None."""
        current = self.current
        return current.message if type(current) is Call else current

    @property
    def current_kind(self) -> str | None:
        """The class of the message in hand."""
        message = self.message
        return None if message is None else type(message).__name__

    @property
    def current_age(self) -> float | None:
        """Seconds for which the message in hand has been handled."""
        return None if self.current is None else self.runtime.now() - self._since


def _inherited(table: dict[type, Handler], message: object) -> Handler | None:
    kind = type(message)
    for base in kind.__mro__:
        if base in table:
            return table.setdefault(kind, table[base])
    return None
