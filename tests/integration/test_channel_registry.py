"""Channels by name: ours, those of other packages, and settings from the environment."""

from __future__ import annotations

import io
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from guardrails.approval import ApprovalStore, Channel, PendingChannel, TerminalChannel, WaitingChannel
from guardrails.approval.channels import (
    ChannelSettings,
    ConsoleChannel,
    SlackChannel,
    WebhookChannel,
    channel_names,
    new_webhook_secret,
    open_channel,
    open_channels,
)
from guardrails.errors import UsageError
from guardrails.model import ApprovalRequest, ApprovalTerms, Principal

LEA = Principal("lea@example.com", frozenset({"leads"}))
PACKAGE = """
class Pager:
    def __init__(self, target, settings):
        self.target, self.settings = target, settings
    def ask(self, request):
        return None
nothing = 3
"""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ApprovalStore]:
    with ApprovalStore.open(f"sqlite:///{tmp_path / 'audit.db'}") as opened:
        yield opened


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with an installed package that has channels."""
    (tmp_path / "pager.py").write_text(PACKAGE)
    information = tmp_path / "pager-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: pager\nVersion: 1.0\n")
    points = "pager = pager:Pager\nwait = pager:Pager\nbroken = pager:missing\nnothing = pager:nothing\n"
    (information / "entry_points.txt").write_text(f"[guardrails.channels]\n{points}")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    sys.modules.pop("pager", None)


def test_ours(store: ApprovalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHAT", "https://chat.example.com/secret")
    settings = ChannelSettings(store, LEA, "https://console.example.com", (new_webhook_secret(),))
    kinds: dict[str, type] = {
        "console": ConsoleChannel,
        "console+http://127.0.0.1:8600": ConsoleChannel,
        "terminal": TerminalChannel,
        "wait": WaitingChannel,
        "pending": PendingChannel,
        "webhook+https://ops.example.com/hook": WebhookChannel,
        "slack+env:CHAT": SlackChannel,
    }
    for name, kind in kinds.items():
        assert isinstance(open_channel(name, settings), kind)
    assert channel_names()[:6] == ("console", "terminal", "wait", "pending", "webhook", "slack")
    assert "whsec_" not in repr(settings)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "nobody",
        "wait+x",
        "pending+x",
        "terminal",
        "console",
        "webhook+https://a.example",
        "webhook",
        "slack",
        "slack+env:NO",
        "+",
    ],
)
def test_what_is_missing_is_said(store: ApprovalStore, name: str) -> None:
    with pytest.raises(UsageError):
        open_channel(name, ChannelSettings(store))


def test_other_packages_add_channels(store: ApprovalStore, packages: Path) -> None:
    settings = ChannelSettings(store)
    added = open_channel("pager+team-a", settings)
    assert (type(added).__name__, added.target, added.settings) == ("Pager", "team-a", settings)  # type: ignore[attr-defined]
    assert isinstance(open_channel("wait", settings), WaitingChannel), "ours cannot be replaced"
    assert {"pager", "broken", "nothing"} <= set(channel_names())
    for name in ("broken", "nothing"):
        with pytest.raises(UsageError, match=name):
            open_channel(name, settings)


def test_two_packages_of_one_name_are_refused(store: ApprovalStore, packages: Path) -> None:
    information = packages / "other-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text("[guardrails.channels]\npager = other:Pager\n")
    with pytest.raises(UsageError, match="Several packages"):
        open_channel("pager", ChannelSettings(store))


def test_channels_may_be_given_as_they_are(store: ApprovalStore) -> None:
    waiting: Channel = WaitingChannel(store)
    settings = ChannelSettings(store)
    assert open_channels(waiting, settings) is waiting
    assert open_channels([waiting], settings) is waiting
    assert isinstance(open_channels("pending", settings), PendingChannel)
    with pytest.raises(UsageError):
        open_channels([], settings)


def test_settings_come_from_the_environment(store: ApprovalStore) -> None:
    secrets = new_webhook_secret(), new_webhook_secret()
    environment = {"GUARDRAILS_CONSOLE_URL": "https://c.example", "GUARDRAILS_WEBHOOK_SECRET": " ".join(secrets)}
    found = ChannelSettings.from_environment(store, environment=environment)
    assert (found.console_url, found.secrets) == ("https://c.example", secrets)
    empty = ChannelSettings.from_environment(store, environment={})
    assert (empty.console_url, empty.secrets) == (None, ())


def test_the_console_channel_says_where_and_waits(store: ApprovalStore) -> None:
    now = int(time.time())
    asked = ApprovalRequest("r1", "d1", "ana\x1b@example.com", None, None, "s", "", ApprovalTerms(), now, now + 60)
    store.submit(asked)
    said = io.StringIO()
    channel = ConsoleChannel(store, "https://console.example.com/", console=Console(file=said))
    timer = threading.Timer(0.1, store.approve, (asked.id, LEA, "fine", now))
    timer.start()
    assert channel.ask(asked) is None
    timer.join()
    assert said.getvalue() == "ana\\x1b@example.com waits for approval: https://console.example.com/requests/r1\n"
    assert store.status("r1", now=now).state == "approved"
