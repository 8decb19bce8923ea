"""The page about witnesses does what it says: its Python runs, its commands exist, the policy that it shows is one in form."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import click
import pytest

from guardrails.cli.witness import witness as group
from guardrails.errors import TamperedError
from guardrails.ledger import Ledger
from tests.support.witnesses import command, make_witness, running

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "witnesses.md").read_text("utf-8")


def test_the_python_of_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    Ledger.open("audit.db").close()
    (key,) = make_witness(tmp_path / "w", "witness.example.com/w1")
    command("add-log", "--state", tmp_path / "w", tmp_path / "audit.db.pub")
    publish, pin = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names: dict[str, object] = {}
    with running(tmp_path / "w") as served:
        log = Path("audit.db.pub").read_text().strip()
        Path("witnesses.policy").write_text(f"log {log}\nwitness ours {key} {served.url}\nquorum ours\n")
        exec(compile(publish, "witnesses.md", "exec"), names)
        shutil.copytree(tmp_path, tmp_path.parent / "backup", dirs_exist_ok=True)
        exec(compile(publish, "witnesses.md", "exec"), names)
    exec(compile(pin, "witnesses.md", "exec"), names)
    exec(compile(pin, "witnesses.md", "exec"), names)
    for file in Path().glob("audit.db*"):
        file.unlink()
    for file in (tmp_path.parent / "backup").glob("audit.db*"):
        shutil.copy(file, tmp_path)
    with pytest.raises(TamperedError, match="went back from 2 to 1"):
        exec(compile(pin, "witnesses.md", "exec"), names)


def test_the_page_names_every_command_and_option_that_it_uses() -> None:
    used = re.findall(r"^guardrails ledger witness ([a-z-]+)(.*)$", PAGE, re.MULTILINE)
    assert {name for name, _ in used} == set(group.commands)
    for name, rest in used:
        options = {o for p in group.commands[name].params if isinstance(p, click.Option) for o in p.opts}
        assert set(re.findall(r"--[a-z-]+", rest)) <= options
