"""The front door: public names, what importing costs, and another package of the same name."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import guardrails


def test_every_public_name_is_there() -> None:
    for name in guardrails.__all__:
        assert getattr(guardrails, name) is not None
        assert name in dir(guardrails)
    with pytest.raises(AttributeError):
        guardrails.nothing  # noqa: B018  the access is what is tested


def test_importing_imports_nothing_else() -> None:
    code = "import sys, guardrails; print([m for m in sys.modules if m.startswith(('guardrails.', 'sqlglot', 'sqlalchemy'))])"
    assert _python(code).stdout.strip() == "[]"


def test_integrations_import_only_their_own_client() -> None:
    code = (
        "import sys, guardrails.integrations.openai, guardrails.integrations.anthropic, guardrails.integrations.sqlalchemy;"
        "print([m for m in ('openai', 'anthropic', 'langchain_core') if m in sys.modules])"
    )
    assert _python(code).stdout.strip() == "[]"


def test_a_package_of_the_same_name_is_refused(tmp_path: Path) -> None:
    info = tmp_path / "guardrails_ai-0.9.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: guardrails-ai\nVersion: 0.9.0\n")
    done = _python(f"import sys; sys.path.append({str(tmp_path)!r}); import guardrails")
    assert done.returncode == 1
    assert "ImportError" in done.stderr
    assert "guardrails-ai" in done.stderr
    assert "guardrails-sql" in done.stderr


def _python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
