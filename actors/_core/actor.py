"""What users subclass, and what a running actor may do."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import trio

from actors._core.errors import OperationTimeout
from actors._core.exits import Exit
from actors._core.messages import Deferred, Message, handled_message
from actors._core.refs import Ref, serving
from actors.events import (
    Event,
    OperationEnded,
    OperationOutcome,
    OperationStarted,
)

if TYPE_CHECKING:
    from actors._core.incarnation import Incarnation

R = TypeVar("R")
T = TypeVar("T")


class Actor:
    """State and handlers.

    One message is handled at a time. A fresh instance, made by its factory, serves
    every incarnation; nothing in memory survives a restart but the mailbox.

    Methods decorated with ``@SomeMessage.handled`` handle that message and its
    subclasses; they may be async or plain functions. A handler that raises anything
    but `Rejected` or `Stop` fails its actor.
    """

    handlers: ClassVar[Mapping[type[Message[Any]], str]] = {}
    """Message class -> method name; by name, so that a plain override in a subclass
    is what is called."""

    ctx: Context
    """Set before ``started`` is called."""

    def __init_subclass__(cls, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        table: dict[type[Message[Any]], str] = {}
        for base in reversed(cls.__mro__[1:]):
            table.update(getattr(base, "handlers", {}))
        for name, member in vars(cls).items():
            message = handled_message(member)
            if message is not None and table.setdefault(message, name) != name:
                raise TypeError(
                    f"{cls.__qualname__}: both {table[message]} and {name} handle "
                    f"{message.__qualname__}; remove one"
                )
        cls.handlers = table

    async def started(self) -> None:
        """Finish initialising. Whoever starts the actor waits for this."""

    async def run(self) -> None:
        """A body of its own beside the message loop. Optional; may return."""

    async def leave(self, exit_: Exit) -> None:
        """End what must end in order while the actor's nursery still lives.

        For supervisors, whose children run in that nursery. Called exactly once per
        started incarnation, before ``stopping``, shielded and without a limit: what
        it awaits must have limits of its own.
        """

    async def stopping(self, exit_: Exit) -> None:
        """Clean up, on stop, failure and cancellation alike.

        Shielded, and bounded by the cleanup budget, which the steps registered with
        `Context.cleanup` share. What it raises is reported, and changes nothing.
        """


class Context:
    """What a running actor may do; as ``self.ctx`` from ``started`` on."""

    __slots__ = ("_life", "me")

    def __init__(self, me: Ref[Any], life: Incarnation) -> None:
        self.me = me
        self._life = life

    @property
    def incarnation(self) -> int:
        """Which life of the role this is, counted from 1."""
        return self._life.number

    def emit(self, event: Event) -> None:
        """Report an event of the application to the sinks of the system."""
        self._life.runtime.emit(event)

    def cleanup(self, name: str, step: Callable[[], Awaitable[object]]) -> None:
        """Register a step that runs when this incarnation ends, whatever ends it.

        Steps run exactly once, after ``stopping``, the latest registered first, and
        before the next incarnation begins. They are shielded and share the cleanup
        budget of the child; a failing step does not cost the next its turn.
        """
        self._life.steps.append((name, step))

    def defer(self, work: Callable[[], Awaitable[R]], /) -> Deferred[R]:
        """Answer the ask in hand later, from a task in the actor's own nursery.

        Return the result from the handler: ``return self.ctx.defer(work)``. Further
        messages are handled meanwhile. ``work`` answers by returning or by raising
        `Rejected`; anything else it raises fails the actor. If the actor ends first,
        the asker gets `ActorCrashed`.

        Raises:
            RuntimeError: no ask is being handled.
        """
        return self._life.defer(work)

    async def start(self, fn: Callable[..., Awaitable[object]], *args: object) -> Any:
        """Run a task in the actor's own nursery; wait for its ``task_status.started``.

        Returns what was passed to ``started``. The task ends with the incarnation,
        by cancellation; if it raises, the actor fails.
        """
        return await self._life.nursery.start(_serving_nobody, fn, args)

    async def enter(self, manager: AbstractAsyncContextManager[T]) -> T:
        """Enter a context manager for the rest of this incarnation; return its value.

        It lives in a task of the actor's own nursery and is left, cancelled, when
        the incarnation ends, before ``stopping``. What it raises on entering is
        raised here; what it raises later fails the actor.
        """
        value: T = await self.start(_hold, manager)
        return value

    @asynccontextmanager
    async def operation(
        self, name: str, *, hard: float = math.inf
    ) -> AsyncGenerator[None, None]:
        """Bound and report a stretch of work: ``async with ctx.operation("query"):``.

        Emits `OperationStarted` and `OperationEnded`. After ``hard`` seconds the
        block is cancelled; in a handler this replaces the handler's own limit while
        the operation is open.

        Raises:
            OperationTimeout: the hard limit passed.
        """
        path, begin = self.me.path, trio.current_time()
        self.emit(OperationStarted(path, name))
        outcome: OperationOutcome = "cancelled"
        scope = trio.CancelScope(deadline=begin + hard)
        try:
            with self._life.without_limit(), scope:
                yield
                outcome = "completed"
        except Exception:
            outcome = "failed"
            raise
        finally:
            if scope.cancelled_caught:
                outcome = "timed out"
            seconds = trio.current_time() - begin
            self.emit(OperationEnded(path, name, seconds, outcome))
        if scope.cancelled_caught:
            raise OperationTimeout(f"{path}: {name} exceeded {hard:g} s")


async def _serving_nobody(  # noqa: ASYNC128 - fn calls started()
    fn: Callable[..., Awaitable[object]],
    args: tuple[object, ...],
    *,
    task_status: trio.TaskStatus[Any],
) -> None:
    serving.set(None)
    await fn(*args, task_status=task_status)


async def _hold(
    manager: AbstractAsyncContextManager[T], *, task_status: trio.TaskStatus[T]
) -> None:
    async with manager as value:
        task_status.started(value)
        await trio.sleep_forever()
