"""Children and policies: frozen values, validated when they are made."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, Literal, TypeVar, cast, get_args

import attrs

from actors import Overflow

P_co = TypeVar("P_co", covariant=True)

Restart = Literal["permanent", "transient", "temporary"]
"""permanent: always; transient: unless it ended by itself; temporary: never."""

Strategy = Literal["one_for_one", "one_for_all", "rest_for_one"]
"""Who is stopped and started again when a child fails: it alone; all children; it and
those that were started after it."""

RESTARTS: tuple[str, ...] = get_args(Restart)
OVERFLOWS: tuple[str, ...] = get_args(Overflow)

AutoShutdown = Literal["never", "any_significant", "all_significant"]
"""Whether a supervisor stops once one, or the last, of its significant children has
ended for good by itself."""


def _positive(
    _instance: object, attribute: attrs.Attribute[Any], value: float | None
) -> None:
    if value is not None and not value > 0:
        raise ValueError(f"{attribute.name} must be positive, got {value!r}")


def _not_negative(
    _instance: object, attribute: attrs.Attribute[Any], value: float | None
) -> None:
    if value is not None and not value >= 0:
        raise ValueError(f"{attribute.name} must not be negative, got {value!r}")


def _whole(_instance: object, attribute: attrs.Attribute[Any], value: float) -> None:
    if value != value // 1 or math.isinf(value):
        raise ValueError(f"{attribute.name} must be a whole number, got {value!r}")


@attrs.frozen(eq=False)
class Child(Generic[P_co]):
    """A role: a name, how to make whoever plays it, and the policy.

    The object itself is the identity of the role: ``system.ref(child)`` is the same
    ref before the start, across restarts and after the end.
    """

    name: str
    factory: Callable[[], P_co]
    """Called for every incarnation; makes a fresh instance each time."""
    restart: Restart = attrs.field(default="permanent", kw_only=True)
    mailbox: int = attrs.field(default=64, kw_only=True)
    """How many messages may wait before senders have to."""
    overflow: Overflow = attrs.field(default="wait", kw_only=True)
    """What happens when there is no room: ``wait`` or ``drop_oldest``."""
    groups: Sequence[str] = attrs.field(default=(), kw_only=True)
    """Names under which it is found together with others: `Context.members`."""
    start_timeout: float = attrs.field(default=10.0, kw_only=True)
    """Seconds for ``started()``; of a supervisor, until its children are up."""
    shutdown: float | None = attrs.field(default=None, kw_only=True)
    """Seconds for the message in hand when asked to stop; then it is cancelled.
    None: 5 s, or for a supervisor no limit, as its children have limits."""
    cleanup: float = attrs.field(default=2.0, kw_only=True)
    """Seconds for ``stopping()`` and all cleanup steps together."""
    handler_timeout: float | None = attrs.field(default=30.0, kw_only=True)
    """Seconds one message may take once its handler waits; None: no limit."""
    significant: bool = attrs.field(default=False, kw_only=True)
    """Whether its end counts for the supervisor's `AutoShutdown`."""

    def __attrs_post_init__(self) -> None:
        # Not as validators of the fields: many children are made in a loop, and a
        # call for each field would be a tenth of the cost of a start.
        name = self.name
        if not isinstance(cast("object", name), str) or not name or "/" in name:
            raise ValueError(
                f"a child's name is one part of a path: not empty, no '/'; got {name!r}"
            )
        if not callable(cast("object", self.factory)):
            raise TypeError(
                f"the factory of {name!r} is called for every incarnation, got "
                f"{self.factory!r}; pass the class, or a function that makes a fresh "
                "one"
            )
        if self.restart not in RESTARTS:
            check_choice("restart", self.restart, RESTARTS)
        if self.overflow not in OVERFLOWS:
            check_choice("overflow", self.overflow, OVERFLOWS)
        if isinstance(self.groups, str):
            raise TypeError(
                f"groups are several names, got {self.groups!r}; use [{self.groups!r}]"
            )
        self._check_numbers()
        if self.significant and self.restart == "permanent":
            raise ValueError(
                f"{name!r} is significant and permanent: a child that is always "
                "restarted never ends for good; make it transient or temporary"
            )

    def _check_numbers(self) -> None:
        if not 1 <= self.mailbox < math.inf or self.mailbox != self.mailbox // 1:
            raise ValueError(
                "mailbox must be a whole number of messages, at least 1, got "
                f"{self.mailbox!r}"
            )
        if not self.start_timeout > 0:
            raise ValueError(
                f"start_timeout must be positive, got {self.start_timeout!r}"
            )
        if self.handler_timeout is not None and not self.handler_timeout > 0:
            raise ValueError(
                f"handler_timeout must be positive, got {self.handler_timeout!r}"
            )
        if self.shutdown is not None and not self.shutdown >= 0:
            raise ValueError(f"shutdown must not be negative, got {self.shutdown!r}")
        if not self.cleanup >= 0:
            raise ValueError(f"cleanup must not be negative, got {self.cleanup!r}")
        if math.isinf(self.cleanup):
            raise ValueError("cleanup must be finite: nobody could interrupt it")

    def check_significance(self, auto_shutdown: AutoShutdown) -> None:
        """Refuse a significant child whose supervisor would take no notice.

        Raises:
            ValueError: naming the child.
        """
        if self.significant and auto_shutdown == "never":
            raise ValueError(
                f"{self.name!r} is significant, but its supervisor has "
                "auto_shutdown='never'; use 'any_significant' or 'all_significant'"
            )


