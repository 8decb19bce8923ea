"""`guardrails check` for dialects that are judged only: analytics pass, writes and escapes do not, masks and row filters hold or refuse."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.command_line import call
from tests.support.judged_corpus import ALLOWED, JUDGED_DIALECTS, REFUSED, SCHEMAS

POLICY = """\
version: 1
rules:
  - id: read-shop
    effect: allow
    actions: [select]
    relations: [orders, customers, order_totals]
    principals: {groups: [support]}
"""
PROTECTED = (
    POLICY
    + """\
columns:
  customers.email: {mask: pseudonym}
  customers.ssn: {mask: full}
rows:
  orders: "region = principal.region"
"""
)
ANA = json.dumps({"id": "ana", "groups": ["support"], "attributes": {"region": "west"}})


@pytest.fixture(params=JUDGED_DIALECTS)
def dialect(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def check(
    folder: Path, dialect: str, *statements: str, policy: str = POLICY, status: int | None = None
) -> list[dict[str, Any]]:
    (folder / "policy.yaml").write_text(policy)
    (folder / "schema.sql").write_text(SCHEMAS[dialect])
    lines = [{"id": i, "sql": sql, "params": {"region": "EU"} if "@region" in sql else {}} for i, sql in enumerate(statements)]
    stdin = "\n".join(json.dumps(line) for line in lines).encode()
    where = ["--policy", str(folder / "policy.yaml"), "--schema", str(folder / "schema.sql"), "--dialect", dialect]
    done = call("check", *where, "--principal-json", ANA, "--jsonl", stdin=stdin)
    assert done.status == status or status is None, done.stderr
    return done.lines()


def test_the_corpus_is_large_enough() -> None:
    assert set(ALLOWED) == set(REFUSED) == set(SCHEMAS)
    assert all(len(ALLOWED[d]) >= 15 and len(REFUSED[d]) >= 15 for d in JUDGED_DIALECTS)


def test_analytics_pass(dialect: str, tmp_path: Path) -> None:
    for sql, line in zip(ALLOWED[dialect], check(tmp_path, dialect, *ALLOWED[dialect], status=0), strict=True):
        assert line["effect"] == "allow", (sql, line["reasons"])


def test_writes_escapes_and_the_unknown_are_refused_with_a_code(dialect: str, tmp_path: Path) -> None:
    for (sql, code), line in zip(REFUSED[dialect].items(), check(tmp_path, dialect, *REFUSED[dialect], status=1), strict=True):
        assert (line["effect"], line["code"]) == ("deny", code), (sql, line["reasons"], line["sql"])
        assert line["sql"] is None


def test_what_is_written_out_is_allowed_again_and_stays_the_same(dialect: str, tmp_path: Path) -> None:
    first = check(tmp_path, dialect, *ALLOWED[dialect])
    texts = [line["sql"] for line in first if "@" not in line["sql"] and "gr_cte" not in line["sql"]]
    again = check(tmp_path, dialect, *texts)
    assert len(texts) > 20
    for text, line in zip(texts, again, strict=True):
        assert line["effect"] == "allow", (text, line["reasons"])
        assert line["sql"] == text


def test_a_mask_that_can_be_written_is(dialect: str, tmp_path: Path) -> None:
    (line,) = check(tmp_path, dialect, "SELECT name, ssn FROM customers WHERE ssn = 'x'", policy=PROTECTED, status=0)
    # The column itself appears nowhere, and the one that cannot be masked is left out.
    assert "'***'" in line["sql"]
    for quote in "[", '"', "`":
        assert f"gr_row{quote.replace('[', ']')}.{quote}ssn" not in line["sql"].lower()
    assert "email" not in line["sql"].lower()


def test_a_mask_that_cannot_be_written_is_a_refusal(dialect: str, tmp_path: Path) -> None:
    statements = [
        "SELECT email FROM customers",
        "SELECT 1 AS x FROM customers WHERE email LIKE 'a%'",
        "SELECT * FROM customers",
    ]
    for line in check(tmp_path, dialect, *statements, policy=PROTECTED, status=1):
        assert (line["effect"], line["code"]) == ("deny", "mask.unsupported")
        assert "pseudonym" in line["reasons"][0]["message"]


def test_row_filters_hide_rows_as_nulls_behind_a_fence_or_refuse(dialect: str, tmp_path: Path) -> None:
    (line,) = check(tmp_path, dialect, "SELECT id FROM orders WHERE 1 / (amount - 21) > 0", policy=PROTECTED)
    if dialect == "databricks":
        assert (line["effect"], line["code"]) == ("deny", "mask.unsupported")
        return
    assert line["effect"] == "allow", line["reasons"]
    assert "9223372036854775807" in line["sql"]
    inner = line["sql"][line["sql"].index("(SELECT") : line["sql"].index("gr_row", line["sql"].index("WHERE")) + 6]
    assert inner.upper().count("CASE WHEN") == 7  # Each column of the table.


def test_policies_may_name_things_as_people_write_them(dialect: str, tmp_path: Path) -> None:
    (line,) = check(tmp_path, dialect, "SELECT name FROM customers", policy=PROTECTED, status=0)
    assert [read.lower() for read in line["reads"]] == ["customers.name"]
    policy = POLICY + "columns:\n  customers.nosuch: {mask: full}\n"
    (tmp_path / "policy.yaml").write_text(policy)
    (tmp_path / "schema.sql").write_text(SCHEMAS[dialect])
    where = ["--policy", str(tmp_path / "policy.yaml"), "--schema", str(tmp_path / "schema.sql"), "--dialect", dialect]
    done = call("check", *where, "SELECT name FROM customers")
    assert done.status == 2
    assert b"policy.unknown_relation" in done.stderr


def test_the_help_names_the_dialects() -> None:
    text = b" ".join(call("check", "--help").stdout.split()).decode()
    assert all(name in text for name in JUDGED_DIALECTS)
