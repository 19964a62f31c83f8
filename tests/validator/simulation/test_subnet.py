from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest
import trio

import validator
from validator.adapters.fiber.addresses import LOOPBACK
from validator.adapters.fiber.transport import connect
from validator.domain.metagraph import Miner
from validator.domain.payload import Payload
from validator.domain.tasks.geomagnetic import PATH
from validator.simulation import subnet as subnet_module
from validator.simulation.behaviours import assign
from validator.simulation.miner_server import HOST
from validator.simulation.subnet import (
    MinerSpec,
    Subnet,
    SubnetDied,
    SubnetSpec,
    draw_hotkey,
    open_subnet,
)

VALIDATOR = draw_hotkey(0, "validator")
QUESTION = {"data": {"timestamp": "2015-03-17T20:00:00+00:00", "value": -1.6}}


def spec(count: int = 2) -> SubnetSpec:
    miners = [
        MinerSpec(uid=uid, hotkey=draw_hotkey(0, str(uid)).address, behaviour=behaviour)
        for uid, behaviour in enumerate(assign(0, count, 1.0))
    ]
    newcomer = MinerSpec(
        uid=0, hotkey=draw_hotkey(0, "newcomer").address, behaviour="honest"
    )
    return SubnetSpec(
        seed=0,
        validator=VALIDATOR.address,
        hour_seconds=1.0,
        miners=(*miners, newcomer),
    )


def subnet_processes() -> list[psutil.Process]:
    return [
        child
        for child in psutil.Process().children(recursive=True)
        if subnet_module._MODULE in child.cmdline()
    ]


@asynccontextmanager
async def opened(spec: SubnetSpec) -> AsyncGenerator[Subnet]:
    with trio.fail_after(20):  # nothing here takes long; what does is a hang
        async with open_subnet(spec) as subnet:
            yield subnet


def test_a_spec_survives_the_journey() -> None:
    assert SubnetSpec.from_json(spec().to_json()) == spec()
    assert "\n" not in spec().to_json()


@pytest.mark.parametrize(
    "bad", [{"uid": 256}, {"uid": -1}, {"behaviour": "charming"}], ids=str
)
def test_an_impossible_miner_is_refused(bad: dict[str, object]) -> None:
    good: dict[str, object] = {"uid": 0, "hotkey": "5Miner", "behaviour": "honest"}

    with pytest.raises(ValueError, match=str(next(iter(bad)))):
        MinerSpec(**{**good, **bad})  # type: ignore[arg-type]  # that is the point


def test_hotkeys_are_drawn_by_seed_and_name() -> None:
    addresses = {draw_hotkey(s, n).address for s in (0, 1) for n in ("a", "b")}

    assert len(addresses) == 4
    assert draw_hotkey(0, "a").address in addresses


async def ask(subnet: Subnet, index: int) -> object:
    simulated = subnet.miners[index]
    miner = Miner(simulated.uid, simulated.hotkey, HOST, simulated.port)
    async with connect(VALIDATOR, allowed=LOOPBACK)(miner) as connection:
        await connection.handshake()
        return await connection.ask(PATH, Payload.of(QUESTION), limit=64_000)


@pytest.mark.real
async def test_every_miner_of_a_full_subnet_and_the_newcomer_answers() -> None:
    answers: list[object] = []

    async def collect(index: int) -> None:
        answers.append(await ask(subnet, index))

    full = SubnetSpec(
        seed=0,
        validator=VALIDATOR.address,
        hour_seconds=1.0,
        miners=tuple(
            MinerSpec(
                uid=i % 256, hotkey=draw_hotkey(0, str(i)).address, behaviour="honest"
            )
            for i in range(257)
        ),
    )
    async with opened(full) as subnet:
        assert len({miner.port for miner in subnet.miners}) == 257
        async with trio.open_nursery() as nursery:
            for index in range(257):
                nursery.start_soon(collect, index)

    assert len(answers) == 257
    assert subnet_processes() == []


@pytest.mark.real
async def test_another_process_gives_the_same_answers() -> None:
    async with opened(spec()) as subnet:
        first = [await ask(subnet, 0), await ask(subnet, 1)]
    async with opened(spec()) as subnet:
        second = [await ask(subnet, 1), await ask(subnet, 0)]

    assert first == second[::-1]


@pytest.mark.real
async def test_a_cancelled_subnet_leaves_no_process() -> None:
    with trio.CancelScope() as scope:
        async with opened(spec()):
            assert len(subnet_processes()) == 1
            scope.cancel()
            await trio.sleep_forever()

    assert subnet_processes() == []


@pytest.mark.real
async def test_a_subnet_that_ignores_sigterm_is_killed() -> None:
    async with opened(spec()):
        (process,) = subnet_processes()
        process.suspend()  # a stopped process takes a SIGTERM only when continued

    assert subnet_processes() == []


@pytest.mark.real
async def test_a_subnet_that_dies_in_between_ends_the_body() -> None:
    with pytest.raises(SubnetDied, match="ended with -9"):
        async with opened(spec()):
            (process,) = subnet_processes()
            process.kill()
            await trio.sleep_forever()


@pytest.mark.real
async def test_a_subnet_that_does_not_start_says_why(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(subnet_module, "_MODULE", "validator.simulation.nowhere")

    with pytest.raises(SubnetDied, match="No module named validator"):
        async with open_subnet(spec()):
            pytest.fail("there is no subnet to be had")


@pytest.mark.real
async def test_a_subnet_that_is_not_ready_in_time_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(subnet_module, "START_WITHIN", 0.0)

    with pytest.raises(SubnetDied, match="no simulated subnet after 0 s"):
        async with opened(spec()):
            pytest.fail("it cannot have been as fast as that")
    assert subnet_processes() == []


@pytest.mark.real
async def test_ctrl_c_on_the_terminal_does_not_reach_the_subnet() -> None:
    async with opened(spec()):
        (process,) = subnet_processes()

        assert os.getpgid(process.pid) != os.getpgid(0)


@pytest.mark.real
async def test_a_subnet_ends_when_its_owner_is_killed() -> None:
    owner = textwrap.dedent(f"""
        import os, trio
        from validator.simulation.subnet import SubnetSpec, open_subnet
        spec = SubnetSpec.from_json({spec().to_json()!r})
        async def main():
            async with open_subnet(spec):
                os.write(1, b"ready")  # at once, however the streams are buffered
                await trio.sleep_forever()
        trio.run(main)
    """)
    root = str(Path(validator.__file__).parent.parent)
    process = await trio.lowlevel.open_process(
        [sys.executable, "-c", owner],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": root},
    )
    assert process.stdout is not None
    assert await process.stdout.receive_some() == b"ready"
    (orphan,) = subnet_processes()

    os.kill(process.pid, signal.SIGKILL)
    await process.wait()
    await process.stdout.aclose()

    # Nothing is to wait for in a grandchild; somebody else's zombie has ended, too.
    deadline = trio.current_time() + 60
    while orphan.is_running() and orphan.status() != psutil.STATUS_ZOMBIE:
        assert trio.current_time() < deadline
        await trio.sleep(0.01)
