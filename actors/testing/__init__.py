"""Hostile schedules in virtual time, as plain values, for any program on trio.

The layers, each importing only from those below it::

    strategies     what Hypothesis draws; nothing else imports it
    cancellation   `explore_cancellation`: a program cancelled at every step
    sites          where the source of a package waits
    probes         actors that stand in for others
    simulation     `simulate`: run a program under a given schedule
    _run           one run: who runs, counting steps, noticing that it hangs
    outcomes       what can be wrong
    tasks          tasks in words
    schedule       who runs next
    trace          what happened
    _seams         all private names of trio

and beside them, broken networks, simulated and real::

    network, proxy   hosts and clients in memory; what stands before a real server
    _http            HTTP for the hosts and clients in memory
    _stream          one end of a connection in memory
    _line, _beside   one direction of a connection; tasks that end with a block
    links, answers   what can be wrong: with the way, with what a server says

Nothing here needs pytest, nothing but `strategies` needs Hypothesis, and nothing but
`_http` needs httpx.
"""

from typing import TYPE_CHECKING

from actors.testing import answers, links
from actors.testing._run import Threads
from actors.testing._seams import UnknownTrio, check_seams
from actors.testing._stream import NetworkStream
from actors.testing.cancellation import CancelReport, explore_cancellation
from actors.testing.network import Network
from actors.testing.outcomes import (
    Deadlock,
    Livelock,
    NonDeterministic,
    Pick,
    SimulationError,
)
from actors.testing.probes import Probe
from actors.testing.proxy import ChaosProxy, ProxyStatistics
from actors.testing.schedule import FIFO, OneAtATime, Schedule, Tape
from actors.testing.simulation import SimResult, World, simulate
from actors.testing.sites import Site
from actors.testing.trace import Entry, Trace

if TYPE_CHECKING:
    from actors.testing.strategies import schedules

__all__ = [
    "FIFO",
    "CancelReport",
    "ChaosProxy",
    "Deadlock",
    "Entry",
    "Livelock",
    "Network",
    "NetworkStream",
    "NonDeterministic",
    "OneAtATime",
    "Pick",
    "Probe",
    "ProxyStatistics",
    "Schedule",
    "SimResult",
    "SimulationError",
    "Site",
    "Tape",
    "Threads",
    "Trace",
    "UnknownTrio",
    "World",
    "answers",
    "check_seams",
    "explore_cancellation",
    "links",
    "schedules",
    "simulate",
]

_BY_HYPOTHESIS = ("schedules",)

# Tracebacks, pickles and documentation name a class by where users import it from.
for _name in __all__:
    if _name not in _BY_HYPOTHESIS and isinstance(_value := globals()[_name], type):
        _value.__module__ = __name__


def __getattr__(name: str) -> object:
    if name in _BY_HYPOTHESIS:
        from actors.testing import strategies  # noqa: PLC0415 - only if it is used

        return getattr(strategies, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
