"""Trusted timestamps against an authority made by `openssl ts`, which answers on loopback."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from guardrails.errors import LedgerError, UsageError
from guardrails.ledger.cosignature import Cosigner, cosign_note
from guardrails.ledger.timestamping import request_timestamp, verify_timestamp
from tests.conftest import missing
from tests.support.witnesses import head

CONFIG = """
[req]
distinguished_name = dn
prompt = no
[dn]
CN = test
[ca]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign
[tsa_cert]
basicConstraints = critical, CA:FALSE
extendedKeyUsage = critical, timeStamping
keyUsage = critical, digitalSignature
[tsa]
default_tsa = config
[config]
serial = ./serial
default_policy = 1.2.3.4.1
signer_digest = sha256
digests = sha256, sha512
accuracy = secs:1
ess_cert_id_chain = no
ess_cert_id_alg = sha256
"""


@dataclass
class Authority:
    """An authority at `url` under `root` (PEM). `answers` replaces its next answers."""

    folder: Path
    name: str
    url: str = ""
    answers: list[tuple[int, bytes]] = field(default_factory=list)

    @property
    def root(self) -> bytes:
        return (self.folder / "ca.pem").read_bytes()

    def create(self) -> None:
        self.folder.mkdir()
        (self.folder / "tsa.cnf").write_text(CONFIG)
        (self.folder / "serial").write_text("01\n")
        new_key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-config", "tsa.cnf")
        self.openssl(
            "req", "-x509", *new_key, "-keyout", "ca.key", "-out", "ca.pem", "-subj", f"/CN={self.name} CA", "-extensions", "ca"
        )
        self.openssl("req", *new_key, "-keyout", "tsa.key", "-out", "tsa.csr", "-subj", f"/CN={self.name}")
        self.openssl(
            *("x509", "-req", "-in", "tsa.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-out", "tsa.pem"),
            *("-extfile", "tsa.cnf", "-extensions", "tsa_cert", "-days", "10"),
        )

    def reply(self, query: bytes) -> tuple[int, bytes]:
        if self.answers:
            return self.answers.pop(0)
        (self.folder / "query.tsq").write_bytes(query)
        self.openssl(
            *("ts", "-reply", "-config", "tsa.cnf", "-section", "config", "-queryfile", "query.tsq"),
            *("-signer", "tsa.pem", "-inkey", "tsa.key", "-out", "answer.tsr"),
        )
        return 200, (self.folder / "answer.tsr").read_bytes()

    def openssl(self, *arguments: str) -> None:
        done = subprocess.run(["openssl", *arguments], cwd=self.folder, capture_output=True, text=True, check=False, timeout=30)
        assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Authority]:
    if shutil.which("openssl") is None:
        missing("openssl is not installed")
    made = Authority(tmp_path_factory.mktemp("tsa") / "a", "authority")
    made.create()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            status, body = made.reply(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(status)
            self.send_header("Content-Type", "application/timestamp-reply")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base class's name
            return

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    made.url = f"http://127.0.0.1:{server.server_port}"
    yield made
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_checkpoint_gets_a_time_that_is_verified_offline(authority: Authority) -> None:
    token = request_timestamp(head(30), authority.url, [authority.root])
    moment = verify_timestamp(head(30), token, [authority.root])
    assert abs(datetime.now(UTC) - moment) < timedelta(minutes=5)
    assert moment.utcoffset() == timedelta(0)
    later = cosign_note(head(30), [Cosigner("w", b"w" * 32)], time_s=5)
    assert verify_timestamp(later, token, [authority.root]) == moment


def test_a_token_is_for_one_text_and_under_one_root(authority: Authority, tmp_path: Path) -> None:
    token = request_timestamp(head(30), authority.url, [authority.root])
    with pytest.raises(LedgerError, match="does not hold"):
        verify_timestamp(head(31), token, [authority.root])
    stranger = Authority(tmp_path / "other", "stranger")
    stranger.create()
    with pytest.raises(LedgerError, match="does not hold"):
        verify_timestamp(head(30), token, [stranger.root])
    assert verify_timestamp(head(30), token, [stranger.root, authority.root])


def test_a_changed_token_never_passes_with_another_time(authority: Authority) -> None:
    token = request_timestamp(head(30), authority.url, [authority.root])
    moment = verify_timestamp(head(30), token, [authority.root])
    refused = 0
    for at in range(0, len(token), 3):
        changed = bytearray(token)
        changed[at] ^= 1
        try:
            assert verify_timestamp(head(30), bytes(changed), [authority.root]) == moment
        except LedgerError:
            refused += 1
    assert refused > len(token) // 3 // 2
    for wrong in (b"", b"x", token[:-1], token + b"x"):
        with pytest.raises(LedgerError, match="does not hold"):
            verify_timestamp(head(30), wrong, [authority.root])


def test_an_old_answer_is_not_taken_for_a_fresh_one(authority: Authority) -> None:
    token = request_timestamp(head(30), authority.url, [authority.root])
    authority.answers = [(200, token)]
    with pytest.raises(LedgerError, match="Nonce"):
        request_timestamp(head(30), authority.url, [authority.root])


def test_an_authority_that_fails_is_an_error(authority: Authority) -> None:
    for answer in ((500, b""), (302, b"")):
        authority.answers = [answer]
        with pytest.raises(LedgerError, match="answered"):
            request_timestamp(head(30), authority.url, [authority.root])
    authority.answers = [(200, b"no token")]
    with pytest.raises(LedgerError, match="does not hold"):
        request_timestamp(head(30), authority.url, [authority.root])
    with pytest.raises(LedgerError, match="did not answer"):
        request_timestamp(head(30), "http://127.0.0.1:9", [authority.root], timeout_s=2)
    for roots in ([], [b"no certificate"]):
        with pytest.raises(UsageError):
            verify_timestamp(head(30), b"", roots)


def test_without_the_package_the_way_out_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rfc3161_client", None)
    with pytest.raises(UsageError, match=r"guardrails-sql\[timestamps\]") as caught:
        verify_timestamp(head(30), b"", [b""])
    assert caught.value.code == "usage.extra_missing"
