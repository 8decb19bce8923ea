"""The page about MCP: its Python runs, its configuration starts a server, and it names what the command and the tools have."""

from __future__ import annotations

import ast
import inspect
import json
import re
import shlex
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from mcp.client.client import Client

from guardrails import Guard, Policy
from guardrails.cli.mcp import mcp
from tests.support.command_line import call
from tests.support.guarded_shop import ANA, POLICY
from tests.support.paused_shop import loopback
from tests.support.schema import make_sqlite_shop

PAGE = (Path(__file__).parents[2] / "docs" / "mcp.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with the files that the page names."""
    loopback(monkeypatch)
    monkeypatch.chdir(tmp_path)
    make_sqlite_shop(tmp_path / "shop.db")
    (tmp_path / "policy.yaml").write_text(POLICY)
    return tmp_path


async def test_the_pages_python_runs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    opened = partial(Guard.open, Policy.from_text(POLICY), database="sqlite:///shop.db", ledger="sqlite:///audit.db")
    names: dict[str, Any] = {"open_guard": opened, "ana": ANA}
    for block in blocks("python"):
        done = eval(compile(block, "mcp.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), names)
        if inspect.isawaitable(done):
            await done
    told = capsys.readouterr().out.splitlines()
    assert told[0] == "[['Ada', 'hidden']]"
    assert told[1].startswith("Refused (policy.no_rule)")
    async with Client(names["server"]) as client:
        offered = {tool.name for tool in (await client.list_tools()).tools}
        templates = (await client.list_resource_templates()).resource_templates
    assert offered == set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE))
    assert all(f"`{template.uri_template}`" in PAGE for template in templates)


def test_the_pages_configuration_starts_a_server(folder: Path) -> None:
    desktop, editor = (json.loads(block) for block in blocks("json"))
    server = desktop["mcpServers"]["shop"]
    assert server["command"] == "guardrails"
    # The client goes at once: standard input is at its end.
    done = call(*server["args"])
    assert (done.status, done.stdout) == (0, b""), done.stderr
    assert editor["servers"]["shop"]["type"] == "http"


@pytest.mark.parametrize("number", range(len(blocks("sh"))))
def test_the_pages_commands_are_understood(number: int) -> None:
    program, command, *arguments = shlex.split(blocks("sh")[number])
    assert (program, command) == ("guardrails", "mcp")
    assert mcp.make_context("mcp", arguments).params["policy_path"] == "policy.yaml"


def test_every_option_is_named() -> None:
    options = {option for parameter in mcp.params for option in parameter.opts if option.startswith("--")}
    assert {option for option in options if f"`{option}" not in PAGE and f" {option} " not in PAGE} == set()
