"""Several workers behind one ref."""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Any, ClassVar, Literal, TypeVar, cast

import attrs

from actors import Actor, Deferred, Message, Tell
from actors._core.mailbox import Mailbox
from actors._core.messages import Posted
from actors._core.reply import Call
from supervision.events import Waited
from supervision.plan import Event
from supervision.role import Role
from supervision.specs import Backoff, Child, Intensity
from supervision.tree import Supervisor

P = TypeVar("P")

Route = Literal["idle", "first", "round_robin"] | Callable[[Any], Hashable]

AHEAD = 2
"""Messages a worker has at the most, the one in hand included, if it need not be idle
to be given one: so that it need not wait for the next."""


@attrs.frozen
class _GetReady(Tell["Standby"]):
    system: ClassVar[bool] = True


class Standby(Actor):
    """A worker of a pool that cannot always take a message: it has to connect, say.

    The pool gives it none unless it is `ready`. If a message has to wait because
    nobody can take it, the first worker that is not ready is asked to `get_ready`. The
    message goes to whoever is free first, so nobody waits for a certain worker.
    """

    @property
    def ready(self) -> bool:
        """Whether it can take a message now; the pool looks before it gives one."""
        raise NotImplementedError

    async def get_ready(self) -> None:
        """Try to become ready; as with any handler, what it raises fails the worker.

        If it is not ready afterwards, it is asked again as long as a message waits: so
        let it pause.
        """
        raise NotImplementedError

    @_GetReady.handled
    async def _wanted(self, m: _GetReady) -> None:
        await self.get_ready()


def pool_of(
    worker: Child[P],
    *,
    size: int,
    route: Route = "idle",
    intensity: Intensity | None = None,
    backoff: Backoff | None = None,
) -> Child[P]:
    """Let ``size`` workers do what one child would do; its ref is that of all.

    ``pool_of(Child("scorers", Scorer, mailbox=200), size=4)`` is a child like any
    other: name, mailbox, overflow and groups are those of the pool, everything else
    holds for each worker. Messages wait in the pool until a worker can take them, and
    so survive a worker's crash, all but the one it had in hand. A worker answers the
    asker itself.

    Workers that cannot always take a message are `Standby` actors; those by key are
    given theirs all the same.

    Suspended, it gives out nothing, while its workers finish what they have and are
    restarted. A worker that is suspended is given nothing by the pool, but what goes by
    its key waits for it.

    Who had to wait for a worker is reported (`supervision.events.Waited`): the role
    whose handler asks or, for any other, the pool. What it waited for is called by the
    pool's name.

    A message that no worker handles is not refused where it is sent: an ask of it ends
    in `Unhandled`, a tell is a dead letter.

    Args:
        worker: what each worker is made like.
        size: how many workers there are.
        route: who gets the next message. ``idle``: one that has nothing to do.
            ``first``: the first of those, so that the later ones have work only when
            there is much. ``round_robin``: each in its turn. A function of the message:
            all messages of one key go to the same worker, in the order in which they
            came.
        intensity: for the workers' restarts; see `Supervisor`.
        backoff: see `Supervisor`.

    Raises:
        ValueError: ``size`` is less than 1, the route is unknown, or the worker is not
            permanent.
    """
    if size < 1:
        raise ValueError(f"{worker.name}: a pool has at least 1 worker, got {size!r}")
    if not callable(route) and route not in ("idle", "first", "round_robin"):
        raise ValueError(
            f"{worker.name}: route must be 'idle', 'first', 'round_robin' or a "
            f"function of the message, got {route!r}"
        )
    if worker.restart != "permanent":
        raise ValueError(
            f"{worker.name}: the workers of a pool are always restarted; "
            f"restart={worker.restart!r} would leave it without"
        )
    # The same for all incarnations of the pool: what they have begun is theirs.
    workers = [
        attrs.evolve(worker, name=f"{n}", groups=(), overflow="wait")
        for n in range(size)
    ]

    def make() -> P:
        made = Pool(workers, route, intensity=intensity, backoff=backoff)
        return cast("P", made)  # whatever a P understands

    return Child(
        worker.name,
        make,
        mailbox=worker.mailbox,
        overflow=worker.overflow,
        groups=worker.groups,
        handler_timeout=None,
        start_timeout=size * worker.start_timeout,
    )


