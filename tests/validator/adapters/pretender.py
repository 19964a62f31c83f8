"""A server that says it is of another version than it is."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit


@contextmanager
def pretending(dsn: str, major: int) -> Generator[str]:
    """Relay to a server with a greeting rewritten; yield the DSN that leads through.

    In threads, as whoever connects may do so from an event loop of its own.
    """
    folder = Path(parse_qs(urlsplit(dsn).query)["host"][0])
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(
            target=_accept, args=(listener, folder / ".s.PGSQL.5432", major)
        ).start()
        port = listener.getsockname()[1]
        yield f"postgresql://postgres@127.0.0.1:{port}/postgres"
        listener.shutdown(socket.SHUT_RDWR)


def _accept(listener: socket.socket, server: Path, major: int) -> None:
    while True:
        try:
            client, _ = listener.accept()
        except OSError:
            return
        upstream = socket.socket(socket.AF_UNIX)
        upstream.connect(str(server))
        for ends in ((client, upstream, None), (upstream, client, major)):
            threading.Thread(target=_relay, args=ends).start()


def _relay(source: socket.socket, sink: socket.socket, major: int | None) -> None:
    with source:
        try:
            while data := source.recv(65536):
                if major is not None:
                    # Of the same length, as the message says how long it is.
                    data = re.sub(
                        rb"(server_version\0)\d\d\.", rb"\g<1>%d." % major, data
                    )
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass
