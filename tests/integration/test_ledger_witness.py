"""Witnesses in processes of their own: a quorum, a rollback, a fork, a death between state and answer, and bad manners on the wire."""

from __future__ import annotations

import http.client
import json
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from guardrails.errors import LedgerError, UsageError
from guardrails.ledger import Ledger
from guardrails.ledger.checkpoint import open_checkpoint
from guardrails.ledger.cosignature import Cosigner, cosign_note
from guardrails.ledger.note import Note, Verifier, signed_by
from guardrails.ledger.witnessing.client import add_checkpoint
from guardrails.ledger.witnessing.cosigning import cosign
from guardrails.ledger.witnessing.quorum import parse_policy
from guardrails.ledger.witnessing.request import AddCheckpoint
from guardrails.ledger.witnessing.witness import origin_hash
from tests.support.witnesses import FORK, LEAVES, LOG, RunningWitness, command, head, make_witness, proofs, running

DEAD = "http://127.0.0.1:9"  # nothing listens on the discard port
DYING = """
import os, signal, sys
from pathlib import Path
from guardrails.ledger.cosignature import Cosigner
from guardrails.ledger.witnessing.state import SQLiteState
from guardrails.ledger.witnessing.witness import Witness

folder, body = Path(sys.argv[1]), Path(sys.argv[2]).read_bytes()
signer = Cosigner.parse((folder / "witness.key").read_text().strip())

class Killed:
    verifier = staticmethod(signer.verifier)
    def sign(self, message):
        os.kill(os.getpid(), signal.SIGKILL)

state = SQLiteState.open(folder / "state.db", (signer.verifier(),))
Witness([Killed()], state, clock=lambda: 5).add_checkpoint(body)
"""


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[RunningWitness, RunningWitness]]:
    make_witness(tmp_path / "w1", "witness.example/w1")
    make_witness(tmp_path / "w2", "witness.example/w2", "--ml-dsa")
    with running(tmp_path / "w1") as first, running(tmp_path / "w2") as second:
        yield first, second


def policy_of(pair: tuple[RunningWitness, RunningWitness], threshold: str, third: str = DEAD) -> str:
    first, second = pair
    absent = Cosigner("witness.example/w3", b"3" * 32).verifier()
    return (
        f"log {LOG.verifier()}\nwitness w1 {first.keys[0]} {first.url}\n"
        f"witness w2-ed {second.keys[0]} {second.url}\nwitness w2-ml {second.keys[1]} {second.url}/\n"
        f"group w2 all w2-ed w2-ml\nwitness w3 {absent} {third}\ngroup all-three {threshold} w1 w2 w3\nquorum all-three\n"
    )


def test_two_of_three_with_one_dead(pair: tuple[RunningWitness, RunningWitness]) -> None:
    policy = parse_policy(policy_of(pair, "2"))
    note = ""
    for size in (3, 64, 64, 200):
        note = cosign(head(size), policy, proofs(), previous=note)
        assert Note.parse(note).text == Note.parse(head(size)).text
        assert policy.is_met(note)
        assert open_checkpoint(note, LOG.verifier()).size == size
        assert len(Note.parse(note).lines) == 4
    # Who does not know what the witnesses saw learns it from them.
    assert policy.is_met(cosign(head(200), policy, proofs()))


def test_a_quorum_that_is_not_there_names_who_answered_what(pair: tuple[RunningWitness, RunningWitness]) -> None:
    policy = parse_policy(policy_of(pair, "all"))
    with pytest.raises(LedgerError) as caught:
        cosign(head(3), policy, proofs(), timeout_s=5)
    assert caught.value.code == "ledger.quorum_missing"
    assert "w3 did not answer" in caught.value.message
    answers = caught.value.evidence["answers"]
    assert isinstance(answers, dict)
    assert {answers[name] for name in ("w1", "w2-ed", "w2-ml")} == {"cosigned"}
    partly = str(caught.value.evidence["note"])
    assert parse_policy(policy_of(pair, "2")).is_met(partly)


