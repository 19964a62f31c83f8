"""The last thing an incarnation does, whatever ended it."""

from __future__ import annotations

import shutil
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import trio

from actors._core.exits import collapse

Step = tuple[str, Callable[[], Awaitable[object]]]

Report = tuple[Sequence[str], Sequence[tuple[str, Exception]], Sequence[str]]
"""Steps done, failed and abandoned."""

NOTHING: Report = ((), (), ())
"""There were no steps."""


async def run_steps(steps: list[Step], budget: float) -> Report:
    """Run every step once, the last first, within ``budget`` seconds for all together.

    A step is taken from the list before it runs, and may add further ones.

    A failing step does not cost the next its turn. A step for which nothing is left
    of the budget still runs up to its first checkpoint.
    """
    done: list[str] = []
    failed: list[tuple[str, Exception]] = []
    abandoned: list[str] = []
    deadline = trio.current_time() + budget
    while steps:
        name, step = steps.pop()
        # Shielded, because the usual reason to clean up is that somebody cancelled
        # us; bounded, because nobody could interrupt such a shield.
        scope = trio.CancelScope(shield=True, deadline=deadline)
        try:
            with scope:
                await step()
        except Exception as error:
            # Outside the scope: what fails while it is cut off comes in one group
            # with the cancellation, and is an Exception only once that is taken out.
            failed.append((name, collapse(error)))
        else:
            (abandoned if scope.cancelled_caught else done).append(name)
    return done, failed, abandoned


def remove_directory(directory: Path) -> list[str]:
    """Remove a directory; return the names of the files that were in it, sorted."""
    files = [each for each in directory.rglob("*") if not each.is_dir()]
    shutil.rmtree(directory)
    return sorted(str(file.relative_to(directory)) for file in files)
