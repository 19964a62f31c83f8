"""Actors inside an ordinary trio server: connections are tasks, what they share is one.

Every line comes back with its number, counted over all connections.
"""

from __future__ import annotations

from functools import partial

import attrs
import trio

from actors import Actor, Ask, Ref, open_actor


@attrs.frozen
class Record(Ask["Journal", int]):
    line: bytes


class Journal(Actor):
    def __init__(self) -> None:
        self.lines: list[bytes] = []

    @Record.handled
    def record(self, m: Record) -> int:
        self.lines.append(m.line)
        return len(self.lines)


async def serve(journal: Ref[Journal], stream: trio.SocketStream) -> None:
    async for line in stream:  # short enough here to come in one piece
        number = await journal.ask(Record(bytes(line)), timeout=1)
        await stream.send_all(b"%d: %s" % (number, line))


async def say(address: trio.SocketListener, *lines: bytes) -> None:
    host, port = address.socket.getsockname()
    async with await trio.open_tcp_stream(host, port) as stream:
        for line in lines:
            await stream.send_all(line)
            print((await stream.receive_some()).decode())


async def main() -> None:
    async with open_actor(Journal) as journal, trio.open_nursery() as nursery:
        (listener,) = await nursery.start(
            partial(trio.serve_tcp, partial(serve, journal), 0, host="127.0.0.1")
        )
        await say(listener, b"hello", b"is anybody there?")
        await say(listener, b"hello again")
        nursery.cancel_scope.cancel()  # the server; leaving the block stops the actor


if __name__ == "__main__":
    trio.run(main)
