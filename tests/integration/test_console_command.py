"""`guardrails console` as people start it: a link to sign in with, one database for several consoles, an end by Ctrl-C."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest
from starlette.testclient import TestClient

from guardrails import Guard
from guardrails.approval import ApprovalDesk, ApprovalStore
from guardrails.console import Console, ConsoleSettings, create_app
from guardrails.console.pages.signing_in import one_time_link
from guardrails.console.sessions import cookie_name
from guardrails.console.tickets import Tickets
from guardrails.ledger import Ledger
from guardrails.ledger.keys import Ed25519Signer
from guardrails.model import ApprovalRequest, ApprovalTerms
from tests.support.command_line import call
from tests.support.console_demo import ANA, LEA, open_demo, serve


@contextmanager
def started(*arguments: str, **environment: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
    """Runs the command; yields the process and what it announced."""
    command = [sys.executable, "-m", "guardrails.cli.main", "console", "--json", "--port", "0", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | environment) as process:
        try:
            assert process.stdout is not None
            yield process, json.loads(process.stdout.readline())
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(30)


def test_the_command_serves_a_ledger_and_ends_when_it_is_interrupted(tmp_path: Path) -> None:
    with open_demo(tmp_path, sessions=0) as demo:
        refund = demo.requests["refund"]
    arguments = ["--ledger", str(tmp_path / "audit.db"), "--policy", str(tmp_path / "policy.yaml")]
    arguments += ["--database", f"sqlite:///{tmp_path / 'shop.db'}", "--as", "lea@example.com", "--group", "leads"]
    with started(*arguments) as (process, announced), httpx.Client(base_url=announced["url"]) as client:
        assert client.get("/inbox").headers["location"].startswith("/signin")
        token = announced["link"].partition("token=")[2]
        assert client.post("/signin/link", data={"token": token}).status_code == 303
        page = client.get(f"/requests/{refund}").text
        (csrf_token, *_) = re.findall(r'name="csrf_token" value="([^"]+)"', page)
        form = {"csrf_token": csrf_token, "answer": "approve", "reason": "The parcel is lost."}
        assert client.post(f"/requests/{refund}/answer", data=form).status_code == 303
        # A page that listens for changes does not keep the console from ending.
        with client.stream("GET", "/live/events") as events:
            assert next(events.iter_lines()) == ": listening"
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 0
    database, ledger = f"sqlite:///{tmp_path / 'shop.db'}", f"sqlite:///{tmp_path / 'audit.db'}"
    with (
        Guard.open(tmp_path / "policy.yaml", database=database, ledger=ledger) as guard,
        guard.session(principal=ANA, agent="night-bot", purpose="support"),
    ):
        sql = "UPDATE payments SET refunded = :refunded WHERE order_id IN (131, 132)"
        assert guard.execute(sql, {"refunded": 1}).rows_changed > 0


def test_consoles_on_one_postgres_share_sign_ins_and_hear_of_each_others_answers(postgres_db: str) -> None:
    signer = Ed25519Signer.generate("console.test")
    with ExitStack() as stack:

        def make(address: str) -> Console:
            """A console with connections of its own, as in another process."""
            ledger = stack.enter_context(Ledger.open(postgres_db, signer=signer))
            desk = ApprovalDesk(stack.enter_context(ApprovalStore.of(ledger)), ledger)
            tickets = Tickets.open(postgres_db, secret=b"x" * 32)
            stack.callback(tickets.close)
            return Console(ConsoleSettings(address), desk, ledger, tickets)

        # The tables are made by whoever comes first.
        opened: list[Console] = []
        threads = [threading.Thread(target=lambda: opened.append(make("http://127.0.0.1:8600"))) for _ in range(2)]
        here = make("http://127.0.0.1:8600")
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(opened) == 2
        terms, now = ApprovalTerms(("leads",)), int(time.time())
        here.desk.submit(
            ApprovalRequest("r1", "d" * 64, "ana@example.com", None, None, "DELETE", "deletes", terms, now, now + 60)
        )
        with TestClient(create_app(here), base_url=here.settings.base_url, follow_redirects=False) as one, serve(make) as other:
            token = one_time_link(here, LEA).partition("token=")[2]
            assert one.post("/signin/link", data={"token": token}).status_code == 303
            cookie = {"cookie": f"{cookie_name(here.settings)}={one.cookies[cookie_name(here.settings)]}"}
            with httpx.Client(base_url=other, headers=cookie) as client, client.stream("GET", "/live/events") as events:
                lines = events.iter_lines()
                assert next(lines) == ": listening"
                (csrf_token, *_) = re.findall(r'name="csrf_token" value="([^"]+)"', one.get("/requests/r1").text)
                time.sleep(0.2)
                asked = {"csrf_token": csrf_token, "answer": "approve", "reason": "Fine."}
                assert one.post("/requests/r1/answer", data=asked).status_code == 303
                assert "event: changed" in (line for line in lines if line.startswith("event"))
                assert "lea@example.com" in httpx.get(f"{other}/requests/r1", headers=cookie).text


@pytest.mark.parametrize(
    "arguments",
    [
        ["--ledger", "audit.db", "--database", "sqlite:///shop.db"],
        ["--ledger", "audit.db", "--oidc-issuer", "https://id.example.com"],
        ["--ledger", "audit.db"],
        ["--ledger", "audit.db", "--host", "0.0.0.0"],
        ["--ledger", "audit.db", "--host", "192.0.2.1"],
        ["--ledger", "audit.db", "--base-url", "http://console.example.com"],
        ["--ledger", "audit.db", "--api-audience", "console"],
    ],
)
def test_what_is_not_sound_is_refused_before_anything_is_served(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = call("console", "--port", "0", *arguments)
    assert done.status == 2
    assert b"[usage." in done.stderr
    assert list(tmp_path.iterdir()) == []
