"""Supervision trees in trio nurseries, in the sense of Erlang/OTP.

The layers, each importing only from those below it::

    app                a process around it: signals, exit codes, the service manager
    system             `async with System(...)`: the root, beside a block of code
    watchdog           the actor that looks after the whole tree
    metrics            figures per actor: a fold over events
    dynamic, pool      children that come and go; workers behind one ref
    tree, requests     the supervisor actor; what it can be asked to do
    guarded, breakers  refs that ask a circuit breaker first; the breakers' actor
    roles, role        its children: whose they are; starting and stopping each
    parent             what a supervisor is for its own role
    reports, garbage   what is said about a crash; what else is cleaned up on request
    events             what is reported
    resources          what a process uses, and what operations do to that
    loopwatch, notify  the thread that watches the loop; word to the service manager
    planner            what a supervisor does about its children: pure
    plan, decisions    what it is told and answers; restart windows: pure
    breaker            when a circuit opens and closes: pure
    specs              children and policies: frozen values
"""

from supervision import events
from supervision.app import App, run_app
from supervision.breakers import (
    Breakers,
    BreakerStatus,
    ForceOpen,
    GetBreakers,
    ResetBreaker,
)
from supervision.dynamic import DynamicSupervisor
from supervision.guarded import BreakerOpen, guard
from supervision.loopwatch import watch_loop
from supervision.metrics import ActorMetrics, Metrics, waiting
from supervision.parent import StartFailed
from supervision.pool import Standby, pool_of
from supervision.reports import MaxRestarts
from supervision.requests import (
    CleanUp,
    GetChildren,
    GetTree,
    RestartChild,
    StartChild,
    StopChild,
)
from supervision.resources import Holdings, Meter, Resources, count_cpu, holdings
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
from supervision.tree import Supervisor
from supervision.watchdog import GetMetrics, GetOpenFiles, Watchdog

__all__ = [
    "ActorMetrics",
    "App",
    "AutoShutdown",
    "Backoff",
    "BreakerOpen",
    "BreakerPolicy",
    "BreakerStatus",
    "Breakers",
    "Child",
    "CleanUp",
    "DynamicSupervisor",
    "FailureRate",
    "ForceOpen",
    "GetBreakers",
    "GetChildren",
    "GetMetrics",
    "GetOpenFiles",
    "GetTree",
    "Holdings",
    "Intensity",
    "MaxRestarts",
    "Meter",
    "Metrics",
    "ResetBreaker",
    "Resources",
    "Restart",
    "RestartChild",
    "ShutdownStuck",
    "Standby",
    "StartChild",
    "StartFailed",
    "StopChild",
    "Strategy",
    "Supervisor",
    "System",
    "SystemFailed",
    "Watchdog",
    "count_cpu",
    "events",
    "guard",
    "holdings",
    "pool_of",
    "run_app",
    "waiting",
    "watch_loop",
]

# Tracebacks, pickles and documentation name a class by where users import it from.
for _name in __all__:
    if isinstance(_value := globals()[_name], type):
        _value.__module__ = __name__
