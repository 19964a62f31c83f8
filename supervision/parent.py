"""What a supervisor is for the role that plays it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from actors import Actor
from supervision.events import Stuck
from supervision.garbage import Collector
from supervision.reports import Recorder


class StartFailed(Exception):
    """A child did not start, or not come up again; ``__cause__`` says why."""


class Parent(Actor):
    """An actor with children. What it needs to know is told by its own role."""

    _quantum = 0.001  # when many crash at once, nothing is more urgent than this
    final = False
    """Whether its end, when it comes, is for good."""
    recorder: Recorder | None = None
    collector: Collector
    """One for all supervisors of a system."""
    on_held_up: Callable[[], None] | None = None
    """Call it when all has stopped but children that are stuck."""

    def stuck(self) -> Sequence[Stuck]:
        """Those below it that cannot be ended, and where they hang."""
        raise NotImplementedError

    def kill_all(self, reason: str) -> None:
        """Cancel all children at once."""
        raise NotImplementedError
