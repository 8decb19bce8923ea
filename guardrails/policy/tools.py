"""What a policy says of a tool or an action by its name: how long it may run, how often it may be called, which arguments are shown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import TypeAlias

from guardrails.model import Limits, Rate
from guardrails.policy.binding import BoundPolicy
from guardrails.policy.schema import ArgumentMask, ToolRule

__all__ = ["Treatment", "limits_of", "rates_of", "treatments_of"]

Treatment: TypeAlias = str | ArgumentMask
"""How an argument appears: `show`, `hide`, or under a mask."""


def limits_of(policy: BoundPolicy, tool: str | None) -> Limits:
    """Returns the ceilings of a tool's calls; without a tool those of every statement."""
    seconds = [rule.seconds for rule in _rules_of(policy, tool, lambda rule: rule.seconds is not None) if rule.seconds]
    return replace(policy.limits, seconds=min(seconds)) if seconds else policy.limits


def rates_of(policy: BoundPolicy, tool: str | None) -> tuple[Rate, ...]:
    """Returns how often one principal may call a tool; every one of them holds."""
    if tool is None:
        return ()
    found = {Rate(r.calls, r.per) for r in policy.rates if any(fnmatchcase(tool, pattern) for pattern in r.tools)}
    return tuple(sorted(found, key=lambda rate: (rate.per_s, rate.calls)))


def treatments_of(policy: BoundPolicy, tool: str | None) -> dict[str, Treatment]:
    """Returns how a tool's arguments appear, by name; what is not named is up to who shows it.

    Where several globs speak of one argument, the stricter word holds: `hide` before a mask before `show`; two different masks hide.
    """
    found: dict[str, Treatment] = {}
    for rule in _rules_of(policy, tool, lambda rule: bool(rule.arguments)):
        for name, treatment in rule.arguments.items():
            found[name] = _stricter(found.get(name, "show"), treatment)
    return found


def _rules_of(policy: BoundPolicy, tool: str | None, speaks: Callable[[ToolRule], bool]) -> list[ToolRule]:
    """Returns what speaks of some matter for a tool: what stands under its own name, or else under every glob that fits."""
    if tool is None:
        return []
    own = policy.tools.get(tool)
    if own is not None and speaks(own):
        return [own]
    return [rule for pattern, rule in sorted(policy.tools.items()) if fnmatchcase(tool, pattern) and speaks(rule)]


def _stricter(one: Treatment, two: Treatment) -> Treatment:
    if one == two or one == "show":
        return two
    return one if two == "show" else "hide"
