"""What supervisors report, beside the events of ``actors.events``."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import attrs

from actors import Exit
from actors.events import Event
from supervision.breaker import Reason


@attrs.frozen
class BackingOff(Event):
    """The child will be started again after a delay."""

    exit: Exit
    attempt: int
    """Counted from 1; reset once an incarnation has stayed healthy."""
    delay: float
    """Seconds."""


@attrs.frozen
class Restarted(Event):
    """A new incarnation of the child is up."""

    incarnation: int


@attrs.frozen
class StartTimedOut(Event):
    """The child did not finish ``started()`` within its limit."""

    incarnation: int
    seconds: float


@attrs.frozen
class Escalated(Event):
    """The supervisor at ``path`` gives up: too many restarts."""

    child: str
    history: Sequence[Exit]
    """How the children ended that were restarted within the window, oldest first."""


@attrs.frozen
class Stuck(Event):
    """The child neither stopped nor let itself be cancelled within its budgets.

    It shields itself, or blocks: trio cannot end it. Its supervisor waits for it.
    """

    incarnation: int
    stack: Sequence[str]
    """Where it hangs: one ``file:line function`` per frame, outermost first."""


@attrs.frozen
class BreakerOpened(Event):
    """Circuit breaker triggered: calls of this key are refused for a while.

    ``path`` is that of the breaker actor, as with all events of breakers.
    """

    key: Hashable
    reason: Reason
    failures: int
    """Consecutive failures."""
    calls: int
    """Calls within the window of the failure rate; 0 without one."""
    failed: int
    """How many of those failed."""
    wait: float | None
    """Seconds until it is half-open; None: until somebody resets it."""
    last_failure: str


@attrs.frozen
class BreakerHalfOpen(Event):
    """The wait is over: some calls are let through to see how they fare."""

    key: Hashable


@attrs.frozen
class BreakerClosed(Event):
    """Recovered, or reset by hand: calls go through again."""

    key: Hashable
    reason: Reason


@attrs.frozen
class BreakerRefused(Event):
    """Calls were refused.

    Told at the first, then at most once a minute, and before the breaker changes.
    """

    key: Hashable
    count: int
    """How many since the last time this was told."""
