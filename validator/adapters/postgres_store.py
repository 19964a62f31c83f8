"""The questions of the ``Store`` port in SQL.

Each question is one unit of work: a coroutine that gets the connection and does all
its statements. It runs in asyncio (see ``postgres``), so it awaits nothing else.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from datetime import datetime
from itertools import groupby
from typing import Any, Protocol, TypeVar

import attrs

from validator.domain.metagraph import Miner
from validator.domain.scoring import Prediction, ScoredHour, ScoreRow

T = TypeVar("T")


class Connection(Protocol):
    """What the units use of the driver's connection."""

    def execute(self, query: str, /, *args: object) -> Awaitable[str]:
        """Run a statement; return its tag."""
        ...

    def fetch(self, query: str, /, *args: object) -> Awaitable[Sequence[Any]]:
        """Run a statement; return its rows."""
        ...

    def fetchval(self, query: str, /, *args: object) -> Awaitable[Any]:
        """Run a statement; return the first value of its first row, or None."""
        ...


class Session(Protocol):
    """Runs units of work, one at a time."""

    async def run(
        self,
        operation: str,
        unit: Callable[[Connection], Coroutine[Any, Any, T]],
        *,
        writes: bool = True,
    ) -> T:
        """Run one unit, in a transaction if it writes."""
        ...


@attrs.frozen
class PostgresStore:
    """``validator.ports.Store`` on one session; promises what the port does."""

    _session: Session

    async def ping(self) -> None:
        async def unit(connection: Connection) -> None:
            await connection.fetchval("SELECT 1")

        await self._session.run("ping", unit, writes=False)

    async def register_miner(self, miner: Miner) -> None:
        async def unit(connection: Connection) -> None:
            await connection.execute(
                "DELETE FROM miners WHERE uid = $1 AND hotkey <> $2",
                *(miner.uid, miner.hotkey),
            )
            await connection.execute(
                "INSERT INTO miners (uid, hotkey, ip, port) VALUES ($1, $2, $3, $4) "
                "ON CONFLICT (hotkey) DO UPDATE SET uid = excluded.uid, "
                "ip = excluded.ip, port = excluded.port",
                *(miner.uid, miner.hotkey, miner.ip, miner.port),
            )

        await self._session.run("register miner", unit)

    async def forget_miner(self, hotkey: str) -> None:
        async def unit(connection: Connection) -> None:
            # All that is the miner's goes with it: ON DELETE CASCADE.
            await connection.execute("DELETE FROM miners WHERE hotkey = $1", hotkey)

        await self._session.run("forget miner", unit)

    async def miners(self) -> Sequence[Miner]:
        async def unit(connection: Connection) -> Sequence[Miner]:
            rows = await connection.fetch(
                "SELECT uid, hotkey, ip, port FROM miners ORDER BY uid"
            )
            return tuple(Miner(**row) for row in rows)

        return await self._session.run("read miners", unit, writes=False)

    async def save_predictions(self, predictions: Sequence[Prediction]) -> int:
        async def unit(connection: Connection) -> int:
            await _open_hours(connection, {given.hour for given in predictions})
            await connection.execute(
                "INSERT INTO geomagnetic_predictions (hour, hotkey, value) "
                "SELECT hour, hotkey, value FROM unnest($1::timestamptz[], $2::text[], "
                "$3::float8[]) WITH ORDINALITY AS given (hour, hotkey, value, place) "
                "JOIN miners USING (hotkey) JOIN geomagnetic_hours USING (hour) "
                "WHERE truth IS NULL ORDER BY place ON CONFLICT DO NOTHING",
                [given.hour for given in predictions],
                [given.hotkey for given in predictions],
                [given.value for given in predictions],
            )
            known = await connection.fetchval(
                "SELECT count(*) FROM unnest($1::text[]) AS given (hotkey) "
                "JOIN miners USING (hotkey)",
                [given.hotkey for given in predictions],
            )
            return int(known)

        return await self._session.run("save predictions", unit)

    async def pending_hours(self, before: datetime) -> Sequence[datetime]:
        async def unit(connection: Connection) -> Sequence[datetime]:
            rows = await connection.fetch(
                "SELECT hour FROM geomagnetic_hours "
                "WHERE truth IS NULL AND hour < $1 ORDER BY hour",
                before,
            )
            return tuple(row["hour"] for row in rows)

        return await self._session.run("read pending hours", unit, writes=False)

    async def open_hour(self, hour: datetime) -> None:
        async def unit(connection: Connection) -> None:
            await _open_hours(connection, {hour})

        await self._session.run("open hour", unit)

    async def claim_predictions(
        self, hour: datetime, *, owner: str, incarnation: int
    ) -> Sequence[Prediction]:
        async def unit(connection: Connection) -> Sequence[Prediction]:
            rows = await connection.fetch(
                "WITH claimed AS (UPDATE geomagnetic_predictions "
                "SET status = 'processing', owner = $2, incarnation = $3 "
                "WHERE hour = $1 AND (status = 'pending' OR (owner, incarnation) = "
                "($2, $3)) RETURNING hour, hotkey, value) "
                "SELECT hour, hotkey, value FROM claimed ORDER BY hotkey",
                *(hour, owner, incarnation),
            )
            return tuple(Prediction(**row) for row in rows)

        return await self._session.run("claim predictions", unit)

    async def record_scores(self, outcome: ScoredHour) -> None:
        async def unit(connection: Connection) -> None:
            newly_scored = await connection.fetchval(
                "INSERT INTO geomagnetic_hours AS known (hour, truth) VALUES ($1, $2) "
                "ON CONFLICT (hour) DO UPDATE SET truth = excluded.truth "
                "WHERE known.truth IS NULL RETURNING true",
                *(outcome.hour, outcome.truth),
            )
            if newly_scored:
                await _store_scores(connection, outcome)

        await self._session.run("record scores", unit)

    async def release_claims(self, *, owner: str) -> int:
        async def unit(connection: Connection) -> int:
            released = await connection.fetchval(
                "WITH released AS (UPDATE geomagnetic_predictions "
                "SET status = 'pending', owner = NULL, incarnation = NULL "
                "WHERE owner = $1 RETURNING hotkey) SELECT count(*) FROM released",
                owner,
            )
            return int(released)

        return await self._session.run("release claims", unit)

    async def score_rows(self, since: datetime) -> Sequence[ScoreRow]:
        async def unit(connection: Connection) -> Sequence[ScoreRow]:
            found = await connection.fetch(
                "SELECT task, target_time, uid, score FROM score_rows "
                "LEFT JOIN scores USING (task, target_time) "
                "LEFT JOIN miners USING (hotkey) "
                "WHERE target_time >= $1 ORDER BY target_time, task, uid",
                since,
            )
            rows = groupby(found, key=lambda row: (row["task"], row["target_time"]))
            return tuple(
                ScoreRow(
                    task,
                    at,
                    {s["uid"]: s["score"] for s in scores if s["score"] is not None},
                )
                for (task, at), scores in rows
            )

        return await self._session.run("read score rows", unit, writes=False)

    async def processing_rows(self) -> int:
        async def unit(connection: Connection) -> int:
            held = await connection.fetchval(
                "SELECT count(*) FROM geomagnetic_predictions "
                "WHERE status = 'processing'"
            )
            return int(held)

        return await self._session.run("count processing rows", unit, writes=False)


