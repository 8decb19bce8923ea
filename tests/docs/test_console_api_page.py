"""The page about the API lists every operation and every colour, and its program runs against a console."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest

from guardrails.console import Console
from guardrails.console.api import OPERATIONS
from guardrails.console.colouring import Fate
from guardrails.console.settings import ConsoleSettings
from tests.support.console_api import open_console, token
from tests.support.console_demo import serve

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "console-api.md").read_text("utf-8")


def test_every_operation_is_listed_with_its_role() -> None:
    listed = set(re.findall(r"`(GET|POST) (/[^`]+)`", PAGE))
    assert listed == {(operation.method, operation.path) for operation in OPERATIONS}


def test_every_colour_is_explained() -> None:
    assert [fate for fate in get_args(Fate) if f"\n| {fate} |" not in PAGE] == []


def test_the_program_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)[0]
    with open_console(tmp_path) as working:

        def at(address: str) -> Console:
            return replace(working.console, settings=ConsoleSettings(address))

        with serve(at) as address:
            exec(compile(program, "console-api.md", "exec"), {"console": address, "token": token("ana")})
    printed = capsys.readouterr().out
    assert "ana@example.com" in printed
    assert "1 of 2" in printed
    assert "allow {'email': 'masked', 'name': 'read'}" in printed
