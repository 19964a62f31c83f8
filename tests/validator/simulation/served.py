"""One simulated miner behind a real socket."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import trio

from validator.adapters.fiber.crypto import RsaKey
from validator.adapters.fiber.server import Server
from validator.simulation.behaviours import Behaviour
from validator.simulation.miner_server import PATHS, MinerServer, self_signed_tls

MINER = "5DtDLm5rQHShDqojQpsvcN8tRXHVFaecfDoRet1SU6BFD9Fi"
SEED = "22" * 32
VALIDATOR = "5Fpfx4iDtrrY99VGkQnLXASytC2y9Z3o8KUyTtD4w7o5SZcA"
"""The one who may ask it; has that seed."""


@asynccontextmanager
async def serving(behaviour: Behaviour = "honest") -> AsyncGenerator[int]:
    miner = MinerServer(
        uid=0,
        hotkey=MINER,
        behaviour=behaviour,
        server=Server(RsaKey.generate(), {VALIDATOR: 5000.0}, PATHS),
        seed=1,
        hour_seconds=1.0,
    )
    async with trio.open_nursery() as nursery:
        port = await nursery.start(miner.serve, self_signed_tls())
        with trio.fail_after(10):  # nothing here takes long; what does is a hang
            yield port
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
