"""`guardrails check`: the smallest useful policy, statements of every kind, and input that is bad in every way."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.command_line import Done, call

POLICY = """\
version: 1
rules:
  - id: read-shop
    effect: allow
    actions: [select]
    relations: [orders, customers]
    principals: {groups: [support]}
columns:
  customers.email: {mask: pseudonym}
  customers.ssn: {mask: full}
rows:
  orders: "region = principal.region"
limits: {rows: 1000, seconds: 10, statement_bytes: 100000}
"""
SCHEMA = """\
CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT, email TEXT, ssn TEXT, region TEXT);
CREATE TABLE orders (id INTEGER PRIMARY KEY, customer_id INTEGER, region TEXT, total INTEGER);
CREATE TABLE salaries (id INTEGER PRIMARY KEY, amount INTEGER);
"""
ANA = json.dumps({"id": "ana", "groups": ["support"], "attributes": {"region": "west"}})
FIELDS = {
    *("id", "effect", "code", "reasons", "sql", "statement_kind", "reads", "writes", "functions", "obligations"),
}
DIALECTS = ("sqlite", "postgres")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "policy.yaml").write_text(POLICY)
    (tmp_path / "schema.sql").write_text(SCHEMA)
    return tmp_path


def _where(folder: Path, dialect: str) -> list[str]:
    return ["--policy", str(folder / "policy.yaml"), "--schema", str(folder / "schema.sql"), "--dialect", dialect]


def _run(folder: Path, *arguments: str, stdin: bytes = b"", dialect: str = "sqlite") -> Done:
    return call("check", *_where(folder, dialect), *arguments, stdin=stdin)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_an_allowed_statement(folder: Path, dialect: str) -> None:
    sql = "SELECT c.name, c.email, COUNT(*) FROM customers c JOIN orders o ON o.customer_id = c.id GROUP BY c.name, c.email"
    done = _run(folder, "--principal-json", ANA, sql, dialect=dialect)
    assert done.status == 0, done.stderr
    (line,) = done.lines()
    assert line.keys() == FIELDS
    assert line["effect"] == "allow"
    assert line["code"] == "ok"
    assert line["statement_kind"] == "select"
    assert {"customers.name", "customers.email", "orders.customer_id", "customers.id"} <= set(line["reads"])
    assert line["writes"] == []
    assert line["functions"] == ["count"]
    assert {"type": "mask", "column": "customers.email", "mask": "pseudonym"} in line["obligations"]
    assert {"type": "rows", "relation": "orders", "predicate": "region = principal.region"} in line["obligations"]
    assert any(o["type"] == "limit" and o["rows"] == 1000 for o in line["obligations"])


COMMON = (
    "DROP TABLE customers",
    "DELETE FROM orders",
    "SELECT 1; SELECT 2",
    "SELECT * FROM salaries",
    "SELECT * FROM nowhere",
    "SELECT nothing FROM customers",
    "INSERT INTO orders (id) VALUES (1)",
    "",
    ";",
    "-- nothing",
)
REFUSED = {
    "sqlite": ("ATTACH 'x' AS y", "PRAGMA query_only = 0", "VACUUM INTO 'x'", "SELECT load_extension('x')"),
    "postgres": (
        "WITH gone AS (DELETE FROM orders RETURNING *) SELECT * FROM gone",
        "SELECT * INTO copy FROM customers",
        "EXPLAIN ANALYZE DELETE FROM orders",
        "COPY customers TO STDOUT",
        "COPY (SELECT ssn FROM customers) TO PROGRAM 'cat'",
        "SELECT pg_read_file('/etc/passwd')",
        "SELECT * FROM dblink('host=x', 'SELECT 1') AS t(a int)",
        "SELECT pg_sleep(10)",
        "SET ROLE postgres",
        "DO $$ BEGIN END $$",
    ),
}
MASKED = {
    "sqlite": (
        "SELECT * FROM customers",
        "SELECT c.* FROM customers AS c",
        "SELECT ssn FROM customers UNION SELECT email FROM customers",
        "SELECT CAST(ssn AS INTEGER) FROM customers",
    ),
    "postgres": (
        "SELECT * FROM customers",
        "SELECT c.* FROM customers AS c",
        "SELECT c FROM customers AS c",
        "SELECT row_to_json(c) FROM customers AS c",
        "TABLE customers",
        "SELECT ssn FROM customers UNION SELECT email FROM customers",
        "SELECT CAST(ssn AS integer) FROM customers",
        "SELECT 1 FROM customers WHERE ssn LIKE '9%'",
    ),
}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_what_must_be_refused_or_masked(folder: Path, dialect: str) -> None:
    statements = (*COMMON, *REFUSED[dialect], *MASKED[dialect])
    stdin = "".join(json.dumps({"id": sql, "sql": sql}) + "\n" for sql in statements).encode()
    done = _run(folder, "--principal-json", ANA, "--jsonl", stdin=stdin, dialect=dialect)
    lines = done.lines()
    assert done.status == 1
    assert [line["id"] for line in lines] == list(statements)
    for line in lines:
        assert line.keys() == FIELDS
        if line["id"] not in MASKED[dialect]:
            assert line["effect"] == "deny", line
        if line["effect"] == "deny":
            assert line["sql"] is None
            assert line["reasons"]
            assert all(reason["code"] and reason["message"] for reason in line["reasons"])
        else:
            masked = {o["column"] for o in line["obligations"] if o["type"] == "mask"}
            assert masked >= {"customers.email", "customers.ssn"} & set(line["reads"]) != set()


def test_groups_decide(folder: Path) -> None:
    sql = "SELECT name FROM customers"
    assert _run(folder, "--principal", "ana", "--group", "support", sql).status == 0
    assert _run(folder, "--principal", "ana", "--group", "sales", "--group", "support", sql).status == 0
    refused = _run(folder, "--principal", "ana", "--group", "sales", sql)
    assert refused.status == 1
    assert refused.lines()[0]["code"] == "policy.no_rule"
    assert _run(folder, sql).status == 1


def test_arguments_are_numbered(folder: Path) -> None:
    done = _run(folder, "--principal-json", ANA, "SELECT 1", "DROP TABLE orders", "SELECT id FROM orders")
    assert [(line["id"], line["effect"]) for line in done.lines()] == [(1, "allow"), (2, "deny"), (3, "allow")]
    assert done.status == 1


def test_a_malformed_line_does_not_end_the_stream(folder: Path) -> None:
    stdin = b'nonsense\n\n{"sql": "SELECT name FROM customers WHERE id = :id", "params": {"id": 7}, "id": "a"}\n{"sql": "\xff"}'
    done = _run(folder, "--principal-json", ANA, "--jsonl", stdin=stdin)
    found = [(line["id"], line["effect"], line["code"]) for line in done.lines()]
    assert found == [(1, "deny", "usage.input_invalid"), ("a", "allow", "ok"), (4, "deny", "sql.encoding")]
    assert done.status == 1


@contextmanager
def _process(folder: Path, dialect: str) -> Iterator[tuple[subprocess.Popen[bytes], Callable[[object], dict[str, Any]]]]:
    """A command that reads JSON Lines, and a function that gives it one line and reads the answer."""
    command = [
        sys.executable,
        "-m",
        "guardrails.cli.main",
        "check",
        *_where(folder, dialect),
        "--principal-json",
        ANA,
        "--jsonl",
    ]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin
        assert process.stdout

        def ask(line: object) -> dict[str, Any]:
            process.stdin.write(json.dumps(line).encode() + b"\n")  # type: ignore[union-attr]
            process.stdin.flush()  # type: ignore[union-attr]
            return json.loads(process.stdout.readline())  # type: ignore[union-attr,no-any-return]

        yield process, ask
        process.stdin.close()
        process.wait(30)


def test_lines_are_answered_as_they_come(folder: Path) -> None:
    with _process(folder, "sqlite") as (process, ask):
        for number in range(3):
            assert ask({"sql": "SELECT name FROM customers", "id": number})["id"] == number
    assert process.returncode == 0


DEEP = 5_000
BAD = {
    "empty": "",
    "10 MB": "SELECT '" + "x" * 10_000_000 + "'",
    "10 MB of parentheses": "(" * 10_000_000,
    "NUL": "SELECT 'a\0b'",
    "lone surrogate": "SELECT '\ud800'",
    "parentheses": "SELECT " + "(" * DEEP + "1" + ")" * DEEP,
    "open parentheses": "SELECT " + "(" * DEEP,
    "subqueries": "SELECT * FROM " + "(SELECT * FROM " * DEEP + "orders" + ")" * DEEP,
    "terms": "SELECT 1 FROM orders WHERE " + " AND ".join(["id = 1"] * 8_000),
    "minus": "SELECT " + "- " * 20_000 + "1",
    "not": "SELECT " + "NOT " * 20_000 + "1",
    "case": "SELECT " + "CASE WHEN 1 THEN " * 4_000 + "1" + " END" * 4_000,
    "union": " UNION ".join(["SELECT 1"] * 5_000),
    "CTE chain": "WITH c0 AS (SELECT 1 AS a), "
    + ", ".join(f"c{i} AS (SELECT a FROM c{i - 1})" for i in range(1, 2_000))
    + " SELECT * FROM c1999",
    "unended string": "SELECT 'x",
    "unended comment": "SELECT /* x",
}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_bad_statements_are_refused_in_time_and_memory(folder: Path, dialect: str) -> None:
    """Every one within a second of computing, and all of them in a bound of memory that lies below a few of the longest."""
    with _process(folder, dialect) as (process, ask):
        ask({"sql": "SELECT 1"})
        for name, sql in BAD.items():
            before_s = _cpu_s(process.pid)
            line = ask({"sql": sql, "id": name})
            assert (line["id"], line["effect"]) == (name, "deny"), (name, line)
            assert line["code"].startswith("sql."), (name, line)
            assert len(json.dumps(line)) < 10_000, name
            assert _cpu_s(process.pid) - before_s < 1, name
        memory_kb = int(re.findall(r"VmHWM:\s+(\d+)", Path(f"/proc/{process.pid}/status").read_text())[0])
    assert process.returncode == 1
    assert memory_kb < 300_000


def _cpu_s(pid: int) -> float:
    """Seconds of processor time that a process has used: unlike time on the wall it does not depend on who else computes."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _error(done: Done) -> str:
    assert done.status == 2
    assert done.stdout == b""
    text = done.stderr.decode()
    assert text.startswith("error: ")
    assert text.count("\n") == 1
    return text


