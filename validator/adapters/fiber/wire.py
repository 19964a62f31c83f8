"""What stands on the wire: names, texts and bodies, as of Fiber 2.1.0.

Pure: times and random characters are arguments, nothing here can block. Functions
that read a peer's bytes raise ``WireError`` and nothing else, whatever the bytes.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import cast

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


class WireError(ValueError):
    """A peer's bytes are not what the protocol says; tells where they stray."""


@attrs.frozen
class Request:
    """One HTTP request; header names are lower-case."""

    method: str
    path: str
    headers: Mapping[str, str] = attrs.field(factory=dict[str, str])
    body: bytes = attrs.field(default=b"", repr=False)


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


def question_body(question: Mapping[str, object], nonce: str) -> bytes:
    """Write the plain text of a question: a copy of it that carries ``nonce``."""
    return json.dumps({**question, "nonce": nonce}).encode()


def decode_json(body: bytes) -> object:
    """Decode one JSON text in UTF-8.

    A bare ``NaN`` or ``Infinity`` is let through as a float, although JSON has none:
    Python servers write them, and the rule that refuses them as "not finite" can name
    the miner's mistake better than "not JSON" does.

    Raises:
        WireError: not UTF-8, not JSON, nested too deeply, or more than one text.
    """
    try:
        return cast("object", json.loads(body.decode("utf-8")))
    except RecursionError:
        raise WireError("JSON nested too deeply") from None
    except (
        ValueError
    ) as error:  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        raise WireError(f"not JSON: {error}") from None


def _text_field(body: bytes, name: str) -> str:
    decoded = decode_json(body)
    if not isinstance(decoded, dict):
        raise WireError(f"no JSON object but {type(decoded).__name__}")
    value = cast("dict[str, object]", decoded).get(name)
    if not isinstance(value, str):
        raise WireError(f"no text at {name!r}")
    return value
