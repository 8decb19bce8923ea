"""The page about the approvals' state: its Python runs, and it names every state, table, command and kind of entry."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from guardrails.approval import recording
from guardrails.approval.schema import Tables
from guardrails.approval.status import STATES
from guardrails.cli.approvals import approvals

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "approvals-state.md").read_text("utf-8")


def test_the_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (example,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(compile(example, "approvals-state.md", "exec"), {})


def test_every_state_command_and_table_is_named() -> None:
    assert all(state in PAGE for state in STATES)
    assert {name for name in approvals.commands if not re.search(rf"guardrails approvals {name}\b|\b{name} RE", PAGE)} == set()
    assert all(f"`{table}`" in PAGE for table in Tables(None).metadata.tables)


def test_every_command_s_option_exists() -> None:
    (block,) = re.findall(r"```\n(guardrails approvals list.*?)```", PAGE, re.DOTALL)
    for line in block.splitlines():
        name = line.split()[2]
        known = {option for parameter in approvals.commands[name].params for option in parameter.opts}
        assert set(re.findall(r"--[a-z-]+", line.split("#")[0])) <= known


def test_every_entry_of_approvals_is_in_the_ledger_s_page() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "ledger.md").read_text("utf-8")
    kinds = [value for name, value in vars(recording).items() if name.isupper() and isinstance(value, str)]
    assert len(kinds) == 7
    assert all(f"`{kind}`" in page for kind in kinds)
