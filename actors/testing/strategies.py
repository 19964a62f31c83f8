"""What Hypothesis draws; the only module that needs it (the extra ``testing``).

Everything is drawn before a simulation begins, as plain values: a simulation that
drew while it runs would cost several times as much, and shrink worse.
"""

from __future__ import annotations

from hypothesis import strategies as st

from actors.testing.schedule import FIFO, Schedule, Tape


def schedules(length: int = 96) -> st.SearchStrategy[Schedule]:
    """First in first out, short tapes, and tapes of up to ``length`` choices.

    Shrinks to first in, first out: what is left of a failing schedule had to be.
    """
    if length < 1:
        raise ValueError(f"a tape has at least 1 choice, got length={length!r}")
    return st.one_of(st.just(FIFO), _tapes(min(16, length)), _tapes(length))


def _tapes(length: int) -> st.SearchStrategy[Tape]:
    # Of one length: shorter ones find less, and end in zeros when they shrink.
    return st.binary(min_size=length, max_size=length).map(Tape)
