"""Every example runs, and says what it is there to show."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
SAYS = {
    "action_decorator.py": ["sent", "Refused (policy.no_rule)"],
    "anthropic_messages.py": ["Refused (", "2 orders are open."],
    "approval.py": ["Refused (approval.required)", "1 row changed", "Asked again: approval.required"],
    "guard.py": ["recorded at leaf", "Refused (", "allow SELECT", "\n2\n"],
    "jwt_principal.py": ["ana jwt", "('Ada',), ('Bo',)", "Refused (identity.token_invalid)"],
    "langchain_agent.py": ["Refused (", "2 orders are open."],
    "openai_chat.py": ["Refused (", "2 orders are open."],
    "openai_responses.py": ["Refused (", "2 orders are open."],
    "sqlalchemy_engine.py": ["['customers', 'orders'] [('Ada', 1), ('Bo', 1)]", "Refused (policy.no_rule)"],
    "sqlalchemy_install.py": ["Ada\n", "hidden", "guardrails.adapters.dbapi False", "['uncommitted', 'rolled_back']"],
    "tool_decorator.py": ["'name': 'Ada'", "'n': 2", "Refused ("],
}


def test_every_example_is_listed() -> None:
    assert {path.name for path in EXAMPLES.glob("*.py")} == set(SAYS)


@pytest.mark.parametrize("name", sorted(SAYS))
def test_example(name: str) -> None:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name)], capture_output=True, text=True, timeout=120, check=False, cwd=EXAMPLES.parent
    )
    assert done.returncode == 0, done.stderr
    assert "example.com" not in done.stdout.replace("('ada@example.com', 'Your order", "")
    for text in SAYS[name]:
        assert text in done.stdout, done.stdout
