"""Which database a label means: the same URL on two machines, or in two folders, leads to two databases."""

from __future__ import annotations

import hashlib
import ipaddress
import socket
from pathlib import Path

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

__all__ = ["is_same_database", "place_of"]

_DIGITS = 16
_BACKENDS = {"mariadb": "mysql"}
_PORTS = {"postgresql": 5432, "mysql": 3306}
_ELSEWHERE = frozenset({"hostaddr", "dbname", "service", "unix_socket"})
"""Options that lead elsewhere than the rest of the URL says."""
_FILES = frozenset({"sqlite", "duckdb"})


def place_of(label: str) -> str:
    """Returns 16 hexadecimal digits that tell apart the databases of the same label, and say nothing of machine or folder.

    Args:
        label: An engine's name; a relative path counts from the present folder, no host or a loopback one means this machine.
    """
    try:
        url = make_url(label)
        backend = url.drivername.partition("+")[0]
    except ArgumentError:  # an engine of somebody else's making
        url, backend = None, ""
    parts = [label]
    if url is not None and backend in _FILES:
        parts = [backend, str(Path(url.database or "").absolute()), socket.gethostname()]
    elif url is None or _is_here(url.host):
        parts.append(socket.gethostname())
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:_DIGITS]


def is_same_database(known: URL, url: URL) -> bool:
    """Tells whether two URLs lead to one database, whatever driver, login and options they name.

    Two names of one host are two databases, and so are two databases in memory.
    """
    backend = _backend(known)
    if backend != _backend(url) or not url.database or not known.database:
        return False
    if backend in _FILES:
        return Path(url.database).is_file() and Path(url.database).absolute() == Path(known.database).absolute()
    if _ELSEWHERE & (url.query.keys() | known.query.keys()):
        return False
    return _server(known) == _server(url) and url.database == known.database


def _backend(url: URL) -> str:
    name = url.drivername.partition("+")[0]
    return _BACKENDS.get(name, name)


def _server(url: URL) -> tuple[str, str]:
    """Host and port as the driver sees them; every way to this machine by network is one."""
    host, port = url.query.get("host") or url.host, url.query.get("port") or url.port or _PORTS.get(_backend(url))
    named = host if isinstance(host, str) else ",".join(host or ())
    is_network = bool(named) and not named.startswith("/") and _is_here(named)
    return "localhost" if is_network else named.lower() if "/" not in named else named, str(port)


def _is_here(host: str | None) -> bool:
    if not host or host == "localhost" or host.startswith("/"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
