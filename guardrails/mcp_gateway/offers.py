"""What the gateway offers: the upstream servers' definitions as accepted, under the names that clients see, and the state of all others.

A definition is offered only where somebody has accepted exactly it. One that is new, has changed, is listed twice, or would take the
place of another under the same name is known here so that a call of it can be refused with its reason, and is never listed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal, TypeAlias

from guardrails.mcp_gateway.config import GatewayConfig, ToolRule, UpstreamConfig
from guardrails.mcp_gateway.definitions import Definition, DefinitionKey
from guardrails.mcp_gateway.lock import Acceptance

__all__ = ["Offer", "Offers", "State", "offers_of", "shown_name"]

State: TypeAlias = Literal["accepted", "unknown", "changed", "clashing", "hidden"]

_PLAIN_RULE = ToolRule()


@dataclass(frozen=True, slots=True)
class Offer:
    """One definition, the name under which clients see it, and whether they do.

    Args:
        shown: The name.
        definition: From the upstream.
        state: ``accepted``: it is offered; ``unknown``: nobody has accepted it; ``changed``: another one was accepted;
            ``clashing``: others have the same name; ``hidden``: the configuration leaves it out.
        rule: What the configuration says of the tool.
    """

    shown: str
    definition: Definition
    state: State
    rule: ToolRule = _PLAIN_RULE

    @property
    def key(self) -> DefinitionKey:
        return self.definition.key

    @property
    def action(self) -> str:
        """The name by which the policy's rules name it."""
        return str(self.key)


class Offers:
    """All offers at one time."""

    def __init__(self, offers: Iterable[Offer]) -> None:
        self.all = tuple(offers)

    def accepted(self, kind: str) -> list[Offer]:
        """Returns what is offered of one kind, by name."""
        found = [offer for offer in self.all if offer.key.kind == kind and offer.state == "accepted"]
        return sorted(found, key=lambda offer: offer.shown)

    def named(self, kind: str, shown: str) -> list[Offer]:
        """Returns what has a name, whether it is offered or not; nothing of what the configuration leaves out."""
        return [offer for offer in self.all if offer.key.kind == kind and offer.shown == shown and offer.state != "hidden"]

    @property
    def digest(self) -> frozenset[tuple[str, str, str]]:
        """What of them a client sees, to tell whether it has changed."""
        return frozenset((o.key.kind, o.shown, o.definition.digest) for o in self.all if o.state == "accepted")


def offers_of(
    config: GatewayConfig,
    listed: Iterable[Definition],
    accepted: Mapping[DefinitionKey, Acceptance],
    is_recorded: Callable[[Acceptance], bool],
) -> Offers:
    """Judges what the upstreams list.

    Args:
        config: Names what may be used, and how it is called.
        listed: From all upstreams.
        accepted: What the lock file says.
        is_recorded: Tells whether the ledger says the same.
    """
    offers = [_offer(config, definition, accepted.get(definition.key), is_recorded) for definition in listed]
    names = Counter((offer.key.kind, offer.shown) for offer in offers if offer.state == "accepted")
    clashing = {name for name, count in names.items() if count > 1 and name[0] != "instructions"}
    return Offers(
        Offer(o.shown, o.definition, "clashing", o.rule) if o.state == "accepted" and (o.key.kind, o.shown) in clashing else o
        for o in offers
    )


def shown_name(config: GatewayConfig, key: DefinitionKey) -> str:
    """Returns the name under which clients see a definition."""
    rule = config.upstreams[key.upstream].tools.get(key.name) if key.kind == "tool" else None
    if rule is not None and rule.name is not None:
        return rule.name
    return f"{key.upstream}_{key.name}" if config.is_prefixed else key.name


def _offer(
    config: GatewayConfig, definition: Definition, acceptance: Acceptance | None, is_recorded: Callable[[Acceptance], bool]
) -> Offer:
    key = definition.key
    upstream = config.upstreams[key.upstream]
    rule = upstream.tools.get(key.name, _PLAIN_RULE) if key.kind == "tool" else _PLAIN_RULE
    return Offer(shown_name(config, key), definition, _state(upstream, definition, acceptance, is_recorded), rule)


def _state(
    upstream: UpstreamConfig, definition: Definition, acceptance: Acceptance | None, is_recorded: Callable[[Acceptance], bool]
) -> State:
    if not _is_wanted(upstream, definition.key):
        return "hidden"
    if acceptance is None or not is_recorded(acceptance):
        return "unknown"
    return "accepted" if acceptance.definition.digest == definition.digest else "changed"


def _is_wanted(upstream: UpstreamConfig, key: DefinitionKey) -> bool:
    match key.kind:
        case "tool":
            return _fits(key.name, upstream.only or ("*",)) and not _fits(key.name, upstream.hide)
        case "prompt":
            return _fits(key.name, upstream.prompts)
    return True


def _fits(name: str, globs: Iterable[str]) -> bool:
    return any(fnmatchcase(name, glob) for glob in globs)
