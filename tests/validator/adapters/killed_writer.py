"""Writes to the database until it is killed, and says what was acknowledged."""

from __future__ import annotations

import os
import sys
from itertools import count

import trio
from storms import DEADLINE, FIRST, HOUR, running

from validator.actors.questions import (
    ClaimPredictions,
    RegisterMiners,
    ReleaseClaims,
    SavePredictions,
)
from validator.domain.dst import ScaledDst
from validator.domain.metagraph import Miner
from validator.domain.scoring import Prediction

OWNER = "killed writer"
MINER = Miner(1, "a", "127.0.0.1", 8001)


async def main(dsn: str, first: int) -> None:
    """Write one hour after the other, from that number on."""
    numbers = count(first)
    async with running(dsn, [], fresh=False) as ref:
        # As every life of a task does, for the one before it.
        await ref.ask(ReleaseClaims(OWNER), timeout=DEADLINE)
        await ref.ask(RegisterMiners((MINER,)), timeout=DEADLINE)

        async def writer() -> None:
            for number in numbers:
                hour = FIRST + number * HOUR
                prediction = Prediction(hour, MINER.hotkey, ScaledDst(-1.0))
                await ref.ask(SavePredictions((prediction,)), timeout=DEADLINE)
                os.write(1, b"%d\n" % number)
                await ref.ask(ClaimPredictions(hour, OWNER, 1), timeout=DEADLINE)

        async with trio.open_nursery() as nursery:
            for _ in range(8):
                nursery.start_soon(writer)


if __name__ == "__main__":
    trio.run(main, sys.argv[1], int(sys.argv[2]))
