"""One life of an actor: started, serving, stopping. The file to read first.

User code is only ever called from here and from the reader. Whatever it raises becomes
an `Exit`; ``Cancelled`` and everything else that is not an ``Exception`` travels on.
"""

from __future__ import annotations

import tempfile
from collections.abc import Awaitable, Callable, Hashable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import attrs
import trio

from actors._core.actor import Actor, Context
from actors._core.answer import Answer
from actors._core.cleanup import NOTHING, Report, Step, remove_directory, run_steps
from actors._core.errors import HandlerTimeout, Stop
from actors._core.exits import KILLED, Exit, collapse
from actors._core.leash import Leash
from actors._core.messages import Deferred
from actors._core.operations import Operation, stack_of
from actors._core.reader import Reader
from actors._core.refs import Ref, owner, served, serving
from actors._core.reply import Call
from actors._core.timers import Ended, Timer
from actors._core.workshop import Workshop, too_late
from actors.events import Cleaned, Failed, Started, Stopped, TempFilesRemoved

if TYPE_CHECKING:
    from actors._core.mailbox import Mailbox
    from actors._core.messages import Tell

R = TypeVar("R")

STARTED, RUN, STOPPING, LEAVE = Actor.started, Actor.run, Actor.stopping, Actor.leave
"""What an actor that has nothing of its own there inherits, and need not wait for."""

NAMED = 20
"""Temporary files that are named when they are removed; the others are counted."""


