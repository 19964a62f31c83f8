"""The supervisor: child failures are messages, restarts are decisions.

A child is a task in its supervisor's own nursery that never raises: it turns
whatever happens into an `Exit` and posts that to the supervisor. A raw exception in
that nursery would cancel the siblings. Only the supervisor's own failure leaves it.
"""

from __future__ import annotations

from collections import deque
from typing import Any, ClassVar, Generic, TypeVar

import attrs
import trio

from actors import Ask, Deferred, Exit, Ref, Rejected, Tell
from supervision.decisions import RestartWindow, restarts
from supervision.events import BackingOff, Escalated
from supervision.roles import Parent, Role, Roles, StartFailed
from supervision.snapshot import Snapshot
from supervision.specs import Backoff, Child, Intensity

Q = TypeVar("Q")


class MaxRestarts(Exception):
    """A supervisor gave up: more restarts than its intensity allows.

    ``history`` holds the exits that were charged, oldest first; ``__cause__`` is the
    failure of the last.
    """

    def __init__(self, path: str, child: str, history: tuple[Exit, ...]) -> None:
        super().__init__(path, child, history)
        self.path = path
        self.child = child
        self.history = history

    def __str__(self) -> str:
        return (
            f"{self.path} gave up after {len(self.history)} failures, the last of "
            f"{self.child!r} ({self.history[-1].kind})"
        )


@attrs.frozen
class StartChild(Ask["Supervisor", Ref[Q]], Generic[Q]):
    """Start a further child, after all others; the answer is its ref, once it is up.

    Rejected: the name is taken, or the child did not start.
    """

    child: Child[Q]


@attrs.frozen
class StopChild(Ask["Supervisor", Exit]):
    """Stop a child for good, also while it backs off; the answer is how it ended.

    Rejected: there is no such child.
    """

    name: str


@attrs.frozen
class GetChildren(Ask["Supervisor", tuple[str, ...]]):
    """The names of the children, in the order of their start."""


@attrs.frozen
class ChildExited(Tell["Supervisor"]):
    """A child's incarnation has ended, unasked."""

    system: ClassVar[bool] = True
    role: Role
    exit: Exit


class Supervisor(Parent):
    """Starts its children in order, restarts them one for one, stops them in reverse.

    A child that ends without having been asked is restarted as its `Restart` type
    says, after a jittered backoff during which the supervisor goes on answering.
    Beyond the intensity the supervisor itself fails with `MaxRestarts`, and its own
    supervisor decides. Mailboxes of children outlive their restarts.
    """

    def __init__(
        self,
        *children: Child[Any],
        intensity: Intensity | None = None,
        backoff: Backoff | None = None,
    ) -> None:
        self._children = children
        self._backoff = backoff or Backoff()
        self._window = RestartWindow(intensity or Intensity())
        self._window.intensity.check_reachable(self._backoff)
        self._charged: deque[Exit] = deque(maxlen=self._window.intensity.restarts + 1)
        names = [child.name for child in children]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(
                f"children need names of their own; twice: {sorted(twice)}"
            )

    async def started(self) -> None:
        self._roles = Roles(self.ctx, self._exited)
        for child in self._children:
            self._roles.adopt(child)
        self._roles.forget_orphans()
        for role in self._roles:
            await role.start()

    # -- messages -------------------------------------------------------------------

    @StartChild[Any].handled
    def start_child(self, m: StartChild[Any]) -> Deferred[Ref[Any]]:
        if m.child.name in self._roles:
            raise Rejected(f"{self.ctx.me.path} has a child {m.child.name!r} already")
        role = self._roles.adopt(m.child)

        async def start() -> Ref[Any]:
            try:
                await role.start()
            except StartFailed as error:
                self._roles.dismiss(role, Exit("failed", error))
                raise Rejected(str(error)) from error
            return role.ref

        return self.ctx.defer(start)

    @StopChild.handled
    def stop_child(self, m: StopChild) -> Deferred[Exit]:
        role = self._roles.get(m.name)
        if role is None:
            raise Rejected(f"{self.ctx.me.path} has no child {m.name!r}")

        async def stop() -> Exit:
            exit_ = await role.stop()
            self._roles.dismiss(role, exit_)
            return exit_

        return self.ctx.defer(stop)

    @GetChildren.handled
    def get_children(self, m: GetChildren) -> tuple[str, ...]:
        return tuple(role.child.name for role in self._roles)

    # -- failures -------------------------------------------------------------------

    def _exited(self, role: Role, exit_: Exit) -> None:
        self.ctx.me._mailbox.post(ChildExited(role, exit_))

    @ChildExited.handled
    def child_exited(self, m: ChildExited) -> None:
        role, exit_ = m.role, m.exit
        if role.stopping:
            return  # it was asked to meanwhile, and whoever asked deals with it
        if not restarts(role.child.restart, exit_):
            self._roles.dismiss(role, exit_)
            return
        now = trio.current_time()
        self._charged.append(exit_)
        if not self._window.charge(now):
            self._give_up(role, exit_)
        if now - role.up_since >= self._backoff.healthy:
            role.attempt = 0
        longest = self._backoff.longest(role.attempt)
        delay = self.ctx._life.runtime.random.uniform(0, longest)
        role.attempt += 1
        role.restart_after(delay)
        self.ctx.emit(BackingOff(role.ref.path, exit_, role.attempt, delay))

    def _give_up(self, role: Role, exit_: Exit) -> None:
        path, history = self.ctx.me.path, tuple(self._charged)
        self.ctx.emit(Escalated(path, role.child.name, history))
        raise MaxRestarts(path, role.child.name, history) from exit_.failure

    async def leave(self, exit_: Exit) -> None:
        if not exit_.failed:
            # A child that asks us now must not wait for us: nobody serves any more.
            self.ctx.me._mailbox.close(exit_)
        for role in reversed(tuple(self._roles)):
            last = await role.stop()
            if not exit_.failed:
                self._roles.dismiss(role, last)

    def pictures(self) -> tuple[Snapshot, ...]:
        return tuple(role.snapshot() for role in self._roles)
