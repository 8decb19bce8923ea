"""The commands that publish, mirror and watch: output, exit status, errors with their evidence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from guardrails.cli.ledger import ledger as group
from guardrails.cli.publish import mirror, monitor, serve
from guardrails.cli.publish import publish as publish_command
from guardrails.ledger import Ledger
from guardrails.ledger.checkpoint import open_checkpoint
from guardrails.ledger.note import base64_text
from guardrails.ledger.publishing import DirectoryTarget, TileClient, publish
from tests.support.published import log_of

LOG = log_of(900)
KEY = str(LOG.verifier)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    publish(LOG.at(700), DirectoryTarget(tmp_path / "log"), LOG.verifier)
    return tmp_path / "log"


def run(command: object, *arguments: object) -> Result:
    result = CliRunner().invoke(command, [str(a) for a in arguments])  # type: ignore[arg-type]
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def test_monitor_says_what_it_saw(folder: Path, tmp_path: Path) -> None:
    state = tmp_path / "seen"
    result = run(monitor, folder, "--key", KEY, "--state", state)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == "in order: example.com/log, 700 entries; seen for the first time; 700 entries checked\n"
    publish(LOG, DirectoryTarget(folder), LOG.verifier)
    assert (
        "contains the 700 entries seen before; 200 entries checked"
        in run(monitor, folder, "--key", KEY, "--state", state).stdout
    )
    shown = json.loads(run(monitor, folder, "--key", KEY, "--state", state, "--json").stdout)
    root = base64_text(LOG.root_at(900))
    assert shown == {
        "verified": True,
        "origin": "example.com/log",
        "size": 900,
        "root": root,
        "old_size": 900,
        "checked": 0,
    }
    assert json.loads(run(monitor, folder, "--key", KEY, "--state", state, "--full", "--json").stdout)["checked"] == 900


def test_a_fork_is_status_1_with_both_checkpoints(folder: Path, tmp_path: Path) -> None:
    state, fork = tmp_path / "seen", log_of(800, fork_at=3, signer=LOG.signer)
    run(monitor, folder, "--key", KEY, "--state", state)
    publish(fork, DirectoryTarget(tmp_path / "fork"), LOG.verifier)
    result = run(monitor, tmp_path / "fork", "--key", KEY, "--state", state)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "ledger.inconsistent" in result.stderr
    assert state.read_text() in result.stderr
    assert fork.checkpoint() in result.stderr
    result = run(monitor, tmp_path / "fork", "--key", KEY, "--state", state, "--json")
    assert result.exit_code == 1
    shown = json.loads(result.stdout)
    assert (shown["verified"], shown["code"]) == (False, "ledger.inconsistent")
    assert open_checkpoint(shown["evidence"]["old"], LOG.verifier).size == 700
    assert open_checkpoint(shown["evidence"]["new"], LOG.verifier).size == 800
    assert run(mirror, tmp_path / "fork", folder, "--key", KEY).exit_code == 1


def test_a_changed_or_missing_entry_is_status_1(folder: Path, tmp_path: Path) -> None:
    bundle = folder / "tile/entries/001"
    content = bundle.read_bytes()
    bundle.write_bytes(content[:-2] + b"0}")
    result = run(monitor, folder, "--key", KEY, "--state", tmp_path / "seen")
    assert result.exit_code == 1
    assert "Entry 511 was changed" in result.stderr
    bundle.unlink()
    result = run(monitor, folder, "--key", KEY, "--state", tmp_path / "seen")
    assert result.exit_code == 1
    assert "ledger.incomplete" in result.stderr
    assert run(monitor, folder, "--key", KEY, "--state", tmp_path / "seen", "--no-entries").exit_code == 0


def test_mirror_copies(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shown = json.loads(run(mirror, folder, copy, "--key", KEY, "--json").stdout)
    assert (shown["size"], shown["old_size"], shown["written"]) == (700, None, 7)
    assert "700 entries in" in run(mirror, folder, copy, "--key", KEY).stdout
    assert TileClient(copy, LOG.verifier).size == 700
    (tmp_path / "key.pub").write_text(KEY + "\n")
    assert run(mirror, folder, copy, "--key", tmp_path / "key.pub").exit_code == 0


@pytest.mark.parametrize(
    ("command", "arguments", "status", "code"),
    [
        (monitor, ("none", "--key", KEY, "--state", "seen"), 1, "ledger.incomplete"),
        (monitor, ("http://127.0.0.1:1/", "--key", KEY, "--state", "seen"), 2, "ledger.unavailable"),
        (monitor, ("none", "--key", "missing.pub", "--state", "seen"), 2, "usage.file_missing"),
        (mirror, ("none", "ftp://x", "--key", KEY), 2, "usage.input_invalid"),
        (publish_command, ("out", "--ledger", "none.db"), 2, "usage.file_missing"),
        (publish_command, ("http://x", "--ledger", "none.db"), 2, "usage.input_invalid"),
        (serve, (), 2, "usage.input_invalid"),
        (serve, ("--ledger", "none.db"), 2, "usage.file_missing"),
        (serve, ("--directory", ".", "--host", "256.0.0.1"), 2, "usage.input_invalid"),
    ],
)
def test_errors_have_a_code_and_a_status(
    command: object, arguments: tuple[str, ...], status: int, code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(command, *arguments)
    assert (result.exit_code, result.stdout) == (status, "")
    assert code in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_note_with_control_sequences_does_not_reach_the_terminal(folder: Path, tmp_path: Path) -> None:
    state = tmp_path / "seen"
    state.write_text(LOG.at(800).checkpoint() + "— evil\u202e.example AAAAAAAA\n")
    result = run(monitor, folder, "--key", KEY, "--state", state)
    assert result.exit_code == 1
    assert "rolled back" in result.stderr
    assert "\u202e" not in result.stderr


def test_a_ledger_is_published(tmp_path: Path) -> None:
    path = tmp_path / "audit.db"
    with Ledger.open(path) as ledger:
        ledger.append_many({"n": n} for n in range(300))
        key = ledger.verifier_key
    shown = json.loads(run(publish_command, tmp_path / "log", "--ledger", path, "--json").stdout)
    assert (shown["size"], shown["old_size"], shown["written"]) == (300, None, 5)
    assert run(monitor, tmp_path / "log", "--key", key, "--state", tmp_path / "seen").exit_code == 0
    assert run(publish_command, tmp_path / "log", "--ledger", path, "--key", KEY).exit_code == 1


def test_an_archived_and_rotated_ledger_is_still_published(tmp_path: Path) -> None:
    path, old = tmp_path / "audit.db", tmp_path / "old"
    with Ledger.open(path) as ledger:
        ledger.append_many({"n": n} for n in range(300))
        key = ledger.verifier_key
    assert run(publish_command, tmp_path / "log", "--ledger", path, "--cosigned").exit_code == 1
    assert run(publish_command, tmp_path / "log", "--ledger", path).exit_code == 0
    assert run(group, "keys", "rotate", "--ledger", path, "--reason", "yearly").exit_code == 0
    assert run(group, "archive", old, "--before", 256, "--ledger", path).exit_code == 0
    with Ledger.open(path) as ledger:
        new = ledger.verifier_key
    result = run(publish_command, tmp_path / "log", "--ledger", path, "--archive", old, "--repair", "--json")
    assert result.exit_code == 0, result.stderr
    assert run(monitor, tmp_path / "log", "--key", key, "--key", new, "--state", tmp_path / "seen").exit_code == 0