class Incarnation(Reader):
    """One life of a role. ``live`` never raises what user code raised."""

    __slots__ = (
        "_directory",
        "_ended",
        "_factory",
        "_failure",
        "_interrupted",
        "_killed",
        "_on_up",
        "_timers",
        "_watched",
        "_workshop",
        "actor",
        "cleaned",
        "home",
        "operations",
        "ready",
        "ref",
        "starting",
        "steps",
        "why_interrupted",
    )

    def __init__(  # noqa: PLR0917 - by keyword they would cost two dictionaries
        self,
        ref: Ref[Any],
        factory: Callable[[], object],
        home: trio.Nursery,
        on_up: Callable[[], object],
        handler_timeout: float | None,
        cleanup: float,
        leash: Leash | None = None,
    ) -> None:
        super().__init__(ref._mailbox, handler_timeout, cleanup, leash)
        self.ref = ref
        self.actor: Actor | None = None
        self.home = home
        """Where its tasks run, beside that of the reader."""
        self._workshop: Workshop | None = None
        self._ended = False
        """Whether no task of it may be started any more."""
        self.operations: tuple[Operation, ...] = ()
        self.steps: list[Step] = []
        self._timers: dict[Hashable, Timer] | None = None
        self._watched: dict[object, Mailbox] | None = None
        self._factory = factory
        self._on_up = on_up
        """Called once, as soon as it is ready; if it never is, it did not start."""
        self.ready = False
        self._directory: Path | None = None
        self.starting: trio.CancelScope | None = None
        """Round ``started()`` alone, so that what it began can be ended in order."""
        self.why_interrupted: Exception | None = None
        self._interrupted = False
        self._killed = False
        self._failure: Exception | None = None
        """What a task of the workshop raised: the first failure is the cause."""
        self.cleaned: Cleaned | None = None
        """What the cleanup did, once it is over."""

    def make(self) -> None:
        """Make the actor; it is `ready` then, if nothing of its start has to wait.

        To be called once, before `live`, which fails with what the factory raises.
        """
        box = self.mailbox
        box.life, box.state = self, "starting"
        try:
            actor = _checked(self._factory(), box.path)
        except Exception as error:
            self._failure = error
            return
        self.actor = actor
        actor.ctx = Context(self.ref, self)
        actor._introduce(box)
        kind = type(actor)
        if kind.started is STARTED and kind.run is RUN and kind.leave is LEAVE:
            self._up()

    def settle_in(self, task: trio.lowlevel.Task) -> None:
        """Get ready for `live` in that task, whose context this is."""
        self.task = task
        owner.set(self.mailbox)
        serving.set(self.mailbox)

    @property
    def workshop(self) -> Workshop:
        """The nursery of its own tasks, made on first use.

        Raises:
            RuntimeError: it has ended.
        """
        if self._ended:
            raise too_late(self.mailbox.path)
        if self._workshop is None:
            self._workshop = Workshop(self.home, self.mailbox.path, self._task_failed)
        return self._workshop

    async def live(self) -> Exit:
        """Live up to the last cleanup step; say how it ended.

        It has to `settle_in` before.
        """
        box = self.mailbox
        exit_ = KILLED
        try:
            exit_ = await self._until_end()
        except BaseExceptionGroup as group:
            # Cancelled from outside, and something failed: only the first travels on.
            failed, rest = group.split(Exception)
            if failed is None or rest is None:
                raise
            exit_ = Exit("killed", collapse(failed), self.message)
            raise rest from None
        finally:
            self._decided(exit_)
            # Whoever has a leave() has a workshop; else nothing is waited for.
            if self._workshop is not None:
                await self._end_tasks(exit_)  # noqa: ASYNC102 - shielded
            self._ended = True
            if not exit_.failed:
                self.leash.let_go()  # or its own cancellation would be taken for that
                if trio.current_effective_deadline() <= self.runtime.now():
                    # It had meant to stop, and was cancelled from outside meanwhile.
                    exit_ = attrs.evolve(exit_, kind="killed")
            if self.actor is not None:
                done, errors, cut = NOTHING
                if self.steps or type(self.actor).stopping is not STOPPING:
                    done, errors, cut = await self._clean_up(exit_)  # noqa: ASYNC102
                self.cleaned = Cleaned(box.path, self.number, done, errors, cut)
                self.runtime.emit(self.cleaned)
            box.life, box.last_exit, box.state = None, exit_, "stopped"
            if not exit_.failed:
                self.runtime.emit(Stopped(box.path, self.number, exit_))
            # They have us: in a circle, all would go only with the collector.
            self.actor = self._workshop = None
        return exit_

    async def _end_tasks(self, exit_: Exit) -> None:
        # There are some, or were. Bounded by the limits of what is ended here: every
        # child has budgets, and a task that shields itself would hold up its nursery
        # anyway.
        with trio.CancelScope(shield=True):
            if self.actor is not None:
                await self.actor.leave(exit_)
            await self.workshop.close().wait()

    async def _until_end(self) -> Exit:
        actor: Any = self.actor
        exit_: Exit | None
        while True:
            self._abandoned = False
            if self.ready and not self.leash.is_held:
                await self.idle()
            try:
                with self.leash:
                    if self.ready or await self._start():
                        exit_ = await actor._serve(self)
                    else:
                        why = self.why_interrupted
                        exit_ = Exit("shutdown" if why is None else "failed", why)
                    if exit_ is not None:
                        return exit_
            except Exception as error:
                # Outside the scope, which has kept the Cancelled part of a group.
                return self._failed_with(collapse(error))
            if self._failure is not None:
                return self._failed_with(self._failure)
            if self._killed or self.given_up is not None:
                # Given up, it has ended after all, but its mailbox is closed.
                return self.given_up or Exit("killed", None, self.message)
            if self.leash.scope.cancelled_caught and not self._abandoned:
                limit = (
                    f"{self.mailbox.path}: handler exceeded {self.handler_timeout:g} s"
                )
                return Exit("timeout", HandlerTimeout(limit), self.message)
            # The asker of a `cancel` ask has gone: that work is over, the actor is
            # not. If it ended by itself at the same moment, its reply was sent.
            self.current = None
            self.leash.renew()

    def _failed_with(self, error: Exception) -> Exit:
        if self._failure is not None:
            # Being cancelled for the first failure, something else failed too.
            error = self._failure
        if isinstance(error, Stop):
            return Exit("normal", None, self.message)
        return Exit("killed" if self._killed else "failed", error, self.message)

    async def _start(self) -> bool:
        """Do what has to be awaited; False: it was interrupted."""
        actor = self.actor
        if actor is None:
            raise cast("Exception", self._failure)  # of the factory
        kind = type(actor)
        if kind.leave is not LEAVE:
            await self.workshop.open()
        if self._interrupted:
            self.actor = None  # nothing of it has begun that would have to end
            return False
        if kind.started is not STARTED:
            with trio.CancelScope() as self.starting:
                await actor.started()
            scope, self.starting = self.starting, None
            if scope.cancel_called:
                return False
        self._up()
        if kind.run is not RUN:
            self.workshop.start_soon(actor.run)
        return True

    def _up(self) -> None:
        box = self.mailbox
        self.ready, box.state = True, "running"
        if self.number > 1:
            box.restarts += 1
        self.runtime.emit(Started(box.path, self.number))
        self._on_up()

    # -- what a handler may do ------------------------------------------------------

    def defer(self, work: Callable[[], Awaitable[R]]) -> Deferred[R]:
        """See `Context.defer`."""
        call = self.current
        if type(call) is not Call or served() is not self.mailbox:
            raise RuntimeError(
                f"{self.mailbox.path}: defer() answers an ask, and none is being "
                "handled here; use ctx.start() to run a task"
            )
        # Who asked waits for the task from now on, not for the reader.
        call.release()
        self.hold(call)
        answer = call.by = Answer(self, call)
        self.workshop.start_soon(answer.work_out, work)
        return Deferred(call)

    def begin(self, item: object, now: float) -> None:
        """A function has received a message."""
        self.current, self._since = item, now

    def set_timer(
        self, message: Tell[Any], key: Hashable, make: Callable[[], Timer]
    ) -> Timer:
        """Set a timer; one of the same key is replaced."""
        self.mailbox.check(message)
        timer = make()
        if key is None:
            key = timer
        self._timers = self._timers or {}
        if (other := self._timers.get(key)) is not None:
            other.cancel()
        for spent in [k for k, t in self._timers.items() if not t.pending]:
            del self._timers[spent]
        self._timers[key] = timer
        return timer

    def watch(self, other: Mailbox, message_for: Callable[[Exit], Tell[Any]]) -> None:
        """See `Context.watch`."""
        key, watched = object(), self._watched or {}
        watched[key], self._watched = other, watched

        def ended(exit_: Exit) -> None:
            watched.pop(key, None)
            self.mailbox.post(Ended(self, message_for, exit_))

        other.watch(key, ended)

    def directory(self) -> Path:
        """See `Context.temp_dir`."""
        if self._directory is None:
            self._directory = Path(tempfile.mkdtemp(prefix="actor-"))
            self.steps.insert(0, ("temp_dir", partial(self._remove, self._directory)))
        return self._directory

    async def _remove(self, directory: Path) -> None:
        files = await trio.to_thread.run_sync(remove_directory, directory)
        self._directory = None
        if files:
            path, names = self.mailbox.path, files[:NAMED]
            event = TempFilesRemoved(path, self.number, len(files), names)
            self.runtime.emit(event)

    def suspend(self) -> None:
        """Read no user messages."""
        self.suspended, self.mailbox.state = True, "suspended"

    def resume(self) -> None:
        """Read them again."""
        self.suspended, self.mailbox.state = False, "running"

    # -- the end --------------------------------------------------------------------

    def interrupt(self, why: Exception | None, reason: str) -> None:
        """Cut a start short. The incarnation has then failed with ``why``, if given."""
        self.why_interrupted, self._interrupted = why, True
        if self.starting is not None:
            self.starting.cancel(reason=reason)

    def kill(self, reason: str) -> None:
        """Cancel it; cleanup still runs, within its budget. Idempotent."""
        self._killed = True
        self.cancel(reason)

    def _task_failed(self, error: Exception) -> None:
        """A task of the workshop has raised; the nursery has cancelled the others."""
        self._failure = error
        self.cancel(f"a task of {self.mailbox.path} has failed")

    def _decided(self, exit_: Exit) -> None:
        """It ends so: report it, and settle what was begun; synchronous."""
        box = self.mailbox
        serving.set(None)
        if self._freeze_check is not None:
            self._freeze_check.cancel()
        if self._timers is not None:
            for timer in self._timers.values():
                timer.cancel()
        if self._watched is not None:
            for key, other in self._watched.items():
                other.unwatch(key)
        if exit_.failed:
            box.failed += 1
            self.runtime.emit(Failed(box.path, self.number, exit_))
        if box.state != "stuck":  # else that has been settled before
            box.state = "stopping"
            self.settle(exit_)
        self.current = None
        box.drop_volatile()

    async def _clean_up(self, exit_: Exit) -> Report:
        actor = cast("Actor", self.actor)
        if type(actor).stopping is not STOPPING:
            self.steps.append(("stopping", lambda: actor.stopping(exit_)))
        return await run_steps(self.steps, self.cleanup)

    # -- looking --------------------------------------------------------------------

    def doing(self) -> str:
        """Say what it is at, for an error."""
        if (kind := self.current_kind) is None:
            return ""
        note = f" ({self.progress})" if self.progress else ""
        waits = ", ".join(box.path for box in self.mailbox.waits_for)
        waiting = f", waiting for {waits}" if waits else ""
        return f", handling {kind} for {self.current_age:.3g} s{note}{waiting}"

    @property
    def operation_names(self) -> Sequence[str]:
        """Open operations, the outermost first."""
        return [operation.name for operation in self.operations]

    def children(self) -> Iterable[Mailbox]:
        """Those of a supervisor."""
        below = () if self.actor is None else self.actor.below()
        return [ref._mailbox for ref in below]

    def stack(self) -> list[str]:
        """Where it waits: one ``file:line function`` per frame, outermost first."""
        return stack_of(self.task)


def _checked(actor: object, path: str) -> Actor:
    if not isinstance(actor, Actor):
        raise TypeError(f"the factory of {path} made {actor!r}, not an Actor")
    if hasattr(actor, "ctx"):
        raise TypeError(
            f"the factory of {path} must make a new object each time, but made "
            f"{actor!r} again: nothing in memory survives an incarnation"
        )
    return actor
