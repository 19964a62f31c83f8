"""State machines with async steps."""

from __future__ import annotations

import pytest
import trio
from faults.woods import Hand, Nap, Ping
from hypothesis import settings, strategies as st
from hypothesis.stateful import initialize, invariant, rule, run_state_machine_as_test

from supervision import Child, System
from supervision.testing import TrioStateMachine, awaited


class Naps(TrioStateMachine):
    """Counts restarts, and knows what time it is."""

    @initialize()
    @awaited
    async def start(self) -> None:
        child = Child("hand", Hand)
        self.system = await self.stack.enter_async_context(System(child))
        self.child, self.lives, self.now = child, 1, trio.current_time()

    @rule(seconds=st.integers(0, 9))
    @awaited
    async def nap(self, seconds: int) -> None:
        await self.system.ref(self.child).ask(Nap(seconds))
        self.now += seconds

    @rule()
    @awaited
    async def restart(self) -> None:
        await self.system.restart(self.child)
        self.lives += 1

    @invariant()
    @awaited
    async def is_as_expected(self) -> None:
        assert await self.system.ref(self.child).ask(Ping()) == self.lives
        assert trio.current_time() == self.now


TestNaps = Naps.TestCase
TestNaps.settings = settings(max_examples=20, stateful_step_count=20)


def test_what_a_step_finds_is_raised_and_comes_out_short() -> None:
    class Wrong(Naps):
        @invariant()
        def few(self) -> None:
            assert self.lives < 3

    with pytest.raises(AssertionError) as caught:
        run_state_machine_as_test(Wrong, settings=settings(database=None))
    notes = "\n".join(caught.value.__notes__)
    assert notes.count("state.restart()") == 2
    assert "state.nap" not in notes


def test_what_a_task_raises_fails_the_step() -> None:
    class Broken(TrioStateMachine):
        @rule()
        @awaited
        async def step(self) -> None:
            self.nursery.start_soon(self.fail)
            await trio.sleep(1)

        async def fail(self) -> None:
            raise OSError("a task has failed")

    failed = pytest.RaisesExc(OSError, match="a task has failed")
    with pytest.RaisesGroup(failed, flatten_subgroups=True):
        run_state_machine_as_test(Broken, settings=settings(database=None))
