"""Asking 256 miners at once: ``python -m benchmarks.miners --json FILE``."""

from __future__ import annotations

import gc
import os
import statistics
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from random import Random

import psutil
import trio

from benchmarks import http_peers
from benchmarks.asking import Round, Watch, asking, resident
from benchmarks.farm import Plan, farm
from benchmarks.harness import no_collector, pin
from benchmarks.table import Row, at_most, options, report
from validator.actors.miner import MinerAnswered, MinerFailed, NotServing, Result
from validator.domain.answers import AnswerRefused, FailureKind
from validator.domain.payload import Payload
from validator.domain.tasks import geomagnetic, soil_moisture
from validator.settings import Settings
from validator.simulation.behaviours import BEHAVIOURS, FAILS_WITH

MINERS = 256
DEADLINE = 3.0
HANGING = at_most("round of 256, 10 % hang: beyond the deadline", 0.1, 0.05, "s")
ANSWERING = at_most("round of 256, all answer: beyond the slowest", 0.1, 0.05, "s")
CPU = at_most("round of 256, TLS kept alive: CPU", 0.5, 0.3, "s")
MIXED = Row("CPU against one shared httpx client, same round", 3, 5)
ALIVE = Row("CPU against one shared httpx client, all answer", 10, 20)
AIOHTTP = at_most("CPU against aiohttp on asyncio, all answer", 7, 5, "x")
MEMORY = at_most("soil round, 256 x 5.5 MB: peak growth of RSS", 300, 150, "MB")
BLOCKED = at_most("soil round: event loop blocked, at the most", 30, 15, "ms")
CRASHES = at_most("hostile exchanges: crashes", 0, 0, "crashes")
WRONG = at_most("hostile exchanges: results of a wrong kind", 0, 0, "results")
LEAKS = at_most("hostile exchanges: tasks and sockets left", 0, 0, "leaks")
BYTES = at_most("hostile exchanges: growth of RSS", 20, 5, "MB")

SMALL = Payload.of(
    {
        "data": {
            "name": "Geomagnetic Data",
            "timestamp": "2015-03-17T20:00:00+00:00",
            "value": -1.6,
            "historical_values": [{"timestamp": "2015-03-17", "Dst": -1.6}] * 15,
        }
    }
)  # 1 kB


def small_plans(*, all_answer: bool) -> list[Plan]:
    """80 % answer after 50 to 300 ms, 10 % hang, 10 % refuse; or all answer."""
    random = Random(1)
    plans = [
        Plan("answer", random.uniform(0.05, 0.3))
        if all_answer or each % 10 < 8
        else Plan("hang" if each % 10 == 8 else "refuse")
        for each in range(MINERS)
    ]
    random.shuffle(plans)
    return plans


SETTINGS = Settings(handshake_timeout=30, query_timeout=180)


async def _rounds(plans: Sequence[Plan], count: int) -> list[tuple[Round, float]]:
    """Hold rounds, each with how long it lasted beyond the latest answer.

    The first is one with handshakes.
    """
    async with farm(plans) as field, asking(field.miners, SETTINGS) as ours:
        held: list[tuple[Round, float]] = []
        for number in range(count + 1):
            deadline = DEADLINE if number else 5 * DEADLINE
            with no_collector():
                done = await ours.hold(geomagnetic.PATH, SMALL, deadline=deadline)
                end = time.perf_counter()
            held.append((done, end - await field.latest()))
        return held


def small_rounds(count: int) -> Iterator[Row]:
    """Wall time and CPU of rounds with a small question."""
    _, *mixed = trio.run(_rounds, small_plans(all_answer=False), count)
    (first, _), *alive = trio.run(_rounds, small_plans(all_answer=True), count)
    over = statistics.median(each.wall - DEADLINE for each, _ in mixed)
    answered = mixed[0][0].summary.answered
    yield HANGING.found(over, f"deadline {DEADLINE:g} s, {answered} answered")
    beyond = statistics.median(late for _, late in alive)
    wall = statistics.median(each.wall for each, _ in alive)
    note = f"all of {wall:.2f} s; the slowest miner waits for 0.30"
    yield ANSWERING.found(beyond, note)
    cpu = statistics.median(each.cpu for each, _ in mixed)
    cpu_alive = statistics.median(each.cpu for each, _ in alive)
    note = (
        f"all answering {cpu_alive:.2f} s; a first round, with handshakes, "
        f"{first.cpu:.2f} s"
    )
    yield CPU.found(cpu, note)
    yield from peers(count, cpu, cpu_alive)


