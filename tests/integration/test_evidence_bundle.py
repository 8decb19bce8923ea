"""The verifier as an auditor runs it: a file on its own, in an empty folder, without this library."""

from __future__ import annotations

import ast
import io
import json
import os
import shutil
import subprocess
import sys
import time
import tokenize
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from guardrails.cli.ledger import ledger as group
from guardrails.ledger import Ledger, SessionKey
from guardrails.ledger.evidence import export_evidence, verifier
from tests.support.evidence import Witness

SOURCE = Path(verifier.__file__)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a ledger, its key, an auditor's checkpoint, and a bundle."""
    folder = tmp_path_factory.mktemp("audit")
    with Ledger.open(folder / "audit.db", origin="example.com/log") as log:
        key = SessionKey({})
        log.bind("s", key)
        for n in range(4):
            intent = log.append({"type": "intent", "session": "s", "n": n, "decision": {"policy": "0" * 64}})
            log.append({"type": "outcome", "session": "s", "intent": intent.entry_id})
            if n == 1:
                (folder / "since").write_text(log.checkpoint())
        witness = Witness("witness.example", b"w" * 32)
        (folder / "cosigned").write_text(witness.cosigned(log.checkpoint()))
        (folder / "witness.pub").write_text(witness.key + "\n")
    result = run(
        "export",
        folder / "bundle",
        "--ledger",
        folder / "audit.db",
        "--since",
        folder / "since",
        "--start",
        2,
        "--checkpoint",
        folder / "cosigned",
    )
    assert result.exit_code == 0, result.output
    return folder


