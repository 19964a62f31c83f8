"""The tree under test: how to make it, and what there is in it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cached_property
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Literal, cast

import attrs

from actors import Actor, Message
from supervision.dynamic import DynamicSupervisor
from supervision.pool import Pool
from supervision.specs import AutoShutdown, Backoff, Child, Intensity, Strategy
from supervision.testing.planting import Site
from supervision.tree import Supervisor

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

NodeKind = Literal["actor", "supervisor", "dynamic", "pool"]


@attrs.frozen
class Policy:
    """What a supervisor was made with."""

    children: Sequence[Child[Any]]
    """Those of a dynamic supervisor come later, and are not among them."""
    strategy: Strategy
    intensity: Intensity
    backoff: Backoff
    auto_shutdown: AutoShutdown


@attrs.frozen(eq=False)
class Node:
    """A role of a tree, and whoever plays it."""

    path: str
    child: Child[Any]
    actor: type[Actor]
    kind: NodeKind
    policy: Policy | None
    """Of a supervisor."""
    tasks: bool
    """Whether it had tasks of its own beside its handlers, which nobody watches."""

    @property
    def parent(self) -> str:
        """The path of its supervisor; empty for the root."""
        return self.path.rpartition("/")[0]

    @property
    def children(self) -> Sequence[Child[Any]]:
        """Those that a supervisor starts by itself, in this order."""
        return () if self.policy is None else self.policy.children

    @property
    def takes(self) -> Mapping[str, type[Message[Any]]]:
        """The messages that its class handles, by name."""
        own = set(self.actor.handlers) - set(Actor.handlers)
        return {kind.__qualname__: kind for kind in own}

    @property
    def is_supervisor(self) -> bool:
        """Whether it has children."""
        return self.kind != "actor"

    def describe(self) -> str:
        """Say what it is in a line: the same as long as it is the same."""
        child = self.child
        words = [self.path, self.kind, self.actor.__qualname__, child.restart]
        if child.significant:
            words.append("significant")
        if self.policy is not None:
            words += [self.policy.strategy, self.policy.auto_shutdown]
        else:
            words += sorted(self.takes)
        return " ".join(words)


def node_of(site: Site) -> Node:
    """What is known about a role after it was made."""
    supervisor, policy = site.supervisor, None
    kind: NodeKind = "actor"
    if supervisor is not None:
        planner = supervisor._planner
        policy = Policy(
            supervisor._children,
            planner._strategy,
            planner._window.intensity,
            supervisor._backoff,
            planner._auto_shutdown,
        )
        kind = _kind(supervisor)
    return Node(site.path, site.child, site.made, kind, policy, site.tasks)


def _kind(supervisor: Supervisor) -> NodeKind:
    if isinstance(supervisor, Pool):
        return "pool"
    return "dynamic" if isinstance(supervisor, DynamicSupervisor) else "supervisor"


def _check_messages(path: str, messages: object) -> None:
    if isinstance(messages, Sequence):
        several = cast("Sequence[object]", messages)
        wrong = [each for each in several if not isinstance(each, Message)]
    else:
        wrong = [] if hasattr(messages, "flatmap") else [messages]
    if wrong:
        raise TypeError(
            f"what to send to {path!r} is a list of messages, or a strategy that draws "
            f"them; got {wrong[0]!r}"
        )


@attrs.define(eq=False, slots=False)
class Tree:
    """How to make the tree that is to survive, and what may be sent to whom.

    ``children`` is called for every run, and makes the children of the root: it takes
    what `System` takes. Whatever they use has to be made by it too, or be the same in
    every run.

    Raises:
        TypeError: ``children`` cannot be called, or ``messages`` holds something else.
    """

    children: Callable[[], Sequence[Child[Any]]]
    name: str = attrs.field(default="app", kw_only=True)
    strategy: Strategy = attrs.field(default="one_for_one", kw_only=True)
    intensity: Intensity | None = attrs.field(default=None, kw_only=True)
    backoff: Backoff | None = attrs.field(default=None, kw_only=True)
    auto_shutdown: AutoShutdown = attrs.field(default="never", kw_only=True)
    shutdown: float = attrs.field(default=30.0, kw_only=True)
    messages: Mapping[str, Sequence[Message[Any]] | SearchStrategy[Any]] = attrs.field(
        factory=dict[str, Sequence[Message[Any]]], kw_only=True
    )
    """What to send to the actor at each path: some of these messages, or what a
    Hypothesis strategy draws."""
    unreliable: Collection[str] = attrs.field(default=(), kw_only=True)
    """Paths of the actors whose messages may be lost, doubled or late, as if a network
    were between."""
    settle: float = attrs.field(default=60.0, kw_only=True)
    """Seconds that everything is left alone at the end of a script: so long it may take
    until whoever is to be restarted is."""
    classes: dict[tuple[type, Collection[str]], type] = attrs.field(
        factory=dict, init=False
    )
    """Planted classes: what `Planting` remembers from run to run."""

    def __attrs_post_init__(self) -> None:
        if not callable(self.children):
            raise TypeError(
                f"the children of a tree are made anew for every run, got "
                f"{self.children!r}; pass a function: Tree(lambda: [Child(...), ...])"
            )
        if not isinstance(cast("object", self.messages), Mapping):
            raise TypeError(
                "messages are what to send to whom, as {'app/counter': [Add(1)]}; got "
                f"{self.messages!r}"
            )
        for path, each in self.messages.items():
            _check_messages(path, each)

    @cached_property
    def nodes(self) -> Mapping[str, Node]:
        """All there is when it is up, by path; it is started once to find out.

        Raises:
            TreeDoesNotStart: not even without faults.
            ValueError: messages are to be sent to somebody that is not there.
        """
        from supervision.testing.running import survey  # noqa: PLC0415 - it needs us

        nodes = survey(self)
        for path in [*self.messages, *self.unreliable]:
            if path not in nodes:
                raise ValueError(
                    f"there is no {path!r} in the tree to send messages to; there are "
                    f"{', '.join(nodes)}"
                )
        return nodes

    @cached_property
    def shape(self) -> str:
        """A digest of names, strategies, restart types, actors and messages."""
        lines = [node.describe() for _, node in sorted(self.nodes.items())]
        for path, messages in sorted(self.messages.items()):
            if isinstance(messages, Sequence):
                kinds = [type(message).__qualname__ for message in messages]
                lines.append(f"{path} {' '.join(kinds)}")
        return blake2b("\n".join(lines).encode(), digest_size=8).hexdigest()


def check_tree(tree: object) -> None:
    """Refuse what is no tree.

    Raises:
        TypeError: saying what is one.
    """
    if not isinstance(tree, Tree):
        raise TypeError(f"a tree is Tree(lambda: [Child(...), ...]), got {tree!r}")
