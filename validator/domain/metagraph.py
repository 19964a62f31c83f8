"""Who is registered on the subnet, and what changed since last time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

import attrs

UIDS = 256
"""How many places a subnet has; uids run from 0 to 255."""

MINERS_AT_ONCE = 32
"""How many miners, or forecasts of theirs, are read or written together at the most."""

FORGOTTEN_AT_ONCE = 10
"""How many miners are forgotten together at the most: a month of history goes with each
of them."""

_NOWHERE = ("0.0.0.0", "::")  # noqa: S104 - what the chain has for "nowhere"


def _check_uid(_miner: object, _attribute: object, value: int) -> None:
    if not 0 <= value < UIDS:
        raise ValueError(f"uid must be within [0, {UIDS}), got {value!r}")


T = TypeVar("T")


@attrs.frozen
class Miner:
    """One registered neuron: a hotkey at a uid, and where its server listens.

    The hotkey is the identity; a uid is a chair that changes hands.
    """

    uid: int = attrs.field(validator=_check_uid)
    hotkey: str
    ip: str
    port: int

    @property
    def serves(self) -> bool:
        """Whether it says where to ask it; validators, for one, do not."""
        return self.port != 0 and self.ip not in _NOWHERE


@attrs.frozen
class Metagraph:
    """The registered miners as of one block."""

    block: int
    miners: tuple[Miner, ...]


@attrs.frozen
class Changes:
    """What has to happen for the remembered miners to become the registered ones.

    A miner that moved to another uid, address or port stands in both tuples:
    it leaves as it was and joins as it is.
    """

    left: tuple[Miner, ...]
    joined: tuple[Miner, ...]


def changes(before: Iterable[Miner], after: Iterable[Miner]) -> Changes:
    """Compare two sets of miners; both results are ordered by uid."""
    old, new = set(before), set(after)
    return Changes(
        left=tuple(sorted(old - new, key=_by_uid)),
        joined=tuple(sorted(new - old, key=_by_uid)),
    )


def in_chunks(items: Sequence[T], size: int) -> Iterator[tuple[T, ...]]:
    """Cut into pieces of ``size``, the last of which may be smaller."""
    for begin in range(0, len(items), size):
        yield tuple(items[begin : begin + size])


def _by_uid(miner: Miner) -> int:
    return miner.uid
