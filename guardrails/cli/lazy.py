"""A group of commands that are imported when they are called, so that the group itself starts at once."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import NamedTuple

import click

from guardrails.errors import UsageError

__all__ = ["Command", "LazyGroup"]


class Command(NamedTuple):
    """Where a command lives, as `module:name`, and what `--help` says of it without importing it."""

    target: str
    help: str


class LazyGroup(click.Group):
    """A group that knows its commands by name and imports the one that is called.

    Args:
        lazy: The commands by name.
    """

    def __init__(self, *arguments: object, lazy: Mapping[str, Command], **options: object) -> None:
        super().__init__(*arguments, **options)  # type: ignore[arg-type] # whatever click's own group takes
        self.lazy = lazy

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  click's signature
        return sorted(self.lazy)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  click's signature
        if cmd_name not in self.lazy:
            return None
        module, _, name = self.lazy[cmd_name].target.partition(":")
        command = getattr(importlib.import_module(module), name)
        if not isinstance(command, click.Command):
            raise UsageError("usage.bug", f"The command {cmd_name} is not a command.")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, self.lazy[name].help) for name in self.list_commands(ctx)])
