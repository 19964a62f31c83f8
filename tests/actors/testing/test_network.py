"""HTTP in a network that is not there: what each fault looks like to httpx."""

from __future__ import annotations

import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any

import httpx
import pytest
import trio
from hypothesis import given, strategies as st
from trio.testing import MockClock

from actors.testing import (
    ChaosProxy,
    Deadlock,
    Network,
    NetworkStream,
    Schedule,
    Tape,
    World,
    explore_cancellation,
    schedules,
    simulate,
)
from actors.testing._http import Server
from actors.testing.answers import (
    Garbage,
    HugeBody,
    RedirectLoop,
    Status,
    WrongLength,
)
from actors.testing.links import (
    Blackhole,
    Cut,
    Ending,
    Link,
    Links,
    NameUnknown,
    Refused,
    ResetAtOnce,
    TlsFailure,
    Unreachable,
)
from actors.testing.network import NetworkFault
from actors.testing.proxy import ProxyFault

HOST = "miner"
URL = "https://miner/task"
BODY = b"0123456789" * 30
ENDINGS: tuple[Ending, ...] = ("reset", "eof", "silence")


def answer(request: httpx.Request) -> httpx.Response:
    return httpx.Response(200, content=BODY, headers={"x-asked": str(request.url)})


@pytest.fixture
async def network() -> AsyncIterator[Network]:
    async with Network() as network:
        network.serve(HOST, 443, answer)
        yield network


async def ask(client: httpx.AsyncClient, url: str = URL) -> str:
    """Ask once; say what comes of it in one word, or in a number of bytes."""
    try:
        response = await client.post(url, content=b"?")
    except httpx.HTTPError as error:
        return type(error).__name__
    return f"{response.status_code}, {len(response.content)} bytes"


def down(after: int, how: Ending) -> Links:
    return Links(down=Link(cut=Cut(after, how)))


def up(after: int, how: Ending) -> Links:
    return Links(up=Link(cut=Cut(after, how)))


# -- what each fault looks like -------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "outcome", "seconds"),
    [
        (Links(), "200, 300 bytes", 0),
        (Refused(), "ConnectError", 0),
        (NameUnknown(), "ConnectError", 0),
        (TlsFailure(), "ConnectError", 0),
        (Unreachable(), "ConnectTimeout", 5),
        (ResetAtOnce(), "ReadError", 0),
        (Blackhole(), "ReadTimeout", 10),
        (down(9, "reset"), "ReadError", 0),
        (down(9, "eof"), "RemoteProtocolError", 0),
        (down(9, "silence"), "ReadTimeout", 10),
        (down(200, "reset"), "ReadError", 0),
        (down(200, "eof"), "RemoteProtocolError", 0),
        (down(200, "silence"), "ReadTimeout", 10),
        (up(9, "reset"), "ReadError", 0),
        (up(9, "eof"), "RemoteProtocolError", 0),
        (up(9, "silence"), "ReadTimeout", 10),
        (Links(up=Link(latency=1), down=Link(latency=2)), "200, 300 bytes", 6),
        (Links(down=Link(latency=11)), "ConnectTimeout", 5),
        (Links(down=Link(rate=100)), "200, 300 bytes", pytest.approx(3.5, abs=0.2)),
        (Status(503), "503, 0 bytes", 0),
        (Status(404), "404, 0 bytes", 0),
        (Garbage(), "RemoteProtocolError", 0),
        (Garbage(b""), "RemoteProtocolError", 0),
        (HugeBody(1_000_000), "200, 1000000 bytes", 0),
        (WrongLength(1), "RemoteProtocolError", 0),
        (WrongLength(-1), "200, 299 bytes", 0),
        (RedirectLoop(), "TooManyRedirects", 0),
    ],
    ids=repr,
)
async def test_what_a_fault_looks_like_and_how_long_it_takes(
    network: Network, fault: NetworkFault, outcome: str, seconds: float
) -> None:
    network.fault(HOST, fault)
    begin = trio.current_time()
    limits = httpx.Timeout(10, connect=5)
    async with network.client(timeout=limits, follow_redirects=True) as client:
        assert await ask(client) == outcome
        assert trio.current_time() - begin == seconds

        network.heal(HOST)
        assert await ask(client) == "200, 300 bytes"


