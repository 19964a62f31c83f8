"""Keys: sr25519 for who we are, RSA for the handshake, Fernet for what follows.

No key shows in a repr, and none is written anywhere. The functions take microseconds
at the sizes of this protocol, except ``RsaKey.generate``.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Protocol, Self

import attrs
import bittensor_core
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives import hashes, hmac, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7

SECRET_BYTES = 32

PIECE = 48_000
"""Bytes that are encrypted at once: some 0.3 ms. A multiple of 16 and of 3."""

# The protocol says 2048. Up to 4096 is let through; beyond that a miner would be
# spending our processor.
_RSA_BITS = range(2048, 4097)


class CryptoError(ValueError):
    """A peer's key or ciphertext cannot be used; its content is not in the text."""


class Keypair(Protocol):
    """The part of the untyped bittensor_core.Keypair that is used here."""

    ss58_address: str
    crypto_type: int

    def sign(self, message: bytes) -> bytes: ...
    def verify(self, message: bytes, signature: bytes) -> bool: ...


if TYPE_CHECKING:

    def _from_seed(seed: bytes) -> Keypair: ...
    def _from_address(*, ss58_address: str) -> Keypair: ...

else:
    _from_seed = bittensor_core.Keypair.create_from_seed
    _from_address = bittensor_core.Keypair


@attrs.frozen(repr=False, eq=False)
class Hotkey:
    """An sr25519 key pair that signs; shows nothing but its ss58 address."""

    _keypair: Keypair

    @classmethod
    def from_seed(cls, seed: bytes) -> Self:
        """Derive the pair from its 32-byte secret seed.

        Raises:
            ValueError: the seed has another length.
        """
        if len(seed) != SECRET_BYTES:
            raise ValueError(f"a hotkey's seed has 32 bytes, got {len(seed)}")
        return cls(_from_seed(seed))

    @property
    def address(self) -> str:
        """The public key as ss58, network prefix 42."""
        return self._keypair.ss58_address

    def sign(self, text: bytes) -> bytes:
        """Return the 64-byte signature; a different one each time, all valid."""
        return self._keypair.sign(text)

    def __repr__(self) -> str:
        return f"Hotkey({self.address})"


def is_address(text: str) -> bool:
    """Tell whether ``text`` is an ss58 address, its checksum included."""
    try:
        _from_address(ss58_address=text)
    except ValueError:
        return False
    return True


def signed_by(address: str, text: bytes, signature: bytes) -> bool:
    """Tell whether ``address`` signed ``text``; nonsense in any argument is a no."""
    try:
        return _from_address(ss58_address=address).verify(text, signature)
    except ValueError:  # no ss58 address, no 64 bytes
        return False


@attrs.frozen
class SymmetricKey:
    """The key of one handshake: 32 secret bytes, and the public name they go by.

    Raises:
        CryptoError: ``secret`` has not 32 bytes.
    """

    uuid: str
    secret: bytes = attrs.field(repr=False)
    _fernet: Fernet = attrs.field(init=False, repr=False, eq=False)

    def __attrs_post_init__(self) -> None:
        if len(self.secret) != SECRET_BYTES:
            raise CryptoError("a symmetric key has 32 bytes")
        object.__setattr__(
            self, "_fernet", Fernet(base64.urlsafe_b64encode(self.secret))
        )

    @classmethod
    def generate(cls) -> Self:
        """Make a new key; its name is 64 hexadecimal digits, no RFC 4122 UUID."""
        return cls(secrets.token_hex(32), secrets.token_bytes(SECRET_BYTES))

    def encrypt(self, plain: bytes) -> bytes:
        """Return the Fernet token, ASCII: 10 us for 1 kB.

        For what is larger than ``PIECE`` there is ``seal``.
        """
        return self._fernet.encrypt(plain)

    def seal(self, parts: Sequence[bytes | memoryview], now: int) -> Sealed:
        """Return the Fernet token of all parts as one, made while it is sent.

        ``now`` is Unix time in seconds.
        """
        return Sealed(self.secret, parts, now)

    def decrypt(self, token: bytes) -> bytes:
        """Return what the token holds.

        Raises:
            CryptoError: it is no token, or none of this key.
        """
        try:
            return self._fernet.decrypt(token)
        except InvalidToken:
            raise CryptoError("not a token of this key") from None


