"""What units of work are made of: the session that runs them, and common statements.

A unit is a coroutine that gets the connection and does all its statements. It runs in
asyncio (see ``postgres_session``), so it awaits nothing else. Every statement with
arguments is prepared once per connection, by the driver.

Several units run at a time, each on a connection of its own. What a unit relies on it
locks, rows in the order of their keys: first hours or targets, then miners.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class Connection(Protocol):
    """What the units use of the driver's connection."""

    def execute(self, query: str, /, *args: object) -> Awaitable[str]:
        """Run a statement; return its tag."""
        ...

    def fetch(self, query: str, /, *args: object) -> Awaitable[Sequence[Any]]:
        """Run a statement; return its rows."""
        ...

    def fetchval(self, query: str, /, *args: object) -> Awaitable[Any]:
        """Run a statement; return the first value of its first row, or None."""
        ...


class Session(Protocol):
    """Runs units of work, one at a time."""

    async def run(
        self,
        operation: str,
        unit: Callable[[Connection], Coroutine[Any, Any, T]],
        *,
        writes: bool = True,
    ) -> T:
        """Run one unit, in a transaction if it writes."""
        ...


async def known_miners(connection: Connection, hotkeys: Iterable[str]) -> set[str]:
    """Return those of ``hotkeys`` that are known, and keep them so until the end."""
    rows = await connection.fetch(
        "SELECT hotkey FROM miners WHERE hotkey = ANY($1::text[]) ORDER BY hotkey "
        "FOR KEY SHARE",
        list(set(hotkeys)),
    )
    return {row["hotkey"] for row in rows}
