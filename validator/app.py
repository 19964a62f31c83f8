"""The composition root: ports and settings in, the tree of actors out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import attrs

from actors.events import Sink
from supervision import (
    Backoff,
    Breakers,
    Child,
    Intensity,
    Meter,
    Metrics,
    Supervisor,
    System,
    Watchdog,
)
from validator.actors.connection import Patience
from validator.actors.database import DatabaseTree, Tuning, database
from validator.actors.geomagnetic import Geomagnetic
from validator.actors.lease import LeaseHolder
from validator.actors.metagraph import MetagraphFollower
from validator.actors.retention import Retention
from validator.actors.rounds import Rounds, miner_policy
from validator.actors.weights import WeightSetter
from validator.domain.metagraph import UIDS
from validator.ports import Calendar, Chain, Connect, DstSource, OpenDatabase, OpenLease
from validator.settings import Settings

# A database that is being restarted is away for half a minute: the tree must not give
# up on itself before that. Delays are drawn at random: 30 restarts take a minute on
# average, and 131.3 s at the most.
PATIENT = Intensity(restarts=30, within=180)
QUICK = Backoff(first=0.1, factor=2, cap=5)
# A bug that some miners know how to meet must not take the clients of all others down.
TOLERANT = Intensity(restarts=2 * UIDS, within=3600)


@attrs.frozen(kw_only=True)
class Ports:
    """The world as the validator sees it."""

    chain: Chain
    connect: Connect
    open_database: OpenDatabase
    open_lease: OpenLease
    dst: DstSource
    calendar: Calendar


@attrs.frozen
class Validator:
    """The tree, and the roles in it that others talk to."""

    system: System
    watchdog: Child[Watchdog]
    database: DatabaseTree
    tasks: Child[Supervisor]


def build(
    ports: Ports,
    settings: Settings,
    *,
    services: Sequence[Child[Any]] = (),
    on_event: Sequence[Sink] = (),
    random: Random | None = None,
) -> Validator:
    """Put the tree together; enter its ``system`` to start it.

    ``services`` are started before, and stopped after, everything else but the
    watchdog.
    """
    metrics = Metrics()
    watchdog = Child(
        "watchdog",
        lambda: Watchdog(
            system.root,
            metrics,
            every=settings.watch_interval,
            loop_limit=settings.loop_limit,
            loop_hard=settings.loop_hard_limit,
        ),
    )
    roles = make_roles(ports, settings, lambda: system)
    system = System(
        watchdog,
        *services,
        *roles.children,
        name="validator",
        intensity=PATIENT,
        backoff=QUICK,
        on_event=[metrics, *on_event],
        measure=Meter(),
        random=random,
    )
    return Validator(system, watchdog, roles.database, roles.tasks)


@attrs.frozen
class Roles:
    """What a validator consists of, without a watchdog or a system round it."""

    children: Sequence[Child[Any]]
    """Of the root, in this order."""
    database: DatabaseTree
    tasks: Child[Supervisor]


def make_roles(ports: Ports, settings: Settings, system: Callable[[], System]) -> Roles:
    """Make the actors' roles. ``system`` gives that which they will be part of."""
    wiring = _Wiring(ports, settings, system)
    tuning = Tuning(
        patience=Patience(
            question=settings.database_timeout, pause=settings.database_timeout / 50
        ),
        intensity=PATIENT,
        backoff=QUICK,
    )
    tree = database(ports.open_database, system, tuning)
    lease = wiring.lease(tree)
    miners = Child("miners", lambda: Supervisor(intensity=TOLERANT, backoff=QUICK))
    breakers = Child("breakers", lambda: Breakers(miner_policy), mailbox=1024)
    rounds = Child("rounds", lambda: Rounds(system().ref(breakers), settings))
    metagraph = wiring.metagraph(tree, miners)
    weights = wiring.weights(tree, lease)
    geomagnetic = wiring.geomagnetic(tree, metagraph, rounds, weights)
    retention = wiring.retention(tree)
    tasks = Child("tasks", lambda: _group(weights, geomagnetic, retention))
    metagraphs = Child("chain", lambda: _group(metagraph))
    children = tree.supervisor, lease, miners, breakers, rounds, metagraphs, tasks
    return Roles(children, tree, tasks)


@attrs.frozen
class _Wiring:
    """Which actor gets which ports, settings and refs."""

    _ports: Ports
    _settings: Settings
    _system: Callable[[], System]

    def lease(self, tree: DatabaseTree) -> Child[LeaseHolder]:
        return Child(
            "lease",
            lambda: LeaseHolder(
                self._ports.open_lease,
                database=tree.client(self._system()),
                settings=self._settings,
            ),
        )

    def metagraph(
        self, tree: DatabaseTree, miners: Child[Supervisor]
    ) -> Child[MetagraphFollower]:
        settings = self._settings
        return Child(
            "metagraph",
            lambda: MetagraphFollower(
                chain=self._ports.chain,
                database=tree.client(self._system()),
                miners=self._system().ref(miners),
                connect=self._ports.connect,
                calendar=self._ports.calendar,
                settings=settings,
            ),
            handler_timeout=None,  # each of its calls has a limit of its own
            start_timeout=settings.chain_timeout + settings.database_timeout,
        )

    def weights(
        self, tree: DatabaseTree, lease: Child[LeaseHolder]
    ) -> Child[WeightSetter]:
        return Child(
            "weights",
            lambda: WeightSetter(
                chain=self._ports.chain,
                database=tree.client(self._system()),
                lease=self._system().ref(lease),
                calendar=self._ports.calendar,
                settings=self._settings,
            ),
        )

    def geomagnetic(
        self,
        tree: DatabaseTree,
        metagraph: Child[MetagraphFollower],
        rounds: Child[Rounds],
        weights: Child[WeightSetter],
    ) -> Child[Geomagnetic]:
        return Child(
            "geomagnetic",
            lambda: Geomagnetic(
                database=tree.client(self._system()),
                metagraph=self._system().ref(metagraph),
                rounds=self._system().ref(rounds),
                weights=self._system().ref(weights),
                source=self._ports.dst,
                calendar=self._ports.calendar,
                settings=self._settings,
            ),
            start_timeout=self._settings.database_timeout,
            cleanup=10,
        )

    def retention(self, tree: DatabaseTree) -> Child[Retention]:
        return Child(
            "retention",
            lambda: Retention(
                database=tree.client(self._system()),
                calendar=self._ports.calendar,
                settings=self._settings,
            ),
        )


def _group(*children: Child[Any]) -> Supervisor:
    return Supervisor(*children, intensity=PATIENT, backoff=QUICK)
