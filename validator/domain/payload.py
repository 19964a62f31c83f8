"""What is sent to miners: a JSON object, written once for all of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Self

import attrs

NONCE = "nonce"
"""The one field that differs from miner to miner."""


def _check_object(_payload: object, _attribute: object, text: bytes) -> None:
    if not (text.startswith(b"{") and text.endswith(b"}")):
        raise ValueError("a payload is the text of a JSON object")


@attrs.frozen
class Payload:
    """A question as JSON text, without the nonce that each miner gets its own of.

    Serialised once: questions of several megabytes go to hundreds of miners.
    """

    text: bytes = attrs.field(repr=False, validator=_check_object)

    @classmethod
    def of(cls, question: Mapping[str, object]) -> Self:
        """Write ``question``; a nonce in it is left out.

        Raises:
            ValueError: it holds NaN or an infinity, which JSON has no word for.
            TypeError: it holds what is no JSON at all.
        """
        fields = {name: value for name, value in question.items() if name != NONCE}
        return cls(json.dumps(fields, allow_nan=False).encode())

    def __len__(self) -> int:
        return len(self.text)

    def with_nonce(self, nonce: str) -> tuple[memoryview, bytes]:
        """Return the text that carries ``nonce``, as two parts; nothing is copied."""
        comma = b"" if self.text == b"{}" else b", "
        tail = b"%s%s}" % (comma, f'"{NONCE}": {json.dumps(nonce)}'.encode())
        return memoryview(self.text)[:-1], tail
