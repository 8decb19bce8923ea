"""Evidence of what a guard recorded: the policy in force comes with it, what was protected does not."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner

from guardrails.cli.ledger import ledger as group
from guardrails.errors import GuardrailsError
from tests.support.guarded_shop import open_guard
from tests.support.schema import make_sqlite_shop

SECRETS = ("ada@example.com", "078-05-1120", "Grace Planted")


def test_evidence_of_a_guarded_session(tmp_path: Path) -> None:
    shop = make_sqlite_shop(tmp_path / "shop.db")
    with open_guard(f"sqlite:///{shop}", tmp_path) as guard:
        digest = guard.policy.digest
        guard.execute("SELECT name, email, ssn FROM customers WHERE id = :id", {"id": 1})
        guard.execute(f"SELECT id FROM customers WHERE name = '{SECRETS[2]}'")
        guard.execute("UPDATE orders SET status = 'sent' WHERE id = 3")
        for refused in ("DROP TABLE orders", "SELECT * FROM secrets"):
            try:
                guard.execute(refused)
            except GuardrailsError:
                continue
            raise AssertionError(refused)
        key = guard.ledger.verifier_key
    runner, folder = CliRunner(), tmp_path / "evidence"
    done = runner.invoke(group, ["export", str(folder), "--ledger", str(tmp_path / "audit.db"), "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["policies_missing"] == []
    done = runner.invoke(group, ["verify-bundle", str(folder), "--key", key, "--json"])
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert report["policies"] == {"held": 1, "missing": []}
    assert report["unknown"] == []
    assert report["signatures"]["log"] == 0  # all is signed by the session
    assert json.loads((folder / "policies" / f"{digest}.json").read_bytes())["rules"][0]["id"] == "read-shop"
    everything = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    for secret in SECRETS:
        assert secret.encode() not in everything
