"""One direction of a connection: order, time, and how it ends."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import trio
from hypothesis import given, strategies as st
from trio.testing import MockClock

from actors.testing._line import WINDOW, Line
from actors.testing.links import Cut, Ending, Link


async def received(
    line: Line, limit: int = WINDOW, impatience: float = math.inf
) -> tuple[bytes, Ending]:
    """What arrives within half a minute, and how it ends."""
    data = b""
    with trio.move_on_after(30):
        while True:
            with trio.move_on_after(impatience):
                try:
                    piece = await line.receive(limit)
                except trio.BrokenResourceError:
                    return data, "reset"
                if not piece:
                    return data, "eof"
                assert len(piece) <= limit
                data += piece
    return data, "silence"


cuts = st.none() | st.builds(
    Cut, st.integers(0, 60), st.sampled_from(("reset", "eof", "silence"))
)
links = st.builds(
    Link,
    latency=st.sampled_from((0.0, 0.5)),
    rate=st.sampled_from((math.inf, 7.0, 1000.0)),
    cut=cuts,
)


@given(
    pieces=st.lists(st.binary(max_size=20), max_size=8),
    link=links,
    limit=st.integers(1, 30),
    impatience=st.sampled_from((math.inf, 0.05)),
)
def test_all_arrives_in_order_until_a_cut_however_it_is_sent_and_taken(
    pieces: list[bytes], link: Link, limit: int, impatience: float
) -> None:
    async def send(line: Line) -> None:
        try:
            for piece in pieces:
                await line.send(piece)
        except trio.BrokenResourceError:
            return
        line.close()

    async def scenario() -> tuple[bytes, Ending]:
        line, got = Line(link), list[tuple[bytes, Ending]]()

        async def keep(line: Line) -> None:
            got.append(await received(line, limit, impatience))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send, line)
            nursery.start_soon(keep, line)
        return got[0]

    sent = b"".join(pieces)
    got = trio.run(scenario, clock=MockClock(autojump_threshold=0))
    if link.cut is None or len(sent) < link.cut.after:
        assert got == (sent, "eof")
    else:
        assert got == (sent[: link.cut.after], link.cut.how)


async def test_a_byte_takes_its_latency_and_its_share_of_the_rate() -> None:
    line = Line(Link(latency=2, rate=10))
    begin = trio.current_time()
    await line.send(b"0123456789")
    await line.send(b"0123456789")
    line.close()

    assert await line.receive() == b"0"
    assert trio.current_time() - begin == pytest.approx(2.1)
    assert await received(line) == (b"1234567890123456789", "eof")
    assert trio.current_time() - begin == pytest.approx(4)


async def test_latency_delays_a_stream_once_and_not_every_byte_of_it() -> None:
    line = Line(Link(latency=1))
    begin = trio.current_time()
    for _ in range(10):
        await line.send(b"x")
        await trio.sleep(0.1)
    line.close()

    assert await received(line) == (b"x" * 10, "eof")
    assert trio.current_time() - begin == pytest.approx(2)


async def test_what_is_sent_over_a_faster_link_does_not_overtake() -> None:
    line = Line(Link(latency=5))
    await line.send(b"slow ")
    line.link = Link()
    await line.send(b"fast")
    line.close()

    assert await received(line) == (b"slow fast", "eof")


async def test_a_sender_waits_for_a_receiver_that_takes_nothing() -> None:
    line = Line(Link())
    with trio.move_on_after(60) as scope:
        await line.send(bytes(2 * WINDOW + 1))
    assert scope.cancelled_caught

    assert len(await line.receive()) == WINDOW
    with trio.fail_after(60):
        await line.send(b"there is room again")


async def test_a_reset_frees_a_sender_that_waits() -> None:
    line = Line(Link())
    await line.send(bytes(WINDOW))

    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def _() -> None:
            with pytest.raises(trio.BrokenResourceError):
                await line.send(b"one more")

        await trio.testing.wait_all_tasks_blocked()
        line.reset()


async def test_the_bytes_until_a_cut_are_counted_from_when_it_was_set() -> None:
    line = Line(Link())
    await line.send(b"before ")
    line.link = Link(cut=Cut(3, "eof"))
    await line.send(b"after")

    assert await received(line) == (b"before aft", "eof")


@pytest.mark.parametrize("how", ["reset", "eof"])
async def test_a_cut_after_no_byte_comes_at_once(how: Ending) -> None:
    line = Line(Link(cut=Cut(0, how)))
    begin = trio.current_time()

    assert await received(line) == (b"", how)
    assert trio.current_time() == begin


@pytest.mark.parametrize("how", ["eof", "silence"])
async def test_what_is_sent_after_these_cuts_is_lost_in_good_faith(
    how: Ending,
) -> None:
    line = Line(Link(cut=Cut(1, how)))

    with trio.fail_after(60):
        await line.send(bytes(10 * WINDOW))
        await line.send(b"more")

    assert (await received(line))[0] == bytes(1)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Cut(-1),
        lambda: Cut(1, "boom"),  # type: ignore[arg-type]
        lambda: Link(latency=-1),
        lambda: Link(latency=math.inf),
        lambda: Link(latency=math.nan),
        lambda: Link(rate=0),
        lambda: Link(rate=math.nan),
    ],
)
def test_what_no_link_can_be_is_refused(wrong: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match="must be"):
        wrong()
