"""How faults get into a tree: its actors are made by the user's own factories.

The factory of each child is replaced for the time of a run, in the very `Child`, which
is the identity of the role. What it makes becomes an instance of a subclass of its own
class, with nothing changed but the hooks at which faults strike. So the classes of the
user are used as they are, and production code knows nothing of all this.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from functools import wraps
from inspect import iscoroutine
from typing import Any, cast

import trio

from actors import Actor, Deferred, Exit, Inbox, Rejected, Stop
from actors._core.reply import Call
from actors.events import Event
from actors.functions import FunctionActor
from supervision import plan
from supervision.parent import Parent
from supervision.requests import StartChild
from supervision.specs import Child
from supervision.testing.faults import Fault, Interrupted, Point, strike
from supervision.testing.points import (
    Blocked,
    Decided,
    Ending,
    Entered,
    Leaving,
    Left,
    Made,
)
from supervision.tree import Supervisor

Factory = Callable[[], Any]


class Planting:
    """The faults of one run, and the roles in which they are planted."""

    def __init__(
        self,
        faults: Sequence[Fault],
        emit: Callable[[Event], None],
        classes: dict[tuple[type, Collection[str]], type],
    ) -> None:
        self.emit = emit
        self.numbers: dict[int, int] = {}
        """The number of each message that the script sends, by its ``id``."""
        self.sites: dict[str, Site] = {}
        """The latest role at each path that was ever made."""
        self.blocked = 0.0
        """Seconds so far in which nobody could run."""
        self.counts: Counter[tuple[str, Point]] = Counter()
        self._classes = classes
        """Planted subclasses; they are the same in all runs of one tree."""
        self._plan: dict[tuple[str, Point], list[Fault]] = defaultdict(list)
        for fault in faults:
            self._plan[fault.path, fault.point].append(fault)
        self._replaced: list[tuple[Child[Any], Factory]] = []

    def faults(self, path: str, point: Point) -> Sequence[Fault]:
        """Those that may strike there."""
        return self._plan.get((path, point), ())

    def plant(self, child: Child[Any], path: str) -> None:
        """Let what the child's factory makes be struck."""
        if isinstance(child.factory, Site):
            if child.factory.planting is self:
                return
            raise RuntimeError(f"{path}: two runs at once share its Child")
        self._replaced.append((child, child.factory))
        site = Site(self, path, child, child.factory)
        _replace(child, site)

    def plant_root(self, root: Supervisor, path: str, child: Child[Any]) -> None:
        """The root is made by its system, before it is entered."""
        site = Site(self, path, child, lambda: root)
        site.incarnation = 1
        site.plant_into(root)

    def block(self, path: str, seconds: float) -> None:
        """Let time pass in which nobody can run."""
        self.emit(Blocked(path, seconds))
        self.blocked += seconds
        clock: Any = trio.lowlevel.current_clock()
        clock.jump(seconds)

    def uproot(self) -> None:
        """Give every child its own factory back."""
        for child, factory in self._replaced:
            _replace(child, factory)

    def planted(self, cls: type[Actor], hooks: Collection[str]) -> type:
        """The subclass of a class that faults can strike."""
        known = self._classes.get((cls, hooks))
        if known is None:
            known = self._classes[cls, hooks] = _subclass(cls, hooks)
        return known


def _replace(child: Child[Any], factory: Factory) -> None:
    # Frozen, for everybody else: the object is the role, so a copy would be another.
    object.__setattr__(child, "factory", factory)


