"""Plain async functions as actors, where the control flow is the state."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import wraps
from inspect import iscoroutinefunction
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Generic,
    ParamSpec,
    Self,
    TypeVar,
    cast,
    get_args,
    get_origin,
    overload,
)

import trio
from outcome import Error
from trio.lowlevel import current_task, wait_task_rescheduled

from actors._core.actor import Actor
from actors._core.errors import ActorCrashed, Rejected, Stop
from actors._core.exits import Exit
from actors._core.mailbox import STOP
from actors._core.messages import Ask, Message, Posted, where
from actors._core.refs import serving
from actors._core.reply import Call

if TYPE_CHECKING:
    from actors._core.actor import Context
    from actors._core.incarnation import Incarnation
    from actors._core.mailbox import Mailbox

A = ParamSpec("A")
M = TypeVar("M", bound=Message[Any])
M_co = TypeVar("M_co", bound=Message[Any], covariant=True)
P = TypeVar("P")
P_co = TypeVar("P_co", covariant=True)
R = TypeVar("R")


def function_actor(
    body: Callable[Concatenate[Inbox[P], A], Awaitable[None]], /
) -> Callable[A, Callable[[], P]]:
    """Decorator: an async function becomes an actor, whose messages it receives.

    ``P`` of its `Inbox` is a plain nominal class. Called with the other arguments, the
    result is a factory: ``Child("copy", copy("notes.txt"))``. Every incarnation calls
    the function anew, with the same arguments. It has started once it first waits for
    its inbox, or returns. Returning ends the actor normally; what it raises is its
    failure. Its messages have no time limits of their own, and `Ask.abandon` does not
    cancel it: nobody but the function knows what it does for whom.

    Raises:
        TypeError: it is no async function.
    """
    if not iscoroutinefunction(body):
        raise TypeError(f"{where(body)}: the function of an actor is async")

    @wraps(body)
    def with_arguments(*args: A.args, **kwargs: A.kwargs) -> Callable[[], P]:
        def run(inbox: Inbox[P]) -> Awaitable[None]:
            return body(inbox, *args, **kwargs)

        return lambda: cast("P", FunctionActor(body.__qualname__, run))

    return with_arguments


class Envelope(Generic[M_co]):
    """A message that has been received, and the way to answer it."""

    __slots__ = ("_call", "_inbox", "message")

    def __init__(self, message: M_co, call: Call | None, inbox: Inbox[Any]) -> None:
        self.message = message
        self._call = call
        self._inbox = inbox

    def reply(self: Envelope[Ask[Any, R]], value: R) -> None:
        """Answer an ask; synchronous. If the asker has gone, that changes nothing.

        Raises:
            RuntimeError: it has been answered already.
            TypeError: it was told, not asked, or the value is no such reply.
        """
        _check_reply(self.message, value)
        self._open_call().answer(value)

    def reject(self: Envelope[Ask[Any, Any]], error: Rejected) -> None:
        """Answer an ask with a domain error. As `reply`."""
        self._open_call().settle(Error(error))
        self._inbox._life.mailbox.rejected += 1

    def _open_call(self) -> Call:
        kind = type(self.message).__name__
        call = self._call
        if call is None:
            raise TypeError(f"{kind} was told, not asked: there is nobody to reply to")
        if not self._inbox.forget(call):
            raise RuntimeError(f"this {kind} has been answered already")
        return call

    def abandoned(self, _call: Call) -> None:
        """The asker of a ``cancel`` ask has gone; see `function_actor`."""


class Inbox(Generic[P_co]):
    """The mailbox of a function actor, from the inside."""

    def __init__(self, life: Incarnation, ctx: Context, up: Callable[[], None]) -> None:
        self.ctx = ctx
        self.stopped = False
        """Whether the actor has been asked to stop, and has read that."""
        self._life = life
        self._up = up
        self._latest: Envelope[Any] | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Envelope[Any]:
        """Receive the next message; the loop ends when the actor is asked to stop.

        An ask that the loop leaves unanswered ends in `ActorCrashed`.
        """
        latest = self._latest
        if latest is not None and latest._call is not None:
            self._no_reply(latest._call)
        try:
            return await self.receive()
        except Stop:
            raise StopAsyncIteration from None

    @overload
    async def receive(self, kind: type[M], /, *kinds: type[M]) -> Envelope[M]: ...
    @overload
    async def receive(self) -> Envelope[Any]: ...
    async def receive(self, *kinds: type[Any]) -> Envelope[Any]:
        """Wait for the oldest message of these classes; others stay where they are.

        A checkpoint in any case; cancellation loses no message. Without classes: the
        oldest of all. An ask stays open until it is answered, or the actor ends.

        Raises:
            Stop: the actor has been asked to stop. Let it pass to end.
        """
        life, box = self._life, self._life.mailbox
        self.finish_latest()
        self._up()
        await trio.lowlevel.checkpoint()
        while True:
            box.peak = max(box.peak, box.length)
            self._obey()
            found = self._find(box.system, kinds)
            if found is None and not life.suspended:
                found = self._find(box.user, kinds)
                if box.waiting:
                    box.admit(box.clock())
            if found is not None:
                self._latest = found
                return found
            box.parked = current_task()
            await wait_task_rescheduled(box.leave)

    def finish_latest(self) -> None:
        """What was received before is done with, as far as can be seen."""
        life = self._life
        if self._latest is not None:
            seconds = life.current_age or 0.0
            life.mailbox.account(1, seconds, 0.0)
        life.current = self._latest = None

    def _obey(self) -> None:
        """Do what is not the function's business; all else stays where it is."""
        life, lane, index = self._life, self._life.mailbox.system or deque(), 0
        while index < len(lane):
            item = lane[index]
            control = None
            if type(item) is Call:
                control = Actor._table.get(type(item.message))
            if item is not STOP and control is None:
                index += 1
                continue
            del lane[index]
            if control is None:
                self.stopped = True
                raise Stop
            if not _lapsed(item, life.runtime.now()):
                item.answer(control(life.actor, item.message))

    def _find(
        self, lane: deque[Any] | None, kinds: tuple[type, ...]
    ) -> Envelope[Any] | None:
        """Take the oldest wanted message from a lane."""
        life, box = self._life, self._life.mailbox
        now, index = life.runtime.now(), 0
        while lane and index < len(lane):
            item, put_at = lane[index] if lane is box.user else (lane[index], now)
            call = item if type(item) is Call else None
            message = item if call is None else call.message
            if isinstance(item, Posted):
                message = item.look(life)
            if message is None or (call is not None and _lapsed(call, now)):
                del lane[index]
            elif kinds and not isinstance(message, kinds):
                index += 1
            else:
                del lane[index]
                if isinstance(item, Posted):
                    item.take(life)
                box.account(0, 0.0, now - put_at)
                return self._open(message, call, now)
        return None

    def _open(self, message: Any, call: Call | None, now: float) -> Envelope[Any]:
        life = self._life
        envelope = Envelope(message, call, self)
        if call is not None:
            call.by = envelope
            life.hold(call)
        life.begin(call or message, now)
        return envelope

    def forget(self, call: Call) -> bool:
        """Whether a call was still to be answered; it is no more."""
        return self._life.release(call)

    def _no_reply(self, call: Call) -> None:
        if self.forget(call) and call.task is not None:
            path = self._life.mailbox.path
            call.settle(Error(ActorCrashed(path, call.message, "no reply")))


