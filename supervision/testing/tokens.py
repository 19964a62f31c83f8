"""A scenario as one word, to be copied from a report."""

from __future__ import annotations

import json
import zlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import cast

import attrs

from supervision.testing.scenario import Scenario, WrongTree, from_json, to_json
from supervision.testing.trees import Tree, check_tree

VERSION = "1"
"""Of what is in a token; it stands in front of it."""


class WrongToken(ValueError):
    """That is no token, or one that another version of this package has made."""


def token(scenario: Scenario, tree: Tree) -> str:
    """Write a scenario as one word that `replay` takes, on any machine.

    It holds the scenario and a digest of the shape of the tree, nothing of Hypothesis.

    Raises:
        TypeError: a message holds something else than numbers, texts and the like.
        WrongTree: the scenario was made for another tree.
    """
    scenario.check(tree)
    data = json.dumps(to_json(scenario, tree), separators=(",", ":"))
    packed = zlib.compress(data.encode(), 9)
    return f"{VERSION}.{urlsafe_b64encode(packed).decode().rstrip('=')}"


def read_token(text: str, tree: Tree) -> Scenario:
    """Read what `token` wrote.

    Raises:
        WrongToken: that is none, or of another version.
        WrongTree: it was made for another tree.
    """
    check_tree(tree)
    _ = tree.nodes  # a tree that is none says so itself
    if not isinstance(cast("object", text), str):
        raise TypeError(f"a token is a text, got {text!r}")
    version, dot, packed = text.strip().strip("'\"").partition(".")
    if not dot or not version.isdigit():
        raise WrongToken(
            f"{_short(text)} is no token of a scenario: copy all of what the report "
            f"shows, from the {VERSION!r} in front to the end"
        )
    if version != VERSION:
        raise WrongToken(
            f"the token has version {version}, and this package reads version "
            f"{VERSION}: use the release that it was made with, or find it anew"
        )
    try:
        data = urlsafe_b64decode(packed + "=" * (-len(packed) % 4))
        scenario = from_json(json.loads(zlib.decompress(data)), tree)
    except WrongTree:
        raise
    except Exception as error:
        raise WrongToken(
            f"{_short(text)} cannot be read ({type(error).__name__}: {error}): a part "
            "of it is missing, or something was added"
        ) from error
    scenario.check(tree)
    return scenario


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:30]}...{text[-7:]}")


# -- in place of what is drawn --------------------------------------------------------


@attrs.define(eq=False)
class Replayed:
    """A token that is played instead of what Hypothesis would draw."""

    token: str
    drawn: bool = False
    """Whether anybody has asked for it."""


_REPLAYED: ContextVar[Replayed | None] = ContextVar("replayed", default=None)


@contextmanager
def instead(token: str) -> Generator[Replayed, None, None]:
    """While this block lasts, ``scenarios(tree)`` draws the scenario of the token."""
    replayed = Replayed(token)
    before = _REPLAYED.set(replayed)
    try:
        yield replayed
    finally:
        _REPLAYED.reset(before)


def to_replay(tree: Tree) -> Scenario | None:
    """The scenario that is to be drawn, if one is.

    Raises:
        WrongToken: as `read_token`.
        WrongTree: as `read_token`.
    """
    replayed = _REPLAYED.get()
    if replayed is None:
        return None
    replayed.drawn = True
    return read_token(replayed.token, tree)
