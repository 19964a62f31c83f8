"""Which of several validators may act for a hotkey: a lock that the server keeps."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import attrs

from validator.adapters.groups import ungrouped
from validator.adapters.lanes import open_lanes
from validator.adapters.postgres_schema import PRODUCT
from validator.adapters.postgres_session import Connection, Limits, Session, connected
from validator.ports import Lease, OpenLease

_LIMITS = Limits(query=10, transaction=10)

_KEEPALIVE = {
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
}


def postgres_lease(dsn: str, *, schema: str, hotkey: str) -> OpenLease:
    """Return what opens a lease for ``hotkey`` on the database, as often as needed.

    It has a connection of its own: the lease lasts as long as that does, whatever
    becomes of others. The server ends one whose client is silent for 25 s.

    Raises, when it is opened:
        StoreUnavailable: the server cannot be reached or refuses us.
        TimeoutError: connecting took longer than 10 s.
    """

    @asynccontextmanager
    async def open_lease() -> AsyncGenerator[Lease]:
        with ungrouped():
            async with (
                open_lanes() as lanes,
                connected(lanes, dsn, schema, _LIMITS) as session,
            ):
                await session.run("keep alive", _keep_alive)
                yield _PostgresLease(session, f"{schema} {hotkey}")

    return open_lease


async def _keep_alive(connection: Connection) -> None:
    # Or a validator whose machine is gone would hold its lease for two hours.
    for name, seconds in _KEEPALIVE.items():
        await connection.execute("SELECT set_config($1, $2, false)", name, seconds)


@attrs.define
class _PostgresLease:
    _session: Session
    _key: str
    _held: bool = False  # by this connection, so it is so for as long as that lives

    async def take(self) -> bool:
        async def unit(connection: Connection) -> bool:
            if self._held:
                return bool(await connection.fetchval("SELECT true"))
            query = "SELECT pg_try_advisory_lock(hashtext($1), hashtext($2))"
            lock = await connection.fetchval(query, f"{PRODUCT} lease", self._key)
            return bool(lock)

        self._held = await self._session.run("take lease", unit, writes=False)
        return self._held
