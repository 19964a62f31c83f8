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

    __slots__ = ("is_held", "scope")

    def __init__(self) -> None:
        self.scope = trio.CancelScope()
        self.is_held = False
        """Whether the task is in the scope."""

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
        if isinstance(error, Exception) and not self.scope.cancel_called:
            return False
        self.is_held = False
        return self.scope.__exit__(kind, error, traceback)

    def renew(self) -> None:
        """Be as good as new for what is done next."""
        if not self.is_held or self.scope.cancel_called:
            self.let_go()
            self.scope = trio.CancelScope()  # they are single-use
        elif self.scope.deadline != math.inf:
            self.scope.deadline = math.inf

    def let_go(self) -> None:
        """Leave the scope, if the task is in it; nothing raised is under way."""
        if self.is_held:
            self.is_held = False
            self.scope.__exit__(None, None, None)
