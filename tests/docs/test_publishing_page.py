"""The page about publishing: its Python runs, and it names the commands' options as they are."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from guardrails.cli.publish import mirror, monitor, publish, serve

PAGE = (Path(__file__).parents[2] / "docs" / "publishing.md").read_text("utf-8")
COMMANDS: dict[str, click.Command] = {"mirror": mirror, "monitor": monitor, "publish": publish, "serve": serve}


# The ledger offers its tiles from the store's next version on.
def test_the_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    (block,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(compile(block, "publishing.md", "exec"), {"__name__": "page"})
    assert capsys.readouterr().out == "300 5\n300\n"


def test_the_commands_are_those_that_there_are() -> None:
    for name, rest in re.findall(r"^\$ guardrails ledger (\w+) (.*?)(?:#.*)?$", PAGE, re.MULTILINE):
        context = COMMANDS[name].make_context(name, rest.split(), resilient_parsing=True)
        assert not context.args
        known = {option for parameter in COMMANDS[name].params for option in parameter.opts}
        assert {word for word in rest.split() if word.startswith("--")} <= known
    options = {option for c in COMMANDS.values() for p in c.params for option in p.opts if option.startswith("--")}
    assert set(re.findall(r"--[a-z][a-z-]+", PAGE)) <= options
    assert options - set(re.findall(r"--[a-z][a-z-]+", PAGE)) == {"--host"}
