"""Messages that every actor understands.

They are read before all user messages and are answered while the actor is suspended.
Like all messages they wait for the one in hand: `Ref.snapshot` does not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import attrs

from actors._core.messages import Ask


@attrs.frozen
class GetState(Ask[object, Mapping[str, object]]):
    """The state of the actor, as its `Actor.inspect` shows it."""

    system: ClassVar[bool] = True


@attrs.frozen
class Suspend(Ask[object, None]):
    """Handle no user messages until `Resume`. Ends with the incarnation."""

    system: ClassVar[bool] = True


@attrs.frozen
class Resume(Ask[object, None]):
    """Go on after `Suspend`."""

    system: ClassVar[bool] = True
