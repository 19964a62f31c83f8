"""The same rounds by other clients: one httpx client for all miners, and aiohttp."""

from __future__ import annotations

import json
import secrets
import sys
import time
from collections.abc import Mapping, Sequence

import httpx
import trio

from benchmarks.farm import VALIDATOR
from validator.adapters.fiber import wire
from validator.adapters.fiber.crypto import SymmetricKey
from validator.adapters.fiber.session import Session
from validator.adapters.fiber.transport import _trust_anybody
from validator.domain.metagraph import Miner
from validator.domain.payload import Payload


def nonce() -> str:
    """A fresh one."""
    return wire.nonce(time.time_ns(), secrets.token_hex(5))


def request_of(session: Session, path: str, payload: Payload) -> wire.Request:
    """The next question of a session."""
    return session.question(path, payload, nonce=nonce(), payload_nonce=nonce())


class SharedClient:
    """Everything through one pool, as the documentation of httpx recommends."""

    def __init__(self, client: httpx.AsyncClient, miners: Sequence[Miner]) -> None:
        self._client = client
        self._sessions = {m: Session(VALIDATOR, m.hotkey) for m in miners}

    async def round(self, path: str, payload: Payload, deadline: float) -> float:
        """Ask all; CPU seconds."""
        begin = time.process_time()
        async with trio.open_nursery() as nursery:
            for miner in self._sessions:
                nursery.start_soon(self._ask, miner, path, payload, deadline)
        return time.process_time() - begin

    async def _ask(
        self, miner: Miner, path: str, payload: Payload, deadline: float
    ) -> None:
        session = self._sessions[miner]
        with trio.move_on_after(deadline):
            try:
                if not session.has_key:
                    hello = await self._send(miner, session.begin())
                    key = SymmetricKey.generate()
                    offer = session.offer(hello, key, nonce())
                    session.agree(await self._send(miner, offer))
                await self._send(miner, request_of(session, path, payload))
            except httpx.TransportError:
                pass

    async def _send(self, miner: Miner, request: wire.Request) -> wire.Response:
        response = await self._client.request(
            request.method,
            f"https://{miner.ip}:{miner.port}{request.path}",
            headers=request.headers,
            content=request.body or None,
        )
        return wire.Response(response.status_code, response.content)


async def shared_httpx(
    miners: Sequence[Miner], path: str, payload: Payload, deadline: float, rounds: int
) -> list[float]:
    """CPU seconds of each round after the first, by one client for all."""
    limits = httpx.Limits(max_connections=300, max_keepalive_connections=300)
    async with httpx.AsyncClient(
        verify=_trust_anybody(), limits=limits, timeout=deadline, trust_env=False
    ) as client:
        shared = SharedClient(client, miners)
        times = [await shared.round(path, payload, deadline) for _ in range(rounds + 1)]
    return times[1:]


async def aiohttp(
    miners: Sequence[Miner], path: str, payload: Payload, deadline: float, rounds: int
) -> list[float] | str:
    """The same by aiohttp on asyncio, in a process of its own; or why not."""
    task: Mapping[str, object] = {
        "ports": [[miner.ip, miner.port, miner.hotkey] for miner in miners],
        "path": path,
        "text": payload.text.decode(),
        "deadline": deadline,
        "rounds": rounds,
    }
    done = await trio.run_process(
        [sys.executable, "-m", "benchmarks.aiohttp_script"],
        stdin=json.dumps(task).encode(),
        capture_stdout=True,
        capture_stderr=True,
        check=False,
    )
    if done.returncode:
        return bytes(done.stderr or b"").decode().strip().rpartition("\n")[2]
    return [float(each) for each in json.loads(done.stdout or b"[]")]
