"""Refs: how everybody else sees an actor."""

from __future__ import annotations

import contextvars
import math
from collections.abc import Awaitable, Callable
from typing import Any, Generic, NoReturn, TypeVar

import trio
from trio.lowlevel import wait_task_rescheduled

from actors._core.errors import AskCycle
from actors._core.exits import Exit
from actors._core.mailbox import Mailbox
from actors._core.messages import Ask, Message, Tell
from actors._core.reply import Call

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
        """How it stopped for good; None while it runs, starts or is restarted."""
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
            Unhandled: the receiver is known to have no handler for it.
        """
        box = self._mailbox
        if type(message) not in box.accepts or not box.has_room():
            return _tell_slowly(box, message)
        box.put(message)
        return True

    async def send(self: Ref[P], message: Tell[P], /) -> None:
        """Send, waiting for room if there is none, first come first served.

        It is a checkpoint only if it waits. Cancelled: not delivered. A message
        that was accepted is handled unless its actor fails or stops before.

        Raises:
            ActorGone: the actor has stopped for good.
            AskCycle: waiting for room would be waiting for oneself.
            Unhandled: the receiver is known to have no handler for it.
        """
        box = self._mailbox
        if type(message) in box.accepts and box.has_room():
            box.put(message)
            return
        if box.closed is not None:
            raise box.gone(message)
        box.check(message)
        if message.system:
            box.post(message)
        elif box.has_room():
            box.put(message)
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
            Unhandled: the receiver has no handler for it.
        """
        box = self._mailbox
        call = Call(request, box)
        if serving.get() is not None:
            reply: R = await waiting_for(box, lambda: _call(call, timeout), request)
        else:
            reply = await _call(call, timeout)
        return reply


def _tell_slowly(box: Mailbox, message: Tell[Any]) -> bool:
    if box.closed is not None:
        box.dead_letter(message, "gone")
        return False
    box.check(message)
    if message.system:
        box.post(message)
        return True
    if not box.has_room():
        box.note_high()
        box.dead_letter(message, "overflow")
        return False
    box.put(message)
    return True


def _call(call: Call, timeout: float | None) -> Awaitable[Any]:
    """Put the call where it belongs; what is returned waits for its outcome."""
    box, request = call.mailbox, call.message
    if type(request) not in box.accepts or not box.has_room():
        if box.closed is not None:
            raise box.gone(request)
        box.check(request)
    if timeout is not None:
        _arm(call, timeout)
    if request.system:
        box.post(call)
    elif box.has_room():
        box.put(call)
    elif timeout is not None and timeout <= 0:
        call.task = None
        raise box.full(request)
    else:
        box.note_high()
        box.waiting[call] = request
    return wait_task_rescheduled(call.abandon)  # noqa: ASYNC105 - the caller awaits it


def _arm(call: Call, timeout: float) -> None:
    if math.isnan(timeout):
        raise ValueError("timeout must be a number of seconds, got nan")
    deadlines = call.mailbox.runtime.deadlines
    if not deadlines.running:
        raise RuntimeError(
            f"{call.mailbox.path} is not running yet, so nothing would end this ask: "
            "enter its system (`async with System(...)`) first"
        )
    deadlines.arm(trio.current_time() + timeout, call)


async def waiting_for(
    other: Mailbox,
    wait: Callable[[], Awaitable[R]],
    message: Message[Any] | None = None,
) -> R:
    """Wait on behalf of the role being served; refuse if that would be for itself.

    Raises:
        AskCycle: ``other`` waits, directly or through others, for that role.
    """
    me = serving.get()
    if me is None:
        return await wait()
    chain = _chain(other, me)
    if chain is not None:
        names = " -> ".join([me.path, *(box.path for box in chain)])
        detail = f"{me.path} would wait for itself: {names}"
        raise AskCycle(other.path, message, detail)
    me.waits_for.append(other)
    try:
        return await wait()
    finally:
        me.waits_for.remove(other)


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
