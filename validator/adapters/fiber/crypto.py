"""Keys: sr25519 for who we are, RSA for the handshake, Fernet for what follows.

No key shows in a repr, and none is written anywhere. The functions take microseconds
at the sizes of this protocol, except ``RsaKey.generate``.
"""

from __future__ import annotations

import base64
import secrets
from typing import TYPE_CHECKING, Protocol, Self

import attrs
import bittensor_core
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

SECRET_BYTES = 32

# The protocol says 2048. Up to 4096 is let through; beyond that a miner would be
# spending our processor.
_RSA_BITS = range(2048, 4097)


class CryptoError(ValueError):
    """A peer's key or ciphertext cannot be used; its content is not in the text."""


class _Keypair(Protocol):
    """The part of the untyped bittensor_core.Keypair that is used here."""

    ss58_address: str

    def sign(self, message: bytes) -> bytes: ...
    def verify(self, message: bytes, signature: bytes) -> bool: ...


if TYPE_CHECKING:

    def _from_seed(seed: bytes) -> _Keypair: ...
    def _from_address(*, ss58_address: str) -> _Keypair: ...

else:
    _from_seed = bittensor_core.Keypair.create_from_seed
    _from_address = bittensor_core.Keypair


@attrs.frozen(repr=False, eq=False)
class Hotkey:
    """An sr25519 key pair that signs; shows nothing but its ss58 address."""

    _keypair: _Keypair

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
        """Return the Fernet token, ASCII.

        10 us for 1 kB; what is larger than some 50 kB belongs into a thread.
        """
        return self._fernet.encrypt(plain)

    def decrypt(self, token: bytes) -> bytes:
        """Return what the token holds.

        Raises:
            CryptoError: it is no token, or none of this key.
        """
        try:
            return self._fernet.decrypt(token)
        except InvalidToken:
            raise CryptoError("not a token of this key") from None


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
