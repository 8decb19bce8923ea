"""`guardrails policy`: places with a caret, JSON for machines, exit status for scripts."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from guardrails.cli.main import main
from guardrails.policy import policy_schema
from tests.support.policies import EXAMPLE

SCHEMA = """
CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT, email TEXT, ssn TEXT);
CREATE TABLE orders (id INTEGER PRIMARY KEY, region TEXT);
"""


class Done(NamedTuple):
    """How a command ended."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """Runs `guardrails policy` in this process."""

    def call(*arguments: object) -> Done:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(["policy", *map(str, arguments)])
        return Done(int(ended.value.code or 0), *capsys.readouterr())

    return call


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    (tmp_path / "schema.sql").write_text(SCHEMA)
    (tmp_path / "policy.yaml").write_text(EXAMPLE)
    return tmp_path / "policy.yaml"


def test_a_valid_policy(policy: Path, run: Callable[..., Done]) -> None:
    done = run("validate", policy)
    assert done.returncode == 0
    assert "valid (1 rules, 2 protected columns, 1 row filters; not held against a schema)" in done.stdout
    held = run("validate", policy, "--schema", policy.parent / "schema.sql", "--dialect", "postgres", "--json")
    fields = json.loads(held.stdout)
    assert held.returncode == 0
    assert (fields["valid"], fields["rules"], fields["relations_checked"], len(fields["digest"])) == (True, 1, 2, 64)


def test_a_policy_is_held_against_a_database(policy: Path, run: Callable[..., Done]) -> None:
    database = policy.parent / "shop.db"
    with closing(sqlite3.connect(database)) as connection:
        connection.executescript(SCHEMA)
    assert run("validate", policy, "--database", f"sqlite:///{database}").returncode == 0
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("ALTER TABLE customers RENAME COLUMN ssn TO tax_id")
    done = run("validate", policy, "--database", f"sqlite:///{database}")
    assert done.returncode == 2
    assert f"{policy}:10:3: [policy.unknown_relation] `customers` has no column `ssn`." in done.stderr


def test_mistakes_are_shown_with_a_caret(policy: Path, run: Callable[..., Done]) -> None:
    policy.write_text(EXAMPLE.replace("effect: allow", "efect: allow").replace("full", "ful"))
    done = run("validate", policy)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines() == [
        f"{policy}:4:5: [policy.unknown_key] Unknown key `efect`. Did you mean `effect`? Check the spelling.",
        "        efect: allow",
        "        ^",
        f"{policy}:10:25: [policy.invalid] `mask` must be one of full, null, fixed, partial, hash, pseudonym, email, date, bucket, "
        "round, shift, noise, deny. Did you mean `full`?",
        "      customers.ssn: {mask: ful}",
        "                            ^",
    ]


def test_mistakes_are_listed_as_json(policy: Path, run: Callable[..., Done]) -> None:
    policy.write_text(EXAMPLE.replace("customers]", "custmers]"))
    done = run("validate", policy, "--schema", policy.parent / "schema.sql", "--dialect", "sqlite", "--json")
    assert done.returncode == 2
    fields: dict[str, Any] = json.loads(done.stdout)
    assert fields["valid"] is False
    (problem,) = fields["problems"]
    assert (problem["code"], problem["line"], problem["column"]) == ("policy.unknown_relation", 6, 25)
    assert "`customers`" in problem["message"]


def test_control_characters_do_not_reach_the_terminal(policy: Path, run: Callable[..., Done]) -> None:
    policy.write_text(EXAMPLE.replace("read-shop", '"\\e[31mred"'))
    done = run("validate", policy)
    assert done.returncode == 2
    assert "\x1b" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("validate", "/missing/policy.yaml"), "usage.file_missing"),
        (("validate", "{policy}", "--schema", "/missing.sql", "--dialect", "sqlite"), "usage.file_missing"),
        (("validate", "{policy}", "--schema", "{policy}"), "usage.input_invalid"),
        (("validate", "{policy}", "--dialect", "sqlite"), "usage.input_invalid"),
        (("validate", "{policy}", "--schema", "{policy}", "--database", "sqlite:///x.db"), "usage.input_invalid"),
        (("validate", "{policy}", "--schema", "{policy}", "--dialect", "dbase"), "usage.dialect_unknown"),
        (("validate", "{policy}", "--database", "oracle://x"), "usage.database_unsupported"),
        (("validate",), "usage.input_invalid"),
    ],
)
def test_wrong_usage(policy: Path, run: Callable[..., Done], arguments: tuple[str, ...], code: str) -> None:
    done = run(*(a.replace("{policy}", str(policy)) for a in arguments))
    assert done.returncode == 2
    assert f"[{code}]" in done.stderr


def test_the_schema_is_printed(run: Callable[..., Done]) -> None:
    done = run("schema")
    assert done.returncode == 0
    assert json.loads(done.stdout) == policy_schema()
