"""Supervision trees in trio nurseries, in the sense of Erlang/OTP.

The layers, each importing only from those below it::

    system             `async with System(...)`: the root, beside a block of code
    dynamic            a supervisor of children that come and go
    tree               the supervisor actor
    guarded, breakers  refs that ask a circuit breaker first; the breakers' actor
    roles, role        its children: whose they are; starting and stopping each
    reports            what is said about a crash; the flight recorder
    events, reports   what is reported, and what can be seen
    planner            what a supervisor does about its children: pure
    plan, decisions    what it is told and answers; restart windows: pure
    breaker            when a circuit opens and closes: pure
    specs              children and policies: frozen values
"""

from supervision import events
from supervision.breakers import (
    Breakers,
    BreakerStatus,
    ForceOpen,
    GetBreakers,
    ResetBreaker,
)
from supervision.dynamic import DynamicSupervisor
from supervision.guarded import BreakerOpen, guard
from supervision.role import StartFailed
from supervision.specs import (
    AutoShutdown,
    Backoff,
    BreakerPolicy,
    Child,
    FailureRate,
    Intensity,
    Restart,
    Strategy,
)
from supervision.system import ShutdownStuck, System, SystemFailed
from supervision.tree import (
    GetChildren,
    GetTree,
    MaxRestarts,
    RestartChild,
    StartChild,
    StopChild,
    Supervisor,
)

__all__ = [
    "AutoShutdown",
    "Backoff",
    "BreakerOpen",
    "BreakerPolicy",
    "BreakerStatus",
    "Breakers",
    "Child",
    "DynamicSupervisor",
    "FailureRate",
    "ForceOpen",
    "GetBreakers",
    "GetChildren",
    "GetTree",
    "Intensity",
    "MaxRestarts",
    "ResetBreaker",
    "Restart",
    "RestartChild",
    "ShutdownStuck",
    "StartChild",
    "StartFailed",
    "StopChild",
    "Strategy",
    "Supervisor",
    "System",
    "SystemFailed",
    "events",
    "guard",
]
