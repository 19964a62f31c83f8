"""The miner's side of the conversation, without any I/O: Fiber 2.1.0's checks in order.

The validator does not run this. It is what the simulated miners answer with and what
the validator's side is tested against, so it keeps to the real server's statuses,
texts and oddities (each is marked).
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Generic, TypeVar, cast

import attrs

from validator.adapters.fiber import wire
from validator.adapters.fiber.crypto import (
    CryptoError,
    RsaKey,
    SymmetricKey,
    signed_by,
)
from validator.adapters.fiber.wire import Request, Response

_SECOND = 1_000_000_000
NONCE_WINDOW_NS = 120 * _SECOND
KEY_LIFETIME_NS = 5 * 3600 * _SECOND

_K = TypeVar("_K")
_V = TypeVar("_V")


def _refuse(status: int, detail: object) -> Response:
    return Response(status, json.dumps({"detail": detail}).encode())


NOT_FOUND = _refuse(404, "Not Found")
WRONG_METHOD = _refuse(405, "Method Not Allowed")
UNKNOWN_HOTKEY = _refuse(403, "Hotkey not found in metagraph")
BAD_NONCE = _refuse(401, "Oi, that nonce is not valid!")
BAD_SIGNATURE = _refuse(401, "Oi, invalid signature, you're not who you said you were!")
UNDECRYPTABLE = _refuse(401, "Oi, I can't decrypt that symmetric key, sorry")
KEY_UNKNOWN = _refuse(400, "No symmetric key found for that hotkey and uuid")
AGREED = Response(200, b'{"status": "Symmetric key exchanged successfully"}')
FAILED = Response(500, b"Internal Server Error", "text/plain; charset=utf-8")


@attrs.frozen
class Asked:
    """A question that passed every check, decrypted: answer it, or refuse it."""

    path: str
    payload: Mapping[str, object]


@attrs.define
class Server:
    """One miner's memory: nonces it has seen, keys it has agreed on.

    Args:
        rsa: the key that handshakes are encrypted for.
        stakes: the metagraph as the miner knows it, hotkey -> stake.
        min_stake: validators with less are refused.
        paths: where encrypted questions are taken.
    """

    rsa: RsaKey
    stakes: Mapping[str, float]
    paths: frozenset[str]
    min_stake: float = 1000.0
    _nonces: _Expiring[str, bool] = attrs.field(init=False)
    _keys: _Expiring[tuple[str, str], SymmetricKey] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        # Oddity: a nonce dated into the future stays acceptable for up to 240 s and is
        # remembered for 120 s only, so it can be replayed in between.
        self._nonces = _Expiring(NONCE_WINDOW_NS)
        self._keys = _Expiring(KEY_LIFETIME_NS)

    def receive(self, request: Request, now_ns: int) -> Response | Asked:
        """Take one request at ``now_ns`` (Unix ns): the response, or the question.

        Never raises on account of what the request holds. Header names must be in
        lower case. A request without a defect is remembered by its nonce, and so is
        one with a bad signature.
        """
        if request.path == wire.PUBLIC_KEY_PATH:
            if request.method != "GET":
                return WRONG_METHOD
            body = wire.public_key_body(self.rsa.public_pem, now_ns / _SECOND)
            return Response(200, body)
        if request.path != wire.EXCHANGE_PATH and request.path not in self.paths:
            return NOT_FOUND
        if request.method != "POST":
            return WRONG_METHOD
        if request.path == wire.EXCHANGE_PATH:
            return self._exchange(request, now_ns)
        return self._refusal(request, now_ns) or self._ask(request, now_ns)

    def forget_keys(self) -> None:
        """Lose every agreed key, as a restarted miner does."""
        self._keys.clear()

    def _exchange(self, request: Request, now_ns: int) -> Response:
        # Oddity: a body that is no JSON is refused before anybody asks who sent it,
        # JSON of the wrong shape only after everything else.
        try:
            wire.decode_json(request.body)
        except wire.WireError:
            return _refuse(422, [{"type": "json_invalid", "loc": ["body"]}])
        if refusal := self._refusal(request, now_ns):
            return refusal
        incomplete = _refuse(422, [{"type": "missing", "loc": ["body"]}])
        if request.headers.get(wire.CONTENT_TYPE) != wire.JSON:
            return incomplete
        try:
            encoded = wire.parse_exchange(request.body)
        except wire.WireError:
            return incomplete
        return self._agree(request, encoded, now_ns)

    def _agree(self, request: Request, encoded: str, now_ns: int) -> Response:
        try:
            ciphertext = base64.b64decode(encoded)
        except (binascii.Error, ValueError):
            return FAILED
        try:
            secret = self.rsa.decrypt(ciphertext)
        except CryptoError:
            return UNDECRYPTABLE
        try:
            key = SymmetricKey(request.headers[wire.KEY_UUID], secret)
        except CryptoError:  # another length than 32 bytes
            return FAILED
        self._keys.put((request.headers[wire.VALIDATOR], key.uuid), key, now_ns)
        return AGREED

    def _ask(self, request: Request, now_ns: int) -> Response | Asked:
        headers = request.headers
        key = self._keys.get((headers[wire.VALIDATOR], headers[wire.KEY_UUID]), now_ns)
        if key is None:
            return KEY_UNKNOWN
        try:
            payload = wire.decode_json(key.decrypt(request.body))
        except (CryptoError, wire.WireError):
            return FAILED
        if not isinstance(payload, dict):
            return FAILED
        return Asked(request.path, cast("dict[str, object]", payload))

    def _refusal(self, request: Request, now_ns: int) -> Response | None:
        """Check who is asking; None: they may."""
        headers = request.headers
        validator = headers.get(wire.VALIDATOR)
        if validator is not None:
            if validator not in self.stakes:
                return UNKNOWN_HOTKEY
            stake = self.stakes[validator]
            if stake < self.min_stake:
                return _refuse(403, f"Insufficient stake of {stake} ")
        missing = [name for name in wire.SIGNED_HEADERS if name not in headers]
        if missing:
            return _refuse(
                422, [{"type": "missing", "loc": ["header", name]} for name in missing]
            )
        if not self._accepts_nonce(headers[wire.NONCE], now_ns):
            return BAD_NONCE
        return None if _signature_holds(headers) else BAD_SIGNATURE

    def _accepts_nonce(self, nonce: str, now_ns: int) -> bool:
        if self._nonces.get(nonce, now_ns):
            return False
        try:
            dated = wire.nonce_time(nonce)
        except wire.WireError:
            return False  # not remembered either
        # Oddity: burnt before the signature is looked at, for all validators alike.
        self._nonces.put(nonce, True, now_ns)
        return abs(now_ns - dated) <= NONCE_WINDOW_NS


def _signature_holds(headers: Mapping[str, str]) -> bool:
    # Oddity: the miner's name is taken from the header as it stands, so a request
    # signed for another miner is accepted too.
    text = wire.signed_text(
        headers[wire.NONCE], headers[wire.MINER], headers[wire.KEY_UUID]
    )
    try:
        signature = wire.parse_signature(headers[wire.SIGNATURE])
    except wire.WireError:
        return False
    return signed_by(headers[wire.VALIDATOR], text, signature)


@attrs.define
class _Expiring(Generic[_K, _V]):
    """A dictionary whose entries live ``lifetime_ns`` from when they were put.

    The real server purges once in 65 s; here an entry is gone when its time is.
    """

    lifetime_ns: int
    # Invariant: in order of expiry, as long as the clock does not go back; if it does,
    # entries live longer, and none is lost early.
    _entries: dict[_K, tuple[int, _V]] = attrs.field(factory=dict, init=False)

    def put(self, key: _K, value: _V, now_ns: int) -> None:
        self._entries.pop(key, None)
        self._entries[key] = (now_ns + self.lifetime_ns, value)

    def get(self, key: _K, now_ns: int) -> _V | None:
        while self._entries:
            oldest = next(iter(self._entries))
            if self._entries[oldest][0] > now_ns:
                break
            del self._entries[oldest]
        entry = self._entries.get(key)
        return None if entry is None else entry[1]

    def clear(self) -> None:
        self._entries.clear()
