"""The story itself: that it tells, without a framework, and that its checks can fail."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from guardrails import ApprovalRequired, Denied, GuardrailsError
from guardrails.integrations._toolbox import reply_text
from guardrails.model import Runtime
from guardrails.testing import Conversation, Turn
from tests.support.never_runs import FORBIDDEN, Recorder, check_never_intended, nothing_runs
from tests.support.story import CALL_IDS, DELETE, DROP, READ, Story

TOLD = Runtime("none", "bot", "m", "conv", "run")


@pytest.fixture
def story(tmp_path: Path) -> Iterator[Story]:
    with Story.open(tmp_path) as opened:
        yield opened


def test_the_story_is_told(story: Story) -> None:
    with story.guard.calling(TOLD, story.ana), nothing_runs(story.database):
        with pytest.raises(Denied, match=r"policy\.no_rule"):
            story.guard.execute(DROP, tool="t", tool_call_id=CALL_IDS[0])
        story.check_masked(reply_text(story.guard.execute(READ, tool="t", tool_call_id=CALL_IDS[1])))
        with pytest.raises(ApprovalRequired):
            story.guard.execute(DELETE, tool="t", tool_call_id=CALL_IDS[2])
        check_never_intended(story.guard, CALL_IDS[0], CALL_IDS[2])
    story.approve()
    with story.reopen().calling(TOLD, story.ana):
        assert story.guard.execute(DELETE, tool="t", tool_call_id=CALL_IDS[2]).rows_changed == 1
    assert story.orders_left() == 3
    story.check_entries(framework="none", tool="t", agent="bot", model="m", conversation="conv")
    with pytest.raises(AssertionError):
        story.check_entries(framework="none", tool="t", agent="bot", model="m", conversation="other")
    with pytest.raises(AssertionError):
        check_never_intended(story.guard, CALL_IDS[2])


def test_what_is_forbidden_does_not_run(story: Story) -> None:
    recorder = Recorder(story.database)
    with nothing_runs(story.database), story.guard.calling(TOLD, story.ana):
        for sql in FORBIDDEN.values():
            with pytest.raises(GuardrailsError):
                story.guard.execute(sql)
            with pytest.raises(GuardrailsError):
                story.guard.call_tool(recorder.run_sql, {"sql": sql}, tool_call_id="c")
    assert recorder.seen == []
    check_never_intended(story.guard, "c")


def test_the_checks_can_fail(story: Story) -> None:
    with pytest.raises(AssertionError), nothing_runs(story.database):
        Recorder(story.database).run_sql(DELETE)
    with pytest.raises(AssertionError):
        story.check_masked("Ada hidden *** ada@example.com")
    with pytest.raises(AssertionError):
        story.script("t")(Conversation("?", ('{"rows": []}',)))
    assert story.script("t")(Conversation("?", ("Error: Refused (policy.no_rule): No.",))).calls[0].id == CALL_IDS[1]
    assert story.script("t", [READ])(Conversation("?", ("Ada hidden ***",))) == Turn("Ada hidden ***")
