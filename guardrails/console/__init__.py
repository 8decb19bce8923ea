"""The web console: pages for the people who decide, rendered by the server, which load nothing from elsewhere."""

from guardrails.console.app import create_app
from guardrails.console.context import Console
from guardrails.console.settings import ConsoleSettings

__all__ = ["Console", "ConsoleSettings", "create_app"]
