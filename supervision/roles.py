"""The children of one supervisor: starting, stopping and looking at each."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import trio

from actors import Actor, Context, Exit, Ref
from actors._core.exits import collapse
from actors._core.incarnation import Incarnation
from actors._core.mailbox import STOP
from actors._core.refs import serving, waiting_for
from supervision.events import Restarted, StartTimedOut, Stuck
from supervision.snapshot import Snapshot, State
from supervision.specs import Child

UNWIND = 1.0
"""Seconds a cancelled child may take to unwind, beyond its cleanup budget, before
it is reported as stuck."""

DEFAULT_SHUTDOWN = 5.0
"""Seconds a child that is no supervisor may take for the message in hand."""


class StartFailed(Exception):
    """A child did not start; ``__cause__`` says why."""


class Role:
    """One child of one incarnation of a supervisor."""

    def __init__(
        self,
        child: Child[Any],
        ref: Ref[Any],
        ctx: Context,
        exited: Callable[[Role, Exit], None],
    ) -> None:
        self.child = child
        self.ref = ref
        self.state: State = "starting"
        self.stopping = False
        self.attempt = 0
        """Restarts since it was last healthy: the exponent of the backoff."""
        self.restarts = 0
        self.up_since = math.inf
        """When the latest incarnation came up, in trio time; inf until it has."""
        self._ctx = ctx
        self._exited = exited
        self._life: Incarnation | None = None
        # Invariant: set iff no task of an incarnation of this role is alive.
        self._over = trio.Event()
        self._over.set()
        self._last: Exit | None = None
        self._task: trio.lowlevel.Task | None = None
        self._pending = trio.CancelScope()
        """Whatever leads to the next incarnation: the backoff, and the start."""

    # -- starting -----------------------------------------------------------------

    async def start(self) -> None:
        """Start an incarnation and wait until it is up.

        Raises:
            StartFailed: it is not, and nothing of it is left.
        """
        self._pending = trio.CancelScope()
        with self._pending:
            await self._start()
        if self._pending.cancelled_caught:
            raise StartFailed(f"{self.ref.path} was stopped while it started")

    def restart_after(self, delay: float) -> None:
        """Start the next incarnation in ``delay`` seconds, in a task of its own."""
        self.state = "backing off"
        self._pending = trio.CancelScope()
        self._ctx._life.nursery.start_soon(self._restart, self._pending, delay)

    async def _restart(self, pending: trio.CancelScope, delay: float) -> None:
        serving.set(None)
        with pending:
            await trio.sleep(delay)
            try:
                await self._start()
            except StartFailed as error:
                self._exited(self, Exit("failed", error))

    async def _start(self) -> None:
        self.state, box, child = "starting", self.ref._mailbox, self.child
        self.up_since = math.inf  # a start that fails has not been healthy
        box.waits_for.clear()
        box.incarnations += 1
        life = Incarnation(
            self.ref,
            child.factory,
            box.incarnations,
            handler_timeout=child.handler_timeout,
            cleanup=child.cleanup,
        )
        self._life, self._over = life, trio.Event()
        nursery = self._ctx._life.nursery
        try:
            with trio.fail_after(child.start_timeout):
                await waiting_for(box, partial(nursery.start, self._run, life))
        except trio.TooSlowError:
            seconds = child.start_timeout
            self._ctx.emit(StartTimedOut(box.path, life.number, seconds))
            raise StartFailed(
                f"{box.path} did not finish started() within {seconds:g} s"
            ) from None
        except Exception as error:
            failure = collapse(error)
            raise StartFailed(f"{box.path} did not start: {failure!r}") from failure

    async def _run(
        self, life: Incarnation, *, task_status: trio.TaskStatus[None]
    ) -> None:
        serving.set(None)
        self._task = trio.lowlevel.current_task()
        up = False

        def is_up() -> None:
            nonlocal up
            up, self.state, self.up_since = True, "running", trio.current_time()
            if life.number > 1:
                self.restarts += 1
                self._ctx.emit(Restarted(self.ref.path, life.number))
            task_status.started()

        exit_ = Exit("killed")
        try:
            exit_ = await life.live(is_up)
        finally:
            self._life, self._task, self._last = None, None, exit_
            self.state = "stopped"
            self._over.set()
        if up:
            self._exited(self, exit_)
        else:
            raise exit_.failure or StartFailed(f"{self.ref.path} ended while starting")

    # -- stopping -------------------------------------------------------------------

    async def stop(self) -> Exit:
        """Stop the child, or whatever leads to its next incarnation; say how it ended.

        First it is asked to, and may finish the message in hand within ``shutdown``
        seconds; then it is cancelled. Returns when no task of it is left.
        """
        self.stopping = True
        self._pending.cancel(reason=f"{self.ref.path} is being stopped")
        if not self._over.is_set():
            self.state = "stopping"
            self.ref._mailbox.post(STOP)
            with trio.move_on_after(self._patience()):
                await self._over.wait()
        if not self._over.is_set():
            await self._kill()
        self.state = "stopped"
        return self._last or Exit("shutdown")

    def _patience(self) -> float:
        if self.child.shutdown is not None:
            return self.child.shutdown
        # The children of a supervisor have limits of their own.
        actor = None if self._life is None else self._life.actor
        return math.inf if isinstance(actor, Parent) else DEFAULT_SHUTDOWN

    async def _kill(self) -> None:
        if self._life is not None:
            self._life.scope.cancel(reason=f"{self.ref.path} did not stop in time")
        with trio.move_on_after(self.child.cleanup + UNWIND):
            await self._over.wait()
        if not self._over.is_set():
            self.state = "stuck"
            number = self.ref._mailbox.incarnations
            self._ctx.emit(Stuck(self.ref.path, number, self._stack()))
            await self._over.wait()

    def _stack(self) -> list[str]:
        if self._task is None:
            return []
        return [
            f"{frame.f_code.co_filename}:{line} {frame.f_code.co_qualname}"
            for frame, line in self._task.iter_await_frames()
        ]

    # -- looking ----------------------------------------------------------------------

    def snapshot(self) -> Snapshot:
        """A picture of the role, and of the tree below it."""
        return picture(
            self.ref, self._life, self.state, restarts=self.restarts, last=self._last
        )


def picture(
    ref: Ref[Any],
    life: Incarnation | None,
    state: State,
    *,
    restarts: int,
    last: Exit | None,
) -> Snapshot:
    """Describe one role without asking it."""
    box = ref._mailbox
    current = None if life is None else life.message
    actor = None if life is None else life.actor
    return Snapshot(
        path=box.path,
        kind=box.receiver,
        state=state,
        incarnation=box.incarnations,
        restarts=restarts,
        mailbox=len(box.user),
        capacity=box.capacity,
        senders_waiting=len(box.waiting),
        current=None if current is None else type(current).__name__,
        handled=box.handled,
        waits_for=[other.path for other in box.waits_for],
        last_exit=last,
        children=actor.pictures() if isinstance(actor, Parent) else (),
    )


class Roles:
    """The children of one incarnation of a supervisor, in the order of their start."""

    def __init__(self, ctx: Context, exited: Callable[[Role, Exit], None]) -> None:
        self._ctx = ctx
        self._exited = exited
        self._registry = ctx._life.runtime.registry
        self._roles: dict[str, Role] = {}
        # What the previous incarnation left behind, to be adopted or given up.
        self._orphans = self._registry.release(ctx.me)

    def __iter__(self) -> Iterator[Role]:
        return iter(tuple(self._roles.values()))

    def __contains__(self, name: str) -> bool:
        return name in self._roles

    def get(self, name: str) -> Role | None:
        """The child of that name, if there is one."""
        return self._roles.get(name)

    def adopt(self, child: Child[Any]) -> Role:
        """Take a child under this supervisor; it is not started yet.

        Raises:
            ValueError: it belongs to another supervisor, or has stopped for good.
        """
        me, ref = self._ctx.me, self._registry.ref(child, child.name, child.mailbox)
        if ref.gone is not None:
            raise ValueError(
                f"{ref.path} has stopped for good; make a new Child to start it again"
            )
        self._registry.adopt(me, child, ref)
        self._orphans.pop(child, None)
        box = ref._mailbox
        box.path = f"{me.path}/{child.name}"
        # Nobody answers there before we have started it: an elder sibling that asks
        # it while it starts itself would wait for us, and we for it.
        box.waits_for = [me._mailbox]
        role = self._roles[child.name] = Role(child, ref, self._ctx, self._exited)
        return role

    def forget_orphans(self) -> None:
        """Give up what the previous incarnation had and this one did not adopt."""
        for ref in self._orphans.values():
            self._registry.close(ref, Exit("shutdown"))
        self._orphans = {}

    def dismiss(self, role: Role, exit_: Exit) -> None:
        """The child is over for good: whoever still waits for it is told so."""
        self._roles.pop(role.child.name, None)
        self._registry.dismiss(self._ctx.me, role.child)
        self._registry.close(role.ref, exit_)


class Parent(Actor):
    """An actor with children."""

    def pictures(self) -> tuple[Snapshot, ...]:
        """The children as they are, in the order of their start."""
        raise NotImplementedError
