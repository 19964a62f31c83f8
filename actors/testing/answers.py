"""What an HTTP server can answer instead of what it should, as frozen values."""

from __future__ import annotations

from typing import TypeAlias

import attrs


@attrs.frozen
class Status:
    """It answers with this status and no body.

    Raises:
        ValueError: no final status: below 200, or above 599.
    """

    code: int = attrs.field(
        validator=[attrs.validators.ge(200), attrs.validators.le(599)]
    )


@attrs.frozen
class Garbage:
    """It says something that is no HTTP, and hangs up."""

    data: bytes = b"\x15\x03\x01\x00\x02\x02\x28 this is no HTTP\r\n\r\n"


@attrs.frozen
class HugeBody:
    """Its body has so many bytes, which it does not say before; unless it is cut."""

    size: int = attrs.field(default=1 << 30, validator=attrs.validators.ge(0))


@attrs.frozen
class WrongLength:
    """Its body is right, and the length that it gives off by so many bytes.

    It hangs up after the body: one that is given as too long is never complete, and
    after one that is given as too short there are bytes that belong to nothing.
    """

    by: int = 10


@attrs.frozen
class RedirectLoop:
    """It redirects every request to where it was sent."""


AnswerFault: TypeAlias = Status | Garbage | HugeBody | WrongLength | RedirectLoop