def peers(count: int, mixed: float, alive: float) -> Iterator[Row]:
    """The same rounds by others; ``mixed`` and ``alive`` are our CPU seconds."""
    count = min(count, 3)  # they take long
    for row, ours, all_answer in ((MIXED, mixed, False), (ALIVE, alive, True)):
        plans = small_plans(all_answer=all_answer)
        theirs = statistics.median(trio.run(_shared, plans, count))
        yield row.found(theirs / ours, f"{ours:.2f} s, shared {theirs:.2f} s")
    found = trio.run(_aiohttp, small_plans(all_answer=True), count)
    if isinstance(found, str):
        yield AIOHTTP.unmeasured(found)
    else:
        theirs = statistics.median(found)
        yield AIOHTTP.found(alive / theirs, f"{alive:.2f} s, aiohttp {theirs:.2f} s")


async def _shared(plans: Sequence[Plan], count: int) -> list[float]:
    async with farm(plans) as field:
        return await http_peers.shared_httpx(
            field.miners, geomagnetic.PATH, SMALL, 5 * DEADLINE, count
        )


async def _aiohttp(plans: Sequence[Plan], count: int) -> list[float] | str:
    async with farm(plans) as field:
        return await http_peers.aiohttp(
            field.miners, geomagnetic.PATH, SMALL, 5 * DEADLINE, count
        )


# -- large questions ------------------------------------------------------------------


async def _soil(size: int) -> tuple[Round, Watch, int]:
    payload = Payload(b'{"data": "' + b"x" * (size - 12) + b'"}')
    watch = Watch()
    async with (
        farm([Plan("sink")] * MINERS) as field,
        asking(field.miners, SETTINGS) as ours,
    ):
        await ours.hold(geomagnetic.PATH, SMALL, deadline=60)  # shake hands before
        gc.collect()
        before = resident()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch.run)
            done = await ours.hold(
                soil_moisture.PATH,
                payload,
                deadline=600,
                answer_limit=soil_moisture.ANSWER_LIMIT,
            )
            nursery.cancel_scope.cancel()
    return done, watch, before


def soil_round(size: int) -> Iterator[Row]:
    """Memory, and the event loop, while megabytes go to each miner."""
    done, watch, before = trio.run(_soil, size)
    note = f"{done.summary.answered} answered, {done.wall:.0f} s, CPU {done.cpu:.0f} s"
    yield MEMORY.found((watch.peak - before) / 1e6, note)
    note = f"looked each ms; {watch.late * 1e3:.0f} ms with waits for a core"
    yield BLOCKED.found(watch.blocked * 1e3, note)


# -- hostile exchanges ----------------------------------------------------------------


def hostile_plans(seed: int) -> list[Plan]:
    """Every behaviour alike often, some of them from their first word on."""
    random = Random(seed)
    return [
        Plan("behave", 0.0, random.choice(BEHAVIOURS), random.choice((2, 2, 2, 1, 0)))
        for _ in range(MINERS)
    ]


PATIENT = Settings(handshake_timeout=60.0, query_timeout=60.0)
"""For who answers, or does too much: a loaded machine takes its time."""
TIGHT = Settings(handshake_timeout=1.0, query_timeout=1.0)
"""For who never answers, whatever the time."""


def settings(plan: Plan) -> Settings:
    """How long a miner is waited for."""
    return TIGHT if FAILS_WITH[plan.behaviour] == "timeout" else PATIENT


