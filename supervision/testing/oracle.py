"""Judging a run: rules, each of which looks for one kind of thing that must not be."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from inspect import isasyncgenfunction, iscoroutinefunction
from typing import cast

from supervision.testing.history import Run

Check = Callable[[Run], Iterable[str]]
"""Looks at a finished run, and says in a sentence each how the rule was broken."""


class InvariantBroken(AssertionError):
    """What happened must not happen. Each rule has a subclass of its own.

    So Hypothesis, which takes failures of one class for the same, does not slip from
    one defect to another while it shrinks.
    """

    rule = ""
    """The id of the rule."""

    def __init__(self, violations: Sequence[str], run: Run) -> None:
        super().__init__(f"{self.rule}: {violations[0]}")
        self.violations = violations
        self.run = run


@cache
def _broken(rule: str) -> type[InvariantBroken]:
    """One class for a name, also if an oracle is made anew for every example."""
    space = {"rule": rule, "__module__": __name__}
    return type(f"Broken_{rule}", (InvariantBroken,), space)


class RuleFailed(Exception):
    """A rule raised something itself, so that it has not judged; see the cause."""


class Rule:
    """A named check."""

    def __init__(self, name: str, check: Check) -> None:
        if iscoroutinefunction(check) or isasyncgenfunction(check):
            raise TypeError(
                f"rule {name!r} looks at a run that is over: it awaits nothing; make "
                f"{check.__qualname__} a plain function"
            )
        self.name = name
        self.check = check
        self.broken = _broken(name)

    def __repr__(self) -> str:
        return f"<Rule {self.name}>"

    def violations(self, run: Run) -> list[str]:
        """How a run broke it.

        Raises:
            RuleFailed: the check raised something.
        """
        try:
            return _several(self.check(run))
        except Exception as error:
            raise RuleFailed(
                f"rule {self.name!r} ({self.check.__module__}."
                f"{self.check.__qualname__}) could not judge the run, as it raised "
                f"{error!r}: a rule yields what is wrong, and raises nothing"
            ) from error


def _several(found: Iterable[str]) -> list[str]:
    if isinstance(found, str):
        raise TypeError(f"{found!r} is one text, not several")
    return [*found]


class Oracle:
    """The rules by which runs are judged: those of the kit, and your own.

    ``@oracle.rule("no-money-is-lost")`` over a function that takes a `Run` and yields
    a sentence for everything that is wrong with it.
    """

    def __init__(self, rules: Iterable[Rule] | None = None) -> None:
        if rules is None:
            from supervision.testing.rules import RULES  # noqa: PLC0415 - needs Rule

            rules = RULES
        self.rules: dict[str, Rule] = {}
        for rule in rules:
            if not isinstance(cast("object", rule), Rule):
                raise TypeError(f"a rule is Rule('its name', check), got {rule!r}")
            self.rules[rule.name] = rule

    def rule(self, name: str) -> Callable[[Check], Check]:
        """Decorator: judge by this function too.

        Raises:
            TypeError: that is no name.
            ValueError: there is a rule of that name.
        """
        if not isinstance(cast("object", name), str):
            raise TypeError(
                f"a rule has a name: @oracle.rule('nothing-is-lost'), not {name!r}"
            )
        if name in self.rules:
            raise ValueError(f"there is a rule {name!r} already; use another name")

        def add(check: Check) -> Check:
            self.rules[name] = Rule(name, check)
            return check

        return add

    def judge(self, run: Run) -> None:
        """Accept a run, or raise.

        Raises:
            InvariantBroken: the class of the first rule that was broken.
            RuleFailed: a rule raised something.
        """
        broken = self.verdict(run)
        if broken is not None:
            raise broken

    def verdict(self, run: Run) -> InvariantBroken | None:
        """What `judge` would raise.

        Raises:
            RuleFailed: a rule raised something.
        """
        for rule in self.rules.values():
            if violations := rule.violations(run):
                return rule.broken(violations, run)
        return None


def usual(oracle: Oracle | None) -> Oracle:
    """The rules to judge by, if there are no others: those of the kit.

    Raises:
        TypeError: that is no oracle.
    """
    if oracle is not None and not isinstance(cast("object", oracle), Oracle):
        raise TypeError(f"an oracle is Oracle([Rule(...), ...]), got {oracle!r}")
    return Oracle() if oracle is None else oracle
