"""Typed actors on trio: every ask ends in exactly one definite outcome.

The layers, each importing only from those below it::

    host                          one actor beside a block of code
    _core.incarnation             one life of an actor: the file to read first
    _core.actor                   what users subclass
    _core.refs                    how everybody else sees an actor
    _core.mailbox, reply          where messages and answers wait
    _core.runtime                 what the actors of one system share
    events                        what the runtime reports
    _core.messages, errors, exits the vocabulary
"""

from actors import events
from actors._core.actor import Actor, Context
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
from actors._core.messages import Ask, Deferred, Message, Tell
from actors._core.refs import Ref
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
    "Exit",
    "HandlerTimeout",
    "MailboxFull",
    "Message",
    "OperationTimeout",
    "Ref",
    "Rejected",
    "Stop",
    "Stopped",
    "Tell",
    "Unhandled",
    "events",
    "open_actor",
]
