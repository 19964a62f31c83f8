"""What is said about a crash, and what is kept for when it is asked about."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import islice

from actors import Exit
from actors.events import Event, Sink
from supervision.events import Decision
from supervision.plan import Action, Dismiss, GiveUp, Shutdown, Start
from supervision.planner import Planner

REMEMBERED = 32
"""Exits that an escalation tells. Each keeps alive what its failure passed through."""


class MaxRestarts(Exception):
    """A supervisor gave up: more restarts than its intensity allows.

    ``failures`` is how many there were; ``history`` holds the last 32 exits
    that were charged, oldest first; ``__cause__`` is the failure of the last.
    """

    def __init__(
        self, path: str, child: str, failures: int, history: tuple[Exit, ...]
    ) -> None:
        super().__init__(path, child, failures, history)
        self.path = path
        self.child = child
        self.failures = failures
        self.history = history

    def __str__(self) -> str:
        return (
            f"{self.path} gave up after {self.failures} failures, the last of "
            f"{self.child!r} ({self.history[-1].kind})"
        )


class Recorder:
    """A flight recorder: keeps the last events of a system."""

    def __init__(self, size: int = 256) -> None:
        self._events: deque[Event] = deque(maxlen=size)
        self.sink: Sink = self._events.append

    def below(self, path: str, most: int = 32) -> Sequence[Event]:
        """The last events of an actor and of all below it, oldest first."""
        below = f"{path}/"
        found = (
            event
            for event in reversed(self._events)
            if event.path == path or event.path.startswith(below)
        )
        return tuple(islice(found, most))[::-1]


def decision(planner: Planner, name: str, actions: Sequence[Action]) -> Decision:
    """Put in a word what the planner makes of the end of a child."""
    for action in reversed(actions):
        if isinstance(action, Start) and action.name == name:
            return "restart"
        if isinstance(action, GiveUp):
            return "give up"
        if isinstance(action, Shutdown):
            return "shut down"
        if isinstance(action, Dismiss) and action.name == name:
            return "forget"
    return "restart with its group" if planner.wants(name) else "leave down"
