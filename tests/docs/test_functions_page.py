"""The page about functions: its Python runs against the policy that stands there, and says what comes out."""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
from pathlib import Path
from typing import Any

import pytest

from guardrails import Guard, Policy, Principal
from guardrails.codes import CODES
from tests.support.schema import make_sqlite_shop

PAGE = (Path(__file__).parents[2] / "docs" / "functions.md").read_text("utf-8")
PRINTED = """\
[{'n': 4}]
[{'name': 'Ada', 'email': '***@example.com'}]
policy.no_rule
sent
policy.no_rule ['bo@example.com']
refunded 7
shop greets Bo
[1, 2, 3]
{'arguments': ['body', 'subject', 'to'], 'name': 'email.send', 'shown': [{'as': 'show', 'name': 'subject', 'value': 'Your order'}, \
{'as': 'email', 'name': 'to', 'value': '***@example.com'}]}
['page 0', 'page 1']
limit.rows
limit.rate 2
"""


def test_the_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    make_sqlite_shop(tmp_path / "shop.db")
    (policy,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    names: dict[str, Any] = {"ana": Principal("ana@example.com"), "lee": Principal("lee@example.com", frozenset({"leads"}))}
    with Guard.open(Policy.from_text(policy), database="sqlite:///shop.db", ledger="sqlite:///audit.db") as guard:
        names["guard"] = guard
        for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
            made = eval(compile(block, "functions.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), names)
            if inspect.iscoroutine(made):
                asyncio.run(made)
    assert capsys.readouterr().out == PRINTED


def test_the_codes_are_codes_and_the_options_options() -> None:
    named = set(re.findall(r"`((?:limit|engine)\.[a-z_]+)`", PAGE))
    assert named - CODES.keys() == set()
    assert {code for code in CODES if code.startswith("limit.")} - {"limit.uncounted"} <= named
    for function in (Guard.tool, Guard.action, Guard.call_tool):
        assert "in_thread" in inspect.signature(function).parameters
