"""An actor that does as it is told, for the tests of trees."""

from __future__ import annotations

import attrs
import trio

from actors import Actor, Ask, Exit, Stop, Tell
from supervision import Backoff, Child, Intensity

CALM = Intensity(100, within=10_000)
AT_ONCE = Backoff(first=0, cap=0)


@attrs.frozen
class Life(Ask["Part", int]):
    """Which incarnation are you?"""


@attrs.frozen
class Nap(Ask["Part", None]):
    seconds: float


@attrs.frozen
class Freeze(Ask["Part", None]):
    """Shield yourself against all attempts to end you."""

    seconds: float


@attrs.frozen
class Crash(Tell["Part"]):
    pass


@attrs.frozen
class End(Tell["Part"]):
    pass


class Part(Actor):
    """Does as it is told, and writes down when it starts and stops."""

    def __init__(self, log: list[str] | None = None) -> None:
        self.log = [] if log is None else log

    async def started(self) -> None:
        self.log.append(f"+{self.ctx.me.path}")

    async def stopping(self, exit_: Exit) -> None:
        self.log.append(f"-{self.ctx.me.path}")

    @Life.handled
    def life(self, m: Life) -> int:
        return self.ctx.incarnation

    @Nap.handled
    async def nap(self, m: Nap) -> None:
        await trio.sleep(m.seconds)

    @Freeze.handled
    async def freeze(self, m: Freeze) -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(m.seconds)

    @Crash.handled
    def crash(self, m: Crash) -> None:
        raise ValueError("crash")

    @End.handled
    def end(self, m: End) -> None:
        raise Stop


class Fragile(Part):
    """Starts once and never again."""

    async def started(self) -> None:
        if self.ctx.incarnation > 1:
            raise OSError("what it needs is away")


def parts(
    names: str, log: list[str] | None = None, **policy: object
) -> list[Child[Part]]:
    """One child for each letter."""
    return [
        Child(name, lambda: Part(log), **policy)  # type: ignore[arg-type]
        for name in names
    ]