class Sealed:
    """A Fernet token that is made piece by piece; shows neither key nor text.

    Fernet's own ``encrypt`` needs the plain text, the encrypted one and the token in
    memory at once: for 256 miners and 5 MB each that is 4 GB.
    """

    def __init__(
        self, secret: bytes, parts: Sequence[bytes | memoryview], now: int
    ) -> None:
        self._secret = secret
        self._parts = parts
        self._now = now
        plain = sum(len(part) for part in parts)
        raw = 1 + 8 + 16 + (plain // 16 + 1) * 16 + 32
        self.size = (raw + 2) // 3 * 4
        """Bytes of the token."""

    def pieces(self) -> Iterator[bytes]:
        """Make the token, each time another one; a piece takes some 0.3 ms."""
        iv = secrets.token_bytes(16)
        signing, encrypting = self._secret[:16], self._secret[16:]
        cipher = Cipher(algorithms.AES(encrypting), modes.CBC(iv)).encryptor()
        pad = PKCS7(128).padder()
        mac = hmac.HMAC(signing, hashes.SHA256())
        head = b"\x80" + self._now.to_bytes(8, "big") + iv
        mac.update(head)
        rest = head  # what base64 has not taken yet: it takes three bytes at a time
        for piece in self._pieces():
            encrypted = cipher.update(pad.update(piece))
            mac.update(encrypted)
            rest += encrypted
            whole = len(rest) // 3 * 3
            yield base64.urlsafe_b64encode(rest[:whole])
            rest = rest[whole:]
        last = cipher.update(pad.finalize()) + cipher.finalize()
        mac.update(last)
        yield base64.urlsafe_b64encode(rest + last + mac.finalize())

    def _pieces(self) -> Iterator[bytes]:
        for part in self._parts:
            for start in range(0, len(part), PIECE):
                yield bytes(part[start : start + PIECE])


def encrypt_for(pem: str, secret: bytes) -> bytes:
    """Encrypt ``secret`` for the holder of an RSA key (OAEP, SHA-256, no label).

    Raises:
        CryptoError: ``pem`` is no RSA public key of a sensible size.
    """
    try:
        key = serialization.load_pem_public_key(pem.encode())
    except (ValueError, UnsupportedAlgorithm):
        raise CryptoError("no public key in PEM") from None
    if not isinstance(key, rsa.RSAPublicKey) or key.key_size not in _RSA_BITS:
        raise CryptoError("the public key is not RSA of 2048 to 4096 bits")
    try:
        return key.encrypt(secret, _oaep())
    except ValueError:
        raise CryptoError("nothing can be encrypted with this RSA key") from None


@attrs.frozen(repr=False, eq=False)
class RsaKey:
    """A miner's RSA-2048 key."""

    _key: rsa.RSAPrivateKey

    @classmethod
    def generate(cls) -> Self:
        """Make a new key: some 50 ms of processor time, not for the event loop."""
        return cls(rsa.generate_private_key(public_exponent=65537, key_size=2048))

    @property
    def public_pem(self) -> str:
        """The public half as PEM, SubjectPublicKeyInfo."""
        public = self._key.public_key().public_bytes(
            serialization.Encoding.PEM,
            serialization.PublicFormat.SubjectPublicKeyInfo,
        )
        return public.decode()

    def decrypt(self, ciphertext: bytes) -> bytes:
        """Return what ``encrypt_for`` was given.

        Raises:
            CryptoError: it was not encrypted for this key.
        """
        try:
            return self._key.decrypt(ciphertext, _oaep())
        except ValueError:
            raise CryptoError("not encrypted for this RSA key") from None


def _oaep() -> padding.OAEP:
    return padding.OAEP(
        mgf=padding.MGF1(algorithm=hashes.SHA256()),
        algorithm=hashes.SHA256(),
        label=None,
    )