class Site:
    """The factory of one role, and what strikes whatever it makes."""

    def __init__(
        self, planting: Planting, path: str, child: Child[Any], factory: Factory
    ) -> None:
        self.planting = planting
        self.path = path
        self.child = child
        self.made: type[Actor] = Actor
        """The class of the latest incarnation."""
        self.supervisor: Supervisor | None = None
        """The latest incarnation, if it is one."""
        self.incarnation = 0
        self.tasks = False
        """Whether any incarnation had tasks of its own beside its handlers."""
        self._factory = factory

    def __call__(self) -> Any:
        self.incarnation += 1
        actor = self._factory()
        if isinstance(actor, Actor) and not hasattr(actor, "ctx"):
            self.plant_into(actor)
            self.planting.emit(Made(self.path, self.incarnation))
        return actor

    def plant_into(self, actor: Actor) -> None:
        """Let an actor be struck."""
        cls = self.made = type(actor)
        self.planting.sites[self.path] = self
        vars(actor)["_site"] = self
        if isinstance(actor, Supervisor):
            self.supervisor = actor
            for child in actor._children:
                self.plant_below(child)
            self._observe(actor)
        elif isinstance(actor, FunctionActor):
            actor._body = self._struck_body(actor._body)
        # A subclass without slots of its own has the same layout.
        actor.__class__ = self.planting.planted(cls, self._hooks(cls))

    def _hooks(self, cls: type[Actor]) -> Collection[str]:
        # The runtime does without the hooks that a class does not have. So it must
        # not get others, unless something strikes there.
        faults, hooks = self.faults, {"stopping"}
        if cls.started is not Actor.started or faults("start") or faults("cleanup"):
            hooks.add("started")
        if cls.run is not Actor.run or faults("run"):
            hooks.add("run")
        return frozenset(hooks | ({"leave"} if issubclass(cls, Parent) else set()))

    def plant_below(self, child: Child[Any]) -> None:
        """A child of this supervisor, too."""
        self.planting.plant(child, f"{self.path}/{child.name}")

    def faults(self, point: Point) -> Sequence[Fault]:
        """Those that may strike here."""
        return self.planting.faults(self.path, point)

    def _observe(self, supervisor: Supervisor) -> None:
        planner = supervisor._planner
        decide = planner.handle

        def handle(event: plan.Event, now: float) -> list[plan.Action]:
            actions = decide(event, now)
            self.planting.emit(Decided(self.path, event, tuple(actions), now))
            return actions

        vars(planner)["handle"] = handle

    # -- points ---------------------------------------------------------------------

    def enter(self, point: Point, message: object = None) -> Entered:
        """Note that it comes to a point; the fault is in what is returned."""
        self.planting.counts[self.path, point] += 1
        nth = self.planting.counts[self.path, point]
        fault = next((f for f in self.faults(point) if f.strikes(nth)), None)
        number = self.planting.numbers.get(id(message))
        entered = Entered(self.path, self.incarnation, point, nth, fault, number)
        self.planting.emit(entered)
        return entered

    def left(self, entered: Entered, ending: Ending) -> None:
        """Note that it is past that."""
        self.planting.emit(
            Left(
                self.path,
                entered.incarnation,
                entered.point,
                entered.nth,
                ending,
                entered.number,
            )
        )

    async def through(
        self, point: Point, body: Callable[[], Awaitable[object]]
    ) -> None:
        """Pass a point, whatever awaits there, and do what there is to do."""
        entered = self.enter(point)
        await self.finish(entered, self._after_the_fault(entered.fault, body))

    async def _after_the_fault(
        self, fault: Fault | None, body: Callable[..., Any], *args: object
    ) -> Any:
        if fault is not None:
            await self.strike(fault)
        result = body(*args)
        # A plain handler answers at once, and what it answers is not awaited.
        return await result if iscoroutine(result) else result

    async def strike(self, fault: Fault) -> None:
        """Let it happen."""
        if fault.kind == "no_checkpoint":
            self.planting.block(self.path, fault.seconds)
        else:
            await strike(fault)

    async def finish(self, entered: Entered, work: Awaitable[Any]) -> Any:
        """Note how the work at a point ends."""
        ending: Ending = "cancelled"
        try:
            result = await work
            ending = _ending(result)
        except Exception as error:
            ending = _raised(error)
            raise
        except Interrupted:
            ending = "interrupted"
            raise
        finally:
            self.left(entered, ending)
        return result

    def handle(
        self, handler: Callable[[Any, Any], Any], actor: Actor, message: Any
    ) -> Any:
        """Handle a message, unless something happens to it."""
        if self.faults("deliver") and self._misdelivered(actor, message):
            item = actor.ctx._life.current
            answer: Deferred[Any] = Deferred(item)
            return answer if type(item) is Call else None
        entered = self.enter("handle", message)
        fault = entered.fault
        if fault is not None:
            struck = self._after_the_fault(fault, handler, actor, message)
            return self.finish(entered, struck)
        try:
            result = handler(actor, message)
        except Exception as error:
            self.left(entered, _raised(error))
            raise
        if iscoroutine(result):
            return self.finish(entered, result)
        self.left(entered, _ending(result))
        return result

    # -- messages -------------------------------------------------------------------

    def _misdelivered(self, actor: Actor, message: Any) -> bool:
        """Let something happen to a message; whether it is not handled now."""
        fault = self.enter("deliver", message).fault
        if fault is None:
            return False
        life = actor.ctx._life
        box, item = life.mailbox, life.current
        if fault.kind == "duplicate":
            box.post(message)  # as told: it has one asker, and one answer
            return False
        if type(item) is Call:
            item.release()
            life.hold(item)

        def arrive() -> None:
            if box.closed is None and (type(item) is not Call or life.release(item)):
                box.post(item)

        if fault.kind == "delay":
            life.runtime.alarms.call_at(life.runtime.now() + fault.seconds, arrive)
        return True

    # -- functions ------------------------------------------------------------------

    def _struck_body(
        self, body: Callable[[Inbox[Any]], Awaitable[None]]
    ) -> Callable[[Inbox[Any]], Awaitable[None]]:
        async def struck(inbox: Inbox[Any]) -> None:
            receive, latest = inbox.receive, list[Entered]()

            async def receive_and_be_struck(*kinds: type[Any]) -> Any:
                if latest:
                    self.left(latest.pop(), "done")
                envelope = await receive(*kinds)
                latest.append(self.enter("handle", envelope.message))
                if (fault := latest[-1].fault) is not None:
                    await self.strike(fault)
                return envelope

            vars(inbox)["receive"] = receive_and_be_struck
            ending: Ending = "cancelled"
            try:
                await body(inbox)
                ending = "done"
            except Exception as error:
                ending = _raised(error)
                raise
            except Interrupted:
                ending = "interrupted"
                raise
            finally:
                if latest:
                    self.left(latest.pop(), ending)

        return struck


