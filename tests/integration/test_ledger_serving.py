"""A log served by a real process over HTTP, kept in an S3 server, and published by processes that are killed."""

from __future__ import annotations

import gzip
import http.client
import json
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from guardrails.errors import GuardrailsError, LedgerError, TamperedError, UsageError
from guardrails.ledger import Ledger
from guardrails.ledger.checkpoint import open_checkpoint
from guardrails.ledger.keys import Ed25519Signer
from guardrails.ledger.note import Verifier
from guardrails.ledger.publishing import (
    DirectoryTarget,
    LogServer,
    ObjectTarget,
    Reader,
    SourceReader,
    TileClient,
    WebReader,
    mirror,
    monitor,
    publish,
)
from guardrails.ledger.tiles import MAX_BUNDLE_BYTES, new_bundles, new_tiles
from tests.support.published import MemoryLog, log_of

LOG = log_of(3000)
COMMAND = [sys.executable, "-c", "import sys; from guardrails.cli.publish import serve; serve()"]


@contextmanager
def served(*arguments: object) -> Iterator[str]:
    """A server in a process of its own; gives its URL."""
    child = subprocess.Popen(
        [*COMMAND, "--port", "0", "--json", *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert child.stdout is not None
        line = child.stdout.readline()
        assert line, child.stderr.read() if child.stderr else ""
        yield json.loads(line)["url"]
        child.send_signal(signal.SIGINT)
        _, errors = child.communicate(timeout=20)
        assert (child.returncode, errors) == (0, "stopped\n")
    finally:
        child.kill()
        child.communicate()


@contextmanager
def serving(reader: Reader, **options: object) -> Iterator[LogServer]:
    """A server in a thread."""
    with LogServer(reader, **options) as server:  # type: ignore[arg-type]
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def ask(
    server: LogServer | str, path: str, method: str = "GET", host: str | None = None, **headers: str
) -> tuple[int, dict[str, str], bytes]:
    address = (server if isinstance(server, str) else server.url).removeprefix("http://")
    with closing(http.client.HTTPConnection(address, timeout=10)) as connection:
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        connection.putheader("Host", address if host is None else host)
        for name, value in headers.items():
            connection.putheader(name.replace("_", "-"), value)
        connection.endheaders()
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()


def test_a_folder_is_served_mirrored_and_watched_by_processes(tmp_path: Path) -> None:
    target = DirectoryTarget(tmp_path / "log")
    publish(LOG.at(700), target, LOG.verifier)
    with served("--directory", tmp_path / "log") as url:
        client = TileClient(url, LOG.verifier)
        assert monitor(client, tmp_path / "seen").checked == 700
        publish(LOG, target, LOG.verifier)
        assert client.refresh().size == 3000
        assert monitor(client, tmp_path / "seen").checked == 2300
        assert client.prove(2999).verify(client.leaf(2999), LOG.verifier) == client.head
        copy = DirectoryTarget(tmp_path / "copy")
        assert mirror(client, copy).written == len([*new_tiles(0, 3000), *new_bundles(0, 3000)])
    assert list(TileClient(tmp_path / "copy", LOG.verifier).leaves()) == list(LOG.leaves(0, 3000))


def test_types_and_caching_are_those_of_the_specification() -> None:
    with serving(SourceReader(LOG)) as server:
        status, headers, body = ask(server, "/checkpoint")
        assert (status, headers["Content-Type"], headers["Cache-Control"]) == (200, "text/plain; charset=utf-8", "no-store")
        assert open_checkpoint(body.decode(), LOG.verifier).size == 3000
        for path in ("tile/0/000", "tile/1/000.p/11", "tile/0/011.p/184", "tile/entries/000", "tile/entries/011.p/184"):
            status, headers, body = ask(server, f"/{path}")
            assert (status, headers["Content-Type"]) == (200, "application/octet-stream")
            assert headers["Cache-Control"] == "public, max-age=31536000, immutable"
            assert headers["X-Content-Type-Options"] == "nosniff"
            assert body == SourceReader(LOG).get(path, MAX_BUNDLE_BYTES)
            assert int(headers["Content-Length"]) == len(body)
            status, head, nothing = ask(server, f"/{path}", "HEAD")
            assert (status, nothing, head["Content-Length"]) == (200, b"", str(len(body)))
        for accepted, is_packed in (
            ("gzip", True),
            ("br, gzip;q=0.5", True),
            ("gzip;q=0", False),
            ("identity", False),
            ("", False),
        ):
            status, headers, body = ask(server, "/tile/entries/000", Accept_Encoding=accepted)
            assert headers.get("Content-Encoding") == ("gzip" if is_packed else None)
            assert headers["Vary"] == "Accept-Encoding"
            plain = gzip.decompress(body) if is_packed else body
            assert plain == SourceReader(LOG).get("tile/entries/000", MAX_BUNDLE_BYTES)
        assert "Content-Encoding" not in ask(server, "/tile/0/000", Accept_Encoding="gzip")[1]


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/tile",
        "/checkpoint/",
        "/checkpoint?x=1",
        "/./checkpoint",
        "/tile/../checkpoint",
        "/../secret",
        "/tile/entries/../../../secret",
        "/%2e%2e/secret",
        "/..%2fsecret",
        "/tile/0/..%2f..%2f..%2fsecret",
        "/tile/0/000%00",
        "/.lock",
        "/.incoming/x",
        "/secret",
        "/tile/0/999",
        "/tile/0/000.p/300",
        "/tile/2/000.p/1",
        "http://127.0.0.1/../secret",
        "/..\\secret",
        "/tile/0/x000/000",
    ],
)
def test_no_request_reaches_any_other_file(path: str, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    target = DirectoryTarget(tmp_path / "log")
    publish(LOG, target, LOG.verifier)
    (tmp_path / "log" / "secret").write_text("secret")
    with serving(target) as server:
        status, _, body = ask(server, path)
        assert status in (400, 404)
        assert b"secret" not in body
        assert ask(server, "/checkpoint")[0] == 200


def test_entries_can_be_withheld() -> None:
    with serving(SourceReader(LOG), has_entries=False) as server:
        assert ask(server, "/checkpoint")[0] == ask(server, "/tile/0/000")[0] == 200
        for path in ("/tile/entries/000", "/tile/entries/011.p/184", "/tile/entries/999"):
            status, _, body = ask(server, path)
            assert (status, body) == (403, b"entries are not served here\n")
        client = TileClient(server.url, LOG.verifier)  # who holds entries can prove them
        assert client.prove(7).verify(LOG.entries[7], LOG.verifier).size == 3000
        with pytest.raises(LedgerError, match="could not be fetched"):
            client.leaf(7)


def test_nothing_can_be_written_and_odd_requests_do_no_harm() -> None:
    with serving(SourceReader(LOG)) as server:
        for method in ("POST", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT"):
            assert ask(server, "/checkpoint", method)[0] == 501
        for request in (b"\r\n\r\n", b"GET\r\n\r\n", b"\x16\x03\x01\x02\x00", b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n"):
            with closing(socket.create_connection(server.server_address[:2], timeout=5)) as connection:
                connection.sendall(request)
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(65_536):
                    pass
        # A body is not taken for a second request.
        with closing(socket.create_connection(server.server_address[:2], timeout=5)) as connection:
            inner = b"GET /tile/0/000 HTTP/1.1\r\nHost: localhost\r\n\r\n"
            head = f"GET /checkpoint HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(inner)}\r\n\r\n"
            connection.sendall(head.encode() + inner)
            received = b""
            while part := connection.recv(65_536):
                received += part
            assert received.count(b"HTTP/1.1 ") == 1
        assert ask(server, "/checkpoint")[0] == 200


def test_a_web_page_cannot_read_a_local_server_under_its_own_name() -> None:
    with serving(SourceReader(LOG), names=["log.example"]) as server:
        for host in ("evil.example", "evil.example:80", "", "127.0.0.1.evil.example", "[::2]", "10.0.0.1"):
            assert ask(server, "/checkpoint", host=host)[0] == 421
        for host in ("localhost", "localhost:8080", "127.0.0.1", "127.0.0.1:1", "[::1]:80", "log.example", "LOG.example:443"):
            assert ask(server, "/checkpoint", host=host)[0] == 200


def test_what_fails_inside_tells_the_operator_and_not_the_reader() -> None:
    class Broken:
        def get(self, path: str, limit_bytes: int) -> bytes | None:
            raise LedgerError("ledger.unavailable", "secret reason")

    errors: list[GuardrailsError] = []
    with serving(Broken(), on_error=errors.append) as server:
        status, headers, body = ask(server, "/checkpoint")
        assert (status, headers["Cache-Control"]) == (503, "no-store")
        assert b"secret" not in body
    assert [error.message for error in errors] == ["secret reason"]


def test_readers_that_go_away_or_come_in_crowds_do_no_harm(capsys: pytest.CaptureFixture[str]) -> None:
    large = MemoryLog([b"x" * 65_000] * 256, LOG.signer)
    with serving(SourceReader(large)) as server:
        for _ in range(5):
            with closing(socket.create_connection(server.server_address[:2], timeout=5)) as connection:
                connection.sendall(b"GET /tile/entries/000 HTTP/1.1\r\nHost: localhost\r\n\r\n")
                connection.recv(10)
        crowd = [socket.create_connection(server.server_address[:2], timeout=5) for _ in range(140)]
        with pytest.raises((ConnectionError, http.client.HTTPException)):
            ask(server, "/checkpoint")
        for connection in crowd:
            connection.close()
        until = time.monotonic() + 10
        status = 0
        while status != 200 and time.monotonic() < until:
            with suppress(ConnectionError, http.client.HTTPException):
                status = ask(server, "/checkpoint")[0]
        assert status == 200
    assert "Traceback" not in capsys.readouterr().err


def test_an_address_that_is_taken_is_a_usage_error() -> None:
    with serving(SourceReader(LOG)) as server, pytest.raises(UsageError):
        LogServer(SourceReader(LOG), port=server.server_address[1])


class _Odd(BaseHTTPRequestHandler):
    answers: dict[str, tuple[int, dict[str, str], bytes]]

    def do_GET(self) -> None:
        status, headers, body = self.answers[self.path]
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


def test_a_server_that_misbehaves_is_an_error_of_ours() -> None:
    bomb = gzip.compress(bytes(10_000_000))
    _Odd.answers = {
        "/log/packed": (200, {"Content-Encoding": "gzip"}, gzip.compress(b"hello")),
        "/log/bomb": (200, {"Content-Encoding": "gzip"}, bomb),
        "/log/half": (200, {"Content-Encoding": "gzip"}, bomb[:50]),
        "/log/nonsense": (200, {"Content-Encoding": "gzip"}, b"not gzip"),
        "/log/strange": (200, {"Content-Encoding": "br"}, b"x"),
        "/log/long": (200, {}, b"x" * 50_000),
        "/log/short": (200, {"Content-Length": "100"}, b"x"),
        "/log/moved": (302, {"Location": "/log/packed"}, b""),
        "/log/away": (302, {"Location": "file:///etc/passwd"}, b""),
        "/log/error": (500, {}, b""),
        "/log/part": (206, {}, b"x"),
        "/log/none": (404, {}, b""),
        "/log/gone": (410, {}, b""),
    }
    with ThreadingHTTPServer(("127.0.0.1", 0), _Odd) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            reader = WebReader(f"http://127.0.0.1:{server.server_address[1]}/log/", timeout_s=5)
            assert reader.get("packed", 20_000) == b"hello"
            assert reader.get("none", 10) is None
            assert reader.get("gone", 10) is None
            for path in ("bomb", "half", "nonsense", "strange", "long", "short", "moved", "away", "error", "part"):
                with pytest.raises(LedgerError) as caught:
                    reader.get(path, 20_000)
                assert caught.value.code in ("ledger.unavailable", "ledger.tile_invalid")
        finally:
            server.shutdown()
            thread.join()
    with pytest.raises(LedgerError) as caught:
        reader.get("packed", 10)
    assert caught.value.code == "ledger.unavailable"


@pytest.fixture(scope="module")
def s3() -> Iterator[pytest.MonkeyPatch]:
    """An S3 server on this machine with the bucket ``logs``; what reaches it is in the environment."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    with pytest.MonkeyPatch.context() as patch:
        host, port = server.get_host_and_port()
        for name, value in {
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT": f"http://{host}:{port}",
            "AWS_ALLOW_HTTP": "true",
        }.items():
            patch.setenv(name, value)
        boto3.client("s3", endpoint_url=f"http://{host}:{port}", region_name="us-east-1").create_bucket(Bucket="logs")
        try:
            yield patch
        finally:
            server.stop()


@pytest.mark.usefixtures("s3")
def test_a_log_lives_in_s3(tmp_path: Path) -> None:
    target = ObjectTarget.open("s3://logs/deep/log")
    assert publish(LOG.at(700), target, LOG.verifier).written == 7
    done = publish(LOG, target, LOG.verifier)
    assert (done.old_size, done.head.size, done.deleted) == (700, 3000, 2)
    assert monitor(TileClient("s3://logs/deep/log", LOG.verifier), tmp_path / "seen").checked == 3000
    before = target.get("checkpoint", 10_000)
    for other in (log_of(3100, fork_at=5, signer=LOG.signer), LOG.at(2000)):
        with pytest.raises(TamperedError):
            publish(other, target, LOG.verifier)
    assert target.get("checkpoint", 10_000) == before
    with serving(target) as server:
        mirror(TileClient(server.url, LOG.verifier), DirectoryTarget(tmp_path / "copy"))
    assert list(TileClient(tmp_path / "copy", LOG.verifier).leaves(2990)) == list(LOG.leaves(2990, 3000))


@pytest.mark.usefixtures("s3")
def test_writes_to_s3_are_conditional() -> None:
    target = ObjectTarget.open("s3://logs/other")
    assert target.create("tile/0/000", b"a")
    assert not target.create("tile/0/000", b"b")
    assert target.replace("checkpoint", b"1", None)
    assert not target.replace("checkpoint", b"2", None)

    class Overtaken(ObjectTarget):
        """Somebody else is always faster between reading and writing."""

        def _found(self, path: str, limit_bytes: int):  # type: ignore[no-untyped-def]
            found = super()._found(path, limit_bytes)
            target.replace(path, b"2", b"1") if found else target.replace(path, b"0", None)
            return found

    overtaken = Overtaken.open("s3://logs/other")
    assert not overtaken.replace("checkpoint", b"3", b"1")
    assert target.get("checkpoint", 100) == b"2"
    assert not overtaken.replace("new", b"3", None)
    assert target.get("new", 100) == b"0"
    with pytest.raises(LedgerError) as caught:
        ObjectTarget.open("s3://no-such-bucket/x").create("checkpoint", b"x")
    assert caught.value.code == "ledger.unavailable"


PUBLISHER = """
import sys
from guardrails.ledger.keys import Ed25519Signer
from guardrails.ledger.publishing import DirectoryTarget, publish
from tests.support.published import MemoryLog, log_of

log = log_of(int(sys.argv[2]), signer=Ed25519Signer.parse(sys.stdin.readline().strip()))
print("begin", flush=True)
publish(log, DirectoryTarget(sys.argv[1]), log.verifier)
print("done", flush=True)
"""


def test_a_publisher_that_is_killed_leaves_the_old_log_or_the_new_one(tmp_path: Path) -> None:
    seed = random.randrange(2**32)
    pause = random.Random(seed)
    signer = Ed25519Signer.generate("example.com/log")
    target, size, partial = DirectoryTarget(tmp_path / "log"), 0, 0
    for attempt in range(12):
        wanted = 6000 * (attempt + 1)
        child = subprocess.Popen(
            [sys.executable, "-c", PUBLISHER, str(tmp_path / "log"), str(wanted)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(signer.secret_text() + "\n")
        child.stdin.flush()
        assert child.stdout.readline() == "begin\n"
        time.sleep(pause.uniform(0, 0.08))
        child.kill()
        finished = "done" in child.stdout.read()
        child.communicate()
        if target.get("checkpoint", 10_000) is None:
            assert not finished
            partial += any(target.list("tile"))
            continue
        client = TileClient(target, signer.verifier())
        assert client.size in (size, wanted), seed
        assert client.size == wanted or not finished, seed
        partial += client.size < wanted and any(
            int(p[-3:]) > client.size // 256 for p in target.list("tile/entries") if p[-4] == "/"
        )
        size = client.size
        assert sum(1 for _ in client.leaves()) == size
    assert partial > 0, f"no kill landed in the middle: {seed}"
    log = log_of(80_000, signer=signer)
    assert publish(log, target, signer.verifier()).head.size == 80_000
    assert publish(log, target, signer.verifier(), repair=True).written == 0
    assert sum(1 for _ in TileClient(target, signer.verifier()).leaves()) == 80_000


FULL_DISK = (
    """
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
"""
    + PUBLISHER
)


def test_a_file_that_cannot_be_written_whole_is_not_there(tmp_path: Path) -> None:
    target = DirectoryTarget(tmp_path / "log")
    publish(LOG.at(100), target, LOG.verifier)
    before = {path: target.get(path, MAX_BUNDLE_BYTES) for path in ["checkpoint", *target.list("tile")]}
    child = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path / "log"), "3000"],
        input=LOG.signer.secret_text() + "\n",
        capture_output=True,
        text=True,
        check=False,
    )
    assert child.returncode == 1
    assert "ledger.unavailable" in child.stderr
    assert "done" not in child.stdout
    for path in target.list("tile"):  # whole files that were small enough may be there
        assert before.get(path) in (None, target.get(path, MAX_BUNDLE_BYTES))
        assert target.get(path, MAX_BUNDLE_BYTES) == SourceReader(LOG).get(path, MAX_BUNDLE_BYTES)
    assert target.get("checkpoint", 10_000) == before["checkpoint"]
    assert not list((tmp_path / "log" / ".incoming").iterdir())
    assert publish(LOG, target, LOG.verifier).old_size == 100
    assert list(TileClient(target, LOG.verifier).leaves()) == list(LOG.leaves(0, 3000))


def test_readers_see_a_whole_log_at_every_moment(tmp_path: Path) -> None:
    target = DirectoryTarget(tmp_path / "log")
    publish(LOG.at(1), target, LOG.verifier)
    steps = [*range(40, 3000, 61), 3000]
    errors: list[BaseException] = []
    seen: list[set[int]] = [set(), set()]

    def follow(place: str | Path, sizes: set[int]) -> None:
        try:
            client = TileClient(place, LOG.verifier, workers=1)
            while client.size < 3000:
                sizes.add(client.refresh().size)
                start = max(0, client.size - 300)
                assert list(client.leaves(start)) == list(LOG.leaves(start, client.size))
        except BaseException as error:  # noqa: BLE001  the main thread raises it
            errors.append(error)

    with serving(target) as server:
        readers = [Thread(target=follow, args=(p, s)) for p, s in zip((tmp_path / "log", server.url), seen, strict=True)]
        for reader in readers:
            reader.start()
        for size in steps:
            publish(LOG.at(size), target, LOG.verifier)
            time.sleep(0.01)
        for reader in readers:
            reader.join(timeout=60)
    assert errors == []
    assert all(len(sizes) > 2 for sizes in seen), seen


def test_a_ledger_is_published_and_served_live(tmp_path: Path) -> None:
    path = tmp_path / "audit.db"
    with Ledger.open(path) as ledger:
        verifier = Verifier.parse(ledger.verifier_key)
        ledger.append_many({"n": n} for n in range(300))
        target = DirectoryTarget(tmp_path / "log")
        assert publish(ledger, target, verifier).head.size == 300  # type: ignore[arg-type,unused-ignore]
        ledger.append_many({"n": n} for n in range(300, 700))
        assert publish(ledger, target, verifier).old_size == 300  # type: ignore[arg-type,unused-ignore]
        client = TileClient(tmp_path / "log", verifier)
        assert client.head.root == ledger.root
        assert list(client.leaves()) == list(ledger.leaves())
        with served("--ledger", path) as url:
            live = TileClient(url, verifier)
            assert list(live.leaves()) == list(ledger.leaves())
            ledger.append({"n": 700})
            assert live.refresh().size == 701
            assert monitor(live, tmp_path / "seen").checked == 701
