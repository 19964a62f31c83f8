from __future__ import annotations

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from validator.adapters.fiber.crypto import (
    CryptoError,
    Hotkey,
    RsaKey,
    SymmetricKey,
    encrypt_for,
    signed_by,
)

ALICE = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY"
# What Substrate's subkey prints for //Alice and //Bob: seeds that everybody knows.
DEVELOPERS = [
    ("e5be9a5092b81bca64be81d212e7f2f9eba183bb7a90954f7b76361f6edb5c0a", ALICE),
    (
        "398f0c28f98885e046333d4a41c19cee4c37368a9832c6502f6cfd182e2aef89",
        "5FHneW46xGXgs5mUiveU4sbTyGBzmstUspZC92UhjJM694ty",
    ),
]


@pytest.mark.parametrize(
    ("seed", "address"),
    [
        (b"\x22" * 32, "5Fpfx4iDtrrY99VGkQnLXASytC2y9Z3o8KUyTtD4w7o5SZcA"),
        (b"\x11" * 32, "5DtDLm5rQHShDqojQpsvcN8tRXHVFaecfDoRet1SU6BFD9Fi"),
        *((bytes.fromhex(seed), address) for seed, address in DEVELOPERS),
    ],
)
def test_a_seed_gives_the_address_that_other_implementations_give(
    seed: bytes, address: str
) -> None:
    assert Hotkey.from_seed(seed).address == address


def test_a_signature_holds_for_its_text_and_its_signer_only() -> None:
    hotkey, other = Hotkey.from_seed(b"\x22" * 32), Hotkey.from_seed(b"\x11" * 32)
    signature = hotkey.sign(b"text")

    assert len(signature) == 64
    assert signed_by(hotkey.address, b"text", signature)
    assert not signed_by(hotkey.address, b"other text", signature)
    assert not signed_by(other.address, b"text", signature)


def test_a_signature_that_another_implementation_made_holds() -> None:
    # Known to the tests of @polkadot/wasm-crypto (src/rs/sr25519.rs).
    text = f"I hereby verify that I control {ALICE}".encode()
    signature = bytes.fromhex(
        "1037eb7e51613d0dcf5930ae518819c87d655056605764840d9280984e1b7063"
        "c4566b55bf292fcab07b369d01095879b50517beca4d26e6a65866e25fec0d83"
    )

    assert signed_by(ALICE, text, signature)
    assert not signed_by(ALICE, text + b".", signature)
    assert not signed_by(ALICE, text, bytes([signature[0] ^ 1]) + signature[1:])


@pytest.mark.parametrize("signature", [b"", b"\0" * 63, b"\0" * 64, b"\xff" * 64])
def test_nonsense_for_a_signature_is_no_signature(signature: bytes) -> None:
    hotkey = Hotkey.from_seed(b"\x22" * 32)

    assert not signed_by(hotkey.address, b"text", signature)
    assert not signed_by("no address", b"text", signature)


def test_a_seed_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="32 bytes, got 31"):
        Hotkey.from_seed(b"\x22" * 31)


def test_no_secret_shows_in_a_repr() -> None:
    seed, secret = (
        b"the seed that nobody must see...",
        b"the key that nobody must see....",
    )
    hotkey, key = Hotkey.from_seed(seed), SymmetricKey("its-name", secret)

    assert repr(hotkey) == f"Hotkey({hotkey.address})"
    assert repr(key) == "SymmetricKey(uuid='its-name')"
    assert "PRIVATE" not in repr(RsaKey.generate())


def test_what_is_encrypted_for_an_rsa_key_is_256_bytes_only_its_holder_reads() -> None:
    rsa_key, other = RsaKey.generate(), RsaKey.generate()

    ciphertext = encrypt_for(rsa_key.public_pem, b"\x07" * 32)

    assert len(ciphertext) == 256
    assert len(rsa_key.public_pem) == 451
    assert rsa_key.decrypt(ciphertext) == b"\x07" * 32
    with pytest.raises(CryptoError):
        other.decrypt(ciphertext)


def test_a_token_is_read_by_its_key_only() -> None:
    key, other = SymmetricKey.generate(), SymmetricKey.generate()
    token = key.encrypt(b"plain")

    assert key.decrypt(token) == b"plain"
    with pytest.raises(CryptoError):
        other.decrypt(token)
    with pytest.raises(CryptoError):
        key.decrypt(b"no token")


def test_a_symmetric_key_of_another_length_is_refused() -> None:
    with pytest.raises(CryptoError):
        SymmetricKey("uuid", b"\0" * 16)


def _pem(key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey) -> str:
    return key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    ).decode()


@pytest.mark.parametrize(
    "pem",
    [
        "",
        "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
        _pem(ec.generate_private_key(ec.SECP256R1()).public_key()),
        # Breakable, which is why it must be refused.
        _pem(rsa.generate_private_key(65537, 1024).public_key()),  # noqa: S505
    ],
    ids=["nothing", "no key", "not RSA", "too short"],
)
def test_a_public_key_that_is_no_rsa_key_of_sensible_size_is_refused(pem: str) -> None:
    with pytest.raises(CryptoError):
        encrypt_for(pem, b"\0" * 32)