def test_a_rollback_is_refused_with_409_and_a_fork_with_422(
    pair: tuple[RunningWitness, RunningWitness], tmp_path: Path
) -> None:
    policy = parse_policy(policy_of(pair, "2"))
    published = cosign(head(64), policy, proofs())
    with pytest.raises(LedgerError, match="has seen 64 entries"):
        cosign(head(20), policy, proofs())
    for size in (64, 70):
        with pytest.raises(LedgerError, match="refused with 422"):
            cosign(head(size, FORK), policy, proofs(FORK), previous=published)
    request = AddCheckpoint(20, (), Note.parse(head(20)))
    assert add_checkpoint(pair[0].url, request, timeout_s=5).status == 409
    logs = command("show", "--state", tmp_path / "w1")["logs"]
    assert isinstance(logs, list)
    assert logs[0]["size"] == 64
    assert len(logs[0]["evidence"]) == 2
    assert policy.is_met(cosign(head(70), policy, proofs()))


def test_a_witness_that_dies_between_state_and_answer_is_asked_again(tmp_path: Path) -> None:
    folder = tmp_path / "w"
    (key,) = make_witness(folder, "witness.example/w")
    body = tmp_path / "body"
    body.write_text(str(AddCheckpoint(0, (), Note.parse(head(30)))))
    died = subprocess.run([sys.executable, "-c", DYING, str(folder), str(body)], check=False, timeout=60)
    assert died.returncode == -9
    with running(folder) as witness:
        policy = parse_policy(f"witness w {key} {witness.url}\nquorum w\n")
        with pytest.raises(LedgerError, match="422"):  # it took the head in, so another history has no chance any more
            cosign(head(30, FORK), policy, proofs(FORK))
        assert policy.is_met(cosign(head(30), policy, proofs()))


def test_a_killed_witness_remembers(tmp_path: Path) -> None:
    folder = tmp_path / "w"
    (key,) = make_witness(folder, "witness.example/w")
    for size in (5, 50, 120):
        with running(folder) as witness:
            policy = parse_policy(f"witness w {key} {witness.url}\nquorum w\n")
            assert policy.is_met(cosign(head(size), policy, proofs()))
            with pytest.raises(LedgerError):
                cosign(head(size - 1), policy, proofs())
            witness.process.kill()


def test_a_witness_that_was_restored_from_a_backup_no_longer_counts(tmp_path: Path) -> None:
    folder = tmp_path / "w"
    (key,) = make_witness(folder, "witness.example/w")
    shutil.copytree(folder, tmp_path / "backup")
    with running(folder) as witness:
        policy = parse_policy(f"witness w {key} {witness.url}\nquorum w\n")
        published = cosign(head(30), policy, proofs())
    with running(tmp_path / "backup") as witness:
        policy = parse_policy(f"witness w {key} {witness.url}\nquorum w\n")
        with pytest.raises(LedgerError, match="although it cosigned 30: it lost its state"):
            cosign(head(40), policy, proofs(), previous=published)


