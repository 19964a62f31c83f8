"""How a client of miners dials on a simulated network."""

from __future__ import annotations

import trio

from actors.testing import Network
from validator.adapters.fiber.streams import Dial, Line


def dialling(network: Network) -> Dial:
    """Return what connects to the hosts of ``network``."""

    async def dial(host: str, port: int) -> Line:
        stream = await network.connect(host, port)
        try:
            await stream.start_tls()
        except BaseException:
            await trio.aclose_forcefully(stream)
            raise
        return Line(stream, lambda: stream.readable)

    return dial
