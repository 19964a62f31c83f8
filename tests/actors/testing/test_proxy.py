"""The proxy before a real server: real sockets, real time."""

from __future__ import annotations

import socket
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import psutil
import pytest
import trio

from actors.testing import ChaosProxy
from actors.testing.links import (
    Blackhole,
    Cut,
    Ending,
    Link,
    Links,
    Refused,
    ResetAtOnce,
)

pytestmark = pytest.mark.real

HOST = "127.0.0.1"
GREETING = b"0123456789" * 10
LONG = 5.0
"""Seconds in which something arrives if anything does."""
SHORT = 0.05
"""Seconds in which nothing has arrived where nothing should."""


async def greet(stream: trio.SocketStream) -> None:
    """Greet, and echo until the client hangs up."""
    try:
        async with stream:
            await stream.send_all(GREETING)
            async for data in stream:
                await stream.send_all(data)
    except trio.BrokenResourceError:
        pass


@pytest.fixture
async def port() -> AsyncIterator[int]:
    """Where the server is."""
    async with trio.open_nursery() as nursery:
        serve = partial(trio.serve_tcp, host=HOST)
        (listener,) = await nursery.start(serve, greet, 0)
        yield listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()


@pytest.fixture
async def proxy(port: int) -> AsyncIterator[ChaosProxy]:
    async with ChaosProxy(HOST, port) as proxy:
        yield proxy


@asynccontextmanager
async def connected(proxy: ChaosProxy) -> AsyncGenerator[trio.SocketStream]:
    """A client, that hangs up in order."""
    with trio.fail_after(2 * LONG):
        async with await trio.open_tcp_stream(HOST, proxy.port) as client:
            yield client


async def heard(
    client: trio.SocketStream, size: int = 10_000, *, patience: float = LONG
) -> tuple[bytes, Ending]:
    """What comes, until it is enough, or ends, or nothing more comes."""
    data = b""
    with trio.move_on_after(patience):
        try:
            while len(data) < size:
                piece = await client.receive_some()
                if not piece:
                    return data, "eof"
                data += piece
        except trio.BrokenResourceError:
            return data, "reset"
    return data, "silence"


def patience(how: Ending) -> float:
    return SHORT if how == "silence" else LONG


async def until(condition: Callable[[], bool]) -> None:
    with trio.fail_after(2 * LONG):
        while not condition():  # noqa: ASYNC110 - the kernel tells nobody
            await trio.sleep(0.001)


async def test_nothing_is_wrong_until_it_is_said(proxy: ChaosProxy) -> None:
    async with connected(proxy) as client:
        await client.send_all(b"ping")
        assert await heard(client, 104) == (GREETING + b"ping", "silence")
        assert proxy.statistics().open == 1
        await client.send_eof()
        assert await heard(client) == (b"", "eof")

    await until(lambda: proxy.statistics().open == 0)
    statistics = proxy.statistics()
    assert (statistics.accepted, statistics.up, statistics.down) == (1, 4, 104)


async def test_refused_and_healed_again_it_listens_on_the_same_port(
    proxy: ChaosProxy,
) -> None:
    port = proxy.port
    for _ in range(3):
        proxy.fault(Refused())
        with pytest.raises(OSError, match="connect"):
            await trio.open_tcp_stream(HOST, port)
        proxy.heal()
        async with connected(proxy) as client:
            assert (await heard(client, 100))[0] == GREETING
    assert proxy.port == port


async def test_to_refuse_leaves_connections_that_are_open_alone(
    proxy: ChaosProxy,
) -> None:
    async with connected(proxy) as client:
        await heard(client, 100)
        proxy.fault(Refused())
        await client.send_all(b"ping")
        assert (await heard(client, 4))[0] == b"ping"


async def test_reset_at_once(proxy: ChaosProxy) -> None:
    proxy.fault(ResetAtOnce())
    async with connected(proxy) as client:
        assert await heard(client) == (b"", "reset")


async def test_a_blackhole_takes_everything_and_says_nothing(
    proxy: ChaosProxy,
) -> None:
    proxy.fault(Blackhole())
    async with connected(proxy) as client:
        await client.send_all(bytes(1_000_000))
        assert await heard(client, patience=SHORT) == (b"", "silence")
    await until(lambda: proxy.statistics().open == 0)


@pytest.mark.parametrize("how", ["reset", "eof", "silence"])
@pytest.mark.parametrize("after", [0, 1, 99, 100])
async def test_what_the_server_says_is_cut_after_so_many_bytes(
    proxy: ChaosProxy, after: int, how: Ending
) -> None:
    proxy.fault(Links(down=Link(cut=Cut(after, how))))
    async with connected(proxy) as client:
        assert (await heard(client, after))[0] == GREETING[:after]
        assert await heard(client, patience=patience(how)) == (b"", how)
    await until(lambda: proxy.statistics().open == 0)


