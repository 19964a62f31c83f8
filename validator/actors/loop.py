"""What all connections to the database need to run, as an actor."""

from __future__ import annotations

import attrs

from actors import Actor, Ask
from validator.ports import OpenDatabase, OpenStore


@attrs.frozen
class GetOpener(Ask["Loop", OpenStore]):
    """What opens a connection. Good as long as this incarnation lives."""


class Loop(Actor):
    """Owns the loop that drives connections; its end is the end of them all.

    It does not start unless the database can be used: the first connection is made,
    and the schema brought up to date, before anybody asks anything.
    """

    _opener: OpenStore

    def __init__(self, open_database: OpenDatabase) -> None:
        self._open = open_database

    async def started(self) -> None:
        self._opener = await self.ctx.enter(self._open())

    @GetOpener.handled
    def get_opener(self, m: GetOpener) -> OpenStore:
        return self._opener
