"""Options that `check` and `run` share: the policy, who asks, through which agent and why."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, get_args

import click

from guardrails.errors import UsageError
from guardrails.model import DialectName, Principal

__all__ = ["DIALECTS", "asking_options", "principal_from"]

C = TypeVar("C", bound=Callable[..., Any])

DIALECTS = ", ".join(get_args(DialectName))
"""The dialects' names, for help texts."""
_ANONYMOUS = "anonymous"


def asking_options(command: C) -> C:
    """Adds the statements and the options that say under which policy and for whom they are judged."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    click.argument("statements", nargs=-1, metavar="[SQL]..."),
    click.option("--policy", "policy_path", required=True, metavar="FILE", help="The policy file."),
    click.option("--jsonl", "is_jsonl", is_flag=True, help='Read {"sql", "params", "id"} from standard input, one a line.'),
    click.option("--principal", "principal_id", metavar="ID", help="Who asks; recorded as unverified."),
    click.option("--group", "groups", multiple=True, metavar="GROUP", help="A group of the principal; may be repeated."),
    click.option("--principal-json", metavar="JSON", help='The principal as {"id", "groups", "attributes"}.'),
    click.option("--purpose", metavar="NAME", help="The declared purpose."),
    click.option("--agent", metavar="NAME", help="The agent's name."),
    click.option("--json", "is_json", is_flag=True, help="Write JSON; this command always does, one object a line."),
)


def principal_from(principal_id: str | None, groups: Sequence[str], principal_json: str | None) -> Principal:
    """Builds the principal from the options.

    Raises:
        UsageError: The options contradict each other or the JSON is not of the expected form (usage.input_invalid).
    """
    if principal_json is None:
        return Principal(_valid_id(_ANONYMOUS if principal_id is None else principal_id), frozenset(groups))
    if principal_id is not None or groups:
        raise UsageError("usage.input_invalid", "Give --principal-json or --principal with --group, not both.")
    try:
        fields = json.loads(principal_json)
    except (ValueError, RecursionError) as error:
        raise UsageError("usage.input_invalid", "--principal-json is not valid JSON.") from error
    if not isinstance(fields, dict) or not isinstance(fields.get("id"), str):
        raise UsageError("usage.input_invalid", '--principal-json must be an object with a text under "id".')
    unknown = fields.keys() - {"id", "groups", "attributes"}
    if unknown:
        raise UsageError("usage.input_invalid", f"--principal-json has the unknown key {sorted(unknown)[0]!r}.")
    listed, attributes = fields.get("groups", []), fields.get("attributes", {})
    if not isinstance(listed, list) or not all(isinstance(group, str) for group in listed):
        raise UsageError("usage.input_invalid", 'In --principal-json "groups" must be a list of texts.')
    if not isinstance(attributes, dict):
        raise UsageError("usage.input_invalid", 'In --principal-json "attributes" must be an object.')
    return Principal(_valid_id(fields["id"]), frozenset(listed), attributes)


def _valid_id(text: str) -> str:
    if not text.strip():
        raise UsageError("identity.principal_invalid", "The principal has no id.")
    return text
