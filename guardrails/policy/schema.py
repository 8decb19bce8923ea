"""The policy file's form: pydantic models, whose JSON Schema is published for editors."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

__all__ = [
    "ACTION_GROUPS",
    "SQL_ACTIONS",
    "ColumnRule",
    "Exemption",
    "LimitRules",
    "PolicyFile",
    "PrincipalMatch",
    "RowRule",
    "Rule",
]

SQL_ACTIONS = ("select", "insert", "update", "delete", "merge", "create", "drop", "alter", "truncate")
ACTION_GROUPS: dict[str, frozenset[str]] = {
    "read": frozenset({"select"}),
    "write": frozenset({"insert", "update", "delete", "merge"}),
    "ddl": frozenset({"create", "drop", "alter", "truncate"}),
    "all": frozenset(SQL_ACTIONS),
}
"""Words that stand for several actions."""

_DURATION = re.compile(r"(\d+)\s*(s|m|h|d)?")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def _duration_s(value: object) -> object:
    match = _DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    return int(match[1]) * _SECONDS[match[2] or "s"] if match else value


def _predicate(value: object) -> object:
    return {"predicate": value} if isinstance(value, str) else value


Name = Annotated[str, Field(min_length=1, max_length=200)]
Names = Annotated[tuple[Name, ...], Field(max_length=1000)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=False, populate_by_name=True)


class PrincipalMatch(_Model):
    """Whom a rule is for: any of the named ids, groups or agents; every list that is given must match."""

    ids: Names = ()
    groups: Names = ()
    agents: Names = ()


class ApprovalRule(_Model):
    """Who must say yes, within what time."""

    groups: Names = ()
    expires: Annotated[int, BeforeValidator(_duration_s), Field(gt=0, le=30 * 86400)] = 900
    reason_required: bool = True


class Rule(_Model):
    """One rule. A deny beats an approve beats an allow; nothing matched means deny."""

    id: Name
    effect: Literal["allow", "deny", "approve"]
    actions: Annotated[Names, Field(min_length=1)]
    relations: Names = ()
    columns: Names = ()
    principals: PrincipalMatch | None = None
    purposes: Names = ()
    when: Annotated[str, Field(min_length=1, max_length=10_000)] | None = None
    where: Literal["required", "optional"] = "required"
    approval: ApprovalRule | None = None
    description: str = ""
    message: Annotated[str, Field(max_length=500)] = ""


class Exemption(_Model):
    """Who sees real values: members of any of the groups, for any of the purposes; what is not given does not restrict."""

    groups: Names = ()
    purposes: Names = ()


class ColumnRule(_Model):
    """How a protected column is masked, and for whom not."""

    mask: Literal["full", "null", "fixed", "partial", "hash", "pseudonym", "email", "date", "bucket", "round", "deny"]
    first: Annotated[int, Field(ge=0, le=1000)] | None = None
    last: Annotated[int, Field(ge=0, le=1000)] | None = None
    value: Annotated[str, Field(max_length=200)] | None = None
    to: Literal["month", "year"] | None = None
    size: Annotated[int, Field(ge=1)] | None = None
    digits: Annotated[int, Field(ge=-15, le=15)] | None = None
    exemption: Annotated[Exemption | None, Field(alias="except")] = None

    def options(self) -> tuple[tuple[str, str | int], ...]:
        """Returns the mask's options that were given, sorted by name."""
        given = {n: getattr(self, n) for n in ("first", "last", "value", "to", "size", "digits")}
        return tuple(sorted((n, v) for n, v in given.items() if v is not None))


class RowRule(_Model):
    """Which rows exist for a principal: SQL over the relation's columns, with `principal.<name>` for the person's values."""

    predicate: Annotated[str, Field(min_length=1, max_length=10_000)]
    exemption: Annotated[Exemption | None, Field(alias="except")] = None


class PurposeRule(_Model):
    """A purpose that tasks may declare."""

    description: str = ""


class LimitRules(_Model):
    """Ceilings that always hold."""

    rows: Annotated[int, Field(gt=0, le=1_000_000)] = 1000
    rows_changed: Annotated[int, Field(ge=0, le=10_000_000)] = 100
    seconds: Annotated[float, Field(gt=0, le=3600)] = 10.0
    statement_bytes: Annotated[int, Field(gt=0, le=1_000_000)] = 100_000
    result_bytes: Annotated[int, Field(gt=0, le=1_000_000_000)] = 10_000_000


class PolicyFile(_Model):
    """A policy: rules, the purposes that they name, protected columns, row filters and limits."""

    version: Literal[1]
    rules: Annotated[tuple[Rule, ...], Field(min_length=1, max_length=10_000)]
    purposes: dict[Name, PurposeRule | None] = {}
    columns: dict[Name, ColumnRule] = {}
    rows: dict[Name, Annotated[RowRule, BeforeValidator(_predicate)]] = {}
    limits: LimitRules = LimitRules()
