"""The validator's side of the conversation with one miner, without any I/O.

A state machine in the manner of h11: it says which request comes next and what a
response means; somebody else moves the bytes and knows the time.

    begin -> offer -> agree          the handshake
    question -> answer               as often as wanted, while the key is known

A handshake that is abandoned half-way leaves the key of the one before in force; a
question whose answer never came leaves no trace.
"""

from __future__ import annotations

import attrs

from validator.adapters.fiber import wire
from validator.adapters.fiber.crypto import (
    PIECE,
    CryptoError,
    Hotkey,
    SymmetricKey,
    encrypt_for,
)
from validator.adapters.fiber.wire import Request, Response
from validator.domain.payload import Payload
from validator.ports import KeyUnknown, MinerError


@attrs.define
class Session:
    """What a validator knows of its conversation with one miner.

    Each nonce handed in must be fresh: the miner refuses one that it has seen.
    """

    hotkey: Hotkey
    miner: str
    # Invariant: a key is here iff the miner said yes to it and has not denied it since.
    _key: SymmetricKey | None = attrs.field(default=None, init=False)
    _offered: SymmetricKey | None = attrs.field(default=None, init=False)

    @property
    def has_key(self) -> bool:
        """Whether a question can be asked without a handshake."""
        return self._key is not None

    def begin(self) -> Request:
        """Start a handshake: ask for the miner's public key."""
        self._offered = None
        return Request("GET", wire.PUBLIC_KEY_PATH)

    def offer(self, response: Response, key: SymmetricKey, nonce: str) -> Request:
        """Having the public key, offer ``key``.

        Raises:
            MinerError: refused, or there is no usable RSA key in the response.
        """
        _insist_on_success(response)
        try:
            ciphertext = encrypt_for(wire.parse_public_key(response.body), key.secret)
        except (wire.WireError, CryptoError) as error:
            raise MinerError("malformed", f"public key: {error}") from None
        self._offered = key
        return Request(
            "POST",
            wire.EXCHANGE_PATH,
            self._headers(key, nonce, wire.JSON),
            wire.exchange_body(ciphertext),
        )

    def agree(self, response: Response) -> None:
        """Take the offered key as agreed; any success means yes, its text nothing.

        Raises:
            MinerError: refused; the key of an earlier handshake stays in force.
        """
        _insist_on_success(response)
        self._key, self._offered = self._offered, None

    def question(
        self, path: str, payload: Payload, *, nonce: str, payload_nonce: str
    ) -> Request:
        """Encrypt a question; one that is large while it is sent.

        Raises:
            KeyUnknown: no key is agreed on.
        """
        key = self._key
        if key is None:
            raise KeyUnknown("refused", "no key has been agreed on")
        headers = self._headers(key, nonce, wire.OCTETS)
        parts = payload.with_nonce(payload_nonce)
        if len(payload) > PIECE:
            now = wire.nonce_time(nonce) // 1_000_000_000
            return Request("POST", path, headers, large=key.seal(parts, now))
        return Request("POST", path, headers, key.encrypt(b"".join(parts)))

    def answer(self, response: Response) -> object:
        """Decode the answer, which travels in clear.

        Raises:
            KeyUnknown: the miner has forgotten the key, and so has this session now.
            MinerError: refused, no JSON, or NaN where JSON has numbers.
        """
        if response.status == 400:
            self._key = None
            raise KeyUnknown("refused", _refusal(response))
        _insist_on_success(response)
        try:
            return wire.decode_json(response.body)
        except wire.NotFinite as error:
            raise MinerError("not_finite", str(error)) from None
        except wire.WireError as error:
            raise MinerError("malformed", str(error)) from None

    def _headers(
        self, key: SymmetricKey, nonce: str, content_type: str
    ) -> dict[str, str]:
        text = wire.signed_text(nonce, self.miner, key.uuid)
        return {
            wire.CONTENT_TYPE: content_type,
            wire.KEY_UUID: key.uuid,
            wire.VALIDATOR: self.hotkey.address,
            wire.MINER: self.miner,
            wire.NONCE: nonce,
            wire.SIGNATURE: wire.signature_text(self.hotkey.sign(text)),
        }


def _insist_on_success(response: Response) -> None:
    if not 200 <= response.status < 300:
        raise MinerError("refused", _refusal(response))


def _refusal(response: Response) -> str:
    # The words are a stranger's: short, and nothing that could steer a terminal.
    words = ascii(response.body[:100].decode("utf-8", "replace"))[1:-1]
    return f"HTTP {response.status} {words}".rstrip()
