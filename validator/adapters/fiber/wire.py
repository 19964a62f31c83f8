"""What stands on the wire: names, texts and bodies, as of Fiber 2.1.0.

Pure: times and random characters are arguments, nothing here can block. Functions
that read a peer's bytes raise ``WireError`` and nothing else, whatever the bytes.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Mapping
from email.utils import parsedate_to_datetime
from typing import NoReturn, Protocol, cast

import attrs

PUBLIC_KEY_PATH = "/public-encryption-key"
EXCHANGE_PATH = "/exchange-symmetric-key"

CONTENT_TYPE = "content-type"
KEY_UUID = "symmetric-key-uuid"
VALIDATOR = "validator-hotkey"
MINER = "miner-hotkey"
NONCE = "nonce"
SIGNATURE = "signature"

SIGNED_HEADERS = (KEY_UUID, VALIDATOR, MINER, NONCE, SIGNATURE)
"""What every request but the first carries, and the miner insists on."""

JSON = "application/json"
OCTETS = "application/octet-stream"


MAX_DEPTH = 32
"""How deep a peer's JSON may be nested; the protocol needs 3."""


class WireError(ValueError):
    """A peer's bytes are not what the protocol says; tells where they stray."""


class NotFinite(WireError):
    """A peer has written NaN or an infinity where JSON has numbers only."""


class Body(Protocol):
    """A body that is made while it is sent, and so never in memory as a whole."""

    size: int
    """Bytes of all pieces."""

    def pieces(self) -> Iterator[bytes]:
        """Make the pieces, in order; each takes less than a millisecond."""
        ...


@attrs.frozen
class Request:
    """One HTTP request; header names are lower-case."""

    method: str
    path: str
    headers: Mapping[str, str] = attrs.field(factory=dict[str, str])
    body: bytes = attrs.field(default=b"", repr=False)
    large: Body | None = attrs.field(default=None, repr=False)
    """Sent instead of ``body``."""


@attrs.frozen
class Response:
    """One HTTP response, read to its end."""

    status: int
    body: bytes = attrs.field(repr=False)
    content_type: str = JSON


def nonce(time_ns: int, random_chars: str) -> str:
    """Build a nonce: Unix time in nanoseconds, underscore, ten of [A-Za-z0-9]."""
    if len(random_chars) != 10 or not random_chars.isalnum():
        raise ValueError("a nonce takes ten alphanumeric characters")
    return f"{time_ns}_{random_chars}"


def nonce_time(text: str) -> int:
    """Read the time (Unix ns) out of a nonce.

    Raises:
        WireError: the part before the first underscore is no time.
    """
    try:
        time_ns = int(text.partition("_")[0])
    except ValueError:
        raise WireError("the nonce does not begin with a time") from None
    if time_ns > 10**20:
        raise WireError("the nonce is from after the year 5000")
    return time_ns


def signed_text(nonce: str, miner: str, key_uuid: str) -> bytes:
    """Return what the signature covers: neither method, nor path, nor body."""
    return f"{nonce}:{miner}:{key_uuid}".encode()


def signature_text(signature: bytes) -> str:
    """Write a signature as a header value."""
    return f"0x{signature.hex()}"


def parse_signature(text: str) -> bytes:
    """Read a signature from its header value."""
    try:
        return bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        raise WireError("the signature is not hexadecimal") from None


def public_key_body(pem: str, timestamp: float) -> bytes:
    """Write the miner's answer to step 1; ``timestamp`` is in Unix seconds."""
    return json.dumps({"public_key": pem, "timestamp": timestamp}).encode()


def parse_public_key(body: bytes) -> str:
    """Read the PEM text out of the answer to step 1; the timestamp is ignored."""
    return _text_field(body, "public_key")


def exchange_body(ciphertext: bytes) -> bytes:
    """Write step 2: the symmetric key, encrypted for the miner."""
    return json.dumps(
        {"encrypted_symmetric_key": base64.b64encode(ciphertext).decode()}
    ).encode()


def parse_exchange(body: bytes) -> str:
    """Read step 2 as far as its JSON goes: the ciphertext, still in base64."""
    return _text_field(body, "encrypted_symmetric_key")


def decode_json(body: bytes) -> object:
    """Decode one JSON text in UTF-8, and nothing but JSON.

    Raises:
        NotFinite: it holds a bare NaN or Infinity, as Python servers write them.
        WireError: not UTF-8, not JSON, nested too deeply, or more than one text.
    """
    try:
        text = body.decode("utf-8")
        decoded = cast("object", json.loads(text, parse_constant=_refuse_constant))
    except WireError:
        raise
    except RecursionError:
        raise WireError("JSON nested too deeply") from None
    except (
        ValueError
    ) as error:  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        raise WireError(f"not JSON: {error}") from None
    if _is_deep(body):
        raise WireError(f"JSON nested more than {MAX_DEPTH} deep")
    return decoded


def _refuse_constant(name: str) -> NoReturn:
    raise NotFinite(f"{name} where JSON has a number")


_TEXTS = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


def _is_deep(body: bytes) -> bool:
    """Whether brackets are left when the innermost pairs are taken away so often.

    Each pass runs at the speed of C. What the parser itself refuses depends on the
    interpreter and on how deep the caller is.
    """
    brackets = _TEXTS.sub(b"", body).translate(None, _NO_BRACKETS)
    for _ in range(MAX_DEPTH):
        if not brackets:
            return False
        brackets = brackets.replace(b"[]", b"").replace(b"{}", b"")
    return bool(brackets)


def parse_date(text: str) -> float:
    """Read the value of a ``Date`` header: Unix time in seconds.

    Raises:
        WireError: it is none.
    """
    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        raise WireError("no date") from None


def _text_field(body: bytes, name: str) -> str:
    decoded = decode_json(body)
    if not isinstance(decoded, dict):
        raise WireError(f"no JSON object but {type(decoded).__name__}")
    value = cast("dict[str, object]", decoded).get(name)
    if not isinstance(value, str):
        raise WireError(f"no text at {name!r}")
    return value
