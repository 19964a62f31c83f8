"""The actor that most benchmarks talk to; it does nothing."""

from __future__ import annotations

import attrs

from actors import Actor, Ask, Tell


@attrs.frozen
class Put(Tell["Echo"]):
    n: int


@attrs.frozen
class Get(Ask["Echo", int]):
    n: int


class Echo(Actor):
    """Does nothing, as everything else is to be measured."""

    @Put.handled
    async def put(self, m: Put) -> None:
        pass

    @Get.handled
    async def get(self, m: Get) -> int:
        return m.n


PUT, GET = Put(1), Get(1)
