"""Every example runs, and says what it is there to show."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
TIDY = ["Refused (policy.no_rule)", '"email":"***"', 'Done: {"rows_changed":1}']
SAYS = {
    "action_decorator.py": ["sent", "Refused (policy.no_rule)", "Refused (limit.rate)", "tok_"],
    "anthropic_messages.py": TIDY,
    "anthropic_runner.py": ['Done: {"rows_changed":1}'],
    "approval.py": ["Refused (approval.required)", "1 row changed", "Asked again: approval.required"],
    "guard.py": ["recorded at leaf", "Refused (", "allow SELECT", "\n2\n"],
    "jwt_principal.py": ["ana jwt", "('Ada',), ('Bo',)", "Refused (identity.token_invalid)"],
    "langchain_agent.py": [
        "Refused (sql.",
        '"hidden"',
        "Refused (policy.no_rule): No rule allows the action",
        "2 orders are open",
    ],
    "langgraph_approval.py": ["It waits for leads", 'Done: {"rows_changed":1}'],
    "openai_chat.py": TIDY,
    "openai_responses.py": TIDY,
    "mcp_server.py": [
        "Refused (policy.no_rule)",
        '"rows":[["Ada","hidden"],["Bo","hidden"]]',
        "Refused (approval.required)",
        '"rows_changed":1',
    ],
    "llama_index_agent.py": ["waits: delete", "Refused (policy.no_rule)", '{"rows_changed":1}'],
    "openai_agents.py": ["Refused (policy.no_rule)", "cleaner waits: delete", 'Deleted: {"rows_changed":1}'],
    "mcp_gateway.py": ["Offered before: []", "Offered after: ['run_query']", "Refused (policy.no_rule)", "[('Ada', 'hidden')]"],
    "pydantic_ai_agent.py": ["waits: delete", "Refused (policy.no_rule)", 'Deleted: {"rows_changed":1}'],
    "sqlalchemy_engine.py": ["['customers', 'orders'] [('Ada', 1), ('Bo', 1)]", "Refused (policy.no_rule)"],
    "sqlalchemy_install.py": ["Ada\n", "hidden", "guardrails.adapters.dbapi False", "['uncommitted', 'rolled_back']"],
    "tool_decorator.py": ["'name': 'Ada'", "'n': 2", "Refused ("],
}

APART = {"crewai_crew.py"}
"""Run where their framework is: `tests/isolated`."""


def test_every_example_is_listed() -> None:
    assert {path.name for path in EXAMPLES.glob("*.py")} == set(SAYS) | APART


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_an_example_fits_a_screen(path: Path) -> None:
    assert len(path.read_text("utf-8").splitlines()) <= 60


@pytest.mark.parametrize("name", sorted(SAYS))
def test_example(name: str) -> None:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name)], capture_output=True, text=True, timeout=120, check=False, cwd=EXAMPLES.parent
    )
    assert done.returncode == 0, done.stderr
    assert "example.com" not in done.stdout.replace("('ada@example.com', 'Your order", "")
    for text in SAYS[name]:
        assert text in done.stdout, done.stdout
