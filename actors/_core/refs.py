"""Refs: how everybody else sees an actor."""

from __future__ import annotations

import contextvars
import math
from collections.abc import Awaitable, Callable
from threading import get_ident
from typing import Any, Generic, NoReturn, TypeVar

import trio
from trio.lowlevel import wait_task_rescheduled

from actors._core.errors import AskCycle
from actors._core.exits import Exit
from actors._core.mailbox import Mailbox
from actors._core.messages import Ask, Message, Tell
from actors._core.reply import Call
from actors._core.snapshot import Snapshot, picture

P = TypeVar("P")
P_co = TypeVar("P_co", covariant=True)
R = TypeVar("R")

serving: contextvars.ContextVar[Mailbox | None] = contextvars.ContextVar(
    "serving", default=None
)
"""The role in whose handler we are: nobody else is served there meanwhile.

Every task that the runtime spawns clears it, for what such a task waits for keeps
nobody waiting.
"""

owner: contextvars.ContextVar[Mailbox | None] = contextvars.ContextVar(
    "owner", default=None
)
"""The role that the running task works for. Whatever an actor spawns inherits it, so
that CPU time and a blocked event loop can be put down to somebody."""


class Ref(Generic[P_co]):
    """The stable address of a role; whoever plays it is behind it.

    It survives restarts, is hashable, and may be used after the end: asks then end
    in `ActorGone` at once. Messages of one sender to one ref are handled in the
    order in which they were sent.

    It belongs to the trio run of its system: from anywhere else it raises
    ``RuntimeError`` and says how to get there.
    """

    __slots__ = ("__weakref__", "_mailbox")

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox

    @property
    def path(self) -> str:
        """Where the role stands in its tree, such as ``validator/miners/uid-17``."""
        return self._mailbox.path

    @property
    def gone(self) -> Exit | None:
        """How it stopped; None while it runs, starts or is restarted.

        That is for good, with two exceptions, after which it is None again. What is
        stuck counts as gone, but is restarted should its task end after all. And a
        child that was stopped and kept (``forget=False``), or ended by itself and is
        not restarted, can be started again: by a request, or with its group.
        """
        return self._mailbox.closed

    def __repr__(self) -> str:
        return f"<Ref {self.path}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"{self!r} cannot be copied or pickled: the copy would be a mailbox that "
            "nobody reads. Pass the path, or the ref itself."
        )

    def tell(self: Ref[P], message: Tell[P], /) -> bool:
        """Send and forget; return whether the message was accepted.

        Never waits, never checkpoints, never raises because the mailbox is full or
        the actor gone: a refused message is a `DeadLetter` event. Legal in
        ``finally``. Where a message must arrive, use `send` or `ask`.

        Raises:
            RuntimeError: this is not the trio run of the actor.
            TypeError: it is no `Tell`, or its class is not frozen.
            Unhandled: the receiver is known to have no handler for it.
        """
        # The hot path is written out, here and in `send`: a call costs as much as
        # all the rest of it.
        box = self._mailbox
        if (
            type(message) in box.accepts
            and len(box.user) < box.room
            and get_ident() == box.runtime.thread
        ):
            box.user.append((message, box.clock()))
            if box.parked is not None:
                box.wake()
            return True
        return _tell_slowly(box, message)

    async def send(self: Ref[P], message: Tell[P], /) -> None:
        """Send, waiting for room if there is none, first come first served.

        It is a checkpoint only if it waits. Cancelled: not delivered. A message
        that was accepted is handled unless its actor fails or stops before.

        Raises:
            ActorGone: the actor has stopped for good.
            AskCycle: waiting for room would be waiting for oneself.
            RuntimeError: this is not the trio run of the actor.
            TypeError: it is no `Tell`, or its class is not frozen.
            Unhandled: the receiver is known to have no handler for it.
        """
        box = self._mailbox
        is_full = False
        if type(message) in box.accepts and get_ident() == box.runtime.thread:
            if len(box.user) < box.room:
                box.user.append((message, box.clock()))
                if box.parked is not None:
                    box.wake()
                return
            is_full = box.room >= 0 and box.overflow == "wait"
        if is_full or not _put(box, message, message):
            if serving.get() is None:  # the usual case, and this is a hot path too
                await box.put_later(message)
            else:
                await waiting_for(box, lambda: box.put_later(message), message)

    async def ask(
        self: Ref[P], request: Ask[P, R], /, *, timeout: float | None = None
    ) -> R:
        """Send, and wait for the answer.

        ``timeout`` (seconds) covers everything: waiting for room, queueing, handling.
        Cancelling the caller abandons the ask: if its handler has not begun, it never
        will; if it has, `Ask.abandon` says whether it is cancelled.

        Raises:
            Rejected: the handler's own answer.
            ActorCrashed: the handler failed, or was stopped; may have been executed.
            ActorGone: stopped for good; never executed.
            AskTimeout: the deadline passed; its ``started`` tells whether it had begun.
            MailboxFull: ``timeout=0`` and no room; never executed.
            AskCycle: the receiver waits, directly or not, for the asker.
            RuntimeError: this is not the trio run of the actor, or it does not run.
            TypeError: it is no `Ask`, or its class is not frozen.
            Unhandled: the receiver has no handler for it.
        """
        box = self._mailbox
        if get_ident() != box.runtime.thread:
            raise box.runtime.wrong_thread(box.path)
        call, me = Call(request, box), serving.get()
        if me is not None:
            me = served()
            refuse_cycle(me, box, request)
        if type(request) in box.answers and len(box.user) < box.room:
            box.user.append((call, box.clock()))
            if box.parked is not None:
                box.wake()
        elif not _put(box, request, call, asked=True):
            if timeout is not None and timeout <= 0:
                raise box.full(request)
            box.queue_up(call)
        if timeout is not None:
            _arm(call, timeout)
        reply: R
        if me is None:
            reply = await wait_task_rescheduled(call.abandon)
            return reply
        me.waits_for.append(box)
        call.asker = me
        try:
            reply = await wait_task_rescheduled(call.abandon)
        finally:
            call.release()
        return reply

    async def stopped(self) -> Exit:
        """Wait until the actor has stopped for good, and say how it ended.

        A restart is no end; what else may come back, see `gone`. Whoever waits here
        in a handler of the actor itself waits for ever.
        """
        box, ended, key = self._mailbox, trio.Event(), object()
        if box.closed is None and get_ident() != box.runtime.thread:
            raise box.runtime.wrong_thread(box.path)
        # Noted at once: by the time we wake, it may have been started again.
        exits: list[Exit] = []

        def note(exit_: Exit) -> None:
            exits.append(exit_)
            ended.set()

        box.watch(key, note)
        try:
            await ended.wait()
        finally:
            box.unwatch(key)
        return exits[0]

    def snapshot(self) -> Snapshot:
        """A picture of the actor, and of the tree below it.

        Synchronous, asks nobody, and so works when actors are stuck.
        """
        return picture(self._mailbox)


