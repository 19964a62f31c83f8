"""What users subclass, and what a running actor may do."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import attrs
import trio

from actors._core.control import GetState, Resume, Suspend
from actors._core.exits import Exit
from actors._core.messages import Deferred, Message, Tell, handled_message, where
from actors._core.operations import Operation
from actors._core.refs import Ref, serving
from actors._core.timers import Timer, check_period
from actors._core.watched import Watched
from actors.events import Event

if TYPE_CHECKING:
    from actors._core.bus import Subscription
    from actors._core.incarnation import Incarnation
    from actors._core.mailbox import Mailbox

E = TypeVar("E", bound=Event)
P = TypeVar("P")
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
    _table: ClassVar[dict[type, Callable[[Any, Any], Any]]] = {}
    """The same with the functions; subclasses of messages are added as they come."""
    _quantum: ClassVar[float] = 0.000_05
    """Seconds after which it begins no further message before others have had their
    turn. They may wait for two turns of it, as trio shuffles those who are ready."""

    ctx: Context
    """Set before ``started`` is called."""

    def __init_subclass__(cls, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        cls._register_handlers()

    @classmethod
    def _register_handlers(cls) -> None:
        handlers: dict[type[Message[Any]], str] = {}
        for base in reversed(cls.__mro__[1:]):
            handlers.update(getattr(base, "handlers", {}))
        for name, member in vars(cls).items():
            message = handled_message(member)
            if message is not None and handlers.setdefault(message, name) != name:
                raise TypeError(
                    f"{where(cls)}: both {handlers[message]} and {name} handle "
                    f"{message.__qualname__}; remove one"
                )
        cls.handlers = handlers
        cls._table = {message: getattr(cls, name) for message, name in handlers.items()}

    # -- to be overridden -------------------------------------------------------------

    async def started(self) -> None:
        """Finish initialising. Whoever starts the actor waits for this."""

    async def run(self) -> None:
        """A body of its own beside the message loop. Optional; may return."""

    async def stopping(self, exit_: Exit) -> None:
        """Clean up, on stop, failure and cancellation alike.

        Shielded, and bounded by the cleanup budget, which the steps registered with
        `Context.cleanup` share. What it raises is reported, and changes nothing.
        """

    def inspect(self) -> Mapping[str, object]:
        """What `GetState` answers: by default all public attributes.

        Override it to leave out what nobody is to see.
        """
        cls: Any = type(self)
        fields = [f.name for f in attrs.fields(cls)] if attrs.has(cls) else []
        return {
            name: getattr(self, name)
            for name in dict.fromkeys([*fields, *vars(self)])
            if name != "ctx" and name[0] != "_" and hasattr(self, name)
        }

    # -- for supervisors, and other kinds of actors -----------------------------------

    async def leave(self, exit_: Exit) -> None:
        """End what must end in order while the actor's nursery still lives.

        For supervisors, whose children run in that nursery. Called exactly once per
        incarnation, before ``stopping``, shielded and without a limit: what it
        awaits must have limits of its own.
        """

    def below(self) -> Sequence[Ref[Any]]:
        """The children, in the order of their start."""
        return ()

    def _serve(self, life: Incarnation) -> Awaitable[Exit | None]:
        return Watched(life.read(self), life.waits)

    def _introduce(self, box: Mailbox) -> None:
        """Tell a mailbox who reads it from now on."""
        box.serve(type(self).__qualname__, self.handlers)

    # -- what every actor handles -----------------------------------------------------

    @GetState.handled
    def _get_state(self, m: GetState) -> Mapping[str, object]:
        return self.inspect()

    @Suspend.handled
    def _suspend(self, m: Suspend) -> None:
        self.ctx._life.suspend()

    @Resume.handled
    def _resume(self, m: Resume) -> None:
        self.ctx._life.resume()


Actor._register_handlers()


class Context:
    """What a running actor may do; as ``self.ctx`` from ``started`` on."""

    __slots__ = ("_life", "me")

    def __init__(self, me: Ref[Any], life: Incarnation) -> None:
        self.me = me
        """The ref of this actor, to hand to others or to tell itself something."""
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

    def every(
        self,
        period: float,
        message: Tell[Any],
        *,
        key: Hashable = None,
        jitter: float = 0.0,
    ) -> Timer:
        """Deliver ``message`` to this actor every ``period`` seconds from now on.

        It is read before all user messages, and dies with the incarnation. Deliveries
        never pile up: what the actor is too busy for is left out, and the rhythm is
        kept. ``jitter`` delays each by up to so many seconds. A timer with the same
        ``key`` is replaced.

        Raises:
            Unhandled: the actor has no handler for the message.
            ValueError: the period is not a positive, finite number of seconds.
        """
        check_period("period", period)
        check_period("jitter", jitter, zero=True)
        life = self._life
        return life.set_timer(
            message,
            key,
            lambda: Timer(life, message, period, period=period, jitter=jitter),
        )

    def after(self, delay: float, message: Tell[Any], *, key: Hashable = None) -> Timer:
        """Deliver ``message`` to this actor once, in ``delay`` seconds.

        As with `every`.
        """
        check_period("delay", delay, zero=True)
        life = self._life
        return life.set_timer(
            message, key, lambda: Timer(life, message, delay, period=None, jitter=0.0)
        )

    def watch(self, ref: Ref[Any], *, as_: Callable[[Exit], Tell[Any]]) -> None:
        """Be told once when another actor has stopped for good, at once if it has.

        What comes is the message ``as_(exit)``, read before all user messages. A
        restart is no end; what else may come back, see `Ref.gone`: once told, watch it
        anew for its next end. Watching ends with the incarnation.
        """
        self._life.watch(ref._mailbox, as_)

    def temp_dir(self) -> Path:
        """A directory of this incarnation's own, made on first use.

        It is removed with all that is in it as the last step of the cleanup.
        """
        return self._life.directory()

    # -- others -----------------------------------------------------------------------

    def find(self, path: str, protocol: type[P]) -> Ref[P]:
        """The actor at ``path``, of which you know that it is a ``protocol``.

        Raises:
            LookupError: there is none.
        """
        return self._life.runtime.registry.find(path)

    def members(self, group: str, protocol: type[P]) -> Sequence[Ref[P]]:
        """The actors of a group, in the order in which they joined.

        They belong to it from before their first start until they have stopped for
        good.
        """
        return self._life.runtime.registry.members(group)

    def subscribe(self, *kinds: type[E], capacity: int = 1000) -> Subscription[E]:
        """Collect events of some kinds, from now on; see `Subscription`."""
        return self._life.runtime.subscribe(*kinds, capacity=capacity)

    # -- tasks and work ---------------------------------------------------------------

    async def start(self, fn: Callable[..., Awaitable[object]], *args: object) -> Any:
        """Run a task in the actor's own nursery; wait for its ``task_status.started``.

        Returns what was passed to ``started``. The task ends with the incarnation,
        by cancellation; if it raises, the actor fails.

        Raises:
            RuntimeError: the incarnation has ended, or another task of it has failed.
        """
        nursery = await self._life.workshop.open()
        return await nursery.start(_serving_nobody, fn, args)

    async def enter(self, manager: AbstractAsyncContextManager[T]) -> T:
        """Enter a context manager for the rest of this incarnation; return its value.

        It lives in a task of the actor's own nursery and is left, cancelled, when
        the incarnation ends, before ``stopping``. What it raises on entering is
        raised here; what it raises later fails the actor.
        """
        value: T = await self.start(_hold, manager)
        return value

    def operation(
        self, name: str, *, soft: float = math.inf, hard: float = math.inf
    ) -> AbstractAsyncContextManager[Operation]:
        """Bound and report a stretch of work: ``async with ctx.operation("query"):``.

        Emits `OperationStarted` and `OperationEnded`. After ``soft`` seconds
        `OperationSlow` says where it is. After ``hard`` seconds the block is
        cancelled; in a handler that limit replaces the handler's own while the
        operation is open. If it has not ended within the cleanup budget then, it is
        reported as `Frozen`, and nobody waits for the actor any more.

        Raises:
            OperationTimeout: the hard limit passed.
            ValueError: a limit is not a positive number of seconds.
        """
        for limit, seconds in (("soft", soft), ("hard", hard)):
            if not seconds > 0:
                raise ValueError(
                    f"{limit} must be more than 0 seconds, got {seconds!r}"
                )
        return Operation(self._life, name).run(soft, hard)

    def progress(self, what: str) -> None:
        """Say what the actor is at; errors, snapshots and reports show it."""
        self._life.progress = what
        for operation in self._life.operations[-1:]:
            operation.note = what


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
