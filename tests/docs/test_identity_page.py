"""The page about identity: its Python runs, and it names every way in, option and command."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from guardrails import identity
from guardrails.cli.agents import agents
from guardrails.cli.identity_options import TokenOptions
from guardrails.identity import JwtVerifier

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "identity.md").read_text("utf-8")


def test_the_python_runs(capsys: pytest.CaptureFixture[str]) -> None:
    for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        exec(compile(block, "identity.md", "exec"), {"__name__": "page"})
    assert capsys.readouterr().out == "True\n"


def test_everything_public_is_named() -> None:
    options = set(inspect.signature(JwtVerifier).parameters) - {"issuer", "audience", "keys", "jwks", "clock_s"}
    flags = {f"--{name.replace('_', '-')}" for name in TokenOptions.__dataclass_fields__} - {"--kind", "--clients"}
    wanted = set(identity.__all__) | options | flags | {f"agents {name}" for name in agents.commands}
    assert {name for name in wanted if name not in PAGE} == set()
