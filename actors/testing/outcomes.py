"""What a simulation can show to be wrong, and what it says about it."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from actors.testing.schedule import Tape
from actors.testing.trace import Trace


@attrs.frozen
class Pick:
    """A moment at which some tasks had to wait although they could have run."""

    step: int
    """The step that was made instead."""
    ran: str
    waited: Sequence[str]

    def __str__(self) -> str:
        who = "wait" if len(self.waited) > 1 else "waits"
        return f"at step {self.step} {self.ran} runs, {', '.join(self.waited)} {who}"


class SimulationError(Exception):
    """A simulation has shown that something is wrong with the program."""

    def __init__(
        self, text: str, trace: Trace, schedule: Sequence[Pick], tape: Tape
    ) -> None:
        super().__init__(text)
        self.trace = trace
        """What had happened until then."""
        self.schedule = schedule
        """How the schedule had differed from first in, first out."""
        self.tape = tape
        """What it had decided, as data: it leads to the same again."""


class Deadlock(SimulationError):
    """Every task waits and no deadline is pending: nobody will ever run again.

    The text shows the tasks, and where each waits.
    """


class Livelock(SimulationError):
    """Tasks run on and on without getting anywhere, or never come to an end.

    Either so many rounds were run that virtual time should have moved, or more of it
    has passed than there was to be. The text shows the tasks.
    """


class NonDeterministic(SimulationError):
    """Run twice, the same program has done different things.

    The text names the first difference. Something takes time, chance or an order from
    outside: a wall clock, ``uuid4``, a set of strings, or state that outlives a run.
    """