def test_of_two_servers_on_one_state_none_follows_another_history(tmp_path: Path) -> None:
    folder = tmp_path / "w"
    (key,) = make_witness(folder, "witness.example/w")
    granted: list[tuple[int, list[bytes]]] = []

    def grow(url: str, leaves: list[bytes]) -> None:
        policy = parse_policy(f"witness w {key} {url}\nquorum w\n")
        for size in range(3, 40):
            with suppress(LedgerError):
                cosign(head(size, leaves), policy, proofs(leaves))
                granted.append((size, leaves))

    with running(folder) as first, running(folder) as second:
        threads = [threading.Thread(target=grow, args=(w.url, leaves)) for w, leaves in ((first, LEAVES), (second, FORK))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    beyond = [leaves for size, leaves in granted if size > 5]  # the two histories part after 5 leaves
    assert beyond
    assert all(leaves == beyond[0] for leaves in beyond)


def test_a_real_ledger_is_cosigned(tmp_path: Path) -> None:
    folder = tmp_path / "w"
    (key,) = make_witness(folder, "witness.example/w")
    with Ledger.open(tmp_path / "audit.db") as ledger:
        command("add-log", "--state", folder, tmp_path / "audit.db.pub")
        with running(folder) as witness:
            policy = parse_policy(f"log {ledger.verifier_key}\nwitness w {key} {witness.url}\nquorum w\n")
            for _ in range(3):
                ledger.append_many({"n": n} for n in range(7))
                note = cosign(ledger.checkpoint(), policy, ledger.consistency_proof)
                assert policy.check(note).text == Note.parse(ledger.checkpoint()).text


def test_monitors_read_the_cosigned_checkpoint(pair: tuple[RunningWitness, RunningWitness]) -> None:
    policy = parse_policy(policy_of(pair, "2"))
    cosign(head(64), policy, proofs())
    path = f"/{origin_hash(LOG.verifier().name)}/checkpoint"
    status, body = fetch(pair[1], "GET", path)
    assert status == 200
    keys = [LOG.verifier(), *map(Verifier.parse, pair[1].keys)]
    assert signed_by(body.decode(), keys).signers == tuple(keys)
    for other in ("/checkpoint", path.upper(), path + "?x", "/" + "0" * 64 + "/checkpoint", "/../../etc/passwd"):
        assert fetch(pair[1], "GET", other)[0] == 404


def fetch(witness: RunningWitness, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(urlsplit(witness.url).netloc, timeout=20)
    try:
        connection.request(method, path, body, headers={k.replace("_", "-"): v for k, v in headers.items()})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def test_the_server_bounds_what_it_reads(pair: tuple[RunningWitness, RunningWitness]) -> None:
    first = pair[0]
    assert fetch(first, "POST", "/add-checkpoint", b"x")[0] == 400
    assert fetch(first, "POST", "/other", b"x")[0] == 404
    assert fetch(first, "POST", "/add-checkpoint", b"", Content_Length="300000")[0] == 413
    assert fetch(first, "POST", "/add-checkpoint", b"", Content_Length="1_0")[0] == 411
    assert fetch(first, "POST", "/add-checkpoint", b"", Content_Length="-1")[0] == 411
    assert fetch(first, "POST", "/add-checkpoint", b"0\r\n\r\n", Transfer_Encoding="chunked")[0] == 411
    assert fetch(first, "DELETE", "/add-checkpoint")[0] == 501


def test_one_connection_serves_several_requests(pair: tuple[RunningWitness, RunningWitness]) -> None:
    connection = http.client.HTTPConnection(urlsplit(pair[0].url).netloc, timeout=20)
    for old, size in ((0, 5), (5, 9)):
        body = AddCheckpoint(old, tuple(proofs()(old, size)) if old else (), Note.parse(head(size)))
        connection.request("POST", "/add-checkpoint", str(body).encode())
        response = connection.getresponse()
        assert response.status == 200
        assert response.read()
    connection.close()


class _Liar(BaseHTTPRequestHandler):
    """A witness that answers whatever `server.answer` says."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        status, headers, body = self.server.answer  # type: ignore[attr-defined]
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base class's name
        return


@pytest.fixture
def liar() -> Iterator[HTTPServer]:
    server = HTTPServer(("127.0.0.1", 0), _Liar)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


HONEST = Cosigner("witness.example/w", b"h" * 32)
OTHER = Cosigner("witness.example/w", b"o" * 32)
NOW_S = int(time.time())


def lines(signer: Cosigner, size: int, time_s: int = NOW_S) -> bytes:
    return f"{Note.parse(cosign_note(head(size), [signer], time_s=time_s)).lines[1]}\n".encode()


SIZE = {"Content-Type": "text/x.tlog.size"}


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((200, {}, lines(OTHER, 30)), "not signed by a trusted key"),
        ((200, {}, lines(HONEST, 31)), "does not hold"),
        ((200, {}, lines(HONEST, 30, 0)), "no time"),
        ((200, {}, lines(HONEST, 30, NOW_S + 100_000)), "in the future"),
        ((200, {}, lines(HONEST, 30) * 2), "twice"),
        ((200, {}, lines(HONEST, 30)[:-1]), "cannot be read"),
        ((200, {}, b""), "cannot be read"),
        ((200, {}, b"\xff\n"), "cannot be read"),
        ((200, {}, b"x" * 600_000), "too large"),
        ((302, {"Location": "http://127.0.0.1:9/"}, b""), "refused with 302"),
        ((409, SIZE, b"31\n"), "has seen 31"),
        ((409, SIZE, b"+3\n"), "cannot be read"),
        ((409, SIZE, b"7\n"), "has seen 7"),
        ((409, {}, b"7\n"), "refused with 409"),
        ((500, {}, b"\x1b[31mred\n"), r"refused with 500: \[31mred"),
        ((204, {}, b""), "refused with 204"),
    ],
)
def test_what_a_lying_witness_says_never_counts(liar: HTTPServer, answer: object, said: str) -> None:
    liar.answer = answer  # type: ignore[attr-defined]
    url = f"http://127.0.0.1:{liar.server_port}"
    policy = parse_policy(f"log {LOG.verifier()}\nwitness w {HONEST.verifier()} {url}\nquorum w\n")
    with pytest.raises(LedgerError, match=said) as caught:
        cosign(head(30), policy, proofs(), timeout_s=5)
    assert caught.value.code == "ledger.quorum_missing"
    assert caught.value.evidence["note"] == head(30)


def test_further_lines_of_strangers_are_not_taken_over(liar: HTTPServer) -> None:
    liar.answer = (200, {}, lines(OTHER, 30) + lines(HONEST, 30))  # type: ignore[attr-defined]
    url = f"http://127.0.0.1:{liar.server_port}"
    policy = parse_policy(f"witness w {HONEST.verifier()} {url}\nquorum w\n")
    note = cosign(head(30), policy, proofs())
    assert [line.key_id for line in Note.parse(note).lines] == [LOG.verifier().key_hash, HONEST.verifier().key_hash]


def test_a_witness_that_hangs_holds_nobody_up(pair: tuple[RunningWitness, RunningWitness]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        policy = parse_policy(policy_of(pair, "2", f"http://127.0.0.1:{silent.getsockname()[1]}"))
        started = time.monotonic()
        assert policy.is_met(cosign(head(30), policy, proofs(), timeout_s=20))
        assert time.monotonic() - started < 10
        strict = parse_policy(policy_of(pair, "all", f"http://127.0.0.1:{silent.getsockname()[1]}"))
        with pytest.raises(LedgerError, match="w3 did not answer in time"):
            cosign(head(30), strict, proofs(), timeout_s=1)


def test_urls_of_other_kinds_are_refused() -> None:
    for url in ("file:///etc/passwd", "ftp://x/", "//x", "http://x/?q"):
        policy = parse_policy(f"witness w {HONEST.verifier()} {url}\nquorum w\n")
        with pytest.raises(UsageError):
            cosign(head(30), policy, proofs())


def test_nobody_to_ask_is_no_quorum() -> None:
    policy = parse_policy(f"witness w {HONEST.verifier()}\nquorum w\n")
    with pytest.raises(LedgerError, match="w has no URL"):
        cosign(head(30), policy, proofs())
    assert cosign(head(30), parse_policy("quorum none\n"), proofs()) == head(30)


def test_the_command_refuses_what_would_break_a_promise(tmp_path: Path) -> None:
    folder = tmp_path / "w"
    keys = make_witness(folder, "witness.example/w")
    assert [Verifier.parse(key).name for key in keys] == ["witness.example/w"]
    assert (folder / "witness.key").stat().st_mode & 0o777 == 0o600
    from click.testing import CliRunner

    from guardrails.cli.witness import witness

    def refused(*arguments: object) -> str:
        result = CliRunner().invoke(witness, [str(a) for a in arguments])
        assert isinstance(result.exception, LedgerError | UsageError), result.output
        return result.exception.code

    assert refused("init", "--state", folder, "--name", "other") == "usage.input_invalid"
    assert refused("add-log", "--state", folder, "no+key") == "ledger.note_invalid"
    assert refused("show", "--state", tmp_path / "none") == "ledger.key_missing"
    (folder / "witness.key").chmod(0o644)
    assert refused("show", "--state", folder) == "ledger.unavailable"
    (folder / "witness.key").chmod(0o600)
    (folder / "state.db").rename(folder / "lost.db")
    assert refused("serve", "--state", folder) == "ledger.unavailable"
    (folder / "lost.db").rename(folder / "state.db")
    shown = CliRunner().invoke(witness, ["show", "--state", str(folder)])
    assert "example.com/log: 0 entries" in shown.output
    removed = CliRunner().invoke(witness, ["add-log", "--state", str(folder), "--remove", str(LOG.verifier()), "--json"])
    assert json.loads(removed.output)["keys"] == []
