"""Asking all miners one question, at once."""

from __future__ import annotations

from collections.abc import Mapping

import trio

from actors import ActorError, AskTimeout, Ref
from validator.actors.miner import AskMiner, MinerClient, MinerFailed, Result
from validator.domain.answers import FailureKind
from validator.domain.metagraph import Miner
from validator.domain.payload import Payload

Roster = Mapping[Miner, Ref[MinerClient]]


async def ask_miners(
    roster: Roster, path: str, payload: Payload, *, timeout: float
) -> list[Result]:
    """Ask every miner of the roster concurrently; one result for each, in any order.

    Ends when the last has answered or failed, after ``timeout`` seconds at the
    latest. Cancelled, it abandons what is still under way.
    """
    results: list[Result] = []

    async def ask(miner: Miner, client: Ref[MinerClient]) -> None:
        begin = trio.current_time()
        try:
            result: Result = await client.ask(AskMiner(path, payload), timeout=timeout)
        except ActorError as error:
            # The client was too slow, is being restarted, or has just been stopped
            # because the miner was deregistered: no answer, whatever the reason.
            late = isinstance(error, AskTimeout)
            kind: FailureKind = "timeout" if late else "unreachable"
            seconds = trio.current_time() - begin
            result = MinerFailed(miner, kind, "query", error.detail, seconds)
        results.append(result)

    async with trio.open_nursery() as nursery:
        for miner, client in roster.items():
            nursery.start_soon(ask, miner, client)
    return results