def test_usage_errors_have_codes(folder: Path) -> None:
    assert "[usage.dialect_unknown]" in _error(_run(folder, "SELECT 1", dialect="dbase"))
    assert "[usage.input_invalid]" in _error(_run(folder))
    policy, schema = str(folder / "policy.yaml"), str(folder / "schema.sql")
    broken = folder / "broken.yaml"
    broken.write_text("version: 1\nruels: []\n")
    garbage = folder / "garbage"
    garbage.write_bytes(b"\xff\x00garbage")
    for arguments, code in (
        ([str(folder / "missing.yaml"), "--schema", schema, "--dialect", "sqlite"], "usage.file_missing"),
        ([str(folder), "--schema", schema, "--dialect", "sqlite"], "usage.file_missing"),
        ([policy, "--schema", str(folder / "missing.sql"), "--dialect", "sqlite"], "usage.file_missing"),
        ([policy, "--schema", str(garbage), "--dialect", "sqlite"], "usage.input_invalid"),
        ([policy, "--schema", schema], "usage.input_invalid"),
        ([policy], "usage.no_schema"),
        ([policy, "--schema", schema, "--database", "sqlite:///x.db"], "usage.input_invalid"),
        ([policy, "--database", f"sqlite:///{folder}/missing.db"], "usage."),
        ([policy, "--database", "oracle://x"], "usage.database_unsupported"),
        ([str(broken), "--schema", schema, "--dialect", "sqlite"], "policy.unknown_key"),
        ([str(garbage), "--schema", schema, "--dialect", "sqlite"], "policy.syntax"),
    ):
        done = call("check", "SELECT 1", "--policy", *arguments)
        assert f"[{code}" in _error(done), (arguments, done.stderr)


def test_a_policy_about_a_missing_table_is_an_error(folder: Path) -> None:
    (folder / "policy.yaml").write_text(POLICY.replace("[orders, customers]", "[orders, custmers]"))
    assert "[policy.unknown_relation]" in _error(_run(folder, "SELECT 1"))


def test_invalid_utf8_in_an_argument(folder: Path) -> None:
    done = _run(folder, "--principal-json", ANA, "SELECT '\udcff'")
    assert done.status == 1
    assert done.lines()[0]["code"] == "sql.encoding"
