"""The page about CrewAI and the example: their Python runs with the real framework against the scripted model."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from crewai import LLM

from guardrails.testing import ModelServer, ToolCall, Turn
from tests.support.never_runs import Recorder
from tests.support.paused_shop import loopback
from tests.support.story import READ, Story

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "crewai.md").read_text("utf-8")


def test_the_pages_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    loopback(monkeypatch)
    monkeypatch.setenv("CREWAI_STORAGE_DIR", str(tmp_path / "crew"))
    call = Turn("", (ToolCall("call_1", "run_report", {"sql": READ}),))
    with (
        Story.open(tmp_path) as story,
        ModelServer(lambda told: Turn(told.last) if told.results else call) as server,
    ):
        names = {
            "guard": story.guard,
            "ana": story.ana,
            "llm": LLM(model="openai/gpt-4o", base_url=f"{server.url}/v1", api_key="k"),
            "run_on_my_connection": Recorder(story.database).run_sql,
        }
        for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
            exec(compile(block, "crewai.md", "exec"), names)
        story.check_masked(capsys.readouterr().out)
        (entry,) = story.entries()
        assert (entry["agent"], entry["conversation"]) == ({"name": "analyst", "model": "gpt-4o"}, "42")


def test_the_example(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "examples" / "crewai_crew.py")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert [said in done.stdout for said in ("approval.required", "Refused (policy.no_rule)", '{"rows_changed":1}')] == [
        True
    ] * 3