def allowed(plan: Plan, seconds: float) -> set[FailureKind | None]:
    """What may come of an exchange that took so long."""
    expected: set[FailureKind | None] = {FAILS_WITH[plan.behaviour]}
    if plan.spares < 2 and expected & {"not_finite", "wrong_shape"}:
        expected.add("malformed")  # in a handshake it is no answer at all
    if plan.behaviour == "clock_119" and seconds > 1:
        expected.add("refused")  # its clock had a second left
    return expected


def kind_of(result: Result) -> FailureKind | None:
    """What came of it."""
    if isinstance(result, MinerAnswered):
        forecast = geomagnetic.parse_answer(result.answer)
        return forecast.kind if isinstance(forecast, AnswerRefused) else None
    return result.kind if isinstance(result, MinerFailed) else "ours"


def is_wrong(plan: Plan, result: Result) -> bool:
    """Whether it is no result of such a miner."""
    if isinstance(result, NotServing):
        return True
    return kind_of(result) not in allowed(plan, result.seconds)


async def _hostile(exchanges: int, seed: int) -> tuple[Counter[str], int, float]:
    random, plans = Random(seed), hostile_plans(seed)
    process = psutil.Process()
    wrong: Counter[str] = Counter()
    async with farm(plans) as field:
        tasks, sockets = _tasks(), process.num_fds()
        each = [settings(plan) for plan in plans]
        async with asking(field.miners, *each) as ours:
            done, quarter = 0, 0
            while done < exchanges:
                some = random.sample(field.miners, random.randint(1, MINERS))
                held = await ours.hold(
                    geomagnetic.PATH, SMALL, deadline=200, miners=some
                )
                done += len(held.results)
                wrong.update(
                    f"{plan.behaviour}/{plan.spares}: {kind_of(result)}"
                    for result in held.results
                    if is_wrong(plan := plans[result.miner.uid], result)
                )
                if done >= exchanges / 4 and not quarter:
                    gc.collect()
                    quarter = resident()
            gc.collect()
            grown = (resident() - quarter) / 1e6
        await trio.sleep(0.1)
        left = _tasks() - tasks + process.num_fds() - sockets
    return wrong, left, grown


def _tasks() -> int:
    root = trio.lowlevel.current_root_task()
    todo, count = [root] if root is not None else [], 0
    while todo:
        count += 1
        for nursery in todo.pop().child_nurseries:
            todo += nursery.child_tasks
    return count


def hostile(exchanges: int, seed: int) -> Iterator[Row]:
    """Random mixes of hostile miners, in random order."""
    wrong, left, grown = trio.run(_hostile, exchanges, seed)
    crashed = sum(n for what, n in wrong.items() if what.endswith(": ours"))
    yield CRASHES.found(crashed, f"{exchanges} exchanges, seed {seed}")
    most = ", ".join(f"{what} {n}" for what, n in wrong.most_common(3))
    yield WRONG.found(wrong.total(), most)
    yield LEAKS.found(left)
    yield BYTES.found(max(0.0, grown), "since the first quarter")


def rows(*, rounds: int, size: int, exchanges: int, seed: int) -> Iterator[Row]:
    """All of them, one by one."""
    cores = os.sched_getaffinity(0)
    pin()
    yield from small_rounds(rounds)
    os.sched_setaffinity(0, cores)  # large questions are encrypted in threads
    yield from soil_round(size)
    yield from hostile(exchanges, seed)


if __name__ == "__main__":
    parser = options("miners")
    parser.add_argument("--rounds", type=int, default=5, help="of each kind")
    parser.add_argument(
        "--size", type=int, default=5_500_000, help="of a soil question"
    )
    parser.add_argument("--exchanges", type=int, default=10_000, help="hostile ones")
    parser.add_argument("--seed", type=int, default=1, help="of the hostile ones")
    chosen = parser.parse_args()
    found = rows(
        rounds=chosen.rounds,
        size=chosen.size,
        exchanges=chosen.exchanges,
        seed=chosen.seed,
    )
    sys.exit(report(found, chosen.json))
