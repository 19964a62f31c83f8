"""What a supervisor can be asked to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

import attrs

from actors import Ask, Exit, Ref, Snapshot
from supervision.specs import Child

if TYPE_CHECKING:
    from supervision.tree import Supervisor  # noqa: F401 - names the receiver

Q = TypeVar("Q")


@attrs.frozen
class StartChild(Ask["Supervisor", Ref[Q]], Generic[Q]):
    """Start a further child, after all others; the answer is its ref, once it is up.

    Rejected: the name is taken, the child belongs to another supervisor or has stopped
    for good, there are too many, or it did not start; then it is forgotten.
    """

    child: Child[Q]


@attrs.frozen
class StopChild(Ask["Supervisor", Exit]):
    """Stop a child, also while it starts or backs off; the answer is how it ended.

    ``forget``: for good; its name is free. Otherwise it stays down, and its ref is
    gone, until it is started again: by `RestartChild`, or with its group. A temporary
    child is always forgotten.

    Rejected: there is no such child, or it is stuck.
    """

    name: str
    forget: bool = True


@attrs.frozen
class RestartChild(Ask["Supervisor", None]):
    """Stop a child, clean up after it and start it again; or start it, if it is down.

    The answer comes once it is up. It costs no restart of the supervisor's intensity.
    If it fails to start, one that was down stays so; one that was up is restarted
    like any other that failed.

    Rejected: there is no such child, it did not start, it was stopped meanwhile, or it
    is stuck; then it is started should it end after all.
    """

    name: str


@attrs.frozen
class CleanUp(Ask["Supervisor", None]):
    """Restart a child with a comprehensive cleanup: Python's garbage is collected too.

    As `RestartChild`, which stops a child and cleans up after it. In addition, once
    nothing of it is left and before it is started again, garbage is collected, at most
    once a minute per system. That stops the whole process, all threads included, for
    a quarter of a second per million objects: it is for people who ask for it, not for
    a routine. `CleanupStarted`, `GarbageCollected` and `CleanupCompleted` report it.

    Rejected: as `RestartChild`.
    """

    name: str


@attrs.frozen
class GetChildren(Ask["Supervisor", tuple[str, ...]]):
    """The names of the children, in the order of their start."""


@attrs.frozen
class GetTree(Ask["Supervisor", Snapshot]):
    """A picture of the supervisor and of all below it, as `Ref.snapshot` gives it.

    It is read in turn, behind other requests: `Ref.snapshot` asks nobody.
    """
