"""What is known about a role, whoever plays it: it outlives incarnations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from actors._core.exits import Exit
    from actors._core.incarnation import Incarnation
    from actors._core.mailbox import Mailbox

State = Literal[
    "starting",
    "running",
    "suspended",
    "backing off",
    "stopping",
    "stuck",
    "stopped",
]
"""backing off: waiting for its restart; stuck: cannot be ended, and is not replaced
while its task lives; stopped: its last incarnation has ended, perhaps for good."""


class Record:
    """State, counters, and whom the role waits for; read by snapshots and errors."""

    __slots__ = (
        "expired",
        "failed",
        "handled",
        "handling_time",
        "incarnations",
        "last_exit",
        "life",
        "mailbox_time",
        "path",
        "peak",
        "receiver",
        "rejected",
        "restarts",
        "room_wait_time",
        "room_waits",
        "state",
        "waits_for",
    )

    def __init__(self, path: str) -> None:
        self.path = path
        self.state: State = "starting"
        self.life: Incarnation | None = None
        self.last_exit: Exit | None = None
        self.receiver = ""
        """The class of the latest incarnation, or the name of its function."""
        self.incarnations = 0
        self.restarts = 0
        self.waits_for: list[Mailbox] = []
        """Whom the handler of this role waits for: edges of the wait-for graph."""
        # Counted once a turn of the reader.
        self.handled: int = 0
        self.handling_time: float = 0.0
        self.mailbox_time: float = 0.0
        self.peak = 0
        # Counted at once.
        self.rejected = 0
        self.failed = 0
        self.expired = 0
        self.room_waits: int = 0
        self.room_wait_time: float = 0.0

    def doing(self) -> str:
        """Say what the actor is doing, for an error."""
        current = self.life.doing() if self.life is not None else ""
        return f"{self.path} is {self.state}{current}"

    def waits_no_more_for(self, other: Mailbox) -> None:
        """Take an edge from the wait-for graph."""
        self.waits_for.remove(other)
