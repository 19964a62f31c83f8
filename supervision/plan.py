"""What a supervisor tells its planner, and what it is told to do: frozen values."""
# Without slots for the reason given in ``actors.events``.

from __future__ import annotations

from typing import Any

import attrs

from supervision.specs import Child

# -- what happens -------------------------------------------------------------------


@attrs.frozen(slots=False)
class ChildStarted:
    """The child is up."""

    name: str


@attrs.frozen(slots=False)
class StartFailed:
    """The child did not start, and nothing of it is left."""

    name: str


@attrs.frozen(slots=False)
class ChildExited:
    """The child ended although nobody had asked it to.

    ``failed``: not in one of the ways in which a transient child may end.
    """

    name: str
    failed: bool


@attrs.frozen(slots=False)
class ChildStopped:
    """A `Stop` has been carried out: nothing of the child is left."""

    name: str


@attrs.frozen(slots=False)
class ChildStuck:
    """The child cannot be ended: its task neither stops nor lets itself be cancelled.

    Everything else goes on without it. Should it end after all, `ChildStopped` follows.
    """

    name: str


@attrs.frozen(slots=False)
class ChildAdded:
    """A further child is to be started, after all others; if it fails, forget it."""

    child: Child[Any]

    @property
    def name(self) -> str:
        """That of the child."""
        return self.child.name


@attrs.frozen(slots=False)
class RestartRequested:
    """A child is to be started: at once, and if it is up, stopped before.

    If one that was down does not start, it stays down.
    """

    name: str


@attrs.frozen(slots=False)
class StopRequested:
    """A child is to be stopped until a request, or the restart of its group.

    ``forget``: for good; it is no child any more. So it always is if it is temporary.
    """

    name: str
    forget: bool = False


Event = (
    ChildStarted
    | StartFailed
    | ChildExited
    | ChildStopped
    | ChildStuck
    | ChildAdded
    | RestartRequested
    | StopRequested
)

# -- what to do ---------------------------------------------------------------------


@attrs.frozen(slots=False)
class Start:
    """Start the child, and report `ChildStarted` or `StartFailed`."""

    name: str
    attempt: int | None
    """Back off first, for the so-many-th restart counted from 0; None: at once."""


@attrs.frozen(slots=False)
class Stop:
    """Stop the child, its start or the backoff before it; report `ChildStopped`."""

    name: str
    final: bool = False
    """It will not come back."""


@attrs.frozen(slots=False)
class Dismiss:
    """The child is over for good: its name is free."""

    name: str


@attrs.frozen(slots=False)
class GiveUp:
    """One restart too many: fail, with the children stopped in reverse order."""

    name: str


@attrs.frozen(slots=False)
class Shutdown:
    """A significant child has ended: stop, the children in reverse order."""

    name: str


Action = Start | Stop | Dismiss | GiveUp | Shutdown
