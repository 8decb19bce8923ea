"""Foreign judges: implementations that know nothing of this library, started once and asked many times."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import threading
from base64 import b64decode, b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import missing

__all__ = ["Answer", "Sumdb"]

GO_PATH = Path("/usr/share/gocode")
"""Where Debian's golang-golang-x-mod-dev puts the sources."""
PROGRAM = Path(__file__).parent / "sumdb" / "main.go"


@dataclass(frozen=True, slots=True)
class Answer:
    """What Go said: `error` is empty when it accepts."""

    error: str
    text: str
    verified: tuple[str, ...]
    unverified: tuple[str, ...]
    note: str

    @property
    def is_accepted(self) -> bool:
        return not self.error


class Sumdb:
    """Go's golang.org/x/mod/sumdb in one process: `note` and `tlog`, by JSON lines."""

    def __init__(self, program: Path) -> None:
        self._process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(self, questions: Sequence[dict[str, object]]) -> list[Answer]:
        """Returns the answers in order."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        text = "".join(json.dumps(q, default=_base64) + "\n" for q in [*questions, {"Op": "flush"}])
        # Written from a thread of its own: both pipes are short, and neither side may wait for the other.
        writer = threading.Thread(target=self._write, args=(text.encode(),))
        writer.start()
        lines = [self._process.stdout.readline() for _ in range(len(questions) + 1)]
        writer.join()
        assert all(lines), "Go's process ended"
        return [_answer(line) for line in lines[:-1]]

    def close(self) -> None:
        self._process.communicate()
        assert self._process.returncode == 0

    def _write(self, data: bytes) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(data)
        self._process.stdin.flush()


@pytest.fixture(scope="session")
def sumdb(pytestconfig: pytest.Config) -> Iterator[Sumdb]:
    """Go's judge; built once and kept in pytest's cache as long as its source and the compiler stay the same."""
    if shutil.which("go") is None or not (GO_PATH / "src/golang.org/x/mod/sumdb").is_dir():
        missing("Go or golang-golang-x-mod-dev is not installed")
    version = subprocess.run(["go", "version"], capture_output=True, check=True).stdout
    digest = hashlib.sha256(version + PROGRAM.read_bytes()).hexdigest()[:16]
    cache = Path(pytestconfig.cache.mkdir("sumdb")) if pytestconfig.cache else PROGRAM.parent
    built = cache / f"sumdb-{digest}"
    if not built.exists():
        _build(cache, built)
    judge = Sumdb(built)
    yield judge
    judge.close()


def _build(cache: Path, built: Path) -> None:
    fresh = cache / f"{built.name}.{os.getpid()}"
    environment = os.environ | {
        "GOPATH": str(GO_PATH),
        "GO111MODULE": "off",
        "GOFLAGS": "",
        "GOCACHE": str(cache / "go-build"),
    }
    command = ["go", "build", "-o", str(fresh), PROGRAM.name]
    done = subprocess.run(command, cwd=PROGRAM.parent, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    fresh.replace(built)  # several workers may build; each result is whole


def _answer(line: bytes) -> Answer:
    fields = json.loads(line)
    return Answer(
        fields["Error"],
        fields["Text"],
        tuple(fields["Verified"] or ()),
        tuple(fields["Unverified"] or ()),
        b64decode(fields["Note"] or "").decode(),
    )


def _base64(value: bytes) -> str:
    return b64encode(value).decode()
