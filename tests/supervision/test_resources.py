"""Readings of a process, and what operations make of them."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import attrs
import pytest
import trio

from actors import Actor, Ask
from supervision import Child, System
from supervision.resources import Meter, OperationMemory, count_cpu

MIB = 2**20


def test_a_reading_is_of_the_whole_process() -> None:
    reading = Meter()()
    assert MIB < reading.rss < reading.vms
    assert 0 < reading.cpu <= time.process_time() + 1
    assert reading.threads >= 1
    assert reading.descriptors == len([*Path("/proc/self/fd").iterdir()])


def test_descriptors_are_not_counted_anew_at_every_reading(tmp_path: Path) -> None:
    meter = Meter()
    before = meter().descriptors
    with (tmp_path / "file").open("w"):
        assert meter().descriptors == before
        assert Meter()().descriptors == (before or 0) + 1


@pytest.mark.real
async def test_open_files_are_named_on_demand(tmp_path: Path) -> None:
    with (tmp_path / "held.h5").open("w") as file:
        assert file.name in await Meter().open_files()
    assert file.name not in await Meter().open_files()


@pytest.mark.real
def test_work_in_a_process_of_its_own_is_told_apart() -> None:
    code = "held = bytearray(200 * 2**20); print(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        meter = Meter(child.pid)
        assert meter().rss > 200 * MIB
        child.kill()
        child.wait()
        with pytest.raises(ProcessLookupError, match=f"no process {child.pid}"):
            meter()
    with pytest.raises(ProcessLookupError, match=f"no process {child.pid}"):
        Meter(child.pid)()


# -- memory per operation -----------------------------------------------------------


def test_memory_is_high_when_it_exceeds_the_previous_peak_by_more_than_half() -> None:
    memory = OperationMemory()
    memory.begin("app/a", "load", 100)
    first = memory.end("app/a", "load", 140)
    assert (first.start, first.current, first.previous_peak) == (100, 140, 100)
    assert not first.high

    assert not memory.begin("app/a", "load", 120).high
    second = memory.end("app/a", "load", 211)

    # 211 is the peak now: compared with that, nothing would ever be high.
    assert (second.start, second.peak, second.previous_peak) == (120, 211, 140)
    assert second.high
    memory.begin("app/a", "load", 150)
    assert not memory.end("app/a", "load", 211).high


def test_a_first_run_is_measured_against_its_own_start() -> None:
    memory = OperationMemory()
    assert not memory.begin("app/a", "load", 100).high
    assert memory.end("app/a", "load", 151).high


def test_a_look_in_between_raises_the_alarm_early_and_once() -> None:
    memory = OperationMemory()
    memory.begin("app/a", "load", 100)
    assert [(p, o, use.high) for p, o, use in memory.look(151)] == [
        ("app/a", "load", True)
    ]
    assert [use.high for _, _, use in memory.look(151)] == [False]
    memory.end("app/a", "load", 120)
    assert list(memory.look(1000)) == []


def test_peaks_belong_to_one_actor_and_one_operation() -> None:
    memory = OperationMemory()
    memory.begin("app/a", "load", 1000)
    memory.begin("app/b", "load", 100)
    memory.begin("app/a", "save", 100)
    assert memory.end("app/b", "load", 200).high
    assert memory.end("app/a", "save", 200).high
    assert not memory.end("app/a", "load", 1400).high


def test_of_operations_that_overlap_the_first_to_begin_is_the_first_to_end() -> None:
    memory = OperationMemory()
    memory.begin("app/a", "query", 100)
    memory.begin("app/a", "query", 110)
    assert memory.end("app/a", "query", 120).start == 100
    assert memory.end("app/a", "query", 120).start == 110
    assert memory.end("app/a", "query", 130).start == 130, "its begin was not seen"


def test_what_is_over_is_forgotten() -> None:
    memory = OperationMemory()
    memory.begin("app/a", "load", 100)
    memory.end("app/a", "load", 100)
    memory.begin("app/b", "load", 100)
    memory.end("app/b", "load", 100)
    memory.forget_all_but({"app/b"})
    assert memory.begin("app/a", "load", 200).previous_peak == 200
    assert memory.begin("app/b", "load", 200).previous_peak == 100


# -- CPU time per actor -------------------------------------------------------------


@attrs.frozen
class Work(Ask["Worker", None]):
    seconds: float


class Worker(Actor):
    @Work.handled
    async def work(self, m: Work) -> None:
        end = time.thread_time() + m.seconds
        await trio.lowlevel.checkpoint()
        while time.thread_time() < end:
            pass


async def test_cpu_time_is_put_down_to_the_actor_that_used_it() -> None:
    busy, lazy = Child("busy", Worker), Child("lazy", Worker)
    with count_cpu() as times:
        async with System(busy, lazy) as system:
            await system.ref(busy).ask(Work(0.05))
            await system.ref(lazy).ask(Work(0.0))
            seconds = times.take()
            assert seconds["app/busy"] >= 0.05
            assert 0 < seconds["app/lazy"] < 0.05
            assert seconds[""] > 0
            await trio.lowlevel.checkpoint()
            assert "app/busy" not in times.take(), "since the last call"
    times.take()
    await trio.lowlevel.checkpoint()
    assert times.take() == {}, "nothing is counted after the block"