async def _open_hours(connection: Connection, hours: set[datetime]) -> None:
    await connection.execute(
        "INSERT INTO geomagnetic_hours (hour) SELECT unnest($1::timestamptz[]) "
        "ON CONFLICT DO NOTHING",
        sorted(hours),
    )


async def _store_scores(connection: Connection, outcome: ScoredHour) -> None:
    hotkeys = [score.hotkey for score in outcome.scores]
    worth = [score.score for score in outcome.scores]
    await connection.execute(
        "INSERT INTO score_rows (task, target_time) VALUES ('geomagnetic', $1)",
        outcome.hour,
    )
    await connection.execute(
        "INSERT INTO scores (task, target_time, hotkey, score) "
        "SELECT 'geomagnetic', $1, hotkey, score FROM unnest($2::text[], $3::float8[]) "
        "WITH ORDINALITY AS given (hotkey, score, place) JOIN miners USING (hotkey) "
        "ORDER BY place ON CONFLICT DO NOTHING",
        *(outcome.hour, hotkeys, worth),
    )
    await connection.execute(
        "INSERT INTO geomagnetic_history (hour, hotkey, predicted, score) "
        "SELECT $1, hotkey, predicted, score "
        "FROM unnest($2::text[], $3::float8[], $4::float8[]) "
        "WITH ORDINALITY AS given (hotkey, predicted, score, place) "
        "JOIN miners USING (hotkey) ORDER BY place ON CONFLICT DO NOTHING",
        *(outcome.hour, hotkeys, [score.predicted for score in outcome.scores], worth),
    )
    await connection.execute(
        "DELETE FROM geomagnetic_predictions WHERE hour = $1", outcome.hour
    )
