"""The questions of the ``SoilStore`` port in SQL."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import chain
from typing import Any, Literal

import attrs

from validator.adapters.postgres_units import Connection, Session, known_miners
from validator.domain.metagraph import MINERS_AT_ONCE
from validator.domain.soil import (
    CELLS,
    REGIONS_AT_ONCE,
    DueTarget,
    PreparedRegion,
    Region,
    ScoredTarget,
    SoilForecast,
)

_REGION = "target_time, number, box, bounds, crs"


@attrs.frozen
class PostgresSoil:
    """``validator.ports.SoilStore`` on one session; promises what the port does."""

    _session: Session

    async def save_regions(self, prepared: Sequence[PreparedRegion]) -> None:
        async def unit(connection: Connection) -> None:
            times = {each.region.target_time for each in prepared}
            await connection.execute(
                "INSERT INTO soil_targets (target_time) "
                "SELECT unnest($1::timestamptz[]) ON CONFLICT DO NOTHING",
                sorted(times),
            )
            opened = await _open_targets(connection, times)
            for each in prepared:  # one by one: the driver copies what it sends
                if each.region.target_time in opened:
                    await _save_region(connection, each)

        await self._session.run("save regions", unit)

    async def regions(self, target_time: datetime) -> Sequence[Region]:
        async def unit(connection: Connection) -> Sequence[Region]:
            rows = await connection.fetch(
                f"SELECT {_REGION} FROM soil_regions WHERE target_time = $1 "  # noqa: S608
                "ORDER BY number",
                target_time,
            )
            return tuple(_region(row) for row in rows)

        return await self._session.run("read regions", unit, writes=False)

    async def unsent_regions(
        self, target_time: datetime, *, after: int = -1, limit: int = REGIONS_AT_ONCE
    ) -> Sequence[PreparedRegion]:
        async def unit(connection: Connection) -> Sequence[PreparedRegion]:
            rows = await connection.fetch(
                f"SELECT {_REGION}, image "  # noqa: S608
                "FROM soil_regions JOIN soil_images USING (target_time, number) "
                "WHERE target_time = $1 AND number > $2 AND NOT sent "
                "ORDER BY number LIMIT $3",
                *(target_time, after, limit),
            )
            return tuple(PreparedRegion(_region(row), row["image"]) for row in rows)

        return await self._session.run("read unsent regions", unit, writes=False)

    async def region_sent(self, target_time: datetime, number: int) -> None:
        async def unit(connection: Connection) -> None:
            await connection.execute(
                "UPDATE soil_regions SET sent = true "
                "WHERE target_time = $1 AND number = $2",
                *(target_time, number),
            )

        await self._session.run("mark region as sent", unit)

    async def save_soil_forecasts(self, forecasts: Sequence[SoilForecast]) -> int:
        async def unit(connection: Connection) -> int:
            times = {given.target_time for given in forecasts}
            opened = await _open_targets(connection, times)
            known = await known_miners(connection, (each.hotkey for each in forecasts))
            kept = [
                given
                for given in forecasts
                if given.target_time in opened and given.hotkey in known
            ]
            await _save_forecasts(connection, kept)
            return sum(given.hotkey in known for given in forecasts)

        return await self._session.run("save soil forecasts", unit)

    async def soil_forecasts(
        self,
        target_time: datetime,
        number: int,
        *,
        after: str = "",
        limit: int = MINERS_AT_ONCE,
    ) -> Sequence[SoilForecast]:
        async def unit(connection: Connection) -> Sequence[SoilForecast]:
            rows = await connection.fetch(
                "SELECT hotkey, surface, rootzone FROM soil_predictions "
                "WHERE target_time = $1 AND number = $2 AND hotkey > $3 "
                "ORDER BY hotkey LIMIT $4",
                *(target_time, number, after, limit),
            )
            return tuple(
                SoilForecast(
                    *(target_time, number, row["hotkey"]),
                    tuple(row["surface"]),
                    tuple(row["rootzone"]),
                )
                for row in rows
            )

        return await self._session.run("read soil forecasts", unit, writes=False)

    async def due_targets(
        self, *, until: datetime, now: datetime
    ) -> Sequence[DueTarget]:
        async def unit(connection: Connection) -> Sequence[DueTarget]:
            rows = await connection.fetch(
                "SELECT target_time, attempts FROM soil_targets WHERE closed IS NULL "
                "AND target_time <= $1 AND (retry_at IS NULL OR retry_at <= $2) "
                "ORDER BY target_time",
                *(until, now),
            )
            return tuple(DueTarget(**row) for row in rows)

        return await self._session.run("read due targets", unit, writes=False)

    async def claim_target(
        self, target_time: datetime, *, owner: str, incarnation: int
    ) -> bool:
        async def unit(connection: Connection) -> bool:
            mine = await connection.fetchval(
                "UPDATE soil_targets SET owner = $2, incarnation = $3 "
                "WHERE target_time = $1 AND closed IS NULL "
                "AND (owner IS NULL OR (owner, incarnation) = ($2, $3)) RETURNING true",
                *(target_time, owner, incarnation),
            )
            return bool(mine)

        return await self._session.run("claim target", unit)

    async def record_soil_scores(self, outcome: ScoredTarget) -> None:
        async def unit(connection: Connection) -> None:
            if await _close(connection, outcome.target_time, "scored"):
                await _store_scores(connection, outcome)

        await self._session.run("record soil scores", unit)

    async def postpone_target(
        self, target_time: datetime, *, attempt: int, retry_at: datetime, error: str
    ) -> None:
        async def unit(connection: Connection) -> None:
            await connection.execute(
                "UPDATE soil_targets SET attempts = $2, retry_at = $3, "
                "last_error = $4, owner = NULL, incarnation = NULL "
                "WHERE target_time = $1 AND closed IS NULL AND attempts < $2",
                *(target_time, attempt, retry_at, error),
            )

        await self._session.run("postpone target", unit)

    async def abandon_target(self, target_time: datetime) -> None:
        async def unit(connection: Connection) -> None:
            await _close(connection, target_time, "abandoned")

        await self._session.run("abandon target", unit)


def _region(row: Any) -> Region:
    return Region(
        row["target_time"],
        row["number"],
        box=tuple(row["box"]),
        bounds=tuple(row["bounds"]),
        crs=row["crs"],
    )


async def _open_targets(
    connection: Connection, times: Iterable[datetime]
) -> set[datetime]:
    """Return those of ``times`` that are open targets, and keep them so."""
    rows = await connection.fetch(
        "SELECT target_time FROM soil_targets WHERE closed IS NULL "
        "AND target_time = ANY($1::timestamptz[]) ORDER BY target_time FOR SHARE",
        list(times),
    )
    return {row["target_time"] for row in rows}


async def _save_region(connection: Connection, prepared: PreparedRegion) -> None:
    region = prepared.region
    key = region.target_time, region.number
    created = await connection.fetchval(
        f"INSERT INTO soil_regions ({_REGION}) VALUES ($1, $2, $3, $4, $5) "  # noqa: S608
        "ON CONFLICT DO NOTHING RETURNING true",
        *(*key, region.box, region.bounds, region.crs),
    )
    if created:
        await connection.execute(
            "INSERT INTO soil_images (target_time, number, image) VALUES ($1, $2, $3)",
            *(*key, prepared.image),
        )


async def _save_forecasts(
    connection: Connection, forecasts: Sequence[SoilForecast]
) -> None:
    # All grids travel as one array, which is cut up again by the place of each.
    cut = f"(place - 1) * {CELLS} + 1 : place * {CELLS}"
    await connection.execute(
        "INSERT INTO soil_predictions "  # noqa: S608
        "(target_time, number, hotkey, surface, rootzone) "
        'SELECT DISTINCT ON (target_time, number, hotkey COLLATE "C") '
        f"target_time, number, hotkey, ($4::float8[])[{cut}], ($5::float8[])[{cut}] "
        "FROM unnest($1::timestamptz[], $2::integer[], $3::text[]) "
        "WITH ORDINALITY AS given (target_time, number, hotkey, place) "
        "JOIN soil_regions USING (target_time, number) "
        'ORDER BY target_time, number, hotkey COLLATE "C", place '
        "ON CONFLICT DO NOTHING",
        [given.target_time for given in forecasts],
        [given.number for given in forecasts],
        [given.hotkey for given in forecasts],
        list(chain.from_iterable(given.surface for given in forecasts)),
        list(chain.from_iterable(given.rootzone for given in forecasts)),
    )


async def _close(
    connection: Connection, target_time: datetime, how: Literal["scored", "abandoned"]
) -> bool:
    """Close an open target, and drop what is of no more use; False: it is not open."""
    closed = await connection.fetchval(
        "UPDATE soil_targets SET closed = $2, owner = NULL, incarnation = NULL "
        "WHERE target_time = $1 AND closed IS NULL RETURNING true",
        *(target_time, how),
    )
    if closed:
        for table in ("soil_images", "soil_predictions"):
            await connection.execute(
                f"DELETE FROM {table} WHERE target_time = $1",  # noqa: S608
                target_time,
            )
    return bool(closed)


async def _store_scores(connection: Connection, outcome: ScoredTarget) -> None:
    known = await known_miners(connection, (score.hotkey for score in outcome.scores))
    regions = await connection.fetch(
        "SELECT number FROM soil_regions WHERE target_time = $1", outcome.target_time
    )
    numbers = {row["number"] for row in regions}
    kept = tuple(
        score
        for score in outcome.scores
        if score.hotkey in known and score.number in numbers
    )
    await connection.execute(
        "INSERT INTO score_rows (task, target_time) VALUES ('soil_moisture', $1) "
        "ON CONFLICT DO NOTHING",
        outcome.target_time,
    )
    means = ScoredTarget(outcome.target_time, kept).means()
    await connection.execute(
        "INSERT INTO scores (task, target_time, hotkey, score) SELECT 'soil_moisture', "
        "$1, hotkey, score FROM unnest($2::text[], $3::float8[]) AS t (hotkey, score) "
        "ON CONFLICT DO NOTHING",
        *(outcome.target_time, list(means.keys()), list(means.values())),
    )
    await connection.execute(
        "INSERT INTO soil_history "
        "(target_time, number, hotkey, surface_rmse, rootzone_rmse, score) "
        "SELECT $1, t.* FROM "
        "unnest($2::integer[], $3::text[], $4::float8[], $5::float8[], $6::float8[]) "
        "AS t",
        outcome.target_time,
        *([getattr(score, name) for score in kept] for name in _SCORE),
    )


_SCORE = ("number", "hotkey", "surface_rmse", "rootzone_rmse", "score")
