"""Which database a label means: the same URL on two machines, or in two folders, leads to two databases."""

from __future__ import annotations

import hashlib
import ipaddress
import socket
from pathlib import Path

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

__all__ = ["is_same_database", "is_same_file", "place_of"]

_DIGITS = 16
_BACKENDS = {"mariadb": "mysql"}
_PORTS = {"postgresql": 5432, "mysql": 3306}
_ELSEWHERE = frozenset({"host", "hostaddr", "port", "dbname", "service", "unix_socket"})
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


def is_same_database(label: str, url: URL) -> bool:
    """Tells whether a URL leads to the database with a label, whatever driver, login and options it names.

    Two names of one host are two databases, and so are two databases in memory.
    """
    try:
        known = make_url(label)
    except ArgumentError:
        return False
    backend = _BACKENDS.get(url.drivername.partition("+")[0], url.drivername.partition("+")[0])
    if backend != known.drivername or not url.database or not known.database:
        return False
    if backend in _FILES:
        return Path(url.database).is_file() and Path(url.database).absolute() == Path(known.database).absolute()
    if _ELSEWHERE & url.query.keys():
        return False
    hosts = {"" if _is_here(host) else str(host).lower() for host in (url.host, known.host)}
    ports = {port or _PORTS.get(backend) for port in (url.port, known.port)}
    return len(hosts) == len(ports) == 1 and url.database == known.database


def is_same_file(label: str, path: Path) -> bool:
    """Tells whether the database with a label lies in a file, and in this one."""
    try:
        url = make_url(label)
    except ArgumentError:
        return False
    if url.drivername.partition("+")[0] not in _FILES or not url.database:
        return False
    database = Path(url.database)
    return database.is_file() and path.is_file() and database.samefile(path)


def _is_here(host: str | None) -> bool:
    if not host or host == "localhost" or host.startswith("/"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
