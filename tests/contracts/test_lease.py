"""What every lease promises, in memory and in PostgreSQL."""

from __future__ import annotations

import pytest
import trio

from validator.adapters.postgres import open_store
from validator.adapters.postgres_lease import postgres_lease
from validator.adapters.postgres_store import PostgresStore
from validator.adapters.postgres_units import Connection
from validator.ports import OpenLease, StoreUnavailable
from validator.simulation.leases import MemoryLeases

real = pytest.mark.real


@pytest.fixture(params=["memory", pytest.param("postgres", marks=real)])
def open_lease(request: pytest.FixtureRequest) -> OpenLease:
    if request.param == "memory":
        return MemoryLeases().open
    dsn: str = request.getfixturevalue("dsn")
    return postgres_lease(dsn, schema="contract", hotkey="a")


async def test_only_one_has_the_lease_until_it_is_given_back(
    open_lease: OpenLease,
) -> None:
    async with open_lease() as second:
        async with open_lease() as first:
            assert await first.take()
            assert not await second.take()
            assert await first.take(), "it still has it"
            assert not await second.take()
        for _ in range(500):  # the server notices in a moment
            if await second.take():
                return
            await trio.sleep(0.01)
        pytest.fail("nobody has it, and it was not given")


@real
async def test_another_hotkey_or_schema_has_a_lease_of_its_own(dsn: str) -> None:
    async with (
        postgres_lease(dsn, schema="contract", hotkey="a")() as one,
        postgres_lease(dsn, schema="contract", hotkey="b")() as two,
        postgres_lease(dsn, schema="another", hotkey="a")() as three,
    ):
        assert [await each.take() for each in (one, two, three)] == [True] * 3


@real
async def test_a_lease_is_lost_with_its_connection_and_said_to_be(dsn: str) -> None:
    async def kill(connection: Connection) -> None:
        await connection.fetchval(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_locks "
            "WHERE locktype = 'advisory' AND pid <> pg_backend_pid() "
            "AND mode = 'ExclusiveLock'"
        )

    opener = postgres_lease(dsn, schema="contract", hotkey="a")
    async with (
        open_store(dsn, schema="contract", fresh=True) as store,
        opener() as first,
        opener() as second,
    ):
        assert isinstance(store, PostgresStore)
        assert await first.take()
        await store._session.run("kill", kill)

        with pytest.raises(StoreUnavailable):
            await first.take()
        assert await second.take()
