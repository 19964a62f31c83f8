"""Judging a run: rules, each of which looks for one kind of thing that must not be."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache

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
            return [*self.check(run)]
        except Exception as error:
            raise RuleFailed(
                f"rule {self.name!r} ({self.check.__module__}."
                f"{self.check.__qualname__}) could not judge the run, as it raised "
                f"{error!r}: a rule yields what is wrong, and raises nothing"
            ) from error


class Oracle:
    """The rules by which runs are judged: those of the kit, and your own.

    ``@oracle.rule("no-money-is-lost")`` over a function that takes a `Run` and yields
    a sentence for everything that is wrong with it.
    """

    def __init__(self, rules: Iterable[Rule] | None = None) -> None:
        if rules is None:
            from supervision.testing.rules import RULES  # noqa: PLC0415 - needs Rule

            rules = RULES
        self.rules = {rule.name: rule for rule in rules}

    def rule(self, name: str) -> Callable[[Check], Check]:
        """Decorator: judge by this function too.

        Raises:
            ValueError: there is a rule of that name.
        """
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