def run(*arguments: object) -> Result:
    result = CliRunner().invoke(group, [str(a) for a in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def verify(script: Path, folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"]}
    return subprocess.run(
        [sys.executable, "-I", str(script), *map(str, arguments)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def lines_of_code(source: bytes, tree: ast.Module) -> int:
    """Counts lines that hold code: neither blank nor only comment or docstring."""
    texts: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            texts |= set(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    blank = {
        tokenize.COMMENT,
        tokenize.NL,
        tokenize.NEWLINE,
        tokenize.INDENT,
        tokenize.DEDENT,
        tokenize.ENCODING,
        tokenize.ENDMARKER,
    }
    lines: set[int] = set()
    for token in tokenize.tokenize(io.BytesIO(source).readline):
        if token.type not in blank:
            lines |= set(range(token.start[0], token.end[0] + 1))
    return len(lines - texts)


def test_the_file_in_a_bundle_is_the_file_of_this_library_and_stands_alone(place: Path) -> None:
    source = SOURCE.read_bytes()
    assert (place / "bundle" / "verify.py").read_bytes() == source
    tree = ast.parse(source, feature_version=(3, 9))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    foreign = {name for name in imported if name.split(".")[0] not in sys.stdlib_module_names}
    assert {name.split(".")[0] for name in foreign} == {"cryptography"}
    assert lines_of_code(source, tree) < 600  # an auditor reads it in an hour


def test_an_auditor_verifies_with_the_file_alone(place: Path, tmp_path: Path) -> None:
    script = Path(shutil.copy(place / "bundle" / "verify.py", tmp_path))
    empty = tmp_path / "empty"
    empty.mkdir()
    key = (place / "audit.db.pub").read_text().strip()
    done = verify(script, empty, place / "bundle", "--key", key)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("VERIFIED\n")
    for said in ("proven: entries 2 to 8", "not proven: no witness", "not proven: no earlier checkpoint", "0" * 64):
        assert said in done.stdout
    full = ["--since", place / "since", "--witness", place / "witness.pub", "--quorum", 1, "--json"]
    done = verify(script, empty, place / "bundle", "--key", place / "audit.db.pub", *full)
    assert done.returncode == 0, done.stdout + done.stderr
    shown = json.loads(done.stdout)
    assert (shown["verified"], shown["since"], shown["size"], shown["problems"]) == (True, 5, 9, [])
    assert [witness["name"] for witness in shown["witnesses"]] == ["witness.example"]
    assert os.listdir(empty) == []
    assert verify(script, empty, "--help").returncode == 0


def test_wrong_usage_has_status_2_and_a_changed_bundle_1(place: Path, tmp_path: Path) -> None:
    script, bundle, key = place / "bundle" / "verify.py", place / "bundle", place / "audit.db.pub"
    (tmp_path / "no.note").write_text("no note")
    for arguments, said in (
        ([bundle], "elsewhere"),
        ([bundle, "--key", bundle / "keys.json"], "lies in the bundle"),
        ([bundle, "--key", key, "--since", bundle / "checkpoint"], "lies in the bundle"),
        ([bundle, "--key", "nonsense+"], "not usable"),
        ([bundle, "--key", tmp_path / "none"], "cannot be read"),
        ([bundle, "--key", key, "--since", tmp_path / "no.note"], "not usable"),
        ([bundle, "--key", key, "--witness", key], "witness"),
        ([bundle, "--key", key, "--quorum", "1"], "--quorum"),
        ([tmp_path / "none", "--key", key], "folder"),
        ([], "BUNDLE"),
        ([bundle, "--key", key, "--other"], "--other"),
    ):
        done = verify(script, tmp_path, *arguments)
        assert done.returncode == 2, (arguments, done.stdout, done.stderr)
        assert said in done.stderr
        assert done.stdout == ""
        assert "Traceback" not in done.stderr
    copy = Path(shutil.copytree(bundle, tmp_path / "copy"))
    (copy / "README.txt").write_text("all is well\n")
    done = verify(script, tmp_path, copy, "--key", key)
    assert done.returncode == 1
    assert "NOT VERIFIED" in done.stdout
    assert "README.txt differs" in done.stdout
    assert "  proven:" not in done.stdout
    assert json.loads(verify(script, tmp_path, copy, "--key", key, "--json").stdout)["verified"] is False


def test_a_file_of_the_bundle_cannot_stand_in_for_a_module_of_python(place: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(place / "bundle", tmp_path / "copy"))
    (copy / "json.py").write_text("import os; os._exit(0)\n")
    done = verify(copy / "verify.py", copy, ".", "--key", place / "audit.db.pub")
    assert done.returncode == 1
    assert "json.py" in done.stdout


def test_names_in_a_bundle_reach_no_terminal(place: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(place / "bundle", tmp_path / "copy"))
    (copy / "\x1b[2J").write_text("")
    done = verify(place / "bundle" / "verify.py", tmp_path, copy, "--key", place / "audit.db.pub")
    assert done.returncode == 1
    assert "\x1b" not in done.stdout


def test_the_command_line_exports_and_verifies(place: Path, tmp_path: Path) -> None:
    ledger = place / "audit.db"
    result = run("export", tmp_path / "out", "--ledger", f"sqlite:///{ledger}", "--cite", 3, "--cite", 5, "--json")
    assert result.exit_code == 0, result.output
    shown = json.loads(result.stdout)
    assert (shown["start"], shown["end"], shown["cited"], shown["size"]) == (3, 6, 2, 9)
    assert shown["policies_missing"] == ["0" * 64]
    result = run("verify-bundle", tmp_path / "out", "--key", ledger.with_name("audit.db.pub"), "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["manifest_sha256"] == shown["manifest_sha256"]
    assert run("verify-bundle", tmp_path / "out").exit_code == 2
    assert run("export", tmp_path / "out", "--ledger", ledger).exit_code == 2
    for arguments in (
        ["--end", 100],
        ["--from", "soon"],
        ["--from", "2026-01-01", "--start", 1],
        ["--since", tmp_path / "none"],
        ["--policy", tmp_path / "none"],
    ):
        assert run("export", tmp_path / "more", "--ledger", ledger, *arguments).exit_code == 2
    result = run("export", tmp_path / "day", "--ledger", ledger, "--from", "2020-01-01", "--to", "2100-01-01")
    assert result.exit_code == 0, result.output
    assert "9 entries, from 0 to 9" in result.stdout
    assert "0" * 64 in result.stderr
    (tmp_path / "out" / "README.txt").unlink()
    assert run("verify-bundle", tmp_path / "out", "--key", ledger.with_name("audit.db.pub")).exit_code == 1
    assert not (tmp_path / "more").exists()


def test_ten_thousand_cited_entries_are_verified_within_half_a_minute(tmp_path: Path) -> None:
    with Ledger.open("sqlite:///:memory:", origin="example.com/log") as log:
        key = SessionKey({})
        log.bind("s", key)
        log.append_many({"type": "note", "session": "s", "text": "x" * 300, "n": n} for n in range(9_999))
        export_evidence(log, tmp_path / "out")
        verifier_key = log.verifier_key
    start = time.monotonic()
    done = verify(SOURCE, tmp_path, tmp_path / "out", "--key", verifier_key, "--json")
    took_s = time.monotonic() - start
    assert done.returncode == 0, done.stdout
    assert json.loads(done.stdout)["cited"] == 10_000
    assert took_s < 30
