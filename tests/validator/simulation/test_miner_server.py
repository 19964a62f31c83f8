"""The simulated miner against clients that share no code with it."""

from __future__ import annotations

import base64
import json
import os
import ssl
import time
from contextlib import suppress
from typing import Any

import pytest
import trio
from bittensor_core import Keypair
from cryptography.fernet import Fernet
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa as rsa_keys
from served import MINER, serving

from validator.simulation.miner_server import (
    HOST,
)

pytestmark = pytest.mark.real


class IndependentClient:
    """A validator written from the protocol, with nothing but public libraries."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.keypair = Keypair.create_from_seed(b"\x22" * 32)
        self.uuid = os.urandom(32).hex()
        self.secret = os.urandom(32)

    async def say(self, data: bytes) -> bytes:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        async with await trio.open_ssl_over_tcp_stream(
            HOST, self.port, ssl_context=context, https_compatible=True
        ) as stream:
            await stream.send_all(data)
            return b"".join([bytes(chunk) async for chunk in stream])

    async def request(
        self, method: str, path: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, Any]:
        lines = [f"{method} {path} HTTP/1.1", "Host: miner", "Connection: close"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        lines += [f"Content-Length: {len(body)}", "", ""]
        head, _, answer = (
            await self.say("\r\n".join(lines).encode() + body)
        ).partition(b"\r\n\r\n")
        return int(head.split()[1]), json.loads(answer)

    def signed(self, content_type: str) -> dict[str, str]:
        nonce = f"{time.time_ns()}_{os.urandom(5).hex()}"
        text = f"{nonce}:{MINER}:{self.uuid}".encode()
        return {
            "Content-Type": content_type,
            "Symmetric-Key-UUID": self.uuid,
            "Validator-Hotkey": self.keypair.ss58_address,
            "Miner-Hotkey": MINER,
            "Nonce": nonce,
            "Signature": "0x" + self.keypair.sign(text).hex(),
        }

    async def handshake(self) -> tuple[int, Any]:
        _, hello = await self.request("GET", "/public-encryption-key", {}, b"")
        key = serialization.load_pem_public_key(hello["public_key"].encode())
        assert isinstance(key, rsa_keys.RSAPublicKey)
        sha = hashes.SHA256()
        sealed = key.encrypt(self.secret, padding.OAEP(padding.MGF1(sha), sha, None))
        body = {"encrypted_symmetric_key": base64.b64encode(sealed).decode()}
        return await self.request(
            "POST",
            "/exchange-symmetric-key",
            self.signed("application/json"),
            json.dumps(body).encode(),
        )

    async def ask(self, data: dict[str, object]) -> tuple[int, Any]:
        token = Fernet(base64.b64encode(self.secret)).encrypt(
            json.dumps({"nonce": "1_a", "data": data}).encode()
        )
        headers = self.signed("application/octet-stream")
        return await self.request("POST", "/geomagnetic-request", headers, token)


async def test_a_client_written_from_the_protocol_gets_its_answer() -> None:
    async with serving() as port:
        client = IndependentClient(port)

        agreed = await client.handshake()
        status, answer = await client.ask(
            {
                "name": "Geomagnetic Data",
                "timestamp": "2015-03-17T20:00:00+00:00",
                "value": -1.5,
                "historical_values": [],
            }
        )

    assert agreed == (200, {"status": "Symmetric key exchanged successfully"})
    assert status == 200
    assert set(answer) == {"predicted_values", "timestamp", "miner_hotkey"}
    assert answer["timestamp"] == "2015-03-17T22:00:00+00:00"
    assert answer["miner_hotkey"] == MINER


async def test_an_expired_key_is_gone_for_good_and_once_per_hour() -> None:
    async with serving("expired_key") as port:
        client = IndependentClient(port)
        statuses: list[int] = []
        for hour in ("20", "21"):
            data: dict[str, object] = {
                "timestamp": f"2015-03-17T{hour}:00:00+00:00",
                "value": -1.5,
            }
            await client.handshake()
            statuses.append((await client.ask(data))[0])
            statuses.append((await client.ask(data))[0])
            await client.handshake()
            statuses.append((await client.ask(data))[0])

    assert statuses == [400, 400, 200] * 2


@pytest.mark.parametrize(
    "nonsense",
    [
        b"",
        b"\x16\x03\x01",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
        b"HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n",
        b"A" * 500_000,
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9000000\r\n\r\n"
        + b"x" * 9_000_000,
        b"GET /\xff HTTP/1.1\r\nHost: \xff\r\nNonce: \xff\r\nConnection: close\r\n\r\n",
    ],
    ids=[
        "nothing",
        "TLS in TLS",
        "bad length",
        "HEAD",
        "CONNECT",
        "upgrade",
        "no end",
        "too large",
        "not ASCII",
    ],
)
async def test_a_client_that_talks_nonsense_harms_nobody(nonsense: bytes) -> None:
    async with serving() as port:
        client = IndependentClient(port)
        # The server may have enough, or wait for more.
        with suppress(trio.BrokenResourceError), trio.move_on_after(0.5):
            await client.say(nonsense)

        status, _ = await client.handshake()

    assert status == 200


async def test_a_client_without_tls_or_that_leaves_at_once_harms_nobody() -> None:
    async with serving() as port:
        plain = await trio.open_tcp_stream(HOST, port)
        await plain.send_all(b"GET / HTTP/1.1\r\n\r\n")
        await (await trio.open_tcp_stream(HOST, port)).aclose()

        status, _ = await IndependentClient(port).handshake()
        await plain.aclose()

    assert status == 200
