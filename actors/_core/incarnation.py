"""One life of an actor: started, serving, stopping. The file to read first.

User code is only ever called from here. Whatever it raises becomes an `Exit`;
``Cancelled`` and everything else that is not an ``Exception`` travels on.
"""

from __future__ import annotations

import math
import types
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar, cast

import trio
from outcome import Error, Value

from actors._core.actor import Actor, Context
from actors._core.cleanup import Step, run_steps
from actors._core.errors import (
    ActorCrashed,
    HandlerTimeout,
    Rejected,
    Stop,
    Stopped as StoppedCause,
    Unhandled,
)
from actors._core.exits import Exit, ExitKind, collapse
from actors._core.mailbox import STOP
from actors._core.messages import Deferred
from actors._core.refs import Ref, owner, serving
from actors._core.reply import Call
from actors._core.resume import resume
from actors.events import Cleaned, Failed, Started, Stopped

if TYPE_CHECKING:
    from actors._core.mailbox import Mailbox

R = TypeVar("R")

BATCH = 64
"""Messages handled between two checkpoints: bounds how long others wait."""


class Incarnation:
    """One life of a role. ``live`` never raises what user code raised."""

    __slots__ = (
        "_deferred",
        "_factory",
        "_handler_abandoned",
        "_handler_scope",
        "_limited",
        "_operations",
        "actor",
        "cleanup",
        "current",
        "handler_timeout",
        "mailbox",
        "number",
        "nursery",
        "ref",
        "runtime",
        "scope",
        "starting",
        "steps",
        "why_interrupted",
    )

    nursery: trio.Nursery
    """The actor's own; open from before its factory is called until it has left."""

    def __init__(
        self,
        ref: Ref[Any],
        factory: Callable[[], object],
        number: int,
        *,
        handler_timeout: float | None,
        cleanup: float,
    ) -> None:
        self.ref = ref
        self.mailbox: Mailbox = ref._mailbox
        self.runtime = self.mailbox.runtime
        self.number = number
        self.handler_timeout = math.inf if handler_timeout is None else handler_timeout
        self.cleanup = cleanup
        self.scope = trio.CancelScope()
        """Cancel it to kill: cleanup still runs, within its budget."""
        self.starting = trio.CancelScope()
        """Round ``started()`` alone, so that what it began can be ended in order."""
        self.why_interrupted: Exception | None = None
        self.current: Any = None
        """The message in hand, or its `Call`."""
        self.steps: list[Step] = []
        self._factory = factory
        self.actor: Actor | None = None
        self._deferred: dict[Call, None] = {}
        # A CancelScope is single-use: replaced whenever it was cancelled.
        self._handler_scope = trio.CancelScope()
        self._handler_abandoned = False
        self._limited = False
        """Whether the handler's scope has a deadline to be taken back."""
        self._operations = 0
        """How many operations the handler in hand has open: they limit it instead."""

    def interrupt(self, why: Exception | None, reason: str) -> None:
        """Cut a start short. The incarnation has then failed with ``why``, if given."""
        self.why_interrupted = why
        self.starting.cancel(reason=reason)

    async def live(self, started: Callable[[], object]) -> Exit:
        """Live from the factory to the last cleanup step; say how it ended.

        ``started`` is called once the actor is ready. If the result comes without
        that, it did not start.
        """
        owner.set(self.mailbox)
        exit_ = Exit("killed")
        try:
            with self.scope:
                exit_ = await self._in_nursery(started)
        except Exception as error:
            # A task of the actor's nursery failed, or something did while being
            # cancelled; the scope has kept the Cancelled part.
            kind: ExitKind = "killed" if self.scope.cancel_called else "failed"
            exit_ = Exit(kind, collapse(error), self.message)
        except BaseExceptionGroup as group:
            # Cancelled from outside, and something failed: only the first travels on.
            failed, rest = group.split(Exception)
            if failed is None or rest is None:
                raise
            exit_ = Exit("killed", collapse(failed), self.message)
            raise rest from None
        finally:
            self._end(exit_)
            await self._clean_up(exit_)  # noqa: ASYNC102 - each step is shielded
            if not exit_.failed:
                self.runtime.emit(Stopped(self.mailbox.path, self.number, exit_))
        return exit_

    async def _in_nursery(self, started: Callable[[], object]) -> Exit:
        exit_ = Exit("killed")
        async with trio.open_nursery() as self.nursery:
            try:
                exit_ = await self._serve_until_end(started)
            except Exception as error:
                exit_ = Exit("failed", collapse(error), self.message)
            finally:
                if self.actor is not None:
                    await self._leave(self.actor, exit_)  # noqa: ASYNC102 - it is
                self.nursery.cancel_scope.cancel(
                    reason=f"{self.mailbox.path} has ended"
                )
        return exit_

    async def _leave(self, actor: Actor, exit_: Exit) -> None:
        # Bounded by the limits of what it stops: every child has a budget.
        with trio.CancelScope(shield=True):
            await actor.leave(exit_)

    async def _serve_until_end(self, started: Callable[[], object]) -> Exit:
        box = self.mailbox
        actor = self._factory()
        if not isinstance(actor, Actor):
            raise TypeError(f"the factory of {box.path} made {actor!r}, not an Actor")
        self.actor = actor
        actor.ctx = Context(self.ref, self)
        box.serve(type(actor).__qualname__, actor.handlers)
        serving.set(box)
        with self.starting:
            await actor.started()
        if self.starting.cancel_called:
            why = self.why_interrupted
            return Exit("shutdown" if why is None else "failed", why)
        self.runtime.emit(Started(box.path, self.number))
        started()
        if type(actor).run is not Actor.run:
            self.nursery.start_soon(self._run, actor)
        return await self._serve(actor)

    async def _run(self, actor: Actor) -> None:
        serving.set(None)
        await actor.run()

    # -- serving ------------------------------------------------------------------

    async def _serve(self, actor: Actor) -> Exit:
        table: dict[type, Callable[[Any], Any]] = {
            message: getattr(actor, name) for message, name in actor.handlers.items()
        }
        while True:
            self._handler_abandoned = False
            with trio.CancelScope() as scope:
                self._handler_scope = scope
                exit_ = await self._serve_within(scope, table)
                if exit_ is not None:
                    return exit_
            if scope.cancelled_caught and not self._handler_abandoned:
                limit = (
                    f"{self.mailbox.path}: handler exceeded {self.handler_timeout:g} s"
                )
                return Exit("timeout", HandlerTimeout(limit), self.message)
            # The asker of a `cancel` ask has gone: that work is over, the actor is
            # not. If it ended by itself at the same moment, its reply was sent.
            self.current = None

    # One function, and long: whatever is called per message is paid per message.
    async def _serve_within(  # noqa: C901, PLR0912, PLR0915
        self, scope: trio.CancelScope, table: dict[type, Callable[[Any], Any]]
    ) -> Exit | None:
        """Handle messages until told to stop, or until ``scope`` is spent."""
        box = self.mailbox
        user, handled = box.user, 0
        item: Any
        message: Any
        call: Call | None
        while True:
            if box.system:
                item = box.system.popleft()
                if item is STOP:
                    box.handled += handled
                    return Exit("shutdown")
            elif user:
                item = user.popleft()
                if box.is_high:
                    box.relieve()
            else:
                box.handled += handled
                handled = 0
                await box.arrival()
                continue
            if type(item) is Call:
                if item.task is None:
                    box.skipped()
                    continue
                call, message = item, item.message
                item.by = self
            else:
                call, message = None, item
            self.current = item
            kind = cast("type[object]", type(message))
            handler = table.get(kind) or self._inherited(table, kind)
            if handler is None:
                self._unhandled(call, message)
                continue
            try:
                result = handler(message)
                if type(result) is types.CoroutineType:
                    result = await self._finish(result, scope)
            except Rejected as error:
                if call is None:
                    raise
                call.settle(Error(error))
            except Stop:
                box.handled += handled + 1
                return Exit("normal", None, message)
            else:
                if call is not None and type(result) is not Deferred:
                    call.settle(Value(result))
            self.current = None
            if scope.cancel_called:
                box.handled += handled + 1
                return None
            handled += 1
            if handled >= BATCH:
                box.handled += handled
                handled = 0
                await trio.lowlevel.checkpoint()

    async def _finish(self, coroutine: Any, scope: trio.CancelScope) -> object:
        """Run a handler. Its time limit is armed only if it waits for something.

        So a handler that does not wait costs no scope and no clock: its first step
        is run by hand, and only if that yields is the deadline set.
        """
        try:
            try:
                trap = coroutine.send(None)
            except StopIteration as stop:
                return stop.value
            if not self._operations:
                self._limit(trio.current_time() + self.handler_timeout)
            return await resume(coroutine, trap)
        finally:
            if self._limited:
                scope.deadline = math.inf
                self._limited = False

    def _limit(self, deadline: float) -> None:
        self._handler_scope.deadline = deadline
        self._limited = True

    def _inherited(
        self, table: dict[type, Callable[[Any], Any]], kind: type
    ) -> Callable[[Any], Any] | None:
        for base in kind.__mro__:
            if base in table:
                return table.setdefault(kind, table[base])
        return None

    def _unhandled(self, call: Call | None, message: object) -> None:
        # Only messages sent before the first incarnation get here: from then on
        # the sender is refused in its own frame.
        self.current = None
        if call is None:
            self.mailbox.dead_letter(message, "unhandled")
            return
        detail = f"{self.mailbox.receiver} has no handler for {type(message).__name__}"
        call.settle(Error(Unhandled(self.mailbox.path, message, detail)))

    # -- what a handler may do ------------------------------------------------------

    def abandoned(self, call: Call) -> None:
        """The asker of a ``cancel`` ask in hand has gone."""
        if self.current is call:
            self._handler_abandoned = True
            self._handler_scope.cancel(reason="its asker has gone")

    @contextmanager
    def without_limit(self) -> Generator[None, None, None]:
        """Suspend the handler's own limit, if it is a handler that calls.

        Afterwards the handler has its whole limit again.
        """
        if serving.get() is not self.mailbox:
            yield
            return
        self._operations += 1
        self._handler_scope.deadline = math.inf
        try:
            yield
        finally:
            self._operations -= 1
            if not self._operations:
                self._limit(trio.current_time() + self.handler_timeout)

    def defer(self, work: Callable[[], Awaitable[R]]) -> Deferred[R]:
        """See `Context.defer`."""
        call = self.current
        if type(call) is not Call:
            raise RuntimeError(
                f"{self.mailbox.path}: defer() answers an ask, and none is being "
                "handled; use ctx.start() to run a task"
            )
        self._deferred[call] = None
        answer = _Answer(call)
        call.by = answer
        self.nursery.start_soon(self._answer_later, answer, work)
        return Deferred()

    async def _answer_later(
        self, answer: _Answer, work: Callable[[], Awaitable[object]]
    ) -> None:
        serving.set(None)
        with answer.scope:
            try:
                value = await work()
            except Rejected as error:
                answer.call.settle(Error(error))
            else:
                answer.call.settle(Value(value))
            del self._deferred[answer.call]
        if answer.scope.cancelled_caught:
            del self._deferred[answer.call]

    # -- the end --------------------------------------------------------------------

    @property
    def message(self) -> object:
        """The message in hand, or None."""
        current = self.current
        return current.message if type(current) is Call else current

    def _end(self, exit_: Exit) -> None:
        """Report the decision and settle what was begun; synchronous."""
        if exit_.failed:
            self.runtime.emit(Failed(self.mailbox.path, self.number, exit_))
        self.settle(exit_)
        self.current = None

    def settle(self, exit_: Exit) -> None:
        """Tell all whose questions were begun that there will be no answer."""
        path, begun = self.mailbox.path, [*self._deferred]
        if type(self.current) is Call:
            begun.append(self.current)
        for call in begun:
            if call.task is None:
                continue
            crashed = ActorCrashed(
                path, call.message, f"ended while handling it ({exit_.kind})"
            )
            crashed.__cause__ = exit_.failure or StoppedCause(f"{path}: {exit_.kind}")
            call.settle(Error(crashed))

    async def _clean_up(self, exit_: Exit) -> None:
        if self.actor is None:
            return
        serving.set(None)
        steps = [*self.steps]
        if type(self.actor).stopping is not Actor.stopping:
            actor = self.actor
            steps.append(("stopping", lambda: actor.stopping(exit_)))
        report = await run_steps(reversed(steps), self.cleanup)
        self.runtime.emit(Cleaned(self.mailbox.path, self.number, *report))


class _Answer:
    """A deferred answer: whoever works on it can be told that it is not wanted."""

    __slots__ = ("call", "scope")

    def __init__(self, call: Call) -> None:
        self.call = call
        self.scope = trio.CancelScope()

    def abandoned(self, _call: Call) -> None:
        self.scope.cancel(reason="its asker has gone")
