"""A simulated subnet in a process of its own, seen from the process that wants it.

A process of its own, because the miners' processor time must not pass for ours.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections import deque
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Self, cast

import attrs
import trio

import validator
from validator.adapters.fiber.crypto import Hotkey
from validator.adapters.groups import ungrouped
from validator.domain.metagraph import UIDS
from validator.simulation.behaviours import BEHAVIOURS, Behaviour

START_WITHIN = 30.0
"""Seconds until a subnet accepts connections, or is given up."""

STOP_WITHIN = 2.0
"""Seconds that a subnet has to end before it is killed."""

_MODULE = "validator.simulation.subnet_process"


class SubnetDied(Exception):
    """The process of the simulated subnet ended by itself; holds its last words."""


@attrs.frozen(kw_only=True)
class MinerSpec:
    """One miner to simulate."""

    uid: int = attrs.field(
        validator=[attrs.validators.ge(0), attrs.validators.lt(UIDS)]
    )
    hotkey: str
    behaviour: Behaviour = attrs.field(validator=attrs.validators.in_(BEHAVIOURS))


@attrs.frozen(kw_only=True)
class SubnetSpec:
    """What to simulate.

    Two miners may have the same uid: one comes when the other goes. They differ in
    hotkey and port, and draw the same numbers.
    """

    seed: int
    validator: str  # the hotkey that all miners have in their metagraph
    hour_seconds: float = attrs.field(validator=attrs.validators.gt(0))
    miners: tuple[MinerSpec, ...] = attrs.field(validator=attrs.validators.min_len(1))
    truth: Mapping[str, float] = attrs.field(factory=dict[str, float])
    """Start of the hour, ISO 8601 -> Dst in nT / 100; honest miners foresee a part."""

    def to_json(self) -> str:
        """Write the spec on one line."""
        return json.dumps(attrs.asdict(self))

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Read what ``to_json`` wrote."""
        fields = json.loads(text)
        fields["miners"] = tuple(MinerSpec(**miner) for miner in fields["miners"])
        return cls(**fields)


@attrs.frozen
class SimulatedMiner:
    """One miner of a running subnet, on 127.0.0.1."""

    uid: int
    hotkey: str
    behaviour: Behaviour
    port: int


@attrs.frozen
class Subnet:
    """A running subnet; the miners are in the order of the spec."""

    miners: tuple[SimulatedMiner, ...]


def draw_hotkey(seed: int, name: str) -> Hotkey:
    """Derive a hotkey that is good for simulations only: anybody can derive it."""
    return Hotkey.from_seed(hashlib.sha256(f"{seed}:{name}".encode()).digest())


@asynccontextmanager
async def open_subnet(spec: SubnetSpec) -> AsyncGenerator[Subnet]:
    """Run a subnet for the length of the context.

    Its process is gone when the context ends, however it ends; if this process is
    killed, it ends by itself. Ctrl-C on the terminal does not reach it.

    Raises:
        SubnetDied: it did not start, was not ready within ``START_WITHIN`` seconds,
            or ended in between: then the block is cancelled.
    """
    with ungrouped():
        async with _running(spec) as subnet:
            yield subnet


@asynccontextmanager
async def _running(spec: SubnetSpec) -> AsyncGenerator[Subnet]:
    async with trio.open_nursery() as nursery:
        process = await trio.lowlevel.open_process(
            # -P: take the package we are from, not one that lies in the directory.
            [sys.executable, "-P", "-m", _MODULE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": _python_path()},
            start_new_session=True,
        )
        try:
            nursery.start_soon(_watch, process)
            try:
                with trio.fail_after(START_WITHIN):
                    ports = await _start(process, spec)
            except trio.TooSlowError:
                text = f"no simulated subnet after {START_WITHIN:g} s"
                raise SubnetDied(text) from None
            yield Subnet(
                tuple(
                    SimulatedMiner(miner.uid, miner.hotkey, miner.behaviour, port)
                    for miner, port in zip(spec.miners, ports, strict=True)
                )
            )
        finally:
            nursery.cancel_scope.cancel()
            with trio.move_on_after(2 * STOP_WITHIN, shield=True):
                await _stop(process)


async def _start(process: trio.Process, spec: SubnetSpec) -> list[int]:
    # stdin stays open after the spec: its end is how the process learns of ours.
    stdin = cast("trio.abc.SendStream", process.stdin)
    stdout = cast("trio.abc.ReceiveStream", process.stdout)
    try:
        await stdin.send_all(spec.to_json().encode() + b"\n")
    except trio.BrokenResourceError:
        await trio.sleep_forever()  # it has died, and _watch is about to say why
    line = bytearray()
    while not line.endswith(b"\n"):
        chunk = await stdout.receive_some()
        if not chunk:
            await trio.sleep_forever()  # likewise
        line += chunk
    return cast("list[int]", json.loads(line))


async def _watch(process: trio.Process) -> None:
    stderr = cast("trio.abc.ReceiveStream", process.stderr)
    words: deque[str] = deque([""], maxlen=20)  # its last lines
    async for chunk in stderr:
        first, *more = chunk.decode("utf-8", "replace").split("\n")
        words[-1] += first
        words.extend(more)
    status = await process.wait()
    raise SubnetDied(f"the simulated subnet ended with {status}:\n" + "\n".join(words))


async def _stop(process: trio.Process) -> None:
    process.terminate()
    with trio.move_on_after(STOP_WITHIN):
        await process.wait()
    process.kill()  # does nothing to a process that has ended
    await process.wait()
    for pipe in (process.stdin, process.stdout, process.stderr):
        await cast("trio.abc.AsyncResource", pipe).aclose()


def _python_path() -> str:
    ours = str(Path(validator.__file__).parent.parent)
    return os.pathsep.join(filter(None, [ours, os.environ.get("PYTHONPATH")]))
