"""How a call's arguments appear: in the ledger, for ever and to many, and to the people who are asked to approve the call.

the policy says     the ledger's entry                           who approves
nothing             the name                                     the value, with what the detectors of personal data find replaced
show                the value, with what they find replaced      the value
a mask              the masked value                             the masked value
hide                the name                                     nothing of the value
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import cast
from uuid import UUID

from guardrails.as_json import json_value
from guardrails.errors import GuardrailsError
from guardrails.masking import mask_value
from guardrails.masking.scan import scan_rows
from guardrails.masking.values import HIDDEN
from guardrails.model import Column, ColumnRef, DialectName, Given, Mask, Opaque, Value
from guardrails.policy.schema import ArgumentMask
from guardrails.policy.tools import Treatment

__all__ = ["NO_ARGUMENTS", "Display"]

_MOST_SHOWN = 50
_MOST_CHARACTERS = 200
_LARGEST = 2**53
# Dates in JSON are texts, which only SQLite's masks take for dates.
_COLUMNS: tuple[tuple[type, str, DialectName], ...] = (
    (str, "text", "sqlite"),
    (int, "bigint", "postgres"),
    (float, "double precision", "postgres"),
    (Decimal, "numeric", "postgres"),
    (datetime, "timestamptz", "postgres"),
    (date, "date", "postgres"),
    (UUID, "uuid", "postgres"),
    (bytes, "bytea", "postgres"),
)


@dataclass(frozen=True, slots=True)
class Display:
    """The arguments of one call, and how each appears.

    Args:
        arguments: As plain data.
        treatments: What the policy says of them.
        key: Of the masks.
    """

    arguments: Mapping[str, Given]
    treatments: Mapping[str, Treatment]
    key: bytes

    def entry(self) -> list[dict[str, str | int | bool | None]]:
        """Returns what the ledger shows beyond names: `name`, `value`, and `as`, which is `show` or the mask."""
        shown: list[dict[str, str | int | bool | None]] = []
        for name, value in sorted(self.arguments.items()):
            treatment = self.treatments.get(name, "hide")
            if treatment == "hide" or len(shown) == _MOST_SHOWN:
                continue
            how = treatment.mask if isinstance(treatment, ArgumentMask) else "show"
            masked = self._masked(value, treatment) if isinstance(treatment, ArgumentMask) else _scanned(name, value)
            shown.append({"name": _short(name), "value": _plain(masked), "as": how})
        return shown

    def for_approver(self) -> dict[str, Value]:
        """Returns the arguments as who approves may see them."""
        return {name: self._for_approver(name, value) for name, value in self.arguments.items()}

    def _for_approver(self, name: str, value: Given) -> Value:
        match self.treatments.get(name):
            case None:
                return _scanned(name, value)
            case "show":
                return repr(value) if isinstance(value, Opaque) else value
            case ArgumentMask() as mask:
                return self._masked(value, mask)
        return HIDDEN

    def _masked(self, value: Given, treatment: ArgumentMask) -> Value:
        mask = Mask(ColumnRef("arguments", "argument"), treatment.mask, treatment.options())
        described = next(((type_, dialect) for kind, type_, dialect in _COLUMNS if type(value) is kind), None)
        if described is None:
            return HIDDEN
        try:
            masked = mask_value(mask, Column("argument", described[0]), cast(Value, value), self.key, dialect=described[1])
        except (GuardrailsError, ValueError, ArithmeticError):
            return HIDDEN  # a mask that does not fit the value shows nothing of it
        return HIDDEN if masked is None and treatment.mask != "null" else masked


NO_ARGUMENTS = Display({}, {}, b"")
"""Of what is called without any."""


def _scanned(name: str, value: Given) -> Value:
    if isinstance(value, Opaque):
        return repr(value)
    rows, _ = scan_rows((name,), ((value,),))
    return rows[0][0]


def _plain(value: Value) -> str | int | bool | None:
    """Returns a value as an entry may hold it: there are no fractions in it, and no large numbers."""
    if value is None or isinstance(value, bool) or (isinstance(value, int) and abs(value) <= _LARGEST):
        return value
    plain = json_value(value)
    return _short(plain if isinstance(plain, str) else json.dumps(plain, ensure_ascii=False))


def _short(text: str) -> str:
    return text if len(text) <= _MOST_CHARACTERS else text[:_MOST_CHARACTERS] + "…"
