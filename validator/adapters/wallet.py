"""Hotkeys from wallet files, as Bittensor's own tools write them.

A file holds one JSON object with the secret in clear, or the same encrypted with a
password. Neither secret nor password stands in an error.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import bittensor_core

from validator.adapters.fiber.crypto import Hotkey, Keypair

WALLETS = Path("~/.bittensor/wallets")

_MAX_BYTES = 65_536  # a hotkey's file has some 500

if TYPE_CHECKING:

    class _KeyfileError(Exception): ...

    class _WrongPasswordError(_KeyfileError): ...

    def _is_encrypted(data: bytes) -> bool: ...
    def _decrypt(data: bytes, password: str) -> bytes: ...
    def _keypair(data: bytes) -> Keypair: ...

    _SR25519 = 1
else:
    _KeyfileError = bittensor_core.KeyfileError
    _WrongPasswordError = bittensor_core.WrongPasswordError
    _is_encrypted = bittensor_core.keyfile_data_is_encrypted
    _decrypt = bittensor_core.decrypt_keyfile_data
    _keypair = bittensor_core.deserialize_keypair_from_keyfile_data
    _SR25519 = bittensor_core.CRYPTO_SR25519


class WalletError(ValueError):
    """A hotkey's file cannot be used; says which, and why."""


def hotkey_file(wallet: str, hotkey: str, *, wallets: Path = WALLETS) -> Path:
    """Where the file of a hotkey is: ``{wallets}/{wallet}/hotkeys/{hotkey}``.

    Raises:
        WalletError: a name that is no name of a file.
    """
    for name in wallet, hotkey:
        if name in {"", ".", ".."} or "/" in name or "\0" in name:
            raise WalletError(f"{name!r} is no name of a wallet or a hotkey")
    return wallets.expanduser() / wallet / "hotkeys" / hotkey


def load_hotkey(file: Path, ask_password: Callable[[], str]) -> Hotkey:
    """Read the hotkey in ``file``; ``ask_password`` is called if it is encrypted.

    Blocks, with an encrypted file for seconds: making a key of a password is meant
    to be slow. Not for the event loop.

    Raises:
        WalletError: there is no such file, it holds no sr25519 key that can sign, or
            the password is wrong.
    """
    data = _read(file)
    try:
        if _is_encrypted(data):
            data = _decrypt(data, ask_password())
        keypair = _keypair(data)
        keypair.sign(b"")
    except _WrongPasswordError:
        raise WalletError(f"{file}: wrong password") from None
    except (_KeyfileError, ValueError):
        # Its own words may quote what it read.
        raise WalletError(f"{file}: no hotkey that can sign is in it") from None
    if keypair.crypto_type != _SR25519:
        raise WalletError(f"{file}: a key of another kind than sr25519")
    return Hotkey(keypair)


def _read(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            data = opened.read(_MAX_BYTES + 1)
    except OSError as error:
        raise WalletError(f"{file}: {error.strerror or error}") from None
    if len(data) > _MAX_BYTES:
        raise WalletError(f"{file}: too large for the file of a hotkey")
    return data
