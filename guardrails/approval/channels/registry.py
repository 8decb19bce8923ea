"""Channels by name, so that a setting can say how people are asked; packages add their own by entry point.

A name is a word, and what it is given stands after a plus sign: ``wait``, ``webhook+https://ops.example.com/approvals``. An address that
is a secret can stand in an environment variable: ``slack+env:SLACK_URL``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path
from typing import TypeAlias

from guardrails.approval.channel import Channel, ChannelGroup, PendingChannel, WaitingChannel
from guardrails.approval.channels.console import ConsoleChannel
from guardrails.approval.channels.slack import SlackChannel
from guardrails.approval.channels.webhook import WebhookChannel
from guardrails.approval.store import ApprovalStore
from guardrails.approval.terminal import TerminalChannel
from guardrails.errors import UsageError
from guardrails.model import Principal

__all__ = ["ENTRY_POINTS", "ChannelFactory", "ChannelSettings", "channel_names", "open_channel", "open_channels"]

ENTRY_POINTS = "guardrails.channels"
"""The group of entry points in which a package names its channels."""


@dataclass(frozen=True, slots=True)
class ChannelSettings:
    """What channels may need.

    Args:
        store: The requests and their answers.
        approver: Who sits at the terminal.
        console_url: Where the web console is.
        secrets: To sign webhooks with.
        outbox: The file in which messages wait until they are delivered; None keeps them in memory.
        timeout_s: Seconds for which channels that wait do so.
    """

    store: ApprovalStore
    approver: Principal | None = None
    console_url: str | None = None
    secrets: tuple[str, ...] = field(default=(), repr=False)
    outbox: Path | None = None
    timeout_s: float = 300

    @classmethod
    def from_environment(
        cls, store: ApprovalStore, *, outbox: Path | None = None, environment: Mapping[str, str] = os.environ
    ) -> ChannelSettings:
        """Reads ``GUARDRAILS_CONSOLE_URL``, and ``GUARDRAILS_WEBHOOK_SECRET``: one secret, or several with blanks between."""
        return cls(
            store,
            console_url=environment.get("GUARDRAILS_CONSOLE_URL") or None,
            secrets=tuple(environment.get("GUARDRAILS_WEBHOOK_SECRET", "").split()),
            outbox=outbox,
        )


ChannelFactory: TypeAlias = Callable[[str, ChannelSettings], Channel]
"""Makes a channel of what stands after its name and the plus sign, or of an empty text; what an entry point leads to."""


def open_channel(name: str, settings: ChannelSettings) -> Channel:
    """Opens a channel by its name.

    Args:
        name: Such as ``console``, ``terminal``, ``wait``, ``pending``, ``webhook+https://…``, ``slack+https://…`` or
            ``slack+env:VARIABLE``, or one that a package has added.
        settings: What it may need.

    Raises:
        UsageError: There is no such channel, it lacks something, or its package is broken (usage.input_invalid).
    """
    word, _, target = name.partition("+")
    factory = _OURS.get(word) or _added(word)
    if factory is None:
        known = ", ".join(channel_names())
        raise UsageError("usage.input_invalid", f"There is no approval channel {word[:60]!r}.", hint=f"There are: {known}.")
    return factory(_resolved(target), settings)


def open_channels(names: str | Channel | Iterable[str | Channel], settings: ChannelSettings) -> Channel:
    """Opens one channel or several as one, given by name or as they are. Raises as `open_channel`."""
    if isinstance(names, str):
        return open_channel(names, settings)
    if not isinstance(names, Iterable):
        return _required(names)
    opened = [open_channel(name, settings) if isinstance(name, str) else _required(name) for name in names]
    if not opened:
        raise UsageError("usage.input_invalid", "No approval channel is given.")
    return opened[0] if len(opened) == 1 else ChannelGroup(opened)


def _required(given: Channel) -> Channel:
    """Refuses what nobody could be asked through, before the first call needs it."""
    if isinstance(given, type) or not callable(getattr(given, "ask", None)):
        kind = given.__name__ if isinstance(given, type) else type(given).__name__
        raise UsageError("usage.input_invalid", f"{kind} is no approval channel.", hint="Give a channel, or the name of one.")
    return given


def channel_names() -> tuple[str, ...]:
    """Returns the names of all channels, ours first."""
    added = sorted({point.name for point in entry_points(group=ENTRY_POINTS)} - set(_OURS))
    return (*_OURS, *added)


def _added(word: str) -> ChannelFactory | None:
    """Finds a channel of another package; ours cannot be replaced by one of the same name."""
    found = list(entry_points(group=ENTRY_POINTS, name=word))
    if not found:
        return None
    if len({point.value for point in found}) > 1:
        raise UsageError("usage.input_invalid", f"Several packages have an approval channel {word!r}.")
    try:
        factory = found[0].load()
    except Exception as error:
        evidence = {"error": f"{type(error).__name__}: {error}"}
        raise UsageError(
            "usage.input_invalid", f"The approval channel {word!r} cannot be loaded.", evidence=evidence
        ) from error
    if not callable(factory):
        raise UsageError("usage.input_invalid", f"The approval channel {word!r} is not a function that makes one.")
    made: ChannelFactory = factory
    return made


def _resolved(target: str) -> str:
    if not target.startswith("env:"):
        return target
    variable = target.removeprefix("env:")
    found = os.environ.get(variable)
    if not found:
        raise UsageError("usage.input_invalid", f"The environment variable {variable!r} is not set.")
    return found


def _terminal(target: str, settings: ChannelSettings) -> Channel:
    _require_no_target("terminal", target)
    if settings.approver is None:
        raise UsageError("usage.input_invalid", "The channel `terminal` needs to know who sits there.")
    return TerminalChannel(settings.approver)


def _console(target: str, settings: ChannelSettings) -> Channel:
    url = target or settings.console_url
    if not url:
        raise UsageError(
            "usage.input_invalid", "The channel `console` needs the console's address.", hint="Set GUARDRAILS_CONSOLE_URL."
        )
    return ConsoleChannel(settings.store, url, timeout_s=settings.timeout_s)


def _wait(target: str, settings: ChannelSettings) -> Channel:
    _require_no_target("wait", target)
    return WaitingChannel(settings.store, timeout_s=settings.timeout_s)


def _pending(target: str, _: ChannelSettings) -> Channel:
    _require_no_target("pending", target)
    return PendingChannel()


def _webhook(target: str, settings: ChannelSettings) -> Channel:
    return WebhookChannel(
        target, settings.secrets, console_url=settings.console_url, outbox=settings.outbox, store=settings.store
    )


def _slack(target: str, settings: ChannelSettings) -> Channel:
    return SlackChannel(target, console_url=settings.console_url, outbox=settings.outbox, store=settings.store)


def _require_no_target(word: str, target: str) -> None:
    if target:
        raise UsageError("usage.input_invalid", f"The channel `{word}` takes nothing after its name.")


_OURS: Mapping[str, ChannelFactory] = {
    "console": _console,
    "terminal": _terminal,
    "wait": _wait,
    "pending": _pending,
    "webhook": _webhook,
    "slack": _slack,
}
