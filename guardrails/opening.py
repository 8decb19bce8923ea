"""What a guard needs beside its database and its ledger, opened together: where people answer, how they are asked, and mask keys."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from guardrails.approval import ApprovalDesk, ApprovalStore, Channel
from guardrails.approval.place import Place
from guardrails.asking import Approvals
from guardrails.errors import UsageError
from guardrails.ledger import Ledger
from guardrails.ledger.location import Location
from guardrails.masking import MaskKeyring, open_keyring
from guardrails.rates import RateCounter

__all__ = ["Asked", "Surroundings", "open_surroundings"]

Asked: TypeAlias = str | Channel | Iterable[str | Channel] | None
"""How people are asked: a channel or its name, several, or none."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The approvals of a guard, the keys of its masks, and the counts of calls."""

    approvals: Approvals
    keyring: MaskKeyring
    rates: RateCounter


def open_surroundings(ledger: Ledger, asked: Asked, state: str | Path | None) -> Surroundings:
    """Opens them where the ledger is, or beside `state`.

    Args:
        ledger: An open one; in a server it keeps the approvals with it.
        asked: Channels that are named are opened, with an outbox beside `state` for what they could not deliver yet.
        state: The path beside which the rest lies; the ledger's own file by default.

    Raises:
        UsageError: The ledger is in a server and there is no `state` (usage.input_invalid), or a channel is not known.
        Denied: The approvals cannot be opened (approval.channel_down).
    """
    beside = state or ledger.path or ("sqlite:///:memory:" if ledger.is_memory else None)
    if beside is None:
        message = "A ledger in a server has no folder for mask keys."
        raise UsageError("usage.input_invalid", message, hint="Give `state`, a path beside which they may lie.")
    is_in_server = ledger.path is None and not ledger.is_memory
    place = Place.of(ledger) if is_in_server else Place(Location.parse(beside).beside(".rates"))
    desk = ApprovalDesk(ApprovalStore.of(ledger) if is_in_server else ApprovalStore.open(beside), ledger)
    channel = _channel(asked, desk, Location.parse(beside).beside(".outbox"))
    return Surroundings(Approvals(desk, channel, owns_channel=_is_named(asked)), open_keyring(beside), RateCounter(place))


def _channel(asked: Asked, desk: ApprovalDesk, outbox: Path | None) -> Channel | None:
    if asked is None:
        return None
    from guardrails.approval.channels import ChannelSettings, open_channels

    return open_channels(asked, ChannelSettings.from_environment(desk.store, outbox=outbox))


def _is_named(asked: Asked) -> bool:
    """Whether a name was given, so that something was opened here; a channel that is given as it is stays its maker's to close."""
    return isinstance(asked, str) or (isinstance(asked, Sequence) and all(isinstance(name, str) for name in asked))
