"""`guardrails approvals` with a ledger in PostgreSQL, as somebody whose token a real provider gave."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

from click.testing import CliRunner

from guardrails.cli.approvals import approvals
from tests.support.approvals import Bench, asked
from tests.support.identity_provider import IdentityProvider


def test_a_verified_person_answers_in_a_server(postgres_url: str, identity_provider: IdentityProvider, tmp_path: Path) -> None:
    bench, now = Bench.in_server(postgres_url, tmp_path, is_timeless=False), int(time.time())
    with bench.desk() as desk:
        request = desk.submit(replace(asked(now=now, groups=("managers",)), requester_verified="jwt", expires_at=now + 900))

    def run(*arguments: str) -> tuple[int, str]:
        done = CliRunner().invoke(approvals, [*arguments, "--ledger", bench.url])
        return done.exit_code, done.output

    token = tmp_path / "token"
    token.write_text(identity_provider.id_token("bo@example.com", "http://127.0.0.1/back"))
    who = ("--token-file", str(token), "--issuer", identity_provider.issuer, "--audience", identity_provider.client_id)
    signer = ("--signer", f"file:{bench.key}")
    assert request.id in run("list")[1]
    # A name on the command line does not do where the requester has signed in.
    named = run("approve", request.id, *signer, "--by", "bo@example.com", "--group", "managers", "--reason", "x")
    assert (named[0], "approval.not_approver" in named[1]) == (1, True)
    assert run("approve", request.id, *signer, *who, "--by", "bo@example.com", "--reason", "x")[0] == 2
    status, output = run("approve", request.id, *signer, *who, "--reason", "the customer called", "--json")
    assert (status, json.loads(output)["state"]) == (0, "approved")
    with bench.desk() as desk:
        (vote,) = desk.status(request.id, now=now).votes
        assert (vote.by, vote.issuer, vote.verified) == ("bo@example.com", identity_provider.issuer, "jwt")
        assert desk.consume(request.digest, now) is not None
