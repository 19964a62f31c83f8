"""Retention: what is old goes, in pieces, and a database that is down is no crash."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import trio

from actors import Actor, Rejected
from actors.events import Event
from supervision import Child, System
from supervision.events import Restarted
from validator.actors.asking import DatabaseClient
from validator.actors.questions import Database, Question
from validator.actors.retention import Retention
from validator.domain.schedule import HOUR
from validator.events import Pruned, PruningPostponed
from validator.settings import Settings
from validator.simulation.calendar import SimulatedCalendar
from validator.simulation.store import MemoryStore

NOW = datetime(2015, 3, 17, 20, tzinfo=UTC)
KEEP = timedelta(days=2)


async def prune(store: MemoryStore, events: list[Event], *, refused: int = 0) -> None:
    """Run it for three hours of data time; at first the database refuses."""

    class Answers(Actor, Database):
        left = refused

        @Question.handled
        async def answer(self, m: Question[Any]) -> Any:
            if self.left:
                self.left -= 1
                raise Rejected("the database is down")
            return await m.put(store)

    calendar = SimulatedCalendar(NOW, hour=3600)
    database = Child("database", Answers)
    retention = Child(
        "retention",
        lambda: Retention(
            database=DatabaseClient(system.ref(database)),
            calendar=calendar,
            settings=Settings(keep=KEEP),
        ),
    )
    system = System(database, retention, on_event=[events.append])
    async with system:
        calendar.go()
        await trio.sleep(3 * 3600 + 60)


async def test_what_is_older_goes_however_much_it_is(events: list[Event]) -> None:
    store = MemoryStore()
    for n in range(200):
        await store.open_hour(NOW - n * HOUR)

    await prune(store, events)

    kept = await store.pending_hours(NOW + HOUR)
    assert kept == tuple(NOW - n * HOUR for n in reversed(range(48 - 3)))
    rows = [event.rows for event in events if isinstance(event, Pruned)]
    assert sum(rows) == 200 - len(kept)
    assert rows[0] == 200 - 49, "not hour by hour"


async def test_a_database_that_refuses_is_asked_again_an_hour_later(
    events: list[Event],
) -> None:
    store = MemoryStore()
    await store.open_hour(NOW - 100 * HOUR)

    await prune(store, events, refused=2)

    assert await store.pending_hours(NOW) == ()
    told = [type(e) for e in events if isinstance(e, Pruned | PruningPostponed)]
    assert told == [PruningPostponed, PruningPostponed, Pruned]
    assert not any(isinstance(event, Restarted) for event in events)