async def test_a_slow_loris_passes_every_timeout_of_httpx(network: Network) -> None:
    network.fault(HOST, Links(down=Link(rate=0.2)))
    async with network.client(timeout=10) as client:
        with trio.move_on_after(1000) as scope:
            await client.get(URL)
    assert scope.cancelled_caught


async def test_a_body_too_large_can_be_left_half_way(network: Network) -> None:
    network.fault(HOST, HugeBody())
    async with network.client() as client:
        size = 0
        async with client.stream("GET", URL) as response:
            with trio.CancelScope() as enough:  # which leaves no generator half way
                async for chunk in response.aiter_bytes():
                    size += len(chunk)
                    if size > 100_000:
                        enough.cancel()
        assert size < 300_000
        network.heal(HOST)
        assert await ask(client) == "200, 300 bytes"


async def test_an_upload_over_a_slow_link_exceeds_its_timeout(network: Network) -> None:
    network.fault(HOST, Links(up=Link(rate=1000)))
    async with network.client(timeout=10) as client:
        with pytest.raises(httpx.WriteTimeout):
            await client.post(URL, content=bytes(1_000_000))


async def test_a_redirect_that_is_not_followed_is_an_answer(network: Network) -> None:
    network.fault(HOST, RedirectLoop())
    async with network.client() as client:
        response = await client.get(URL)
    assert (response.status_code, response.headers["location"]) == (307, URL)


async def test_nobody_answers_for_hosts_and_ports_that_are_not_there(
    network: Network,
) -> None:
    async with network.client() as client:
        with pytest.raises(httpx.ConnectError, match="not known: 'nobody'"):
            await client.get("https://nobody/")
        with pytest.raises(httpx.ConnectError, match="refused: miner:80"):
            await client.get("http://miner/")


@given(
    st.integers(0, 460), st.sampled_from([up, down]), st.sampled_from(("reset", "eof"))
)
def test_a_cut_is_an_error_or_too_late_and_never_a_shorter_answer(
    after: int, way: object, how: Ending
) -> None:
    assert callable(way)

    async def scenario() -> str:
        async with Network() as network:
            network.serve(HOST, 443, answer)
            network.fault(HOST, way(after, how))
            async with network.client() as client:
                return await ask(client)

    outcome = trio.run(scenario, clock=MockClock(autojump_threshold=0))
    assert outcome in {"ReadError", "RemoteProtocolError", "200, 300 bytes"}


# -- which connections and answers it meets -------------------------------------------


async def test_a_fault_meets_as_many_connections_as_it_is_told_to(
    network: Network,
) -> None:
    network.fault(HOST, Refused(), times=2)
    async with network.client() as client:
        outcomes = [await ask(client) for _ in range(4)]
    assert outcomes == ["ConnectError"] * 2 + ["200, 300 bytes"] * 2


async def test_a_fault_of_answers_meets_as_many_of_them_on_one_connection(
    network: Network,
) -> None:
    async with network.client() as client:
        await ask(client)
        network.fault(HOST, Status(500), times=2)
        outcomes = [await ask(client) for _ in range(3)]
    assert outcomes == ["500, 0 bytes"] * 2 + ["200, 300 bytes"]


async def test_links_change_on_connections_that_are_open(network: Network) -> None:
    async with network.client() as client:
        await ask(client)
        network.fault(HOST, down(0, "reset"))
        assert await ask(client) == "ReadError"


async def test_a_fault_with_a_number_leaves_connections_that_are_open_alone(
    network: Network,
) -> None:
    async with network.client() as client:
        await ask(client)
        network.fault(HOST, down(0, "reset"), times=1)
        assert await ask(client) == "200, 300 bytes"
    async with network.client() as client:
        assert await ask(client) == "ReadError"
        assert await ask(client) == "200, 300 bytes"


async def test_one_host_is_no_concern_of_another(network: Network) -> None:
    network.serve("other", 443, answer)
    network.fault(HOST, Refused())
    async with network.client() as client:
        assert await ask(client, "https://other/") == "200, 300 bytes"


async def test_a_connection_that_has_ended_while_idle_is_not_used_again(
    network: Network,
) -> None:
    async def once(stream: NetworkStream) -> None:
        data = b""
        while not data.endswith(b"\r\n\r\n"):
            data += await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    network.listen("short", 80, once)
    async with network.client() as client:
        for _ in range(3):
            assert (await client.get("http://short/")).status_code == 200


# -- servers ------------------------------------------------------------------------


