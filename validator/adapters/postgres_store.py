"""The questions of the ``Store`` port in SQL; of soil, see ``postgres_soil``."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import groupby
from typing import Any

import attrs

from validator.adapters.postgres_soil import PostgresSoil
from validator.adapters.postgres_units import Connection, known_miners
from validator.domain.metagraph import Miner
from validator.domain.scoring import EarnedRow, Excuse, Prediction, ScoredHour, Task
from validator.ports import PRUNED_AT_ONCE


@attrs.frozen
class PostgresStore(PostgresSoil):
    """``validator.ports.Store`` on one session; promises what the port does."""

    async def ping(self) -> None:
        async def unit(connection: Connection) -> None:
            await connection.fetchval("SELECT 1")

        await self._session.run("ping", unit, writes=False)

    async def register_miners(self, miners: Sequence[Miner]) -> None:
        async def unit(connection: Connection) -> None:
            # Two at once might both find a uid free.
            await connection.execute("LOCK miners IN SHARE ROW EXCLUSIVE MODE")
            await connection.execute(
                "SELECT FROM miners WHERE uid = ANY($1::integer[]) "
                "OR hotkey = ANY($2::text[]) ORDER BY hotkey FOR UPDATE",
                *([each.uid for each in miners], [each.hotkey for each in miners]),
            )
            for miner in miners:  # one by one: somebody may move to another's uid
                await _register(connection, miner)

        await self._session.run("register miners", unit)

    async def forget_miners(self, hotkeys: Sequence[str]) -> None:
        async def unit(connection: Connection) -> None:
            # All that is the miners' goes with them: ON DELETE CASCADE.
            await connection.execute(
                "DELETE FROM miners WHERE hotkey IN (SELECT hotkey FROM miners "
                "WHERE hotkey = ANY($1::text[]) ORDER BY hotkey FOR UPDATE)",
                list(hotkeys),
            )

        await self._session.run("forget miners", unit)

    async def miners(self) -> Sequence[Miner]:
        async def unit(connection: Connection) -> Sequence[Miner]:
            rows = await connection.fetch(
                "SELECT uid, hotkey, ip, port FROM miners ORDER BY uid"
            )
            return tuple(Miner(**row) for row in rows)

        return await self._session.run("read miners", unit, writes=False)

    async def save_predictions(
        self, predictions: Sequence[Prediction], excuses: Sequence[Excuse] = ()
    ) -> int:
        async def unit(connection: Connection) -> int:
            everything: list[Prediction | Excuse] = [*predictions, *excuses]
            hours = {given.hour for given in everything}
            await _open_hours(connection, hours)
            unscored = await _unscored(connection, hours)
            known = await known_miners(connection, (g.hotkey for g in everything))
            kept = {
                (given.hour, given.hotkey): given
                for given in reversed(predictions)  # of several, the first stays
                if given.hour in unscored and given.hotkey in known
            }
            await connection.execute(
                "INSERT INTO geomagnetic_predictions (hour, hotkey, value) "
                "SELECT * FROM unnest($1::timestamptz[], $2::text[], $3::float8[]) "
                "ON CONFLICT DO NOTHING",
                [hour for hour, _ in sorted(kept)],
                [hotkey for _, hotkey in sorted(kept)],
                [kept[key].value for key in sorted(kept)],
            )
            excused = {
                (given.hour, given.hotkey)
                for given in excuses
                if given.hour in unscored and given.hotkey in known
            }
            await _excuse(connection, sorted(excused))
            return sum(given.hotkey in known for given in predictions)

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
                'SELECT hour, hotkey, value FROM claimed ORDER BY hotkey COLLATE "C"',
                *(hour, owner, incarnation),
            )
            return tuple(Prediction(**row) for row in rows)

        return await self._session.run("claim predictions", unit)

    async def record_scores(self, outcome: ScoredHour) -> bool:
        async def unit(connection: Connection) -> bool:
            await _open_hours(connection, {outcome.hour})
            if (
                await connection.fetchval(
                    "SELECT truth FROM geomagnetic_hours WHERE hour = $1 FOR UPDATE",
                    outcome.hour,
                )
                is not None
            ):
                return True
            if await connection.fetchval(
                "SELECT EXISTS (SELECT FROM geomagnetic_predictions "
                "WHERE hour = $1 AND hotkey <> ALL ($2::text[]))",
                *(outcome.hour, [score.hotkey for score in outcome.scores]),
            ):
                return False
            await _store_scores(connection, outcome)
            return True

        return await self._session.run("record scores", unit)

    async def release_claims(self, *, owner: str | None) -> int:
        async def unit(connection: Connection) -> int:
            released = 0
            for work, what in (
                ("geomagnetic_predictions", "status = 'pending', "),
                ("soil_targets", ""),
            ):
                released += await connection.fetchval(
                    f"WITH released AS (UPDATE {work} "  # noqa: S608
                    f"SET {what}owner = NULL, incarnation = NULL "
                    "WHERE owner IS NOT NULL AND ($1::text IS NULL OR owner = $1) "
                    "RETURNING true) SELECT count(*) FROM released",
                    owner,
                )
            return released

        return await self._session.run("release claims", unit)

    async def score_rows(self, since: datetime) -> Sequence[EarnedRow]:
        async def unit(connection: Connection) -> Sequence[EarnedRow]:
            found = await connection.fetch(
                "SELECT task, target_time, hotkey, score FROM score_rows "
                "LEFT JOIN scores USING (task, target_time) WHERE target_time >= $1 "
                "UNION ALL SELECT task, target_time, hotkey, NULL FROM score_rows "
                "JOIN geomagnetic_excuses "
                "ON task = 'geomagnetic' AND target_time = hour AND hour >= $1 "
                "ORDER BY target_time, task",
                since,
            )
            rows = groupby(found, key=lambda row: (row["task"], row["target_time"]))
            return tuple(_earned(task, at, list(each)) for (task, at), each in rows)

        return await self._session.run("read score rows", unit, writes=False)

    async def processing_rows(self) -> int:
        async def unit(connection: Connection) -> int:
            held = await connection.fetchval(
                "SELECT (SELECT count(*) FROM geomagnetic_predictions "
                "WHERE owner IS NOT NULL) + "
                "(SELECT count(*) FROM soil_targets WHERE owner IS NOT NULL)"
            )
            return int(held)

        return await self._session.run("count processing rows", unit, writes=False)

    async def prune(self, before: datetime) -> int:
        async def unit(connection: Connection) -> int:
            pruned = 0
            for table, key in (
                ("geomagnetic_hours", "hour"),
                ("soil_targets", "target_time"),
                ("score_rows", "target_time, task"),
            ):
                # What hangs on them goes with them: ON DELETE CASCADE.
                pruned += await connection.fetchval(
                    f"WITH pruned AS (DELETE FROM {table} WHERE ({key}) IN ("  # noqa: S608
                    f"SELECT {key} FROM {table} WHERE {key.partition(',')[0]} < $1 "
                    f"ORDER BY {key} LIMIT $2) RETURNING true) "
                    "SELECT count(*) FROM pruned",
                    *(before, PRUNED_AT_ONCE),
                )
            return pruned

        return await self._session.run("prune", unit)


async def _register(connection: Connection, miner: Miner) -> None:
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


async def _open_hours(connection: Connection, hours: set[datetime]) -> None:
    await connection.execute(
        "INSERT INTO geomagnetic_hours (hour) SELECT unnest($1::timestamptz[]) "
        "ON CONFLICT DO NOTHING",
        sorted(hours),
    )


async def _unscored(connection: Connection, hours: set[datetime]) -> set[datetime]:
    """Return those of ``hours`` that are not scored, and keep them so until the end."""
    rows = await connection.fetch(
        "SELECT hour FROM geomagnetic_hours WHERE truth IS NULL "
        "AND hour = ANY($1::timestamptz[]) ORDER BY hour FOR SHARE",
        list(hours),
    )
    return {row["hour"] for row in rows}


async def _excuse(
    connection: Connection, excused: Sequence[tuple[datetime, str]]
) -> None:
    await connection.execute(
        "INSERT INTO geomagnetic_excuses (hour, hotkey) "
        "SELECT * FROM unnest($1::timestamptz[], $2::text[]) ON CONFLICT DO NOTHING",
        [hour for hour, _ in excused],
        [hotkey for _, hotkey in excused],
    )


def _earned(task: Task, at: datetime, rows: Sequence[Any]) -> EarnedRow:
    # One without a hotkey is of a question nobody answered, without a score an excuse.
    given = [row for row in rows if row["hotkey"] is not None]
    scores = {r["hotkey"]: r["score"] for r in given if r["score"] is not None}
    excused = frozenset(row["hotkey"] for row in given) - scores.keys()
    return EarnedRow(task, at, scores, excused)


async def _store_scores(connection: Connection, outcome: ScoredHour) -> None:
    known = await known_miners(connection, (score.hotkey for score in outcome.scores))
    kept = {
        score.hotkey: score
        for score in reversed(outcome.scores)  # of several, the first counts
        if score.hotkey in known
    }
    hotkeys, worth = list(kept), [score.score for score in kept.values()]
    await connection.execute(
        "UPDATE geomagnetic_hours SET truth = $2 WHERE hour = $1",
        *(outcome.hour, outcome.truth),
    )
    await connection.execute(
        "INSERT INTO score_rows (task, target_time) VALUES ('geomagnetic', $1) "
        "ON CONFLICT DO NOTHING",
        outcome.hour,
    )
    await connection.execute(
        "INSERT INTO scores (task, target_time, hotkey, score) "
        "SELECT 'geomagnetic', $1, * FROM unnest($2::text[], $3::float8[]) "
        "ON CONFLICT DO NOTHING",
        *(outcome.hour, hotkeys, worth),
    )
    await connection.execute(
        "INSERT INTO geomagnetic_history (hour, hotkey, predicted, score) "
        "SELECT $1, * FROM unnest($2::text[], $3::float8[], $4::float8[])",
        *(outcome.hour, hotkeys, [score.predicted for score in kept.values()], worth),
    )
    await connection.execute(
        "DELETE FROM geomagnetic_predictions WHERE hour = $1", outcome.hour
    )
