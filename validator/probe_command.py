"""``validator probe``: one miner, asked by hand, and told step by step."""

from __future__ import annotations

import getpass
import secrets
import socket
import time
from collections.abc import Collection
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

import trio

from validator.adapters.fiber import addresses
from validator.adapters.fiber.crypto import Hotkey, is_address
from validator.adapters.fiber.transport import connect
from validator.adapters.wallet import WALLETS, hotkey_file, load_hotkey
from validator.domain.answers import AnswerRefused, FailureKind
from validator.domain.dst import Nanotesla
from validator.domain.metagraph import Miner
from validator.domain.payload import Payload
from validator.domain.schedule import HOUR, floor_hour
from validator.domain.tasks import geomagnetic
from validator.ports import Connect, MinerConnection, MinerError

MADE_UP = Nanotesla(-20)
"""The Dst that the question is about: quiet, and the same for every hour."""

ANSWER_LIMIT = 100_000

_HINTS: dict[FailureKind, str] = {
    "timeout": "it is there, but does not come to an end; --timeout gives it longer",
    "unreachable": "check address, port and firewall, and that it speaks TLS",
    "refused": (
        "401: it thinks our clock or signature wrong; 403: our hotkey is not "
        "registered on its subnet, or has too little stake"
    ),
    "malformed": "what answers there is no miner of this subnet",
    "wrong_shape": "it speaks the protocol, but does not know this question",
    "not_finite": "its model is broken",
    "out_of_range": "its model is broken",
}


class ProbeRefused(ValueError):
    """The miner cannot be asked as was wished; nothing was sent."""


def probe(
    url: str,
    /,
    *,
    hotkey: str,
    wallet: str | None = None,
    wallet_hotkey: str = "default",
    wallet_path: Path = WALLETS,
    allow_private: bool = False,
    timeout: float = 30.0,
) -> int:
    """Shake hands with one miner, and ask it one question about a made-up Dst.

    Exit code 0: it answered as it should; 1: it did not; 2: nothing was sent.

    Parameters
    ----------
    url
        Where it listens, such as https://203.0.113.7:8091.
    hotkey
        The miner's hotkey, as ss58 address.
    wallet
        Whose hotkey signs the question, by the name of the wallet. Without it a
        stranger asks, with a key made up on the spot.
    wallet_hotkey
        Which hotkey of the wallet.
    wallet_path
        The folder of all wallets.
    allow_private
        Ask at private, loopback and link-local addresses too.
    timeout
        How many seconds the handshake may take, and then the question.
    """
    if not timeout > 0:
        raise ProbeRefused(f"--timeout must be positive, got {timeout}")
    if not is_address(hotkey):
        raise ProbeRefused(f"--hotkey {ascii(hotkey)[:60]} is no ss58 address")
    place = _host_and_port(url)
    ours = _stranger() if wallet is None else _of(wallet, wallet_hotkey, wallet_path)
    everywhere = addresses.EVERYWHERE if allow_private else ()
    return trio.run(partial(_probe, place, hotkey, ours, everywhere, timeout))


def _host_and_port(url: str) -> tuple[str, int]:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
        parts = urlsplit("")
    if parts.scheme != "https" or not host or not port or parts.path.strip("/"):
        raise ProbeRefused(f"{ascii(url)[:80]}: give it as https://HOST:PORT")
    return host, port


def _stranger() -> Hotkey:
    print("key        none given: a stranger asks, whom most miners refuse")
    return Hotkey.from_seed(secrets.token_bytes(32))


def _of(wallet: str, hotkey: str, wallets: Path) -> Hotkey:
    file = hotkey_file(wallet, hotkey, wallets=wallets)
    ask = partial(getpass.getpass, f"Password of {file}: ")
    ours = load_hotkey(file, ask)
    print(f"key        {ours.address}")
    return ours


async def _probe(
    place: tuple[str, int],
    hotkey: str,
    ours: Hotkey,
    allowed: Collection[addresses.Network],
    timeout: float,
) -> int:
    miner = Miner(0, hotkey, await _address(*place), place[1])
    if (refusal := addresses.refusal(miner.ip, allowed)) is not None:
        raise ProbeRefused(f"{refusal}; to ask there all the same: --allow-private")
    print(f"address    {miner.ip} port {miner.port}")
    return await _talk(connect(ours, allowed=allowed), miner, timeout)


async def _address(host: str, port: int) -> str:
    try:
        found = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise ProbeRefused(f"{host}: {error.strerror}") from None
    return str(found[0][4][0])


async def _talk(connect_: Connect, miner: Miner, timeout: float) -> int:
    step, begin = "handshake", trio.current_time()
    async with connect_(miner) as connection:
        try:
            with trio.fail_after(timeout):
                await connection.handshake()
            print(f"handshake  done in {trio.current_time() - begin:.2f} s")
            _tell_what_it_shows(connection)
            step, begin = "question ", trio.current_time()
            with trio.fail_after(timeout):
                return await _ask(connection)
        except MinerError as error:
            kind, detail = error.kind, error.detail
        except trio.TooSlowError:
            kind, detail = "timeout", f"not over after {timeout:g} s"
    seconds = trio.current_time() - begin
    return _failed(f"{step}  failed after {seconds:.2f} s: {detail}", kind)


def _tell_what_it_shows(connection: MinerConnection) -> None:
    seen = connection.seen
    if seen.certificate is not None:
        print(f"           certificate {seen.certificate}; nobody vouches for it")
    if seen.clock_offset is not None:
        side = "ahead of" if seen.clock_offset > 0 else "behind"
        print(f"           its clock is {abs(seen.clock_offset):.1f} s {side} ours")


async def _ask(connection: MinerConnection) -> int:
    begin = trio.current_time()
    now = datetime.fromtimestamp(time.time(), UTC)
    latest = floor_hour(now) - HOUR
    series = {latest - n * HOUR: MADE_UP for n in reversed(range(24))}
    question = cast("geomagnetic.Question", geomagnetic.question(series, now))
    payload = Payload.of(question.payload)
    print(f"question   {geomagnetic.PATH}, {len(payload)} bytes, {MADE_UP} nT all day")
    answer = await connection.ask(geomagnetic.PATH, payload, limit=ANSWER_LIMIT)
    forecast = geomagnetic.parse_answer(answer)
    after = f"after {trio.current_time() - begin:.2f} s"
    if isinstance(forecast, AnswerRefused):
        return _failed(
            f"answer     no forecast, {after}: {forecast.detail}", forecast.kind
        )
    print(
        f"answer     {forecast * 100:.0f} nT for {question.hour:%Y-%m-%dT%H}, {after}"
    )
    return 0


def _failed(line: str, kind: FailureKind) -> int:
    print(line)
    print(f"           {kind}: {_HINTS.get(kind, 'see above')}")
    return 1
