"""The process of a simulated subnet: spec on stdin, ports on stdout.

It ends when stdin does, so that a subnet whose owner was killed leaves nothing behind.
"""

from __future__ import annotations

import json
import os
import ssl
import sys

import trio

from validator.adapters.fiber.crypto import RsaKey
from validator.adapters.fiber.server import Server
from validator.simulation.miner_server import PATHS, MinerServer, self_signed_tls
from validator.simulation.subnet import SubnetSpec

_STAKE = 10_000.0


def simulate(spec: SubnetSpec, rsa: RsaKey) -> list[MinerServer]:
    """Make the miners of ``spec``.

    They share an RSA key: making one takes some 50 ms, for hundreds of miners many
    seconds before the first question, and no validator can tell.
    """
    return [
        MinerServer(
            uid=miner.uid,
            hotkey=miner.hotkey,
            behaviour=miner.behaviour,
            server=Server(rsa, {spec.validator: _STAKE}, PATHS),
            seed=spec.seed,
            hour_seconds=spec.hour_seconds,
            truth=spec.truth,
        )
        for miner in spec.miners
    ]


async def _run(miners: list[MinerServer], tls: ssl.SSLContext) -> None:
    async with trio.open_nursery() as nursery:
        ports = [await nursery.start(miner.serve, tls) for miner in miners]
        sys.stdout.write(json.dumps(ports) + "\n")
        sys.stdout.flush()
        async with trio.lowlevel.FdStream(os.dup(sys.stdin.fileno())) as owner:
            while await owner.receive_some():
                pass
        nursery.cancel_scope.cancel()


def main() -> None:
    """Run until stdin ends."""
    spec = SubnetSpec.from_json(sys.stdin.buffer.readline())
    trio.run(_run, simulate(spec, RsaKey.generate()), self_signed_tls())


if __name__ == "__main__":
    main()
