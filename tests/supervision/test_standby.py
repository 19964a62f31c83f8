"""A worker that has to get ready first is nobody's to wait for."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import attrs
import pytest
import trio
from parts import CALM

from actors import Ask, Ref, Tell
from supervision import Child, Standby, System, pool_of


@attrs.frozen
class Work(Ask["Slow", str]):
    """The answer is who did it, and when."""

    seconds: float = 1.0


@attrs.frozen
class GetTired(Tell["Slow"]):
    pass


class Slow(Standby):
    """Needs a second to get ready, or what ``needs`` says for its next tries."""

    tries: list[str]
    needs: dict[str, list[float]]

    def __init__(self) -> None:
        self._ready = False

    @property
    def ready(self) -> bool:
        return self._ready

    async def get_ready(self) -> None:
        name = self.ctx.me.path.rpartition("/")[2]
        self.tries.append(f"{name} at {trio.current_time():g}")
        left = self.needs.get(name)
        await trio.sleep(left.pop(0) if left else 1)
        if name == "2":
            raise ValueError("a bug")
        self._ready = not left

    @Work.handled
    async def work(self, m: Work) -> str:
        await trio.sleep(m.seconds)
        name = self.ctx.me.path.rpartition("/")[2]
        return f"{name} at {trio.current_time():g}"

    @GetTired.handled
    def get_tired(self, m: GetTired) -> None:
        self._ready = False


@attrs.define
class Pooled:
    ref: Ref[Slow]
    tries: list[str]
    answers: list[str]

    async def ask(self, *seconds: float) -> None:
        async def one(each: float) -> None:
            self.answers.append(await self.ref.ask(Work(each), timeout=100))

        async with trio.open_nursery() as nursery:
            for each in seconds:
                nursery.start_soon(one, each)
                await trio.sleep(0.001)


@asynccontextmanager
async def pooled(size: int, **needs: list[float]) -> AsyncGenerator[Pooled]:
    class Mine(Slow):
        pass

    Mine.tries, Mine.needs = [], {name[1:]: left for name, left in needs.items()}
    child = pool_of(Child("s", Mine), size=size, route="first", intensity=CALM)
    async with System(child) as system:
        yield Pooled(system.ref(child), Mine.tries, [])


async def test_nobody_gets_ready_before_somebody_has_to_wait() -> None:
    async with pooled(3) as pool:
        await trio.sleep(10)
        assert pool.tries == []
        await pool.ask(1)
        await pool.ask(1)
    assert pool.tries == ["0 at 10"]
    assert pool.answers == ["0 at 12", "0 at 13"]


async def test_what_waits_goes_to_whoever_is_ready_first() -> None:
    async with pooled(2, _1=[60.0]) as pool:
        await pool.ask(1)
        await pool.ask(2, 1, 1)
    assert pool.tries == ["0 at 0", "1 at 2.001"]
    assert pool.answers[1:] == ["0 at 4", "0 at 5", "0 at 6"]


async def test_one_more_gets_ready_for_each_message_that_waits() -> None:
    async with pooled(2) as pool:
        await pool.ask(1)
        await pool.ask(5, 5)
    assert pool.tries == ["0 at 0", "1 at 2.001"]
    assert pool.answers[1:] == ["0 at 7", "1 at 8.001"]


async def test_who_did_not_get_ready_is_asked_again_while_somebody_waits() -> None:
    async with pooled(1, _0=[1.0] * 99) as pool:
        with trio.move_on_after(2.5):
            await pool.ask(1)
        await trio.sleep(10)
    assert pool.tries == ["0 at 0", "0 at 1", "0 at 2"]


async def test_who_is_not_ready_any_more_is_passed_over() -> None:
    async with pooled(2) as pool:
        await pool.ask(2, 2)
        pool.ref.tell(GetTired())  # to the first
        await trio.sleep(0.1)
        await pool.ask(1)
    assert pool.answers[-1].startswith("1 at")


async def test_a_bug_in_getting_ready_costs_no_message() -> None:
    async with pooled(3) as pool:
        with trio.fail_after(30):
            await pool.ask(9, 9, 9, 1)
    assert len(pool.answers) == 4
    assert {each[0] for each in pool.answers} == {"0", "1"}


async def test_standing_by_has_to_be_defined() -> None:
    with pytest.raises(NotImplementedError):
        _ = Standby().ready
    with pytest.raises(NotImplementedError):
        await Standby().get_ready()
