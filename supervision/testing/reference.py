"""What a supervisor may do, and what it must, in the words of OTP's documentation.

An acceptor, not a simulator: it is told what happened and what the supervisor decided
about it, and says what is wrong with that. So it copes with failures that come while
others are dealt with, where nobody could predict the course of events.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal, assert_never

import attrs

from supervision import plan
from supervision.specs import AutoShutdown, Child, Intensity, Strategy

Phase = Literal["down", "starting", "up", "stopping", "stuck"]


@attrs.define(eq=False)
class _One:
    """A child, as far as it matters here."""

    child: Child[Any]
    phase: Phase = "starting"
    due: bool = False
    """It has to be started, as soon as it can be."""
    doomed: bool = False
    """It has to be stopped."""
    gone: bool = False
    """It is to be forgotten once it is down."""
    if_start_fails: Literal["again", "down", "gone"] = "again"

    @property
    def lives(self) -> bool:
        return self.phase in ("starting", "up")

    @property
    def counts(self) -> bool:
        """Whether it is alive, or will be again."""
        return self.due or (self.lives and not self.doomed)


class ReferenceSupervisor:
    """Accepts what one incarnation of a supervisor decides, step by step."""

    def __init__(
        self,
        children: Iterable[Child[Any]],
        *,
        strategy: Strategy,
        intensity: Intensity,
        auto_shutdown: AutoShutdown,
    ) -> None:
        self._ones = {child.name: _One(child) for child in children}
        self._strategy: Strategy = strategy
        self._intensity = intensity
        self._auto_shutdown: AutoShutdown = auto_shutdown
        self._charged: list[float] = []
        self._over = False
        # What the event at hand must lead to.
        self._must_give_up = self._must_shut_down = False

    def accept(
        self, event: plan.Event, actions: Sequence[plan.Action], now: float
    ) -> Iterator[str]:
        """Say what is wrong with the decision to do this about that."""
        if self._over:
            return
        self._must_give_up = self._must_shut_down = False
        self._take(event, now)
        for action in actions:
            yield from self._check(action)
        yield from self._missing(actions)

    # -- what happens -----------------------------------------------------------------

    def _take(self, event: plan.Event, now: float) -> None:
        match event:
            case plan.ChildAdded(child):
                self._ones[child.name] = _One(
                    child, "down", due=True, if_start_fails="gone"
                )
            case plan.ChildStarted(name):
                one = self._ones[name]
                if one.phase == "starting":
                    one.phase = "up"
            case plan.ChildStopped(name):
                self._landed(self._ones[name])
            case plan.ChildStuck(name):
                self._stuck(self._ones[name])
            case plan.ChildExited(name) | plan.StartFailed(name):
                self._lost(event, self._ones[name], now)
            case plan.StopRequested(name, forget):
                one = self._ones[name]
                one.due, one.doomed = False, one.lives
                one.gone |= forget or one.child.restart == "temporary"
            case plan.RestartRequested(name):
                self._restart_requested(self._ones[name])
            case _:
                assert_never(event)

    def _landed(self, one: _One) -> None:
        one.phase, one.doomed = "down", False

    def _stuck(self, one: _One) -> None:
        one.doomed = False
        if one.phase == "starting" and not one.due:
            # It has not come up.
            one.due = one.if_start_fails == "again"
            one.gone |= one.if_start_fails == "gone"
        one.phase = "stuck"

    def _lost(
        self, event: plan.ChildExited | plan.StartFailed, one: _One, now: float
    ) -> None:
        """It has ended, and nobody had told it to; but it may be about to be."""
        if one.phase in ("stopping", "stuck"):
            return
        doomed = one.doomed
        self._landed(one)
        if doomed:
            return  # it costs nothing: it would have been stopped
        if isinstance(event, plan.StartFailed):
            if one.if_start_fails == "again":
                self._charge(one, now)
            one.gone |= one.if_start_fails == "gone"
        elif one.child.restart == "permanent" or (
            one.child.restart == "transient" and event.failed
        ):
            self._charge(one, now)
        else:
            one.gone |= one.child.restart == "temporary"
            self._ended(one)

    def _charge(self, one: _One, now: float) -> None:
        """A failure: it is restarted, with its group, unless that is one too many."""
        self._charged.append(now)
        begin = now - self._intensity.within
        recent = sum(at >= begin for at in self._charged)
        self._must_give_up = recent > self._intensity.restarts
        one.due, one.if_start_fails = True, "again"
        for other in self._group(one):
            if other is one or other.gone or (other.due and other.phase == "down"):
                continue
            other.doomed = other.lives
            if other.child.restart == "temporary":
                other.gone, other.due = True, False
            else:
                other.due, other.if_start_fails = True, "again"

    def _group(self, one: _One) -> list[_One]:
        ones = [*self._ones.values()]
        match self._strategy:
            case "one_for_one":
                return [one]
            case "one_for_all":
                return ones
            case "rest_for_one":
                return ones[ones.index(one) :]
            case _:
                assert_never(self._strategy)

    def _ended(self, one: _One) -> None:
        """It ended by itself, and is not restarted."""
        if not one.child.significant or self._auto_shutdown == "never":
            return
        self._must_shut_down = self._auto_shutdown == "any_significant" or not any(
            other.child.significant and other.counts for other in self._ones.values()
        )

    def _restart_requested(self, one: _One) -> None:
        if one.gone or (one.due and one.phase == "down"):
            return
        one.due, one.doomed = True, one.lives
        temporary = one.child.restart == "temporary"
        one.if_start_fails = (
            "down" if one.phase == "down" else "gone" if temporary else "again"
        )

    # -- what is decided --------------------------------------------------------------

    def _check(self, action: plan.Action) -> Iterator[str]:
        match action:
            case plan.Stop(name):
                yield from self._check_stop(self._ones[name])
                self._ones[name].phase, self._ones[name].doomed = "stopping", False
            case plan.Start(name):
                yield from self._check_start(self._ones[name])
                self._ones[name].phase, self._ones[name].due = "starting", False
            case plan.Dismiss(name):
                one = self._ones.pop(name)
                if not one.gone or one.phase != "down":
                    yield f"M6: {name} is forgotten while it is {_state(one)}"
            case plan.GiveUp(name):
                self._over = True
                if not self._must_give_up:
                    yield (
                        f"M7: it gives up because of {name}, and "
                        f"{self._intensity.restarts} restarts within "
                        f"{self._intensity.within:g} s are allowed"
                    )
            case plan.Shutdown(name):
                self._over = True
                if not self._must_shut_down:
                    yield f"M11: it shuts down because of {name}, and need not"
            case _:
                assert_never(action)

    def _check_stop(self, one: _One) -> Iterator[str]:
        name = one.child.name
        if not one.doomed:
            yield f"M3: {name} is stopped, and nothing that happened calls for that"
        if self._strategy == "one_for_one":
            return
        if down := [o for o in self._ones.values() if o.phase == "stopping"]:
            yield f"M8: {name} is stopped while {_names(down)} is still going down"
        younger = [o for o in self._after(one) if o.doomed and o.lives]
        if younger:
            yield f"M2: {name} is stopped before {_names(younger)}, which is younger"

    def _check_start(self, one: _One) -> Iterator[str]:
        name = one.child.name
        if not one.due or one.phase != "down":
            yield f"M6: {name} is started while it is {_state(one)}"
        if self._strategy == "one_for_one":
            return
        busy = [
            o
            for o in self._ones.values()
            if o.phase in ("starting", "stopping") or (o.doomed and o.lives)
        ]
        if busy:
            yield f"M4: {name} is started, and {_names(busy)} is not down, or not up"
        elder = [
            o
            for o in self._ones.values()
            if o.due and o.phase == "down" and o is not one
        ]
        elder = [o for o in elder if one in self._after(o)]
        if elder:
            yield f"M2: {name} is started before {_names(elder)}, which is older"

    def _after(self, one: _One) -> list[_One]:
        ones = [*self._ones.values()]
        return ones[ones.index(one) + 1 :]

    def _missing(self, actions: Sequence[plan.Action]) -> Iterator[str]:
        """What should have been decided, and was not."""
        last = actions[-1] if actions else None
        if self._must_give_up and not isinstance(last, plan.GiveUp):
            yield "M7: it was one restart too many, and it does not give up"
        if self._must_shut_down and not isinstance(last, plan.Shutdown):
            yield "M11: the last of its significant children has ended, and it goes on"
        if self._over:
            return
        ones = self._ones.values()
        doomed = [o for o in ones if o.doomed and o.lives]
        due = [o for o in ones if o.due and o.phase == "down"]
        if self._strategy != "one_for_one":
            if any(o.phase == "stopping" for o in ones):
                return
            if any(o.phase == "starting" for o in ones):
                due = []
        if doomed:
            yield f"M5: {_names(doomed)} has to be stopped, and is not"
        elif due:
            yield f"M5: {_names(due)} has to be started, and is not"


def _names(ones: Iterable[_One]) -> str:
    return ", ".join(one.child.name for one in ones)


def _state(one: _One) -> str:
    to_be = "to be started" if one.due else "not to be started"
    return f"{one.phase} and {'to be stopped' if one.doomed else to_be}"
