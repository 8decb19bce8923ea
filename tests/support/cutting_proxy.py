"""A TCP proxy that loses a connection at a chosen moment of the conversation.

What the client sends is watched for a piece of text; at its first appearance the connection is lost in one of three ways, each of
which leaves client and server with other knowledge.
"""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Literal

from sqlalchemy.engine import make_url

Way = Literal["unsent", "unanswered", "held"]
"""unsent: the server sees the connection end before the message. unanswered: it gets the message and its answer is lost.
held: it gets neither message nor end, as when a network falls silent."""


class CuttingProxy:
    """Listens on a port of 127.0.0.1 and forwards to a server.

    Args:
        url: The server's.
        needle: Text in what the client sends.
        way: What happens when it comes.
        meanwhile: Called once the server is done and before the client knows of it.
    """

    def __init__(self, url: str, needle: bytes, way: Way, meanwhile: Callable[[], object] = lambda: None) -> None:
        self._url = make_url(url)
        self._needle = needle
        self._way = way
        self._meanwhile = meanwhile
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._lock = threading.Lock()
        self._kept: list[socket.socket] = []
        self.is_armed = False
        self.cuts = 0
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        """The server's URL, by way of the proxy and in clear."""
        place = {
            "host": "127.0.0.1",
            "port": str(self._listener.getsockname()[1]),
            "sslmode": "disable",
            "gssencmode": "disable",
        }
        plain = self._url.difference_update_query(["host", "port"]).set(host=None, port=None)
        return plain.update_query_dict(place).render_as_string(hide_password=False)

    def close(self) -> None:
        _shut(self._listener, socket.SHUT_RDWR)  # closing alone does not wake who waits for a client
        self._listener.close()
        for each in self._kept:
            each.close()

    def _connected(self) -> socket.socket:
        port = int(self._url.port or 5432)
        folder = str(self._url.query.get("host", ""))
        if not folder.startswith("/"):
            return socket.create_connection((self._url.host or "127.0.0.1", port))
        server = socket.socket(socket.AF_UNIX)
        server.connect(f"{folder}/.s.PGSQL.{port}")
        return server

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = self._connected()
            cut = threading.Event()
            threading.Thread(target=self._to_server, args=(client, server, cut), daemon=True).start()
            threading.Thread(target=self._to_client, args=(client, server, cut), daemon=True).start()

    def _to_server(self, client: socket.socket, server: socket.socket, cut: threading.Event) -> None:
        while data := _received(client):
            with self._lock:
                is_the_one = self.is_armed and not self.cuts and self._needle in data
                self.cuts += is_the_one
            if not is_the_one:
                server.sendall(data)
                continue
            cut.set()
            if self._way == "held":
                self._kept.append(server)
            elif self._way == "unsent":
                server.close()
            else:
                server.sendall(data)
                server.shutdown(socket.SHUT_WR)
                # The server closes when it has done all that it was sent, and found the end of what comes.
                while _received(server):
                    pass
                server.close()
            self._meanwhile()
            client.shutdown(socket.SHUT_RDWR)
            client.close()
            return
        if not cut.is_set():
            _shut(server)

    def _to_client(self, client: socket.socket, server: socket.socket, cut: threading.Event) -> None:
        while not cut.is_set():
            # Not blocking in recv: what comes after the cut is not for this thread.
            if not select.select([server], [], [], 0.02)[0]:
                continue
            data = b"" if cut.is_set() else _received(server)
            if not data or cut.is_set() or not _sent(client, data):
                break
        if not cut.is_set():
            _shut(client)


def _received(source: socket.socket) -> bytes:
    try:
        return source.recv(1 << 16)
    except OSError:
        return b""


def _sent(target: socket.socket, data: bytes) -> bool:
    try:
        target.sendall(data)
    except OSError:
        return False
    return True


def _shut(target: socket.socket, how: int = socket.SHUT_WR) -> None:
    with suppress(OSError):
        target.shutdown(how)
