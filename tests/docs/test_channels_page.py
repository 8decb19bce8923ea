"""The page about channels: its Python runs with the real frameworks, and its tables name what there is."""

from __future__ import annotations

import ast
import inspect
import json
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, get_args

import pytest
from agents import OpenAIResponsesModel, set_trace_processors
from openai import AsyncOpenAI
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

from guardrails import Guard, Policy
from guardrails.approval import ApprovalStore, Notice
from guardrails.approval.channels import ChannelSettings, new_webhook_secret
from guardrails.approval.channels.registry import _OURS
from guardrails.approval.channels.signing import WebhookSigner
from guardrails.approval.channels.webhook import webhook_body
from guardrails.approval.notice import NoticeKind
from guardrails.model import ApprovalRequest, ApprovalTerms
from tests.support.guarded_shop import ANA, POLICY
from tests.support.paused_shop import lead, loopback, model

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "channels.md").read_text("utf-8")
NOW = int(time.time())
REQUEST = ApprovalRequest("r1", "d", "ana@example.com", None, None, "s", "delete", ApprovalTerms(("leads",)), NOW, NOW + 86_400)


@pytest.fixture
def names(sqlite_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """What the page's blocks take for granted."""
    loopback(monkeypatch)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GUARDRAILS_WEBHOOK_SECRET", new_webhook_secret())
    monkeypatch.setenv("SLACK_URL", "https://chat.example.com/secret")
    set_trace_processors([])
    secret = new_webhook_secret()
    body = webhook_body(Notice.of_request(REQUEST), "https://console.example.com")
    with (
        model("DELETE FROM orders WHERE id = 2") as second,
        model("DELETE FROM orders WHERE id = 3") as third,
    ):
        yield {
            "open_guard": partial(
                Guard.open, Policy.from_text(POLICY), database=f"sqlite:///{sqlite_path}", ledger="sqlite:///audit.db"
            ),
            "ana": ANA,
            "lea": lead(),
            "secret": secret,
            "body": body,
            "headers": WebhookSigner([secret]).headers("msg_1", int(datetime.now(UTC).timestamp()), body),
            "pydantic_ai_model": OpenAIChatModel("m", provider=OpenAIProvider(base_url=second, api_key="k")),
            "agents_model": OpenAIResponsesModel("m", AsyncOpenAI(base_url=third, api_key="k")),
            "page": lambda target, facts: print(target, facts["request"]),
        }


async def test_the_pages_python_runs(names: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        code = compile(block, "channels.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        done = eval(code, names)
        if inspect.isawaitable(done):
            await done
    names["PagerChannel"]("team-a", ChannelSettings.from_environment(ApprovalStore.open("sqlite:///audit.db"))).ask(REQUEST)
    told = capsys.readouterr().out.splitlines()
    assert told[1].startswith("delete and select; writes orders.")
    assert told == [
        "approval.requested https://console.example.com/requests/r1",
        told[1],
        "{'changed': 1}",
        '{"rows_changed":1}',
        '{"rows_changed":1}',
        "team-a r1",
    ]


def test_the_tables_name_what_there_is() -> None:
    for name in _OURS:
        assert re.search(rf"^\| .*`{name}[`+]", PAGE, re.MULTILINE), name
    for kind in get_args(NoticeKind):
        assert f"| `{kind}` |" in PAGE
    source = inspect.getsource(ChannelSettings)
    assert {variable for variable in re.findall(r"GUARDRAILS_[A-Z_]+", source) if f"| `{variable}` |" not in PAGE} == set()


def test_the_sample_of_a_message_has_the_fields_of_one() -> None:
    (sample,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    shown, sent = json.loads(sample), json.loads(webhook_body(Notice.of_request(REQUEST), "https://console.example.com"))
    assert shown.keys() == sent.keys()
    assert sent["data"].keys() <= shown["data"].keys()