class Pool(Supervisor):
    """Gives what comes to its workers. Made by `pool_of`."""

    def __init__(
        self,
        workers: Sequence[Child[Any]],
        route: Route,
        *,
        intensity: Intensity | None,
        backoff: Backoff | None,
    ) -> None:
        super().__init__(*workers, intensity=intensity, backoff=backoff)
        self._route = route
        self._turn = 0
        self._next: tuple[Any, float] = (None, 0.0)
        """What was the next in the queue when one before it was given out or had to
        wait, and since when it had been there. So it has waited for a worker."""

    def _give(self, message: Message[Any]) -> Deferred[Any]:
        life, box = self.ctx._life, self.ctx.me._mailbox
        item = life.current
        next_, since = self._next
        role = self._choose(message)
        if role is not None:
            if next_ is item:
                self._note_wait(item, since)
            _forward(item, role.ref._mailbox, box)
            self._next = box.user[0] if box.user else (None, 0.0)
        else:
            # Nobody can take it: it stays the first in the queue, which is not read
            # until somebody can.
            if type(item) is Call:
                item.by = None
            self._next = (item, since if next_ is item else box.clock())
            box.user.appendleft(self._next)
            life.suspended = True
            if box.system is None:
                box.system = deque()  # without one, the reader does not look at that
            self._want_another()
        return Deferred(item)  # it is the worker who answers

    def _note_wait(self, item: Any, since: float) -> None:
        box = self.ctx.me._mailbox
        seconds = box.clock() - since
        if seconds > 0:
            asker = item.asker if type(item) is Call else None
            path = box.path if asker is None else asker.path
            self.ctx.emit(Waited(path, box.path.rpartition("/")[2], seconds))

    # Whatever is no request to the supervisor itself.
    vars(_give)["__handles__"] = Message

    def _choose(self, message: Message[Any]) -> Role | None:
        roles: list[Role] = [*self._roles]
        if not isinstance(self._route, str):
            key: Hashable = self._route(message)
            return _chosen_by_key(roles, key)
        most = AHEAD if self._route == "round_robin" else 1
        begin = 0 if self._route == "first" else self._turn
        for n in range(len(roles)):
            turn = (begin + n) % len(roles)
            role = roles[turn]
            if role.state == "running" and _load(role) < most and _is_ready(role):
                self._turn = turn + 1
                return role
        return None

    def _want_another(self) -> None:
        for role in self._roles:
            if role.state == "running" and not _load(role) and not _is_ready(role):
                _hand(_GetReady(), role.ref._mailbox, self.ctx.me._mailbox)
                return

    def _stop_all(self) -> Awaitable[None]:
        return self._roles.stop_at_once(final=self.final)  # none needs another

    def _tell(self, role: Role, event: Event) -> None:
        super()._tell(role, event)
        _go_on(self.ctx.me._mailbox)


def _chosen_by_key(roles: list[Role], key: Hashable) -> Role | None:
    # Not hash(), which differs from run to run.
    first = zlib.crc32(repr(key).encode())
    for n in range(len(roles)):
        role = roles[(first + n) % len(roles)]
        # One that is restarted keeps what it has been given.
        if role.state not in ("stopped", "stuck"):
            ready = role.state != "suspended" and _load(role) < AHEAD
            return role if ready else None
    return None


class _Done(Posted):
    """Lies in a worker's mailbox behind each message that the pool put there."""

    __slots__ = ("pool",)

    def __init__(self, pool: Mailbox) -> None:
        self.pool = pool

    def take(self, life: object) -> None:
        """The worker has finished that message."""
        _go_on(self.pool)


def _forward(item: object, worker: Mailbox, pool: Mailbox) -> None:
    if type(item) is Call:
        asker = item.asker
        item.release()
        item.by, item.mailbox = None, worker
        if asker is not None:
            asker.waits_for.append(worker)
            item.asker = asker
    _hand(item, worker, pool)


def _hand(item: object, worker: Mailbox, pool: Mailbox) -> None:
    worker.post(item)
    worker.post(_Done(pool))


def _is_ready(role: Role) -> bool:
    life = role.ref._mailbox.life
    actor = None if life is None else life.actor
    return not isinstance(actor, Standby) or actor.ready


def _load(role: Role) -> int:
    """How many messages it has, the one in hand included."""
    return sum(isinstance(item, _Done) for item in role.ref._mailbox.system or ())


def _go_on(pool: Mailbox) -> None:
    """Somebody may be able to take the next message."""
    life = pool.life
    if life is not None and life.suspended and pool.state != "suspended":
        life.suspended = False
        if pool.parked is not None:
            pool.wake()
