"""What a supervisor decides, as pure functions: time is an argument."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from supervision.specs import Intensity


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
