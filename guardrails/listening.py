"""Listening on an address, and a web server that ends when the process is interrupted, so that its caller can close what it has opened."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from guardrails.errors import UsageError

__all__ = ["EndingServer", "listening"]


@contextmanager
def listening(host: str, port: int) -> Iterator[socket.socket]:
    """Listens on an address; port 0 is any.

    Raises:
        UsageError: It is taken or not this machine's (usage.input_invalid).
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With its protocol named, connections send at once (TCP_NODELAY): asyncio sees to that for sockets that it knows to be TCP.
    with socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP) as made:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            made.bind((host, port))
            made.listen(128)
        except OSError as error:
            raise UsageError("usage.input_invalid", f"Nothing can listen on {host}, port {port}: {error.strerror}.") from error
        yield made


class EndingServer(uvicorn.Server):
    """A server whose `run(sockets=[…])` returns at SIGINT, SIGTERM, or when `should_exit` is set."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        # Uvicorn's own raises the signal once more in the end, which would keep the caller from closing what it has opened.
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        previous = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
