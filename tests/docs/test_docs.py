"""The documentation says what the code does: generated pages, codes, policy keys, the README's Python."""

from __future__ import annotations

import re
import runpy
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from guardrails.codes import CODES
from guardrails.policy import PolicyFile

ROOT = Path(__file__).resolve().parents[2]
PAGES = runpy.run_path(str(ROOT / "tools" / "generate_docs.py"))["PAGES"]
CODE = re.compile(r'"((?:usage|sql|policy|mask|approval|identity|install|engine|limit|ledger|preview|mcp)\.[a-z_]+)"')


@pytest.mark.parametrize("name", PAGES)
def test_generated_pages_are_current(name: str) -> None:
    assert (ROOT / "docs" / name).read_text("utf-8") == PAGES[name](), "run `python3 dev.py docs`"


def test_every_code_is_in_the_catalogue() -> None:
    used = {
        code
        for file in (ROOT / "guardrails").rglob("*.py")
        if file.name != "codes.py"
        for code in CODE.findall(file.read_text("utf-8"))
    }
    others = {
        "approval.requested",
        "approval.decided",
        "approval.used",
        "approval.forgotten",
        "policy.yaml",
        "policy.html",
        "ledger.html",
        "preview.html",
        "identity.token",
        "mcp.session",
        "mcp.refusal",
    }  # kinds of entries, files, the beginning of codes
    assert used - set(CODES) - others == set()
    assert set(CODES) - used == set(), "a code that nothing raises"


def test_every_policy_key_is_documented() -> None:
    schema = PolicyFile.model_json_schema(by_alias=True)
    page = (ROOT / "docs" / "policy.md").read_text("utf-8")
    keys = set(schema["properties"]) | {k for d in schema["$defs"].values() for k in d.get("properties", {})}
    assert {k for k in keys if not re.search(rf"\b{k}\b", page)} == set()


def test_readme_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    (policy,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    (tmp_path / "policy.yaml").write_text(policy, "utf-8")
    with closing(sqlite3.connect(tmp_path / "shop.db")) as database:
        database.executescript(
            "CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT, email TEXT, ssn TEXT);"
            "CREATE TABLE orders (id INTEGER PRIMARY KEY, customer_id INTEGER, status TEXT, region TEXT);"
            "INSERT INTO customers VALUES (7, 'Grace', 'grace@example.com', '123-45-6789');"
            "INSERT INTO orders VALUES (3, 7, 'open', 'EU'), (4, 7, 'open', 'US');"
        )
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "readme"}
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(compile(block, "README.md", "exec"), names)
    shown = capsys.readouterr().out
    assert "tok_" in shown
    assert "policy.no_rule" in shown
    assert "('Grace', '***')" in shown
    assert "grace@example.com" not in shown
    assert "123-45-6789" not in shown
    with closing(sqlite3.connect(tmp_path / "shop.db")) as database:
        assert database.execute("SELECT status FROM orders WHERE id = 3").fetchone() == ("refunded",)


def test_readme_names_the_commands_that_ci_runs() -> None:
    readme, ci = ((ROOT / name).read_text("utf-8") for name in ("README.md", ".ci/run"))
    assert "python3 dev.py demo" in readme
    assert "python3 dev.py test" in readme
    assert "python3 dev.py test" in ci
