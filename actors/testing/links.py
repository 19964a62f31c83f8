"""What can be wrong with the way to a server, as frozen values.

The same values stand before real servers (`ChaosProxy`) and in the simulated network
(`Network`). ``up`` is from the client to the server, ``down`` the way back.
"""

from __future__ import annotations

import math
from typing import Literal, TypeAlias

import attrs

Ending: TypeAlias = Literal["reset", "eof", "silence"]
"""How a cut shows at the receiving end: ``reset``, as if the peer had died;
``eof``, as if it had hung up in order; ``silence``, not at all."""


@attrs.frozen
class Cut:
    """Nothing passes any more once ``after`` bytes have passed.

    They do arrive. A reset ends the connection; after the other two, the sender goes
    on sending in good faith, and what it sends is lost. The other direction is not
    concerned.

    Raises:
        ValueError: fewer than 0 bytes, or an ending that there is not.
    """

    after: int = attrs.field(validator=attrs.validators.ge(0))
    how: Ending = attrs.field(
        default="reset", validator=attrs.validators.in_(("reset", "eof", "silence"))
    )


@attrs.frozen(kw_only=True)
class Link:
    """What one direction of a connection does to the bytes that it carries.

    Bytes never overtake one another, and all arrive unless it is cut.

    Raises:
        ValueError: a negative or infinite latency, or a rate that is not positive.
    """

    latency: float = attrs.field(
        default=0.0,
        validator=[attrs.validators.ge(0.0), attrs.validators.lt(math.inf)],
    )
    """Seconds that a byte is on its way."""
    rate: float = attrs.field(default=math.inf, validator=attrs.validators.gt(0.0))
    """Bytes per second."""
    cut: Cut | None = None


@attrs.frozen(kw_only=True)
class Links:
    """Both directions of a connection; without arguments, a good one."""

    up: Link = Link()
    down: Link = Link()


@attrs.frozen
class Refused:
    """Nobody listens: connecting fails at once."""


@attrs.frozen
class ResetAtOnce:
    """Whoever connects is accepted, and the connection reset before a byte passed."""


@attrs.frozen
class Blackhole:
    """Whoever connects is accepted, and never hears anything."""


@attrs.frozen
class NameUnknown:
    """The host's name cannot be resolved; in a `Network`."""


@attrs.frozen
class Unreachable:
    """Connecting takes for ever: nothing comes back; in a `Network`."""


@attrs.frozen
class TlsFailure:
    """Whoever wants TLS does not get it; in a `Network`, where TLS is not simulated."""

    reason: str = (
        "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: "
        "self-signed certificate"
    )
