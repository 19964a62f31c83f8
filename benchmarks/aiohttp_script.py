"""Rounds by aiohttp on asyncio: task on stdin, CPU seconds of each round on stdout."""

from __future__ import annotations

import asyncio  # noqa: TID251 - the peer's own
import json
import sys
import time
from typing import Any

import aiohttp

from benchmarks.farm import VALIDATOR
from benchmarks.http_peers import nonce, request_of
from validator.adapters.fiber import wire
from validator.adapters.fiber.crypto import SymmetricKey
from validator.adapters.fiber.session import Session
from validator.adapters.fiber.transport import _trust_anybody
from validator.domain.payload import Payload


async def send(
    client: aiohttp.ClientSession, base: str, request: wire.Request
) -> wire.Response:
    """One exchange."""
    async with client.request(
        request.method,
        base + request.path,
        headers=dict(request.headers),
        data=request.body or None,
    ) as response:
        return wire.Response(response.status, await response.read())


async def ask(
    client: aiohttp.ClientSession, base: str, session: Session, task: dict[str, Any]
) -> None:
    """One miner."""
    try:
        async with asyncio.timeout(task["deadline"]):
            if not session.has_key:
                hello = await send(client, base, session.begin())
                offer = session.offer(hello, SymmetricKey.generate(), nonce())
                session.agree(await send(client, base, offer))
            payload = Payload(task["text"].encode())
            await send(client, base, request_of(session, task["path"], payload))
    except (TimeoutError, aiohttp.ClientError):
        pass


async def main(task: dict[str, Any]) -> list[float]:
    """All rounds; the first, which shakes hands, is not counted."""
    miners = [
        (f"https://{ip}:{port}", Session(VALIDATOR, hotkey))
        for ip, port, hotkey in task["ports"]
    ]
    connector = aiohttp.TCPConnector(limit=300, ssl=_trust_anybody())
    times: list[float] = []
    async with aiohttp.ClientSession(connector=connector) as client:
        for _ in range(task["rounds"] + 1):
            begin = time.process_time()
            async with asyncio.TaskGroup() as group:
                for base, session in miners:
                    group.create_task(ask(client, base, session, task))
            times.append(time.process_time() - begin)
    return times[1:]


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(json.load(sys.stdin)))))