async def test_a_server_sees_the_request_and_answers_however_it_likes() -> None:
    seen: list[httpx.Request] = []

    async def respond(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        await trio.sleep(3)

        def pieces() -> Iterator[bytes]:
            yield b"one "
            yield b"two"

        return httpx.Response(201, content=pieces(), headers={"x": "y"})

    async with Network() as network:
        network.serve(HOST, 8080, respond)
        async with network.client(headers={"x-me": "you"}) as client:
            begin = trio.current_time()
            response = await client.put("http://miner:8080/a?b=c", json=[1])
            head = await client.head("http://miner:8080/")
        assert trio.current_time() - begin == 6

    assert (response.status_code, response.headers["x"]) == (201, "y")
    assert response.content == b"one two"
    assert (head.status_code, head.content) == (201, b"")
    put = seen[0]
    assert (put.method, str(put.url)) == ("PUT", "http://miner:8080/a?b=c")
    assert (put.content, put.headers["x-me"]) == (b"[1]", "you")


async def test_bytes_go_both_ways_to_a_server_without_http(network: Network) -> None:
    async def echo(stream: NetworkStream) -> None:
        async for data in stream:
            await stream.send_all(data)

    network.listen("echo", 7, echo)
    async with await network.connect("echo", 7) as stream:
        await stream.send_all(b"ping")
        assert await stream.receive_some() == b"ping"
        await stream.send_all(b"pong")
        await stream.send_eof()
        assert await stream.receive_some(2) == b"po"
        assert await stream.receive_some() == b"ng"
        assert await stream.receive_some() == b""


async def test_a_stream_that_was_closed_says_so_also_to_who_waits_in_it(
    network: Network,
) -> None:
    stream = await network.connect(HOST, 443)
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def _() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await stream.receive_some()

        await trio.testing.wait_all_tasks_blocked()
        await stream.aclose()
    with pytest.raises(trio.ClosedResourceError):
        await stream.send_all(b"x")


async def test_connecting_fails_as_it_does_with_sockets(network: Network) -> None:
    with pytest.raises(ConnectionRefusedError):
        await network.connect(HOST, 1)
    with pytest.raises(socket.gaierror):
        await network.connect("nobody", 1)


async def test_what_a_server_raises_ends_the_block() -> None:
    def respond(request: httpx.Request) -> httpx.Response:
        raise ZeroDivisionError

    with pytest.RaisesGroup(ZeroDivisionError):
        async with Network() as network:
            network.serve(HOST, 443, respond)
            async with network.client() as client:
                await client.get(URL)


async def test_what_the_block_raises_leaves_unchanged_and_no_task_is_left() -> None:
    tasks = trio.lowlevel.current_statistics().tasks_living
    with pytest.raises(ValueError, match=r"^mine$"):
        async with Network() as network:
            network.serve(HOST, 443, answer)
            await network.connect(HOST, 443)
            raise ValueError("mine")
    assert trio.lowlevel.current_statistics().tasks_living == tasks


# -- what is refused ------------------------------------------------------------------


async def test_what_cannot_be_meant_is_refused(network: Network) -> None:
    async def handler(stream: NetworkStream) -> None: ...

    with pytest.raises(ValueError, match="listens on miner:443 already"):
        network.serve(HOST, 443, answer)
    with pytest.raises(ValueError, match="no host 'minor', but \\['miner'\\]"):
        network.fault("minor", Refused())
    network.listen("raw", 1, handler)
    with pytest.raises(ValueError, match="'raw' speaks no HTTP"):
        network.fault("raw", Status(500))
    with pytest.raises(ValueError, match="once or more, got times=0"):
        network.fault(HOST, Refused(), times=0)
    with pytest.raises(ValueError, match="must be"):
        Status(100)
    with pytest.raises(ValueError, match="must be"):
        HugeBody(-1)


async def test_outside_of_its_block_nobody_would_serve() -> None:
    network = Network()
    network.serve(HOST, 443, answer)
    with pytest.raises(RuntimeError, match=r"`async with Network"):
        await network.connect(HOST, 443)


@pytest.mark.real
def test_without_httpx_it_says_what_to_install() -> None:
    code = """
import sys
sys.modules["httpx"] = None
from actors.testing.network import Network
network = Network()
network.listen("raw", 1, print)
try:
    network.serve("host", 1, print)
except ImportError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert "install actor-tree[testing]" in done.stdout


# -- in simulations -------------------------------------------------------------------


async def two_at_once(world: World) -> list[str]:
    outcomes: list[str] = []

    async def one(client: httpx.AsyncClient) -> None:
        await trio.sleep(world.random.uniform(0, 2))
        outcomes.append(await ask(client))

    async with Network() as network, network.client() as client:
        network.serve(HOST, 443, answer)
        network.fault(HOST, Links(down=Link(latency=0.3)))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one, client)
            nursery.start_soon(one, client)
            await trio.sleep(1)
            network.fault(HOST, down(100, "reset"))
    return outcomes


def test_a_simulation_with_a_network_is_the_same_each_time() -> None:
    tape = Tape(bytes(range(1, 60)))
    runs = {
        (result.digest, tuple(result.value), result.seconds)
        for _ in range(10)
        for result in [simulate(two_at_once, schedule=tape, seed=3)]
    }
    assert len(runs) == 1


@given(schedules(), st.integers(0, 50))
def test_whatever_the_schedule_an_exchange_ends_in_one_of_its_ways(
    schedule: Schedule, seed: int
) -> None:
    value = simulate(two_at_once, schedule=schedule, seed=seed).value
    assert set(value) <= {"200, 300 bytes", "ReadError"}
    assert len(value) == 2


def test_silence_without_a_timeout_is_a_deadlock() -> None:
    async def main(world: World) -> None:
        async with Network() as network, network.client(timeout=None) as client:
            network.serve(HOST, 443, answer)
            network.fault(HOST, Blackhole())
            await client.get(URL)

    with pytest.raises(Deadlock):
        simulate(main)


def test_an_exchange_can_be_cancelled_at_any_step() -> None:
    async def main(world: World) -> None:
        tasks = trio.lowlevel.current_statistics().tasks_living
        try:
            async with Network() as network:
                network.serve(HOST, 443, answer)
                network.fault(HOST, Links(up=Link(latency=1), down=Link(rate=1000)))
                async with network.client() as client:
                    assert await ask(client) == "200, 300 bytes"
        finally:
            assert trio.lowlevel.current_statistics().tasks_living == tasks

    assert explore_cancellation(main).runs > 20


# -- and what is real -----------------------------------------------------------------


def served_by(server: Server) -> Callable[[trio.SocketStream], Awaitable[None]]:
    async def handler(stream: trio.SocketStream) -> None:
        both: Any = stream
        both.encrypted = False
        with suppress(trio.BrokenResourceError):
            await server.serve(both)

    return handler


async def simulated(fault: ProxyFault, timeout: httpx.Timeout) -> str:
    async with Network() as network:
        network.serve(HOST, 80, answer)
        network.fault(HOST, fault)
        async with network.client(timeout=timeout) as client:
            return await ask(client, "http://miner/task")


def patience(fault: ProxyFault) -> httpx.Timeout:
    nothing_comes = isinstance(fault, Blackhole) or "silence" in repr(fault)
    return httpx.Timeout(10, read=0.05 if nothing_comes else 10)


def kind(fault: ProxyFault, outcome: str) -> str:
    # A reset is told once. If it comes so early that sending fails, of which httpx
    # makes nothing, what is left to be read is an end without an answer.
    is_reset = "reset" in repr(fault).lower()
    return outcome.replace("RemoteProtocolError", "ReadError") if is_reset else outcome


@pytest.mark.real
async def test_real_sockets_look_the_same_to_httpx() -> None:
    faults: list[ProxyFault] = [Links(), Refused(), ResetAtOnce(), Blackhole()]
    faults += [
        way(after, how)
        for way in (down, up)
        for after in (0, 1, 50, 105, 200)
        for how in ENDINGS
    ]
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # the default takes long to make
    server = served_by(Server(HOST, 80, answer, lambda: None))
    async with trio.open_nursery() as nursery:
        serve = partial(trio.serve_tcp, host="127.0.0.1")
        (listener,) = await nursery.start(serve, server, 0)
        port = listener.socket.getsockname()[1]
        async with ChaosProxy("127.0.0.1", port) as proxy:
            url = f"http://127.0.0.1:{proxy.port}/task"
            for fault in faults:
                proxy.fault(fault)
                timeout = patience(fault)
                async with httpx.AsyncClient(timeout=timeout, verify=tls) as client:
                    real = await ask(client, url)
                expected = await simulated(fault, timeout)
                assert kind(fault, real) == kind(fault, expected), fault
        nursery.cancel_scope.cancel()
