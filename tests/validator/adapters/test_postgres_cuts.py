"""The store behind a connection that breaks off after any number of bytes."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import trio

from actors.testing import ChaosProxy
from actors.testing.links import (
    Blackhole,
    Cut,
    Ending,
    Link,
    Links,
    Refused,
    ResetAtOnce,
)
from actors.testing.proxy import ProxyFault
from validator.adapters.postgres import open_store
from validator.adapters.postgres_session import Limits
from validator.ports import Store, StoreUnavailable

pytestmark = pytest.mark.real

LIMITS = Limits(query=1, transaction=1, connect=1)
BOUND = 10
"""Seconds that a use of the store may take within these limits, rolling back and
hanging up included, on a machine that is not ours alone."""

WORKERS = 8  # at once, for most of an attempt is spent waiting for the server

Make = Callable[[Cut], Links]


def down(cut: Cut) -> Links:
    return Links(down=Link(cut=cut))


def up(cut: Cut) -> Links:
    return Links(up=Link(cut=cut))


class Broken:
    """A store whose server is behind a proxy."""

    def __init__(self, proxy: ChaosProxy, direct: str, schema: str) -> None:
        self.proxy = proxy
        self._direct = direct
        self._schema = schema

    def opened(self, limits: Limits | None) -> AbstractAsyncContextManager[Store]:
        dsn = f"postgresql://postgres@127.0.0.1:{self.proxy.port}/postgres"
        return open_store(dsn, schema=self._schema, fresh=False, limits=limits)

    async def use(self, limits: Limits | None = None) -> None:
        """Open it, and ask something."""
        async with self.opened(limits) as store:
            await store.miners()

    async def check(self) -> None:
        """All is well without the proxy, and no connection is left in it."""
        opening = open_store(self._direct, schema=self._schema, fresh=False)
        async with opening as store:
            await store.miners()
        with trio.fail_after(5):
            while self.proxy.statistics().open:  # noqa: ASYNC110 - a socket tells nobody
                await trio.sleep(0.01)


@asynccontextmanager
async def broken(dsn: str, number: int = 0) -> AsyncGenerator[Broken]:
    folder = Path(parse_qs(urlsplit(dsn).query)["host"][0])
    async with ChaosProxy.before_unix(folder / ".s.PGSQL.5432") as proxy:
        store = Broken(proxy, dsn, f"cuts_{number}")
        await store.check()
        yield store


async def sweep(
    dsn: str,
    faults: Iterable[Links],
    failure: type[Exception] | tuple[type[Exception], ...] = StoreUnavailable,
    limits: Limits | None = None,
) -> None:
    """Use the store under each of the faults, some at once; then without any."""
    waiting = iter(faults)

    async def worker(number: int) -> None:
        fault = Links()
        async with broken(dsn, number) as store:
            for fault in waiting:
                store.proxy.fault(fault)
                with trio.fail_after(BOUND), pytest.raises(failure):
                    await store.use(limits)
            # A server that heard nothing more, nor the end, still waits.
            if fault.up.cut is not None and fault.up.cut.how == "silence":
                store.proxy.reset_all()
            store.proxy.heal()
            await store.check()
            await store.use()

    async with trio.open_nursery() as nursery:
        for number in range(WORKERS):
            nursery.start_soon(worker, number)


async def lengths(dsn: str, limits: Limits | None) -> dict[Make, int]:
    """How many bytes pass until the first question is answered."""
    async with broken(dsn) as store, store.opened(limits) as opened:
        await opened.miners()
        statistics = store.proxy.statistics()
    return {down: statistics.down, up: statistics.up}


FIRST_RESULT = 560
"""Bytes from the server within which lie the handshake and the first result."""


@pytest.mark.parametrize(("how", "step"), [("reset", 1), ("eof", 5)])
async def test_cut_anywhere_in_the_handshake_and_the_first_result_it_fails_in_order(
    dsn: str, how: Ending, step: int
) -> None:
    cuts = range(0, FIRST_RESULT, step)
    await sweep(dsn, (down(Cut(after, how)) for after in cuts))


@pytest.mark.parametrize("way", [up, down])
async def test_cut_later_or_on_the_way_to_the_server_it_fails_in_order(
    dsn: str, way: Make
) -> None:
    cuts = range(0, (await lengths(dsn, None))[way], 29)
    await sweep(dsn, (way(Cut(after)) for after in cuts))


@pytest.mark.parametrize("way", [up, down])
async def test_silent_from_any_byte_on_it_fails_within_its_limits(
    dsn: str, way: Make
) -> None:
    whole = (await lengths(dsn, LIMITS))[way]
    cuts = range(0, whole, whole // WORKERS)
    faults = (way(Cut(after, "silence")) for after in cuts)
    # A rollback that is not answered either ends with the connection.
    await sweep(dsn, faults, (TimeoutError, StoreUnavailable), LIMITS)


@pytest.mark.parametrize("fault", [Refused(), ResetAtOnce()])
async def test_a_server_that_will_not_have_us_is_unavailable(
    dsn: str, fault: ProxyFault
) -> None:
    async with broken(dsn) as store:
        store.proxy.fault(fault)
        with pytest.raises(StoreUnavailable, match="cannot connect"):
            await store.use()


async def test_a_server_that_says_nothing_is_given_its_time(dsn: str) -> None:
    async with broken(dsn) as store:
        store.proxy.fault(Blackhole())
        with trio.fail_after(BOUND), pytest.raises(TimeoutError, match="connect"):
            await store.use(LIMITS)


async def test_a_frozen_server_costs_what_was_asked_and_no_later_opening(
    dsn: str,
) -> None:
    async with broken(dsn) as store:
        with trio.fail_after(BOUND), pytest.raises((TimeoutError, StoreUnavailable)):
            async with store.opened(LIMITS) as opened:
                store.proxy.freeze()
                await opened.miners()
        store.proxy.thaw()
        await store.check()
        await store.use()


async def test_a_connection_that_is_reset_costs_the_question_in_hand_only(
    dsn: str,
) -> None:
    async with broken(dsn) as store:
        async with store.opened(None) as opened:
            store.proxy.reset_all()
            with pytest.raises(StoreUnavailable, match="during read miners"):
                await opened.miners()
        await store.use()


async def test_a_slow_link_is_slow_and_no_failure(dsn: str) -> None:
    async with broken(dsn) as store:
        slow = Link(latency=0.002, rate=50_000)
        store.proxy.fault(Links(up=slow, down=slow))
        await store.use()
