"""A picture of an actor that needs nobody's cooperation."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from actors._core.exits import Exit
from actors._core.mailbox import Mailbox
from actors._core.record import State


@attrs.frozen
class Snapshot:
    """One actor, and below it its children, as they were at one instant.

    Counts are of the role, over all its incarnations. Figures of messages lag by one
    turn of the reader at the most: 64 messages, or the one that is being handled.
    """

    path: str
    kind: str
    """The class of the latest incarnation; empty before the first."""
    state: State
    incarnation: int
    restarts: int
    mailbox: int
    """Messages waiting to be handled."""
    capacity: int
    peak: int
    """The most messages that ever waited."""
    senders_waiting: int
    """Senders and askers waiting for room."""
    oldest_age: float | None
    """Seconds the oldest message has waited; None: there is none, or metrics are
    off."""
    current: str | None
    """The class of the message being handled."""
    current_age: float | None
    """Seconds its handler has been at work, once it has waited for something."""
    progress: str
    """What the actor said last that it is at."""
    operations: Sequence[str]
    """Open operations, the outermost first."""
    handled: int
    rejected: int
    failed: int
    expired: int
    """Asks whose time was over before they were begun."""
    handling_time: float
    """Seconds spent in handlers."""
    mailbox_time: float
    """Seconds that handled messages had waited, all together; 0 without metrics."""
    room_waits: int
    """How many times somebody waited for room."""
    room_wait_time: float
    """Seconds that senders waited for room, all together."""
    waits_for: Sequence[str]
    """Paths of the actors its handler waits for: edges of the wait-for graph."""
    last_exit: Exit | None
    children: Sequence[Snapshot]


def picture(box: Mailbox) -> Snapshot:
    """Describe a role without asking it."""
    life = box.life
    return Snapshot(
        path=box.path,
        kind=box.receiver,
        state=box.state,
        incarnation=box.incarnations,
        restarts=box.restarts,
        mailbox=box.length,
        capacity=box.capacity,
        peak=max(box.peak, box.length),
        senders_waiting=len(box.waiting),
        oldest_age=box.oldest_age(),
        current=None if life is None else life.current_kind,
        current_age=None if life is None else life.current_age,
        progress="" if life is None else life.progress,
        operations=() if life is None else life.operation_names,
        handled=box.handled,
        rejected=box.rejected,
        failed=box.failed,
        expired=box.expired,
        handling_time=box.handling_time,
        mailbox_time=box.mailbox_time,
        room_waits=box.room_waits,
        room_wait_time=box.room_wait_time,
        waits_for=[other.path for other in box.waits_for],
        last_exit=box.last_exit,
        children=() if life is None else [picture(b) for b in life.children()],
    )
