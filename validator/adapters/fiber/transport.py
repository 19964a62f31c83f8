"""Moves the bytes between a session and a miner's server; all of httpx is here."""

from __future__ import annotations

import secrets
import ssl
import string
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from http.cookiejar import CookieJar, DefaultCookiePolicy

import attrs
import httpx
import trio

from validator.adapters.fiber import wire
from validator.adapters.fiber.crypto import Hotkey, SymmetricKey
from validator.adapters.fiber.session import Session
from validator.adapters.fiber.wire import Request, Response
from validator.domain.answers import FailureKind
from validator.domain.metagraph import Miner
from validator.ports import Connect, MinerConnection, MinerError

MAX_BODY = 2_000_000
"""Bytes of an answer that are read; more makes it malformed."""

CLOSE_WITHIN = 1.0
"""Seconds that closing a connection may take."""

# nginx, which stands before most miners, drops idle connections after 75 s: leave
# before it does, or a request may be written into a connection that is just closing.
_KEEP_IDLE = 60.0

_NONCE_CHARS = string.ascii_letters + string.digits


def connect(hotkey: Hotkey, *, time_ns: Callable[[], int] = time.time_ns) -> Connect:
    """Return the port through which ``hotkey`` talks to miners.

    Each connection has a client of its own, because a pool shared by hundreds of
    hosts is walked through at every request. Nothing is sent twice: a request that
    failed is reported, since the miner would refuse its nonce the second time.

    Args:
        hotkey: signs the requests.
        time_ns: Unix time in ns, for the nonces; miners refuse a clock 120 s off.
    """
    trust = _trust_anybody()

    @asynccontextmanager
    async def connection(miner: Miner) -> AsyncGenerator[MinerConnection]:
        client = httpx.AsyncClient(
            base_url=httpx.URL(scheme="https", host=miner.ip, port=miner.port),
            verify=trust,
            # A miner must be unable to send us elsewhere, by proxy, netrc or redirect,
            # to fill our memory with cookies, or to have a bomb unpacked.
            trust_env=False,
            follow_redirects=False,
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
            headers={"accept-encoding": "identity"},
            timeout=None,  # noqa: S113  # the caller's scope limits the whole exchange
            limits=httpx.Limits(keepalive_expiry=_KEEP_IDLE),
        )
        try:
            yield _Connection(client, Session(hotkey, miner.hotkey), time_ns)
        finally:
            with trio.move_on_after(CLOSE_WITHIN, shield=True):
                await client.aclose()

    return connection


@attrs.frozen
class _Connection:
    """A session and the client that carries it."""

    _client: httpx.AsyncClient
    _session: Session
    _time_ns: Callable[[], int]

    @property
    def has_key(self) -> bool:
        return self._session.has_key

    async def handshake(self) -> None:
        response = await self._exchange(self._session.begin())
        offer = self._session.offer(response, SymmetricKey.generate(), self._nonce())
        self._session.agree(await self._exchange(offer))

    async def ask(self, path: str, question: Mapping[str, object]) -> object:
        request = self._session.question(
            path, question, nonce=self._nonce(), payload_nonce=self._nonce()
        )
        return self._session.answer(await self._exchange(request))

    def _nonce(self) -> str:
        chars = (secrets.choice(_NONCE_CHARS) for _ in range(10))
        return wire.nonce(self._time_ns(), "".join(chars))

    async def _exchange(self, request: Request) -> Response:
        try:
            async with self._client.stream(
                request.method,
                request.path,
                headers=request.headers,
                content=request.body or None,
            ) as response:
                return Response(response.status_code, await _read(response))
        except httpx.TransportError as error:
            raise MinerError(*_failure(error)) from error


async def _read(response: httpx.Response) -> bytes:
    if response.headers.get("content-encoding", "identity") != "identity":
        raise MinerError("malformed", "the answer is compressed, unasked")
    body = bytearray()
    # Leaving the loop would abandon the generators of httpx, one inside the other, to
    # the garbage collector; a cancellation ends the innermost first, and so all.
    with trio.CancelScope() as enough:
        async for chunk in response.aiter_raw():
            body += chunk
            if len(body) > MAX_BODY:
                enough.cancel()
    if len(body) > MAX_BODY:
        raise MinerError("malformed", f"an answer of more than {MAX_BODY} bytes")
    return bytes(body)


def _failure(error: httpx.TransportError) -> tuple[FailureKind, str]:
    detail = f"{type(error).__name__} {ascii(str(error))[1:-1][:100]}".rstrip()
    # httpx calls it a protocol error, too, if the connection ends without an answer.
    broken = "disconnected without sending" in detail
    if isinstance(error, httpx.ProtocolError) and not broken:
        return "malformed", detail
    return "unreachable", detail


def _trust_anybody() -> ssl.SSLContext:
    """Make the context all connections share: one costs memory and time to make.

    Miners use self-signed certificates that nothing vouches for, so there is nothing
    to verify: who a miner is rests on the address in the metagraph. TLS hides the
    exchange from onlookers and proves nothing.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
