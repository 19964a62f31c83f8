"""What an incarnation can be cancelled with."""

from __future__ import annotations

import math
from types import TracebackType

import trio


class Leash:
    """The cancel scope round what an incarnation does, as a context manager.

    To enter and leave a scope costs as much as to start a task. So one that an
    `Exception` passes stays entered, for the next incarnation in the same task, until
    it is let go. A scope that was cancelled is left at once, as any other would be.
    """

    __slots__ = ("_cancelled", "deadline", "is_held", "scope")

    def __init__(self) -> None:
        self.scope = trio.CancelScope()
        self.is_held = False
        """Whether the task is in the scope."""
        self.deadline = math.inf
        """When the scope is cancelled; see `limit`."""
        self._cancelled = False

    def limit(self, deadline: float) -> None:
        """Cancel the scope at ``deadline`` (trio time, seconds; inf: never)."""
        self.deadline = self.scope.deadline = deadline

    def cancel(self, reason: str) -> None:
        """Cancel the scope."""
        self._cancelled = True
        self.scope.cancel(reason=reason)

    def is_spent(self) -> bool:
        """Whether the scope has been cancelled, or its deadline is over."""
        # Asking the scope means to find the clock first.
        if self._cancelled or self.deadline is math.inf:
            return self._cancelled
        return self.scope.cancel_called

    def __enter__(self) -> None:
        if not self.is_held:
            self.scope.__enter__()
            self.is_held = True

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        if isinstance(error, Exception) and not self.is_spent():
            return False
        self.is_held = False
        return self.scope.__exit__(kind, error, traceback)

    def renew(self) -> None:
        """Be as good as new for what is done next."""
        if not self.is_held or self.is_spent():
            self.let_go()
            self.scope = trio.CancelScope()  # they are single-use
            self.deadline, self._cancelled = math.inf, False
        elif self.deadline is not math.inf:
            self.limit(math.inf)

    def let_go(self) -> None:
        """Leave the scope, if the task is in it; nothing raised is under way."""
        if self.is_held:
            self.is_held = False
            self.scope.__exit__(None, None, None)
