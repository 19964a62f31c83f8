"""The peer of `benchmarks.database`, in a process of its own."""

from __future__ import annotations

import asyncio  # noqa: TID251 - it is the peer
import json
import sys
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial
from typing import Any, TypeVar, cast

import asyncpg
import attrs

from benchmarks.database import (
    CASES,
    MINERS,
    SCORED,
    UPSERT,
    Measured,
    check,
    scored,
)
from validator.adapters.postgres_schema import prepare
from validator.adapters.postgres_store import PostgresStore
from validator.domain.scoring import Prediction

T = TypeVar("T")
SCHEMA = "bench_peer"


@attrs.frozen
class PoolSession:
    """Runs units as one does with asyncpg's pool."""

    _pool: Any

    async def run(
        self,
        operation: str,
        unit: Callable[[Any], Coroutine[Any, Any, T]],
        *,
        writes: bool = True,
    ) -> T:
        """Run one unit on a connection of the pool."""
        async with self._pool.acquire() as connection:
            if not writes:
                return await unit(connection)
            async with connection.transaction():
                return await unit(connection)


async def _together(repeat: Callable[[], Awaitable[None]], callers: int) -> None:
    async with asyncio.TaskGroup() as group:
        for _ in range(callers):
            group.create_task(cast("Coroutine[Any, Any, None]", repeat()))


async def _operate(
    store: PostgresStore, kind: str, fresh: Sequence[Prediction]
) -> None:
    match kind:
        case "read":
            await store.ping()
        case "upsert":
            await store.save_predictions(UPSERT)
        case "insert":
            await store.save_predictions(fresh)
        case _:
            check(await store.score_rows(SCORED))


async def main(dsn: str) -> None:
    """Say what a case costs, whenever its number is read; until there are no more."""
    loop = asyncio.get_running_loop()
    if type(loop).__module__ != "asyncio.unix_events" or "trio_asyncio" in sys.modules:
        raise SystemExit(f"this is not asyncio as it comes: {type(loop)}")
    async with asyncpg.create_pool(
        dsn, min_size=15, max_size=15, server_settings={"search_path": SCHEMA}
    ) as pool:
        async with pool.acquire() as connection, connection.transaction():
            await prepare(cast("Any", connection), SCHEMA, fresh=True)
        store = PostgresStore(PoolSession(pool))
        await store.register_miners(MINERS)
        for n in range(40):
            await store.record_scores(scored(n))
        peer = Measured(partial(_operate, store), _together)
        print(json.dumps("ready"), flush=True)
        for line in sys.stdin:
            print(json.dumps(await peer.spend(CASES[int(line)])), flush=True)


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        runner.run(main(sys.argv[1]))
