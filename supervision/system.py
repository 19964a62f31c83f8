"""A tree of actors beside a block of code: ``async with System(...)``."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from types import TracebackType
from typing import Any, Self, TypeVar

from actors import Exit, Ref
from actors._core.runtime import Runtime
from actors.events import Sink
from actors.host import Host
from supervision.roles import picture
from supervision.snapshot import Snapshot, State
from supervision.specs import Backoff, Child, Intensity
from supervision.tree import StartChild, StopChild, Supervisor

Q = TypeVar("Q")


class SystemFailed(Exception):
    """The root supervisor has failed; ``__cause__`` says why.

    Everything was stopped in order and cleaned up before this was raised.
    """


class System:
    """A supervision tree that lives as long as a block, in any trio program.

    ``async with`` starts the children in order and waits until all are up. Leaving
    the block, also by an exception or because the host cancels, stops them in
    reverse order, each within its own budgets, and all within ``shutdown`` seconds:
    then whatever is left is cancelled. If the root supervisor fails, the block is
    cancelled and `SystemFailed` is raised. What the block raises leaves unchanged.

    It owns no global state and installs no signal handlers; several may run in one
    program.
    """

    def __init__(
        self,
        *children: Child[Any],
        name: str = "app",
        intensity: Intensity | None = None,
        backoff: Backoff | None = None,
        shutdown: float = 30.0,
        on_event: Sequence[Sink] = (),
        random: Random | None = None,
    ) -> None:
        self._root = Supervisor(*children, intensity=intensity, backoff=backoff)
        self._hurried = False
        self._runtime = Runtime(on_event, random)
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
        return self._runtime.registry.ref(child, child.name, child.mailbox)

    async def start(self, child: Child[Q]) -> Ref[Q]:
        """Start a further child under the root; return its ref once it is up.

        Raises:
            Rejected: the name is taken, or the child did not start.
        """
        return await self.root.ask(StartChild(child))

    async def stop(self, child: Child[Any]) -> Exit:
        """Stop a child of the root for good; say how it ended.

        Raises:
            Rejected: it is no child of the root.
        """
        return await self.root.ask(StopChild(child.name))

    def snapshot(self) -> Snapshot:
        """A picture of the whole tree. Synchronous; works when actors are stuck."""
        host = self._host
        state: State = "running" if host.exit is None else "stopped"
        return picture(host.ref, host.life, state, restarts=0, last=host.exit)

    def hurry(self) -> None:
        """Stop now: what is left of ``shutdown`` is over, and what runs is cancelled.

        Cleanups still have their budgets. Leaving the block is not a failure then.
        """
        self._hurried = True
        self._host.hurry()

    async def __aenter__(self) -> Self:
        await self._host.__aenter__()
        if self._host.exit is not None:
            await self._host.__aexit__(None, None, None)
            self._raise_failure(self._host.exit)
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

    def _raise_failure(self, exit_: Exit) -> None:
        if exit_.failed or (exit_.kind == "killed" and not self._hurried):
            name = self._host.ref.path
            raise SystemFailed(f"{name} has {_how(exit_)}") from exit_.failure


def _how(exit_: Exit) -> str:
    if exit_.kind == "killed":
        return "not stopped in time and was cancelled"
    return f"failed: {exit_.failure}"