@pytest.mark.parametrize("how", ["reset", "eof", "silence"])
async def test_what_the_client_says_is_cut_after_so_many_bytes(
    proxy: ChaosProxy, how: Ending
) -> None:
    proxy.fault(Links(up=Link(cut=Cut(2, how))))
    async with connected(proxy) as client:
        await heard(client, 100)
        await client.send_all(b"ping")
        # The server answers what came, and hangs up when it hears the end.
        if how != "reset":  # which may overtake the answer
            assert (await heard(client, 2))[0] == b"pi"
        assert (await heard(client, patience=patience(how)))[1] == how


async def test_a_cut_set_later_is_counted_from_then_on_connections_that_are_open(
    proxy: ChaosProxy,
) -> None:
    async with connected(proxy) as client:
        await heard(client, 100)
        proxy.fault(Links(down=Link(cut=Cut(2, "eof"))))
        await client.send_all(b"ping")
        assert await heard(client) == (b"pi", "eof")


async def test_a_slow_link_takes_its_time(proxy: ChaosProxy) -> None:
    proxy.fault(Links(up=Link(latency=0.1), down=Link(rate=1000)))
    begin = trio.current_time()
    async with connected(proxy) as client:
        await client.send_all(b"ping")
        data = b""
        while len(data) < 104:
            data += await client.receive_some()
    assert data == GREETING + b"ping"
    assert 0.104 <= trio.current_time() - begin < 1


async def test_frozen_nothing_passes_and_thawed_everything(proxy: ChaosProxy) -> None:
    async with connected(proxy) as client:
        await heard(client, 100)
        proxy.freeze()
        await client.send_all(b"ping")
        await client.send_eof()
        async with connected(proxy) as another:
            assert await heard(another, patience=SHORT) == (b"", "silence")
        assert await heard(client, patience=SHORT) == (b"", "silence")
        proxy.thaw()
        assert await heard(client) == (b"ping", "eof")


async def test_all_that_is_open_can_be_reset(proxy: ChaosProxy) -> None:
    async with connected(proxy) as one, connected(proxy) as other:
        await heard(one, 100)
        await heard(other, 100)
        proxy.reset_all()
        assert await heard(one) == (b"", "reset")
        assert await heard(other) == (b"", "reset")
    async with connected(proxy) as client:
        assert (await heard(client, 100))[0] == GREETING


async def test_a_server_that_is_away_is_counted() -> None:
    with socket.socket() as unused:
        unused.bind((HOST, 0))  # bound and not listening: refuses connections
        async with ChaosProxy(HOST, unused.getsockname()[1]) as proxy:
            async with connected(proxy) as client:
                assert await heard(client) == (b"", "reset")
            assert proxy.statistics().unreachable == 1


async def test_a_server_on_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    listening = trio.socket.socket(socket.AF_UNIX)
    await listening.bind(str(path))
    listening.listen()
    async with trio.open_nursery() as nursery:
        listener = trio.SocketListener(listening)
        nursery.start_soon(trio.serve_listeners, greet, [listener])
        async with ChaosProxy.before_unix(path) as proxy:
            async with connected(proxy) as client:
                assert (await heard(client, 100))[0] == GREETING
            proxy.fault(Links(down=Link(cut=Cut(5))))
            async with connected(proxy) as client:
                assert await heard(client) == (GREETING[:5], "reset")
        nursery.cancel_scope.cancel()


async def test_nothing_is_left_behind_whatever_was_going_on(port: int) -> None:
    me = psutil.Process()
    tasks, before = trio.lowlevel.current_statistics().tasks_living, me.num_fds()
    with trio.fail_after(2 * LONG):
        async with ChaosProxy(HOST, port) as proxy:
            clients = [await trio.open_tcp_stream(HOST, proxy.port)]
            proxy.fault(Blackhole())
            clients.append(await trio.open_tcp_stream(HOST, proxy.port))
            proxy.fault(Links(up=Link(latency=60), down=Link(cut=Cut(3, "silence"))))
            clients.append(await trio.open_tcp_stream(HOST, proxy.port))
            await clients[-1].send_all(b"never arrives")
            await until(lambda: proxy.statistics().open == 3)
            proxy.freeze()
            clients.append(await trio.open_tcp_stream(HOST, proxy.port))
            await until(lambda: proxy.statistics().open == 4)
    for client in clients:
        await heard(client)
        await client.aclose()

    await until(lambda: me.num_fds() == before)
    assert trio.lowlevel.current_statistics().tasks_living == tasks


async def test_what_the_block_raises_leaves_unchanged(port: int) -> None:
    with pytest.raises(ValueError, match=r"^mine$"):
        async with ChaosProxy(HOST, port) as proxy:
            async with connected(proxy) as client:
                await heard(client, 100)
            raise ValueError("mine")


async def test_cancelled_it_leaves_at_once(port: int) -> None:
    with trio.move_on_after(SHORT) as scope:
        async with ChaosProxy(HOST, port) as proxy, connected(proxy):
            await trio.sleep_forever()
    assert scope.cancelled_caught
