"""What supervisors report, beside the events of ``actors.events``."""
# Without slots for the reason given there.

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Literal

import attrs

from actors import Exit
from actors.events import Cleaned, Event
from supervision.breaker import Reason
from supervision.resources import Resources

Decision = Literal[
    "restart",
    "restart with its group",
    "leave down",
    "forget",
    "stop",
    "shut down",
    "give up",
]
"""What a supervisor does about a crash. stop: the child was being stopped anyway;
shut down, give up: the supervisor itself ends, without or with a failure."""


@attrs.frozen(slots=False)
class Crashed(Event):
    """The report of one crash: an incarnation that failed, or did not start.

    Its cleanup is over, and the decision about it has been made in this step.
    """

    incarnation: int
    exit: Exit
    """The cause, and the message that was being handled."""
    cleaned: Cleaned | None
    """What its cleanup did; None if nothing had begun that could be cleaned up."""
    decision: Decision


@attrs.frozen(slots=False)
class BackingOff(Event):
    """The child will be started again after a delay."""

    exit: Exit
    attempt: int
    """Counted from 1; reset once an incarnation has stayed healthy."""
    delay: float
    """Seconds."""


@attrs.frozen(slots=False)
class Restarted(Event):
    """A new incarnation of the child is up."""

    incarnation: int


@attrs.frozen(slots=False)
class StartTimedOut(Event):
    """The child did not finish ``started()`` within its limit."""

    incarnation: int
    seconds: float


@attrs.frozen(slots=False)
class Escalated(Event):
    """The supervisor at ``path`` gives up: too many restarts."""

    child: str
    history: Sequence[Exit]
    """How the children ended that were restarted within the window, oldest first; of
    many, the last."""
    events: Sequence[Event] = ()
    """The last events of the supervisor and of all below it, oldest first."""


@attrs.frozen(slots=False)
class Stuck(Event):
    """The child neither stopped nor let itself be cancelled within its budgets.

    It shields itself: trio cannot end it. It is not replaced while its task lives, and
    whoever asks it is told that it is gone; everybody else goes on. Repeated every
    minute for as long as that lasts.
    """

    incarnation: int
    stack: Sequence[str]
    """Where it hangs: one ``file:line function`` per frame, outermost first."""


@attrs.frozen(slots=False)
class ShutdownStuck(Event):
    """A system could not end within its ``shutdown`` seconds.

    Everything has stopped but these: it ends when they do.
    """

    stuck: Sequence[Stuck]
    """Who would not die, and where each hangs."""


@attrs.frozen(slots=False)
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


@attrs.frozen(slots=False)
class BreakerHalfOpen(Event):
    """The wait is over: some calls are let through to see how they fare."""

    key: Hashable


@attrs.frozen(slots=False)
class BreakerClosed(Event):
    """Recovered, or reset by hand: calls go through again."""

    key: Hashable
    reason: Reason


@attrs.frozen(slots=False)
class BreakerRefused(Event):
    """Calls were refused.

    Told at the first, then at most once a minute, and before the breaker changes.
    """

    key: Hashable
    count: int
    """How many since the last time this was told."""


@attrs.frozen(slots=False)
class Waited(Event):
    """Somebody waited for what others had: a connection, a permit. It is over now."""

    what: str
    seconds: float


@attrs.frozen(slots=False)
class Contended(Event):
    """Too many wait for one thing; told when it begins.

    For ``room`` the path is that of the actor whose mailbox is full, otherwise that of
    the actor who waits.
    """

    what: str
    waiting: float
    """How many waited, on average since the last look."""


@attrs.frozen(slots=False)
class LeftOver(Event):
    """Something was found that an earlier cleanup of the actor should have removed."""

    what: str
    count: int


@attrs.frozen(slots=False)
class CleanupStarted(Event):
    """A comprehensive cleanup of an actor, and of all below it, has begun.

    It was asked for (`CleanUp`), or the process ends. `Cleaned` tells of each
    incarnation that ends by it.
    """


@attrs.frozen(slots=False)
class GarbageCollected(Event):
    """Python's garbage was collected, as a step of a comprehensive cleanup."""

    objects: int
    """How many were found that nobody could reach any more."""
    seconds: float
    """For how long that stopped the whole process."""


@attrs.frozen(slots=False)
class CleanupCompleted(Event):
    """A comprehensive cleanup is over; nothing is left of what ran before it.

    Without `GarbageCollected` before it, the last collection was less than a minute
    ago.
    """


@attrs.frozen(slots=False)
class HighMemory(Event):
    """Memory was over the previous peak of the operation by more than half.

    Of the whole process: something else that ran meanwhile may have used it.
    """

    operation: str
    current: int
    """Resident memory, bytes."""
    previous_peak: int


@attrs.frozen(slots=False)
class LoopBlocked(Event):
    """The event loop was blocked, and is running again.

    ``path`` is that of the actor whose task blocked it; of the watchdog if none did.
    """

    task: str
    """The trio task."""
    seconds: float
    """How long at least."""
    where: str
    """``file:line function``."""
    stack: Sequence[str]


@attrs.frozen(slots=False)
class Summary(Event):
    """How the whole tree is; reported at regular intervals."""

    actors: int
    not_running: Mapping[str, str]
    """The state of every actor that is not running, by path."""
    restarts: int
    """Of all actors in the tree, so far."""
    errors: Mapping[str, int]
    """Crashes and failed operations of the last 5 minutes, by kind."""
    resources: Resources
    """What the process uses."""
