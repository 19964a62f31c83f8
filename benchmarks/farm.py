"""Miners to be asked, in a process and on a core of their own."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Literal, cast

import attrs
import h11
import trio

from validator.adapters.fiber import wire
from validator.adapters.fiber.crypto import Hotkey, RsaKey
from validator.adapters.fiber.server import UNKNOWN_HOTKEY, Server
from validator.domain.metagraph import Miner
from validator.domain.tasks import geomagnetic, soil_moisture
from validator.simulation.behaviours import Behaviour, Question, Reaction
from validator.simulation.miner_server import HOST, MinerServer, self_signed_tls

VALIDATOR = Hotkey.from_seed(b"\x22" * 32)
HOTKEY = Hotkey.from_seed(b"\x11" * 32).address

Mode = Literal["answer", "hang", "refuse", "sink", "behave"]


LATEST = [0.0]
"""When the latest response was sent, by the clock that all processes share."""


@attrs.frozen
class Plan:
    """What one miner does about questions."""

    mode: Mode = "answer"
    delay: float = 0.0
    behaviour: Behaviour = "honest"
    spares: int = 2


@attrs.define
class PlannedMiner(MinerServer):
    """Does what its plan says."""

    plan: Plan = attrs.field(factory=Plan)

    def _react(self, question: Question) -> Reaction:
        match self.plan.mode:
            case "hang":
                return Reaction("hang")
            case "refuse":
                return Reaction(UNKNOWN_HOTKEY)
            case "answer":
                answer = b'{"predicted_values": -0.5}'
                return Reaction(wire.Response(200, answer), self.plan.delay)
            case _:
                return super()._react(question)

    async def _respond(
        self,
        connection: h11.Connection,
        stream: trio.SSLStream[trio.SocketStream],
        request: wire.Request,
        number: int,
    ) -> bool:
        more = await super()._respond(connection, stream, request, number)
        LATEST[0] = time.perf_counter()
        return more

    async def _converse(self, stream: trio.SSLStream[trio.SocketStream]) -> None:
        if self.plan.mode == "sink":
            with suppress(trio.BrokenResourceError):
                await self._sink(stream)
            await trio.aclose_forcefully(stream)
        else:
            await super()._converse(stream)

    async def _sink(self, stream: trio.SSLStream[trio.SocketStream]) -> None:
        """Let questions of megabytes go by, without keeping or reading them."""
        data = bytearray()
        while True:
            while (end := data.find(b"\r\n\r\n")) < 0:
                if not (more := await stream.receive_some(65_536)):
                    return
                data += more
            first, *lines = bytes(data[:end]).decode().split("\r\n")
            pairs = (line.split(": ", 1) for line in lines)
            headers = {name.lower(): value for name, value in pairs}
            method, path, _ = first.split()
            left = int(headers.get("content-length", 0)) - (len(data) - end - 4)
            while left > 0:
                more = await stream.receive_some(65_536)
                left -= len(more)
                if path == wire.EXCHANGE_PATH:
                    data += more
            response = wire.Response(200, b'{"predicted_values": -0.5}')
            if path in (wire.PUBLIC_KEY_PATH, wire.EXCHANGE_PATH):
                response = self._greet(method, path, headers, bytes(data[end + 4 :]))
            del data[:]
            head = f"HTTP/1.1 {response.status} OK\r\nContent-Length: "
            length = len(response.body)
            await stream.send_all(f"{head}{length}\r\n\r\n".encode() + response.body)

    def _greet(
        self, method: str, path: str, headers: dict[str, str], body: bytes
    ) -> wire.Response:
        request = wire.Request(method, path, headers, body)
        return cast("wire.Response", self.server.receive(request, self._now_ns()))


async def _serve(plans: Sequence[Plan], tls: ssl.SSLContext) -> None:
    rsa = RsaKey.generate()
    paths = frozenset({geomagnetic.PATH, soil_moisture.PATH})
    async with trio.open_nursery() as nursery:
        ports: list[int] = []
        for uid, plan in enumerate(plans):
            miner = PlannedMiner(
                uid=uid,
                hotkey=HOTKEY,
                behaviour=plan.behaviour,
                server=Server(rsa, {VALIDATOR.address: 5000.0}, paths),
                seed=1,
                hour_seconds=1.0,
                spares=plan.spares,
                plan=plan,
            )
            ports.append(await nursery.start(miner.serve, tls))
        sys.stdout.write(json.dumps(ports) + "\n")
        sys.stdout.flush()
        async with trio.lowlevel.FdStream(os.dup(sys.stdin.fileno())) as owner:
            while await owner.receive_some():
                print(LATEST[0], flush=True)
        nursery.cancel_scope.cancel()


@attrs.frozen
class Farm:
    """A running farm."""

    miners: tuple[Miner, ...]
    _stdin: trio.abc.SendStream
    _stdout: trio.abc.ReceiveStream

    async def latest(self) -> float:
        """When it sent its latest response, in ``time.perf_counter()``."""
        await self._stdin.send_all(b"?")
        return float(await _line(self._stdout))


async def _line(stream: trio.abc.ReceiveStream) -> bytes:
    line = bytearray()
    while not line.endswith(b"\n"):
        line += await stream.receive_some()
    return bytes(line)


@asynccontextmanager
async def farm(plans: Sequence[Plan]) -> AsyncGenerator[Farm]:
    """Run a miner for each plan, on the lowest core, for the length of the block."""
    run = partial(
        trio.lowlevel.open_process,
        [sys.executable, "-m", "benchmarks.farm"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    process = await run()
    stdin = cast("trio.abc.SendStream", process.stdin)
    stdout = cast("trio.abc.ReceiveStream", process.stdout)
    try:
        spec = json.dumps([attrs.asdict(plan) for plan in plans])
        await stdin.send_all(spec.encode() + b"\n")
        ports = json.loads(await _line(stdout))
        miners = tuple(
            Miner(uid, f"{HOTKEY}-{uid}", HOST, port) for uid, port in enumerate(ports)
        )
        yield Farm(miners, stdin, stdout)
    finally:
        with trio.move_on_after(5, shield=True):
            process.kill()
            await process.wait()
            await stdin.aclose()
            await stdout.aclose()


if __name__ == "__main__":
    os.sched_setaffinity(0, {min(os.sched_getaffinity(os.getppid()) | {0})})
    wanted = [Plan(**plan) for plan in json.loads(sys.stdin.buffer.readline())]
    trio.run(_serve, wanted, self_signed_tls())