def check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    """Refuse what is none of the choices.

    Raises:
        ValueError: naming them.
    """
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, got {value!r}")


def check_children(children: Iterable[Child[Any]]) -> None:
    """Refuse what cannot be the children of one supervisor.

    Raises:
        TypeError: one of them is no `Child`.
        ValueError: two of them have one name.
    """
    names: list[str] = []
    for child in children:
        if not isinstance(cast("object", child), Child):
            raise TypeError(
                f"{child!r} is no child; wrap its factory: Child('name', factory)"
            )
        names.append(child.name)
    if len(set(names)) < len(names):
        twice = sorted(name for name, times in Counter(names).items() if times > 1)
        raise ValueError(f"children need names of their own; twice: {twice}")


@attrs.frozen
class Backoff:
    """Full jitter: attempt n waits 0 to min(cap, first * factor**n) seconds."""

    first: float = attrs.field(default=0.1, validator=_not_negative)
    factor: float = attrs.field(default=2.0, validator=_positive)
    cap: float = attrs.field(default=30.0, validator=_not_negative)
    healthy: float = attrs.field(default=10.0, validator=_not_negative)
    """An incarnation that lived this long starts the count of attempts anew."""

    def longest(self, attempt: int) -> float:
        """The longest delay before restart ``attempt``, counted from 0."""
        try:
            return min(self.cap, self.first * self.factor**attempt)
        except OverflowError:
            return self.cap if self.first else 0


@attrs.frozen
class Intensity:
    """More than ``restarts`` within ``within`` seconds, and the supervisor gives up.

    Counted per supervisor, on every attempt. 0 restarts: any crash escalates.
    """

    restarts: int = attrs.field(default=3, validator=[_not_negative, _whole])
    within: float = attrs.field(default=5.0, validator=_positive)

    def check_reachable(self, backoff: Backoff) -> None:
        """Refuse a limit that even the slowest possible crash loop stays below.

        Raises:
            ValueError: naming the smallest window that works.
        """
        slowest = math.fsum(backoff.longest(n) for n in range(self.restarts + 1))
        if slowest > self.within:
            raise ValueError(
                f"a child that fails for ever would never be given up: "
                f"{self.restarts + 1} restarts may take {slowest:g} s with {backoff}, "
                f"which is more than within={self.within:g}; use within={slowest:g} "
                "or more, or a smaller cap"
            )


def _count(name: str, value: int) -> None:
    if value < 1 or value != int(value):
        raise ValueError(f"{name} must be a whole number from 1 up, got {value!r}")


def check_seconds(name: str, value: float) -> None:
    """Refuse what is no positive, finite number of seconds.

    Raises:
        ValueError: naming ``name``.
    """
    if not (value > 0 and math.isfinite(value)):
        raise ValueError(f"{name} must be positive and finite seconds, got {value!r}")


@attrs.frozen(kw_only=True)
class FailureRate:
    """Too many: a ``share`` of the calls settled in the last ``within`` seconds."""

    share: float = 0.5
    within: float = 60.0
    minimum: int = 20
    """Fewer calls than this prove nothing."""

    def __attrs_post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise ValueError(f"share must be within (0, 1], got {self.share!r}")
        check_seconds("within", self.within)
        _count("minimum", self.minimum)


@attrs.frozen(kw_only=True)
class BreakerPolicy:
    """When a circuit breaker opens, for how long, and what closes it again."""

    failures: int | None = 5
    """Open after so many consecutive failures; None: only by ``rate``."""
    rate: FailureRate | None = None
    wait: Backoff = Backoff(first=30.0, factor=2.0, cap=600.0, healthy=60.0)
    """How long it stays open: full jitter, growing with every opening until it has
    been closed for ``wait.healthy`` seconds."""
    probes: int = 1
    """While half-open, so many calls at once are admitted, and so many successes
    close it; one failure opens it again."""
    lease: float = 120.0
    """Seconds after which a permit that was not settled is lost: its call has no vote
    any more. A call with a timeout has at least twice that."""

    def __attrs_post_init__(self) -> None:
        if self.failures is not None:
            _count("failures", self.failures)
        elif self.rate is None:
            raise ValueError(
                "failures=None without a rate never opens; give a rate, or do without "
                "a breaker"
            )
        check_seconds("wait.first", self.wait.first)
        check_seconds("wait.cap", self.wait.cap)
        _count("probes", self.probes)
        check_seconds("lease", self.lease)
