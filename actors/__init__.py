"""Typed actors on trio: every ask ends in exactly one definite outcome.

The layers, each importing only from those below it::

    host, functions             one actor beside a block of code; functions as actors
    _core.incarnation           one life of an actor: the file to read first
    _core.reader                how it reads its mailbox, message by message
    _core.actor                 what users subclass
    _core.operations, timers    what its context offers
    _core.runtime, registry     what the actors of one system share
    _core.refs, snapshot        how everybody else sees an actor
    _core.mailbox, reply        where messages and answers wait
    events                      what the runtime reports
    _core.messages, errors      the vocabulary
"""

from actors import events
from actors._core.actor import Actor, Context
from actors._core.bus import Subscription
from actors._core.control import GetState, Resume, Suspend
from actors._core.errors import (
    ActorCrashed,
    ActorError,
    ActorGone,
    AskCycle,
    AskTimeout,
    HandlerTimeout,
    MailboxFull,
    OperationTimeout,
    Rejected,
    Stop,
    Stopped,
    Unhandled,
)
from actors._core.exits import Exit
from actors._core.mailbox import Overflow
from actors._core.messages import Ask, Deferred, Message, Tell
from actors._core.operations import Operation
from actors._core.record import State
from actors._core.refs import Ref
from actors._core.snapshot import Snapshot
from actors._core.timers import Timer
from actors.functions import Envelope, Inbox, function_actor
from actors.host import open_actor

__all__ = [
    "Actor",
    "ActorCrashed",
    "ActorError",
    "ActorGone",
    "Ask",
    "AskCycle",
    "AskTimeout",
    "Context",
    "Deferred",
    "Envelope",
    "Exit",
    "GetState",
    "HandlerTimeout",
    "Inbox",
    "MailboxFull",
    "Message",
    "Operation",
    "OperationTimeout",
    "Overflow",
    "Ref",
    "Rejected",
    "Resume",
    "Snapshot",
    "State",
    "Stop",
    "Stopped",
    "Subscription",
    "Suspend",
    "Tell",
    "Timer",
    "Unhandled",
    "events",
    "function_actor",
    "open_actor",
]

# Tracebacks, pickles and documentation name a class by where users import it from.
for _name in __all__:
    if isinstance(_value := globals()[_name], type):
        _value.__module__ = __name__
