"""Whatever happens to the database, nothing acknowledged is lost and nobody hangs.

The counts are samples; ``pytest --hypothesis-profile=soak`` takes them all.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from random import Random
from typing import Any

import pytest
import trio
from storms import (
    DEADLINE,
    FIRST,
    HOUR,
    SLACK,
    TUNING,
    Ledger,
    backends,
    behind_proxy,
    look,
    no_backend_is_left,
    running,
)

from actors.events import Event
from actors.testing import ChaosProxy
from actors.testing.links import Blackhole, Cut, Link, Links, Refused, ResetAtOnce
from supervision.events import BreakerOpened, Restarted
from validator.actors.questions import (
    ClaimPredictions,
    ForgetMiners,
    KnownMiners,
    OpenHour,
    PendingHours,
    Ping,
    ProcessingRows,
    Prune,
    Question,
    RecordScores,
    RegisterMiners,
    ReleaseClaims,
    SavePredictions,
    ScoreRows,
)
from validator.actors.soil_questions import (
    AbandonTarget,
    ClaimTarget,
    DueTargets,
    KnownRegions,
    PostponeTarget,
    RecordSoilScores,
    RegionSent,
    SaveRegions,
    SaveSoilForecasts,
    SoilForecasts,
    UnsentRegions,
)
from validator.adapters.postgres import open_store
from validator.adapters.postgres_store import PostgresStore
from validator.adapters.postgres_units import Connection
from validator.domain.dst import Nanotesla, ScaledDst
from validator.domain.metagraph import Miner
from validator.domain.scoring import Prediction, Score, ScoredHour
from validator.domain.soil import (
    CELLS,
    PreparedRegion,
    Region,
    ScoredTarget,
    SoilForecast,
    SoilScore,
)
from validator.events import ManyDatabaseFailures, PoolReset, ResettingPool

pytestmark = pytest.mark.real

GRID = (0.5,) * CELLS

Storm = Callable[[ChaosProxy, str], Awaitable[None]]

TERMINATE = (
    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
    "WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
)


@pytest.fixture
def soak(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--hypothesis-profile") == "soak")


# -- what happens, for a second or so --------------------------------------------------


async def refused(proxy: ChaosProxy, _dsn: str) -> None:
    proxy.fault(Refused())
    proxy.reset_all()
    await trio.sleep(1)


async def reset_when_connecting(proxy: ChaosProxy, _dsn: str) -> None:
    proxy.fault(ResetAtOnce())
    proxy.reset_all()
    await trio.sleep(1)


async def blackhole(proxy: ChaosProxy, _dsn: str) -> None:
    proxy.fault(Blackhole())
    proxy.reset_all()
    await trio.sleep(1.5)


async def silence(proxy: ChaosProxy, _dsn: str) -> None:
    proxy.freeze()
    await trio.sleep(2.5)


async def lost_on_the_way(proxy: ChaosProxy, _dsn: str) -> None:
    proxy.fault(Links(up=Link(cut=Cut(200, "silence"))))
    await trio.sleep(1.5)
    proxy.reset_all()


async def slow_link(proxy: ChaosProxy, _dsn: str) -> None:
    slow = Link(latency=0.005, rate=50_000)
    proxy.fault(Links(up=slow, down=slow))
    await trio.sleep(1)


async def reset_in_mid_query(proxy: ChaosProxy, _dsn: str) -> None:
    for after in range(0, 400, 40):
        proxy.fault(Links(down=Link(cut=Cut(after))))
        await trio.sleep(0.05)
        proxy.heal()
        await trio.sleep(0.05)


async def connections_reset(proxy: ChaosProxy, _dsn: str) -> None:
    for _ in range(10):
        proxy.reset_all()
        await trio.sleep(0.1)


async def terminated_by_the_server(_proxy: ChaosProxy, dsn: str) -> None:
    for _ in range(5):
        await look(dsn, TERMINATE)
        await trio.sleep(0.2)


STORMS: list[Storm] = [
    refused,
    reset_when_connecting,
    blackhole,
    silence,
    lost_on_the_way,
    slow_link,
    reset_in_mid_query,
    connections_reset,
    terminated_by_the_server,
]


@pytest.mark.parametrize("storm", STORMS)
async def test_after_it_all_is_well_and_all_that_was_acknowledged_is_there(
    dsn: str, events: list[Event], storm: Storm
) -> None:
    async with behind_proxy(dsn, events) as (proxy, ledger):
        async with ledger.under_load():
            await trio.sleep(0.2)
            await storm(proxy, dsn)
            before = len(ledger.acknowledged)
            proxy.heal()
            with trio.fail_after(DEADLINE):
                while len(ledger.acknowledged) < before + 50:  # noqa: ASYNC110 - load
                    await trio.sleep(0.05)
        await ledger.check()
        assert await backends(dsn) <= TUNING.kept + TUNING.extra
    assert not [e for e in events if isinstance(e, Restarted) and "/loop" in e.path]


async def test_a_ledger_of_many_writes_is_complete_after_all_of_it(
    dsn: str, events: list[Event], *, soak: bool
) -> None:
    wanted = 10_000 if soak else 2_000
    async with behind_proxy(dsn, events) as (proxy, ledger):
        async with ledger.under_load(15):
            for storm in STORMS:
                await trio.sleep(0.2)
                await storm(proxy, dsn)
                proxy.heal()
            while len(ledger.acknowledged) < wanted:  # noqa: ASYNC110 - load
                await trio.sleep(0.1)
        await ledger.check()


async def test_a_server_that_freezes_leads_to_a_reset_that_ends_when_it_thaws(
    dsn: str, events: list[Event]
) -> None:
    async with behind_proxy(dsn, events) as (proxy, ledger):
        async with ledger.under_load():
            while len(ledger.acknowledged) < 100:  # noqa: ASYNC110 - all are connected
                await trio.sleep(0.05)
            proxy.freeze()
            with trio.fail_after(30):
                while not any(isinstance(e, BreakerOpened) for e in events):  # noqa: ASYNC110
                    await trio.sleep(0.05)
            proxy.heal()
        with trio.fail_after(20):
            while not any(isinstance(e, PoolReset) for e in events):  # noqa: ASYNC110
                await trio.sleep(0.05)
        await ledger.check()

    kinds = (ManyDatabaseFailures, ResettingPool, PoolReset)
    news = [type(event) for event in events if isinstance(event, kinds)]
    assert news[:2] == [ManyDatabaseFailures, ResettingPool]


async def test_a_read_that_nobody_waits_for_ends_on_the_server(
    dsn: str, events: list[Event]
) -> None:
    active = (
        "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' "
        "AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
    )
    async with running(dsn, events) as ref:
        await ref.ask(Ping(), timeout=1)
        async with open_store(dsn, schema="storms", fresh=False) as locker:

            async def unit(connection: Connection) -> None:
                await connection.execute("LOCK miners")
                await connection.execute("SELECT pg_sleep(0.5)")

            assert isinstance(locker, PostgresStore)
            async with trio.open_nursery() as nursery:
                run = partial(locker._session.run, "lock", unit)
                nursery.start_soon(run)
                await trio.sleep(0.1)
                with trio.move_on_after(0.1) as scope:
                    await ref.ask(KnownMiners(), timeout=5)
                assert scope.cancelled_caught
                await trio.sleep(0.1)
                assert await look(dsn, active) == 1, "only who holds the lock"


# -- every place ----------------------------------------------------------------------


async def test_cut_anywhere_in_handshake_and_first_results_the_pool_recovers(
    dsn: str, events: list[Event], *, soak: bool
) -> None:
    async with behind_proxy(dsn, events) as (proxy, ledger):
        for after in range(1, 601, 1 if soak else 23):
            proxy.reset_all()
            proxy.fault(Links(down=Link(cut=Cut(after))))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ledger.write)
                await trio.sleep(0.02)
                proxy.heal()
        assert ledger.failed == 0
        await ledger.check()


# -- every cancellation ---------------------------------------------------------------


def questions(random: Random) -> list[Question[Any]]:
    """One of each kind."""
    hour, miner = FIRST + random.randrange(5) * HOUR, random.randrange(5)
    hotkey = f"hotkey-{miner}"
    region = Region(hour, 0, (0, 0, 1, 1), (0, 0, 1, 1), 32633)
    made: list[Question[Any]] = [
        Ping(),
        RegisterMiners((Miner(miner, hotkey, "127.0.0.1", 8000),)),
        ForgetMiners((hotkey,)),
        KnownMiners(),
        OpenHour(hour),
        SavePredictions((Prediction(hour, hotkey, ScaledDst(-1.0)),)),
        PendingHours(hour),
        ClaimPredictions(hour, "somebody", 1),
        RecordScores(
            ScoredHour(hour, Nanotesla(-1), (Score(hotkey, ScaledDst(-1.0), 0.5),))
        ),
        ReleaseClaims("somebody"),
        ScoreRows(FIRST),
        ProcessingRows(),
        Prune(FIRST),
        SaveRegions((PreparedRegion(region, b"II*\0"),)),
        KnownRegions(hour),
        UnsentRegions(hour),
        RegionSent(hour, 0),
        SaveSoilForecasts((SoilForecast(hour, 0, hotkey, GRID, GRID),)),
        SoilForecasts(hour, 0),
        DueTargets(hour, hour),
        ClaimTarget(hour, "somebody", 1),
        PostponeTarget(hour, 1, hour, "not yet"),
        RecordSoilScores(ScoredTarget(hour, (SoilScore(0, hotkey, 0, 0, 1),))),
        AbandonTarget(hour),
    ]
    # By name, as attrs makes each class twice.
    kinds = {kind.__name__ for kind in Question.__subclasses__()}
    assert {type(each).__name__ for each in made} == kinds
    random.shuffle(made)
    return made


async def test_a_thousand_cancelled_units_leak_no_connection(dsn: str) -> None:
    random = Random(6)
    opening = partial(open_store, dsn, schema="cancelled")
    async with opening(fresh=True) as store:
        for _ in range(1000 // 24 + 1):
            for question in questions(random):
                with trio.move_on_after(random.uniform(0, 0.003)):
                    await question.put(store)
        assert await store.processing_rows() >= 0
        assert await backends(dsn) == 1
    await no_backend_is_left(dsn)


async def test_a_thousand_cancelled_questions_leak_no_connection(
    dsn: str, events: list[Event]
) -> None:
    random = Random(7)
    async with running(dsn, events) as ref:

        async def ask(question: Question[Any]) -> None:
            with trio.move_on_after(random.uniform(0, 0.01)):
                await ref.ask(question, timeout=DEADLINE)

        for _ in range(1000 // 24 + 1):
            async with trio.open_nursery() as nursery:
                for question in questions(random):
                    nursery.start_soon(ask, question)
        await ref.ask(Ping(), timeout=DEADLINE)
        assert await backends(dsn) <= TUNING.kept + TUNING.extra
    await no_backend_is_left(dsn)
    assert not [event for event in events if isinstance(event, Restarted)]


# -- too many connections -------------------------------------------------------------


async def test_where_the_server_has_no_more_connections_those_there_are_serve(
    dsn: str, events: list[Event]
) -> None:
    free = await look(
        dsn,
        "SELECT current_setting('max_connections')::int - "
        "current_setting('superuser_reserved_connections')::int",
    )
    taken = trio.Event()
    async with running(dsn, events) as ref:
        ledger = Ledger(ref)
        await ledger.write()
        async with trio.open_nursery() as nursery:

            async def take(task_status: trio.TaskStatus[None]) -> None:
                async with open_store(dsn, schema="beside", fresh=False):
                    task_status.started()
                    await taken.wait()

            for _ in range(free):
                with trio.move_on_after(1):
                    try:
                        await nursery.start(take)
                    except Exception:
                        break
            begin = trio.current_time()
            await ledger.write()
            assert trio.current_time() - begin < DEADLINE
            assert len(ledger.acknowledged) == 2, "by the connection that was there"
            taken.set()
        async with ledger.under_load():
            await trio.sleep(1)
        await ledger.check()
        assert ledger.slowest <= DEADLINE + SLACK
