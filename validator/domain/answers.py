"""In which ways a miner can fail to answer, and the value that says so."""

from __future__ import annotations

from typing import Literal

import attrs

FailureKind = Literal[
    "timeout",  # the exchange did not end within its limit
    "unreachable",  # no connection, no TLS, or the connection broke
    "refused",  # an HTTP status other than success
    "malformed",  # not HTTP, not JSON, too large
    "wrong_shape",  # JSON, but not an answer to the question
    "not_finite",  # NaN or infinite
    "out_of_range",  # a finite number no forecast can be
    "forbidden_address",  # registered at an address that is nobody's in public
    "breaker_open",  # failed so often that it is only greeted, and did not answer that
    "ours",  # something of ours stood in the way
]


@attrs.frozen
class AnswerRefused:
    """An answer arrived and is no forecast; ``detail`` is short and one line."""

    kind: FailureKind
    detail: str
