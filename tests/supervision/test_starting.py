"""Starts that need not wait, and starts that are put off."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import pytest
import trio
import trio.testing

from actors import Actor, Exit, Tell
from actors.events import Event, Started
from supervision import Backoff, Child, System, SystemFailed


@attrs.frozen
class Crash(Tell["Fragile"]):
    """Fail."""


class Fragile(Actor):
    @Crash.handled
    def crash(self, m: Crash) -> None:
        raise RuntimeError("as told")


class Slow(Actor):
    async def stopping(self, exit_: Exit) -> None:
        await trio.sleep(1.5)


def started(events: Sequence[Event]) -> list[str]:
    return [event.path for event in events if isinstance(event, Started)]


async def test_no_child_is_restarted_while_its_siblings_are_being_stopped() -> None:
    events: list[Event] = []
    fragile, slow = Child("fragile", Fragile), Child("slow", Slow)
    async with System(
        fragile, slow, backoff=Backoff(first=1, cap=1), on_event=[events.append]
    ) as system:
        system.ref(fragile).tell(Crash())
        await trio.testing.wait_all_tasks_blocked()
        assert system.ref(fragile).snapshot().state == "backing off"
    assert started(events).count("app/fragile") == 1


async def test_children_without_a_start_of_their_own_cost_their_siblings_no_wait() -> (
    None
):
    begin = trio.current_time()
    events: list[Event] = []
    children = [Child(f"{n}", Fragile) for n in range(40)]
    async with System(*children, on_event=[events.append]):
        assert started(events) == [*(f"app/{n}" for n in range(40)), "app"]
    assert trio.current_time() == begin


async def test_what_was_never_used_is_stopped_and_killed_like_the_rest() -> None:
    idle = Child("idle", Fragile)
    async with System(idle) as system:
        assert (await system.stop(idle)).kind == "shutdown"

    with pytest.raises(SystemFailed, match="not stopped in time"):
        async with System(idle := Child("idle", Fragile), shutdown=0) as system:
            pass
    assert system.ref(idle).gone == Exit("killed")