class FunctionActor(Actor):
    """An actor whose function reads its inbox; made by `function_actor`."""

    def __init__(
        self, name: str, body: Callable[[Inbox[Any]], Awaitable[None]]
    ) -> None:
        self._name = name
        self._body = body
        self._ended = trio.Event()
        self._exit = Exit("normal")

    async def started(self) -> None:
        """It has, once the function waits for its inbox, or has returned."""
        self.ctx._life.handler_timeout = math.inf
        await self.ctx.start(self._run)

    async def _run(self, *, task_status: trio.TaskStatus[None]) -> None:
        life = self.ctx._life
        serving.set(life.mailbox)
        up = False

        def is_up() -> None:
            nonlocal up
            if not up:
                up = True
                task_status.started()

        inbox: Inbox[Any] = Inbox(life, self.ctx, is_up)
        main, life.task = life.task, current_task()
        try:
            with suppress(Stop):
                await self._body(inbox)
            inbox.finish_latest()
        finally:
            life.task = main
        if inbox.stopped:
            self._exit = Exit("shutdown")
        is_up()
        self._ended.set()

    async def _serve(self, life: Incarnation) -> Exit:
        await self._ended.wait()
        return self._exit

    def _introduce(self, box: Mailbox) -> None:
        box.serve(self._name, None)


def _lapsed(call: Call, now: float) -> bool:
    """Whether a call that is taken from its lane is not to be begun any more."""
    if call.task is None:
        call.mailbox.skipped(call)
    elif call.deadline <= now:
        call.time_out()
    else:
        return False
    return True


def _check_reply(message: object, value: object) -> None:
    wanted = _reply_of(type(message))
    try:
        right = isinstance(value, float | int if wanted is float else wanted)
    except TypeError:
        return  # nothing that can be checked when the program runs
    if not right:
        raise TypeError(
            f"{where(type(message))} is answered with {wanted}, got {value!r}"
        )


def _reply_of(message: type) -> Any:
    for cls in message.__mro__:
        for base in getattr(cls, "__orig_bases__", ()):
            if get_origin(base) is Ask:
                reply = get_args(base)[1]
                return type(None) if reply is None else get_origin(reply) or reply
    return object