def _ending(result: object) -> Ending:
    return "deferred" if type(result) is Deferred else "done"


def _raised(error: Exception) -> Ending:
    if isinstance(error, Rejected):
        return "rejected"
    return "stopped" if isinstance(error, Stop) else "raised"


# -- the subclass -------------------------------------------------------------------


def _subclass(cls: Any, hooks: Collection[str]) -> type:
    async def started(self: Any) -> None:
        site: Site = self._site
        if "/" not in site.path:  # the root, which was made before its life began
            site.planting.emit(Made(site.path, site.incarnation))
        if site.faults("cleanup"):
            self.ctx.cleanup("fault", lambda: site.through("cleanup", _nothing))
        await site.through("start", lambda: cls.started(self))

    async def run(self: Any) -> None:
        await self._site.through("run", lambda: cls.run(self))

    async def stopping(self: Any, exit_: Exit) -> None:
        self._site.tasks |= self.ctx._life._workshop is not None
        await self._site.through("stopping", lambda: cls.stopping(self, exit_))

    async def leave(self: Any, exit_: Exit) -> None:
        site: Site = self._site
        site.planting.emit(Leaving(site.path, site.incarnation))
        await cls.leave(self, exit_)

    names = ("__module__", "__qualname__", "__doc__")
    body: dict[str, Any] = {name: getattr(cls, name) for name in names}
    body |= {fn.__name__: fn for fn in (started, run, stopping, leave)}
    for unwanted in {"started", "run", "stopping", "leave"} - set(hooks):
        del body[unwanted]
    body["__slots__"] = ()
    parent = issubclass(cls, Parent)
    planted: Any = type(cls)(cls.__name__, (cls,), body)
    table: Mapping[type, Callable[[Any, Any], Any]] = cls._table
    planted._table = {
        message: _watched(message, handler, parent=parent)
        for message, handler in table.items()
    }
    return cast("type", planted)


async def _nothing() -> None:
    """What the step of the cleanup does in which faults strike."""


def _watched(
    message: type, handler: Callable[[Any, Any], Any], *, parent: bool
) -> Callable[[Any, Any], Any]:
    if message is StartChild:

        @wraps(handler)
        def plant_below(supervisor: Any, m: StartChild[Any]) -> Any:
            if isinstance(cast("object", m.child), Child):
                supervisor._site.plant_below(m.child)
            return handler(supervisor, m)

        return plant_below
    if parent or message in Actor.handlers:
        return handler  # what the runtime itself handles is not the user's

    @wraps(handler)
    def handle(actor: Any, m: object) -> Any:
        return actor._site.handle(handler, actor, m)

    return handle
