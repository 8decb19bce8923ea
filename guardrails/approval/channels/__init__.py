"""Ways to tell and ask people beside the terminal, and all ways by name."""

from guardrails.approval.channels.console import ConsoleChannel
from guardrails.approval.channels.registry import ChannelFactory, ChannelSettings, channel_names, open_channel, open_channels
from guardrails.approval.channels.signing import new_webhook_secret
from guardrails.approval.channels.slack import SlackChannel
from guardrails.approval.channels.webhook import WebhookChannel

__all__ = [
    "ChannelFactory",
    "ChannelSettings",
    "ConsoleChannel",
    "SlackChannel",
    "WebhookChannel",
    "channel_names",
    "new_webhook_secret",
    "open_channel",
    "open_channels",
]
