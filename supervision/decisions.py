"""What a supervisor decides, as pure functions: time is an argument."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, assert_never

if TYPE_CHECKING:
    from actors import Exit
    from supervision.specs import Intensity, Restart


def restarts(policy: Restart, exit_: Exit) -> bool:
    """Tell whether a child that ended with ``exit_``, unasked, is started again."""
    match policy:
        case "permanent":
            return True
        case "transient":
            return exit_.kind != "normal"
        case "temporary":
            return False
        case _:
            assert_never(policy)


class RestartWindow:
    """The restarts of one supervisor within its sliding window."""

    def __init__(self, intensity: Intensity) -> None:
        self.intensity = intensity
        self._at: deque[float] = deque()

    def charge(self, now: float) -> bool:
        """Count one restart; False if that is one too many."""
        at, limit = self._at, self.intensity
        at.append(now)
        while at[0] < now - limit.within:
            at.popleft()
        return len(at) <= limit.restarts

    def used(self, now: float) -> int:
        """How many restarts the window holds."""
        return sum(at >= now - self.intensity.within for at in self._at)
