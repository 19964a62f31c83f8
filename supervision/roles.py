"""The children of one incarnation of a supervisor, and whose they are."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import Any, cast

import trio

from actors import Context, Exit, Ref
from actors._core.alarms import ScheduledCall
from actors._core.refs import waiting_for
from actors._core.registry import Registry
from supervision.garbage import Collector
from supervision.plan import Event
from supervision.reports import Recorder
from supervision.role import Role
from supervision.specs import Child

STARTS = 16
"""Children started before others have their turn; a start takes some 30 us."""


class Roles:
    """The children of one incarnation of a supervisor, in the order of their start."""

    def __init__(
        self,
        ctx: Context,
        is_up: Callable[[Role], None],
        report: Callable[[Role, Event], None],
        recorder: Recorder | None,
        collector: Collector,
    ) -> None:
        self.is_up = is_up
        """Call it when a child has come up."""
        self.report = report
        """Call it when anything else has happened to a child."""
        self.emit = ctx._life.runtime.emit
        self.nursery = ctx._life.workshop.nursery
        """Where the children live."""
        self.recorder = recorder
        self.collector = collector
        self._ctx = ctx
        self._registry = ctx._life.runtime.registry
        self._roles: dict[str, Role] = {}
        # What the previous incarnation left behind, to be adopted or given up.
        self._orphans = self._registry.release(ctx.me)

    def __iter__(self) -> Iterator[Role]:
        return iter(tuple(self._roles.values()))

    def __getitem__(self, name: str) -> Role:
        return self._roles[name]

    def __len__(self) -> int:
        return len(self._roles)

    def get(self, name: str) -> Role | None:
        """The child of that name, if there is one."""
        return self._roles.get(name)

    def spawn(self, fn: Callable[..., Awaitable[object]], *args: object) -> None:
        """Run a task in the supervisor's nursery."""
        self._ctx._life.workshop.start_soon(fn, *args)

    def call_in(self, seconds: float, fn: Callable[[], object]) -> ScheduledCall:
        """Call a plain function after so many seconds, as the supervisor would.

        What it spawns inherits the supervisor's context variables.
        """
        life = self._ctx._life
        context = cast("trio.lowlevel.Task", life.task).context
        due = life.runtime.now() + seconds
        return life.runtime.alarms.call_at(due, lambda: context.run(fn))

    async def start_in_turn(self) -> None:
        """Start all, each when its elders are up.

        Raises:
            StartFailed: one did not come up; those behind it are not started.
        """
        for number, role in enumerate(self, 1):
            role.start()
            if not role.is_up:
                await waiting_for(role.ref._mailbox, role.begun)
            elif number % STARTS == 0:
                await trio.lowlevel.checkpoint()

    async def stop_in_turn(self, *, final: bool) -> None:
        """Stop all, the last first, each when its juniors have ended or are stuck.

        ``final``: they will not come back.
        """
        for role in reversed(tuple(self)):
            await self._stop(role, final)

    async def stop_at_once(self, *, final: bool) -> None:
        """Stop all; wait until each has ended, or is stuck."""
        async with trio.open_nursery() as nursery:
            for role in self:
                nursery.start_soon(self._stop, role, final)

    async def _stop(self, role: Role, final: bool) -> None:  # noqa: FBT001
        role.stop(final=final)
        over = await role.ended()
        role.report_crash("stop")
        if final and over:
            self.dismiss(role)

    # -- who belongs here -------------------------------------------------------------

    def ref(self, child: Child[Any]) -> Ref[Any]:
        """The ref of a child, here or anywhere."""
        return ref_of(self._registry, child)

    def adopt(self, child: Child[Any]) -> Role:
        """Take a child under this supervisor; it is not started yet.

        Raises:
            ValueError: it belongs to another supervisor.
        """
        me, ref = self._ctx.me, self.ref(child)
        path = f"{me.path}/{child.name}"
        self._registry.adopt(me, child, ref, path, child.groups)
        self._orphans.pop(child, None)
        box = ref._mailbox
        # Nobody answers there before we have started it: an elder sibling that asks
        # it while it starts itself would wait for us, and we for it.
        box.waits_for = [me._mailbox]
        role = self._roles[child.name] = Role(child, ref, self)
        return role

    def forget_orphans(self) -> None:
        """Give up what the previous incarnation had and this one did not adopt."""
        for ref in self._orphans.values():
            self._registry.close(ref, Exit("shutdown"))
        self._orphans = {}

    def dismiss(self, role: Role) -> None:
        """The child is over for good: whoever still waits for it is told so."""
        self._roles.pop(role.name, None)
        self._registry.dismiss(self._ctx.me, role.child)
        self._registry.close(role.ref, role.last or Exit("shutdown"))

    def refuse(self, ref: Ref[Any], exit_: Exit) -> None:
        """Close the mailboxes of a child and of all below it, until it is started."""
        ref._mailbox.close(exit_)
        for below in self._registry.below(ref):
            self.refuse(below, exit_)


def ref_of(registry: Registry, child: Child[Any]) -> Ref[Any]:
    """The ref of a role, made on first use."""
    return registry.ref(child, child.name, child.mailbox, child.overflow)
