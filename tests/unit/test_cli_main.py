"""The root of the command line: help without imports, and an end with a code whatever happens."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import click
import pytest

from guardrails.cli import main as root
from guardrails.cli.options import principal_from
from guardrails.errors import GuardrailsError, UsageError
from guardrails.sql.dialects import dialect_name


def _exit_status(*arguments: str) -> int:
    with pytest.raises(SystemExit) as caught:
        root.main(arguments)
    assert isinstance(caught.value.code, int)
    return caught.value.code


@pytest.mark.parametrize("name", sorted(root.COMMANDS))
def test_the_listed_help_is_the_command_s_own(name: str) -> None:
    command = root.cli.get_command(click.Context(root.cli), name)
    assert command is not None
    assert command.name == name
    assert command.get_short_help_str(limit=200) == root.COMMANDS[name].help


def test_help_imports_no_command() -> None:
    code = "import sys; from guardrails.cli.main import main\ntry: main(['--help'])\nfinally: print(sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "sqlglot" not in done.stdout
    assert "sqlalchemy" not in done.stdout
    assert all(name in done.stdout for name in root.COMMANDS)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert _exit_status("--version") == 0
    assert capsys.readouterr().out.startswith("guardrails ")


@pytest.mark.parametrize(
    "arguments", [("nonsense",), ("--nonsense",), ("check",), ("check", "--nonsense"), ("demo", "--agent", "x")]
)
def test_wrong_usage_is_one_line_with_a_code(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert _exit_status(*arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: [usage.input_invalid] ")
    assert captured.err.count("\n") == 1


@pytest.mark.parametrize(
    ("raised", "status", "said"),
    [
        (RuntimeError("a secret"), 2, "usage.bug"),
        (UsageError("usage.no_schema", "Three\nlines\x1b[31m."), 2, "usage.no_schema"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (FileNotFoundError(2, "No such file", "somewhere"), 2, "usage.file_missing"),
        (MemoryError(), 2, "usage.bug"),
    ],
)
def test_every_exception_ends_with_a_code(
    raised: BaseException, status: int, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise raised

    monkeypatch.delenv("GUARDRAILS_DEBUG", raising=False)
    monkeypatch.setattr(root.cli, "get_command", lambda *_: click.Command("fail", callback=fail))
    assert _exit_status("fail") == status
    error = capsys.readouterr().err
    assert said in error
    assert error.strip().count("\n") == 0
    assert "\x1b" not in error
    assert "a secret" not in error
    assert "Traceback" not in error


def test_a_traceback_on_demand(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise RuntimeError("details")

    monkeypatch.setenv("GUARDRAILS_DEBUG", "1")
    monkeypatch.setattr(root.cli, "get_command", lambda *_: click.Command("fail", callback=fail))
    assert _exit_status("fail") == 2
    assert "RuntimeError: details" in capsys.readouterr().err


def test_a_reader_that_left_is_no_error() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "guardrails.cli.main", "--help"]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert done.stderr == ""
    assert done.returncode == 1


def test_principals() -> None:
    assert principal_from(None, (), None).id == "anonymous"
    assert principal_from("ana", ("a", "b"), None).groups == {"a", "b"}
    fields = {"id": "ana", "groups": ["a"], "attributes": {"region": "west"}}
    principal = principal_from(None, (), json.dumps(fields))
    assert (principal.id, principal.groups, principal.attributes) == ("ana", {"a"}, {"region": "west"})
    assert principal.verified == "unverified"


@pytest.mark.parametrize(
    ("principal_id", "groups", "text"),
    [
        ("ana", (), '{"id": "ben"}'),
        (None, ("a",), '{"id": "ben"}'),
        (None, (), "{"),
        (None, (), "[" * 100_000),
        (None, (), "[]"),
        (None, (), "{}"),
        (None, (), '{"id": 3}'),
        (None, (), '{"id": " "}'),
        (None, (), '{"id": "ana", "groups": "a"}'),
        (None, (), '{"id": "ana", "groups": [1]}'),
        (None, (), '{"id": "ana", "attributes": []}'),
        (None, (), '{"id": "ana", "gruops": ["a"]}'),
        (None, (), '{"id": "ana", "verified": "jwt"}'),
        ("", (), None),
    ],
)
def test_wrong_principals(principal_id: str | None, groups: tuple[str, ...], text: str | None) -> None:
    with pytest.raises(GuardrailsError) as caught:
        principal_from(principal_id, groups, text)
    assert caught.value.code in {"usage.input_invalid", "identity.principal_invalid"}


def test_dialects() -> None:
    assert dialect_name("sqlite") == "sqlite"
    assert dialect_name("postgresql") == dialect_name("postgres") == "postgres"
    with pytest.raises(UsageError) as caught:
        dialect_name("dbase")
    assert caught.value.code == "usage.dialect_unknown"
