"""The database as a small tree, with one ref for all questions.

::

    database (rest_for_one)
      breaker       lets nobody connect while the database is down, and probes it
      health        counts failures, resets the pool, looks every five minutes
      loop          drives all connections
      connections   the pool: five that stay, ten more under load
        0 .. 14     one connection each

A question waits in the pool until there is a connection that lives and has nothing to
do, and is answered by that connection itself. Whoever asks does so by a
`DatabaseClient`, which repeats what was lost, and says what became of it.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs

from supervision import (
    Backoff,
    BreakerPolicy,
    Breakers,
    Child,
    Intensity,
    Supervisor,
    System,
    pool_of,
)
from validator.actors.asking import DatabaseClient
from validator.actors.connection import Connection, Losses, Patience
from validator.actors.health import Health
from validator.actors.loop import GetOpener, Loop
from validator.actors.questions import Database
from validator.ports import OpenDatabase


@attrs.frozen(kw_only=True)
class Tuning:
    """Sizes and limits; plain numbers are seconds."""

    kept: int = 5
    """Connections that are never closed for want of work."""
    extra: int = 10
    """Further ones, under load."""
    patience: Patience = attrs.field(factory=Patience)
    drain: float = 5.0
    """What a reset gives to transactions under way."""
    failures: int = 3
    """So many in a row lead to a reset."""
    check_every: float = 300.0
    start: float = 60.0
    """For the first connection and the migrations."""
    probe: Backoff = attrs.field(factory=lambda: Backoff(first=0.5, cap=10))
    """The pauses between probes of a database that is down."""
    intensity: Intensity | None = None
    backoff: Backoff | None = None


@attrs.frozen
class DatabaseTree:
    """The tree, and the role in it that answers."""

    supervisor: Child[Supervisor]
    connections: Child[Database]
    _pause: float

    def client(self, system: System) -> DatabaseClient:
        """For whoever asks."""
        return DatabaseClient(system.ref(self.connections), self._pause)


def database(
    open_database: OpenDatabase, system: Callable[[], System], tuning: Tuning
) -> DatabaseTree:
    """Put the tree together. ``system`` gives that which it will be part of."""
    patience, losses = tuning.patience, Losses()

    async def probe() -> bool:
        opener = await system().ref(loop).ask(GetOpener(), timeout=patience.connect)
        async with opener() as store:
            await store.ping()
        return True

    policy = BreakerPolicy(
        failures=tuning.failures, wait=tuning.probe, lease=4 * patience.connect
    )
    breaker = Child(
        "breaker", lambda: Breakers(lambda _: policy, probe_for=lambda _: probe)
    )
    health = Child(
        "health",
        lambda: Health(
            system().ref(supervisor),
            system().ref(connections),
            failures=tuning.failures,
            every=tuning.check_every,
        ),
        handler_timeout=None,  # each of its questions has a limit of its own
    )
    loop = Child(
        "loop",
        lambda: Loop(open_database),
        start_timeout=tuning.start,
        cleanup=patience.settle,
    )
    connections: Child[Database] = pool_of(
        Child(
            "connections",
            lambda: Connection(
                system().ref(loop),
                system().ref(breaker),
                system().ref(health),
                losses,
                kept=tuning.kept,
                patience=patience,
            ),
            handler_timeout=patience.question,
            shutdown=tuning.drain,
            cleanup=patience.settle,
            mailbox=256,
        ),
        size=tuning.kept + tuning.extra,
        route="first",
        intensity=tuning.intensity,
        backoff=tuning.backoff,
    )
    supervisor = Child(
        "database",
        lambda: Supervisor(
            *(breaker, health, loop, connections),
            strategy="rest_for_one",
            intensity=tuning.intensity,
            backoff=tuning.backoff,
        ),
    )
    return DatabaseTree(supervisor, connections, patience.pause)