def _put(
    box: Mailbox, message: Message[Any], item: object, *, asked: bool = False
) -> bool:
    """Put an item where its message belongs; False if that is a full user lane.

    Raises:
        ActorGone: nothing is accepted there any more.
        RuntimeError: this is not the trio run of the receiver.
        TypeError: as `Mailbox.check`.
        Unhandled: the receiver is known to have no handler for it.
    """
    if get_ident() != box.runtime.thread:
        raise box.runtime.wrong_thread(box.path)
    if box.closed is not None:
        raise box.gone(message)
    box.check(message, asked=asked)
    if message.system:
        box.post(item)
    else:
        if not box.has_room():
            if box.overflow == "wait":
                return False
            box.note_high()
            box.throw_out_oldest()
        box.put(item)
    return True


def _tell_slowly(box: Mailbox, message: Tell[Any]) -> bool:
    if box.closed is not None:
        box.dead_letter(message, "gone")
        return False
    if not _put(box, message, message):
        box.note_high()
        box.dead_letter(message, "overflow")
        return False
    return True


def _arm(call: Call, timeout: float) -> None:
    alarms = call.mailbox.runtime.alarms
    problem: Exception | None = None
    if math.isnan(timeout):
        problem = ValueError("timeout must be a number of seconds, got nan")
    elif not alarms.running:
        problem = RuntimeError(
            f"{call.mailbox.path} is not running yet, so nothing would end this ask: "
            "enter its system (`async with System(...)`) first"
        )
    if problem is not None:
        call.abandon()
        raise problem
    call.deadline = call.mailbox.runtime.now() + timeout
    alarms.arm(call.deadline, call)


async def waiting_for(
    other: Mailbox,
    wait: Callable[[], Awaitable[R]],
    message: Message[Any] | None = None,
) -> R:
    """Wait on behalf of the role being served; refuse if that would be for itself.

    Raises:
        AskCycle: ``other`` waits, directly or through others, for that role.
    """
    me = served()
    if me is None:
        return await wait()
    refuse_cycle(me, other, message)
    me.waits_for.append(other)
    try:
        return await wait()
    finally:
        me.waits_no_more_for(other)


def served() -> Mailbox | None:
    """The role that serves nobody else as long as the running task waits.

    Tasks that a handler starts inherit `serving` from it also where they outlive it,
    as in a nursery that the actor has entered: nobody waits for those.
    """
    box = serving.get()
    if box is None or (life := box.life) is None:
        return None
    task = trio.lowlevel.current_task()
    while task is not life.task:
        nursery = task.parent_nursery
        # A function may receive while tasks of its own wait.
        if nursery is None or nursery is life.home or box.handles is None:
            return None
        task = nursery.parent_task
    return box


def refuse_cycle(me: Mailbox | None, other: Mailbox, message: object) -> None:
    """Refuse to let ``me`` wait for whoever waits for it.

    Raises:
        AskCycle: ``other`` waits, directly or through others, for ``me``.
    """
    if me is None or (other is not me and not other.waits_for):
        return
    chain = _chain(other, me)
    if chain is not None:
        names = " -> ".join([me.path, *(box.path for box in chain)])
        detail = f"{me.path} would wait for itself: {names}"
        raise AskCycle(other.path, message, detail)


def _chain(start: Mailbox, goal: Mailbox) -> list[Mailbox] | None:
    """How ``start`` waits for ``goal``, or None."""
    came_from: dict[Mailbox, Mailbox | None] = {start: None}
    todo = [start]
    while todo:
        box = todo.pop()
        if box is goal:
            chain: list[Mailbox] = []
            step: Mailbox | None = box
            while step is not None:
                chain.append(step)
                step = came_from[step]
            return chain[::-1]
        for after in box.waits_for:
            if after not in came_from:
                came_from[after] = box
                todo.append(after)
    return None
