"""A tree, a rule that it breaks at the first crash, and a story with one."""

from __future__ import annotations

import attrs
import pytest
import trio

from actors import Actor, Ask, Tell
from supervision import Child, Supervisor
from supervision.testing import (
    Fault,
    InvariantBroken,
    Oracle,
    Run,
    Scenario,
    Tree,
    run_scenario,
)


@attrs.frozen
class Add(Tell["Counter"]):
    by: int


@attrs.frozen
class GetCount(Ask["Counter", int]):
    pass


class Counter(Actor):
    def __init__(self) -> None:
        self.count = 0

    @Add.handled
    def add(self, m: Add) -> None:
        self.count += m.by

    @GetCount.handled
    async def get(self, m: GetCount) -> int:
        await trio.sleep(1)
        return self.count


def children() -> list[Child[Counter] | Child[Supervisor]]:
    pair = [Child("left", Counter, mailbox=4), Child("right", Counter, mailbox=4)]
    return [Child("one", Counter, mailbox=4), Child("pair", lambda: Supervisor(*pair))]


PATHS = ("app/one", "app/pair/left", "app/pair/right")
TREE = Tree(children, messages={path: [Add(1), GetCount()] for path in PATHS})
CRASH = Fault("app/pair/left", "handle", 1, "crash")


def crashes(*, times: int = 1) -> Oracle:
    """A rule that is broken when anybody fails so often."""
    oracle = Oracle()

    @oracle.rule("never-fails")
    def never_fails(run: Run) -> list[str]:
        failed = [life for life in run.all_lives() if life.failed is not None]
        said = [f"{life.path} #{life.number} has failed" for life in failed]
        return said if len(said) >= times else []

    return oracle


def broken(scenario: Scenario, oracle: Oracle | None = None) -> InvariantBroken:
    with pytest.raises(InvariantBroken) as caught:
        run_scenario(scenario, TREE, oracle=oracle or crashes())
    return caught.value
