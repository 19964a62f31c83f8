"""A tree of actors beside a block of code: ``async with System(...)``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from random import Random
from types import TracebackType
from typing import Any, Self, TypeVar

import trio

from actors import Exit, Ref, Snapshot, Subscription
from actors._core.exits import KILLED
from actors._core.runtime import Runtime
from actors.events import DeadLetter, Event, Sink
from actors.host import Host
from supervision import events
from supervision.events import Stuck
from supervision.reports import Recorder
from supervision.requests import CleanUp, RestartChild, StartChild, StopChild
from supervision.roles import ref_of
from supervision.specs import AutoShutdown, Backoff, Child, Intensity, Strategy
from supervision.tree import Supervisor

E = TypeVar("E", bound=Event)
Q = TypeVar("Q")


class SystemFailed(Exception):
    """The root supervisor has failed; ``__cause__`` says why.

    Everything was stopped in order and cleaned up before this was raised.
    """


class ShutdownStuck(SystemFailed):
    """A system could not end within its ``shutdown`` seconds.

    It is raised when it has ended after all. Until then nothing can be raised, as
    trio cannot end a task that shields itself; the event of the same name tells at
    once.
    """

    def __init__(self, stuck: Sequence[Stuck]) -> None:
        super().__init__(stuck)
        self.stuck = stuck

    def __str__(self) -> str:
        lines = [
            line
            for one in self.stuck
            for line in (f"{one.path} would not die:", *one.stack)
        ]
        return "\n  ".join(lines)


class System:
    """A supervision tree that lives as long as a block, in any trio program.

    ``async with`` starts the children in order and waits until all are up. Leaving
    the block, also by an exception or because the host cancels, stops them in
    reverse order, each within its own budgets, and all within ``shutdown`` seconds:
    then whatever is left is cancelled. If the root supervisor fails, the block is
    cancelled and `SystemFailed` is raised; if it shuts down because of a significant
    child, the block is cancelled and nothing is raised. What the block raises leaves
    unchanged. Children that are stuck keep the system from ending: see
    `ShutdownStuck`.

    It owns no global state and installs no signal handlers; several may run in one
    program. ``measure``, such as a `Meter`, is called at both ends of every operation;
    what it returns is in their events. Without ``metrics`` messages are not timed, so
    that their age is not known.
    """

    def __init__(
        self,
        *children: Child[Any],
        name: str = "app",
        strategy: Strategy = "one_for_one",
        intensity: Intensity | None = None,
        backoff: Backoff | None = None,
        auto_shutdown: AutoShutdown = "never",
        shutdown: float = 30.0,
        on_event: Sequence[Sink] = (),
        random: Random | None = None,
        metrics: bool = True,
        measure: Callable[[], object] | None = None,
    ) -> None:
        if not shutdown >= 0:
            raise ValueError(f"shutdown must not be negative, got {shutdown!r}")
        self._root = root = Supervisor(
            *children,
            strategy=strategy,
            intensity=intensity,
            backoff=backoff,
            auto_shutdown=auto_shutdown,
        )
        root.recorder = recorder = Recorder()
        root.final = True
        root.on_held_up = self._held_up
        self._runtime = Runtime(
            [recorder.sink, *on_event], random, metrics=metrics, measure=measure
        )
        self._shutdown_stuck: ShutdownStuck | None = None
        self._entered = self._hurried = False
        self._host: Host[Supervisor] = Host(
            lambda: self._root,
            name=name,
            runtime=self._runtime,
            handler_timeout=None,
            shutdown=shutdown,
        )

    @property
    def root(self) -> Ref[Supervisor]:
        """The supervisor of the children given."""
        return self._host.ref

    def ref(self, child: Child[Q]) -> Ref[Q]:
        """The ref of a role, at any depth: before its start and ever after."""
        return ref_of(self._runtime.registry, child)

    def find(self, path: str, protocol: type[Q]) -> Ref[Q]:
        """The actor at ``path``, of which you know that it is a ``protocol``.

        Where you have the `Child`, `ref` needs no such knowledge.

        Raises:
            LookupError: there is none.
        """
        return self._runtime.registry.find(path)

    def members(self, group: str, protocol: type[Q]) -> Sequence[Ref[Q]]:
        """The actors of a group, in the order in which they joined.

        They belong to it from before their first start until they have stopped for
        good.
        """
        return self._runtime.registry.members(group)

    def subscribe(self, *kinds: type[E], capacity: int = 1000) -> Subscription[E]:
        """Collect events of some kinds, from now on; see `Subscription`."""
        return self._runtime.subscribe(*kinds, capacity=capacity)

    @property
    def dead_letters(self) -> Sequence[DeadLetter]:
        """The latest messages that were not handled, the oldest first; 100 at most."""
        return tuple(self._runtime.dead_letters)

    @property
    def dead_letter_counts(self) -> Mapping[str, int]:
        """How many there were since the start, by reason."""
        return dict(self._runtime.dead_letter_counts)

    async def start(self, child: Child[Q]) -> Ref[Q]:
        """Start a further child under the root; return its ref once it is up.

        Raises:
            Rejected: the name is taken, or the child did not start.
        """
        return await self.root.ask(StartChild(child))

    async def restart(self, child: Child[Any]) -> None:
        """Stop a child of the root, clean up after it, and start it again.

        Raises:
            Rejected: it is no child of the root, or did not start.
        """
        await self.root.ask(RestartChild(child.name))

    async def clean_up(self, child: Child[Any]) -> None:
        """Restart a child of the root with a comprehensive cleanup: see `CleanUp`.

        Raises:
            Rejected: it is no child of the root, or did not start.
        """
        await self.root.ask(CleanUp(child.name))

    async def stop(self, child: Child[Any]) -> Exit:
        """Stop a child of the root for good; say how it ended.

        Raises:
            Rejected: it is no child of the root.
        """
        return await self.root.ask(StopChild(child.name))

    def snapshot(self) -> Snapshot:
        """A picture of the whole tree. Synchronous; works when actors are stuck."""
        return self.root.snapshot()

    def hurry(self) -> None:
        """Stop now: what is left of ``shutdown`` is over, and what runs is cancelled.

        Cleanups still have their budgets. Leaving the block is not a failure then.
        """
        self._hurried = True
        self._host.hurry()

    async def __aenter__(self) -> Self:
        if self._entered:
            raise RuntimeError(
                f"{self.root.path} has been entered before; make a new System, as its "
                "actors are those of one run"
            )
        self._entered = True
        await self._host.__aenter__()
        if self._host.exit is not None or not self._host.was_up:
            await self._host.__aexit__(None, None, None)
            self._raise_failure(self._host.exit or KILLED)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        # The host has the shield, and its deadline.
        handled = await self._host.__aexit__(kind, error, traceback)  # noqa: ASYNC102
        if self._host.exit is not None and (error is None or handled):
            self._raise_failure(self._host.exit)
        return handled

    def _held_up(self) -> None:
        self._host.cancel_block("what is stuck keeps the system from going on")
        self._root.spawn(self._tell_overdue)

    async def _tell_overdue(self) -> None:
        # Shielded against the end of the root, which waits for what is stuck.
        with trio.CancelScope(shield=True) as scope:
            await self._host.leaving.wait()
            scope.deadline = self._host.deadline
            await self._root.over()
            return
        stuck = self._root.stuck()
        self._shutdown_stuck = ShutdownStuck(stuck)
        self._runtime.emit(events.ShutdownStuck(self._host.ref.path, stuck))

    def _raise_failure(self, exit_: Exit) -> None:
        if self._shutdown_stuck is not None:
            raise self._shutdown_stuck from exit_.failure
        if exit_.failed or (exit_.kind == "killed" and not self._hurried):
            name = self._host.ref.path
            raise SystemFailed(f"{name} has {_how(exit_)}") from exit_.failure


def _how(exit_: Exit) -> str:
    if exit_.kind == "killed":
        return "not stopped in time and was cancelled"
    return f"failed: {exit_.failure}"
