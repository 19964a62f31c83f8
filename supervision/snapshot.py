"""A picture of the tree that needs nobody's cooperation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import attrs

from actors import Exit

State = Literal["starting", "running", "backing off", "stopping", "stuck", "stopped"]


@attrs.frozen
class Snapshot:
    """One actor, and below it its children, as they were at one instant."""

    path: str
    kind: str
    """The class of the latest incarnation; empty before the first."""
    state: State
    incarnation: int
    restarts: int
    mailbox: int
    """Messages waiting to be handled."""
    capacity: int
    senders_waiting: int
    """Senders and askers waiting for room."""
    current: str | None
    """The class of the message being handled."""
    handled: int
    """Messages handled so far by all incarnations; lags by one batch at most."""
    waits_for: Sequence[str]
    """Paths of the actors its handler waits for: an edge of the wait-for graph."""
    last_exit: Exit | None
    children: Sequence[Snapshot]
