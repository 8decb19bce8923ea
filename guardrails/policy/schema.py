"""The policy file's form: pydantic models, whose JSON Schema is published for editors (`docs/policy.schema.json`).

The models say what a single value may be; what several of them say together is checked in `guardrails.policy.checks`.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, Strict

from guardrails.masking import MASK_KINDS
from guardrails.model import Limits, PredicateMode

__all__ = [
    "ACTION_WORDS",
    "REVEAL",
    "SQL_ACTIONS",
    "ApprovalRule",
    "ArgumentMask",
    "BreakGlassRule",
    "ColumnRule",
    "Exemption",
    "HoursRule",
    "LimitRules",
    "PolicyFile",
    "PrincipalMatch",
    "PurposeRule",
    "RateRule",
    "RowRule",
    "Rule",
    "ToolRule",
    "minutes",
    "policy_schema",
    "sql_actions",
]

SQL_ACTIONS = ("select", "insert", "update", "delete", "merge", "create", "drop", "alter", "truncate")
ACTION_WORDS: dict[str, frozenset[str]] = {name: frozenset({name}) for name in SQL_ACTIONS} | {
    "read": frozenset({"select"}),
    "write": frozenset({"insert", "update", "delete", "merge"}),
    "ddl": frozenset({"create", "drop", "alter", "truncate"}),
    "all": frozenset(SQL_ACTIONS),
}
"""The SQL actions by every word that names them; any other word in `actions` is the name of a tool."""

REVEAL = "reveal"
"""The action of having a token resolved; rules that ask for approval or deny may name it, with relations and columns."""
_OPTIONS = ("first", "last", "value", "to", "size", "digits", "spread", "days", "per", "nulls")
_DURATION = re.compile(r"([0-9]{1,7})\s*([smhd])?")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_CLOCK = r"^([01][0-9]|2[0-3]):[0-5][0-9]$|^24:00$"
_PLAIN = r"^[^\s\x00-\x1f\x7f]([^\x00-\x1f\x7f]*[^\s\x00-\x1f\x7f])?$"


def sql_actions(words: tuple[str, ...]) -> frozenset[str]:
    """Returns the SQL actions that a rule's words name; names of tools add none."""
    return frozenset().union(*(ACTION_WORDS.get(word, frozenset()) for word in words))


def minutes(clock: str) -> int:
    """Returns a time of day such as `09:30` in minutes after midnight."""
    return int(clock[:2]) * 60 + int(clock[3:])


def _duration_s(value: object) -> object:
    if type(value) is int:
        return value
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError("must be a number of seconds, or a number with s, m, h or d after it, such as 15m")
    return int(match[1]) * _SECONDS[match[2] or "s"]


def _predicate(value: object) -> object:
    return {"predicate": value} if isinstance(value, str) else value


def _mask(value: object) -> object:
    # In YAML the plain word `null` is no text.
    return "null" if value is None else value


def _version(value: object) -> object:
    return value if type(value) is int else str(value)


def _option(value: object) -> object:
    return str(value).lower() if isinstance(value, bool) else repr(value) if isinstance(value, float) else value


Name = Annotated[str, Field(min_length=1, max_length=200, pattern=_PLAIN)]
Names = Annotated[tuple[Name, ...], Field(min_length=1, max_length=1000)]
Expression = Annotated[str, Field(min_length=1, max_length=4000)]
Whole = Annotated[int, Strict()]
_DURATION_INPUT = int | Annotated[str, Field(pattern=r"^[0-9]{1,7}\s*[smhd]?$")]
MaskName = Literal[
    "full", "null", "fixed", "partial", "hash", "pseudonym", "email", "date", "bucket", "round", "shift", "noise", "deny"
]

ArgumentMaskName = Literal["full", "null", "partial", "hash", "pseudonym", "email", "date", "bucket", "round"]


def _only_options_of_the_mask(schema: dict[str, JsonValue]) -> None:
    """Adds to the JSON Schema which options each mask takes."""
    alternatives: list[JsonValue] = []
    for name in (*MASK_KINDS, "deny"):
        kind = MASK_KINDS.get(name)
        taken = dict(kind.options) if kind else {}
        known = {*taken, *(kind.common if kind else ())}
        words: list[JsonValue] = [name, None] if name == "null" else [name]
        properties: dict[str, JsonValue] = {option: False for option in _OPTIONS if option not in known}
        properties |= {} if kind and kind.is_token else {"reveal": False, "tokens": False}
        properties["mask"] = {"enum": words}
        needed: list[JsonValue] = ["mask", *(option for option, default in taken.items() if default is None)]
        alternatives.append({"properties": properties, "required": needed})
    schema["oneOf"] = alternatives


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, use_attribute_docstrings=True)


class PrincipalMatch(_Model):
    """Whom a rule is for. Within a list any entry fits; every list that is given must fit."""

    ids: Names = ()
    """Ids of people, exactly as the principal has them."""
    groups: Names = ()
    """Groups or roles of the person."""
    agents: Names = ()
    """Names of agents that act for the person."""


class HoursRule(_Model):
    """When a yes counts."""

    days: Annotated[tuple[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"], ...], Field(min_length=1, max_length=7)] = (
        "mon",
        "tue",
        "wed",
        "thu",
        "fri",
    )
    """Days of the week."""
    begins: Annotated[str, Field(pattern=_CLOCK)]
    """The time of day from which a yes counts, such as `"09:00"`."""
    ends: Annotated[str, Field(pattern=_CLOCK)]
    """The time of day from which it does not count any more; later than `begins`, up to `"24:00"`."""
    zone: Annotated[str, Field(min_length=1, max_length=64)] = "UTC"
    """The time zone by its IANA name, such as Europe/Berlin."""


class BreakGlassRule(_Model):
    """Who may go ahead without waiting. It is recorded, told to the channels, and reviewed afterwards."""

    groups: Names
    """Groups whose members may."""
    review: Annotated[
        int, BeforeValidator(_duration_s, json_schema_input_type=_DURATION_INPUT), Strict(), Field(gt=0, le=30 * 86400)
    ] = 86400
    """Within which time somebody else has to close the review; whose review is overdue breaks no more glass."""


class ApprovalRule(_Model):
    """Who must say yes, within what time."""

    groups: Names = ()
    """Groups whose members may approve; anybody but the requester when not given."""
    quorum: Annotated[Whole, Field(ge=1, le=20)] = 1
    """How many different people have to say yes."""
    expires: Annotated[
        int, BeforeValidator(_duration_s, json_schema_input_type=_DURATION_INPUT), Strict(), Field(gt=0, le=30 * 86400)
    ] = 900
    """How long the request stays open and a yes stays good: seconds, or a number with s, m, h or d such as 15m."""
    reason_required: Annotated[bool, Strict()] = True
    """Whether the approver has to say why."""
    hours: HoursRule | None = None
    """When a yes counts; always when not given. A no always does."""
    break_glass: BreakGlassRule | None = None
    """Who may go ahead without waiting, with a review afterwards; nobody when not given."""
    window: Annotated[
        int, BeforeValidator(_duration_s, json_schema_input_type=_DURATION_INPUT), Strict(), Field(ge=0, le=30 * 86400)
    ] = 0
    """Longest time for which a grant may be given ahead, for any number of the rule's statements; 0: none may."""
    unmask: Annotated[bool, Strict()] = False
    """Whether an approved SELECT reads the real values of the rule's `columns`."""
    impact: Literal["count", "estimate", "none"] = "count"
    """How approvers learn what a change would do: it is run and rolled back, estimated, or not tried."""


class Rule(_Model):
    """One rule. A deny beats an approve beats an allow; nothing matched means deny. The order of rules is irrelevant."""

    id: Name
    """Names the rule in refusals and in the ledger; each id once."""
    effect: Literal["allow", "deny", "approve"]
    """What the rule does where it matches; `approve` allows after a person said yes."""
    actions: Names
    """SQL actions (select insert update delete merge create drop alter truncate), the words read write ddl all, tools' names."""
    relations: Names = ()
    """Tables and views as `name` or `schema.name`, with globs; a single `*` is every one. Only a deny may go without."""
    columns: Names = ()
    """`relation.column` with globs. An allow covers these columns only; a deny or approve holds where one of them is touched."""
    principals: PrincipalMatch | None = None
    """Whom the rule is for; everybody when not given."""
    purposes: Names = ()
    """Declared purposes that the rule is for; any, and none, when not given."""
    when: Expression | None = None
    """A CEL expression over principal, agent, purpose, action, relation, session and arguments; one that fails denies."""
    where: Literal["required", "optional"] = "required"
    """Whether UPDATE and DELETE need a WHERE that can be false."""
    approval: ApprovalRule | None = None
    """Terms of the approval; only with the effect approve."""
    description: Annotated[str, Field(max_length=2000)] = ""
    """For the readers of the policy."""
    message: Annotated[str, Field(max_length=500)] = ""
    """What the refusal or the request for approval says to the agent."""


class Exemption(_Model):
    """Who sees or reveals real values, or sees all rows: members of any of the groups, for any of the purposes; one is given."""

    groups: Names = ()
    """Groups that are exempt."""
    purposes: Names = ()
    """Declared purposes for which the exemption holds."""


class ColumnRule(_Model):
    """How a protected column is masked, and for whom not."""

    model_config = ConfigDict(json_schema_extra=_only_options_of_the_mask)

    mask: Annotated[MaskName, BeforeValidator(_mask, json_schema_input_type=MaskName | None)]
    """The mask; `deny` refuses statements that use the column."""
    first: Annotated[Whole, Field(ge=0, le=1000)] | None = None
    """Of partial: characters kept at the start; 0 when not given."""
    last: Annotated[Whole, Field(ge=0, le=1000)] | None = None
    """Of partial: characters kept at the end; 0 when not given."""
    value: (
        Annotated[
            Whole | Annotated[str, Strict(), Field(max_length=200)],
            BeforeValidator(_option, json_schema_input_type=str | int | float | bool),
        ]
        | None
    ) = None
    """Of fixed: what stands for every value."""
    to: Literal["year", "quarter", "month", "week", "day", "hour"] | None = None
    """Of date: the period to whose start dates go back; year when not given."""
    size: Annotated[Whole, Field(ge=1, le=10**12)] | None = None
    """Of bucket: width of the range that numbers go down to the start of."""
    digits: Annotated[Whole, Field(ge=-15, le=15)] | None = None
    """Of round: decimals kept, negative for tens and more; 0 when not given."""
    spread: Annotated[Whole, Field(ge=1, le=10**12)] | None = None
    """Of noise: the most by which a number is moved, up or down."""
    days: Annotated[Whole, Field(ge=1, le=3650)] | None = None
    """Of shift: the most by which dates are moved, back or forth."""
    predicate: PredicateMode = "masked"
    """What conditions see: the masked value; or, in WHERE and ON, the real one in comparisons with constants for `equality`, or in all
    simple ones (`real`). Each such comparison is a probe of the session's budget."""
    min_group: Annotated[Whole, Field(ge=2, le=1_000_000)] | None = None
    """How many rows a group needs so that count, sum, avg, stddev and variance of the bare column are of real values."""
    place: Literal["query", "column"] = "query"
    """Where masked values are made: in each statement, or in a generated column that `guardrails policy install` sets up."""
    per: Name | None = None
    """Of hash, pseudonym and noise: the attribute of the principal for each value of which there is a key of its own."""
    nulls: Literal["keep", "hide"] | None = None
    """Whether NULL stays NULL (`keep`, when not given), or is masked as if it were a value."""
    exemption: Annotated[Exemption | None, Field(alias="except")] = None
    """Who sees the real value."""
    reveal: Exemption | None = None
    """Of hash and pseudonym: who may have a token resolved with `Guard.reveal`; nobody when not given."""

    tokens: Literal["refuse", "resolve"] | None = None
    """Of hash and pseudonym on text: what becomes of a change that would store a token in the column; `refuse` when not given."""

    def options(self) -> tuple[tuple[str, str | int], ...]:
        """Returns the mask's options that were given, sorted by name; `nulls: keep` is as good as none."""
        given = {name: value for name in _OPTIONS if (value := getattr(self, name)) is not None}
        return tuple(sorted((name, value) for name, value in given.items() if (name, value) != ("nulls", "keep")))


class RowRule(_Model):
    """Which rows exist for a principal."""

    predicate: Expression
    """SQL over the relation's columns, with `principal.<name>` for the person's id, groups and attributes."""
    exemption: Annotated[Exemption | None, Field(alias="except")] = None
    """Who sees every row."""


class PurposeRule(_Model):
    """A purpose that tasks may declare."""

    description: Annotated[str, Field(max_length=2000)] = ""
    """What the purpose is."""


class ArgumentMask(_Model):
    """A mask over an argument; one that does not fit the value shows nothing of it."""

    mask: Annotated[ArgumentMaskName, BeforeValidator(_mask, json_schema_input_type=ArgumentMaskName | None)]
    """The mask, as in `columns`."""
    first: Annotated[Whole, Field(ge=0, le=1000)] | None = None
    """Of partial: characters kept at the start; 0 when not given."""
    last: Annotated[Whole, Field(ge=0, le=1000)] | None = None
    """Of partial: characters kept at the end; 0 when not given."""
    to: Literal["year", "quarter", "month", "week", "day", "hour"] | None = None
    """Of date: the period to whose start dates go back; year when not given."""
    size: Annotated[Whole, Field(ge=1, le=10**12)] | None = None
    """Of bucket: width of the range that numbers go down to the start of."""
    digits: Annotated[Whole, Field(ge=-15, le=15)] | None = None
    """Of round: decimals kept, negative for tens and more; 0 when not given."""

    def options(self) -> tuple[tuple[str, str | int], ...]:
        """Returns the mask's options that were given, sorted by name."""
        return tuple(sorted((name, value) for name in _OPTIONS if (value := getattr(self, name, None)) is not None))


class ToolRule(_Model):
    """What holds for a tool or an action, whoever calls it."""

    arguments: dict[Name, Literal["show", "hide"] | ArgumentMask] = {}
    """By name, how an argument appears in the ledger and to approvers: `show`, `hide`, or under a mask."""
    seconds: Annotated[float, Strict(), Field(gt=0, le=86400, allow_inf_nan=False)] | None = None
    """Seconds of run time, instead of those in `limits`."""


class RateRule(_Model):
    """How often one principal may call a tool."""

    tools: Names
    """Names of tools and actions, with globs; each is counted by itself."""
    calls: Annotated[Whole, Field(ge=1, le=1_000_000)]
    """Most calls."""
    per: Annotated[
        int, BeforeValidator(_duration_s, json_schema_input_type=_DURATION_INPUT), Strict(), Field(gt=0, le=30 * 86400)
    ]
    """Within any span of this time: seconds, or a number with s, m, h or d such as 1h."""


class LimitRules(_Model):
    """Ceilings that always hold."""

    rows: Annotated[Whole, Field(gt=0, le=1_000_000)] = Limits().rows
    """Rows returned."""
    rows_changed: Annotated[Whole, Field(ge=0, le=10_000_000)] = Limits().rows_changed
    """Rows that one statement may change."""
    seconds: Annotated[float, Strict(), Field(gt=0, le=3600, allow_inf_nan=False)] = Limits().seconds
    """Seconds of run time."""
    statement_bytes: Annotated[Whole, Field(gt=0, le=1_000_000)] = Limits().statement_bytes
    """Bytes of a statement's text."""
    result_bytes: Annotated[Whole, Field(gt=0, le=1_000_000_000)] = Limits().result_bytes
    """Bytes of a result."""
    tokens: Annotated[Whole, Field(gt=0, le=50_000)] = Limits().tokens
    """Words and signs of a statement."""
    depth: Annotated[Whole, Field(gt=0, le=100)] = Limits().depth
    """Levels of parentheses, CASE and prefix operators."""
    joins: Annotated[Whole, Field(ge=0, le=1000)] = Limits().joins
    """Joins of a statement."""
    ctes: Annotated[Whole, Field(ge=0, le=1000)] = Limits().ctes
    """Common table expressions of a statement."""
    in_list: Annotated[Whole, Field(gt=0, le=20_000)] = Limits().in_list
    """Items of a list after IN."""
    probes: Annotated[Whole, Field(ge=0, le=1_000_000)] = Limits().probes
    """Questions that a session may ask about real values of protected columns with `predicate` or `min_group`."""


class PolicyFile(_Model):
    """A policy: rules, the purposes that they name, protected columns, row filters, limits, and what holds for tools."""

    model_config = ConfigDict(title="guardrails policy")

    version: Annotated[Literal[1], BeforeValidator(_version, json_schema_input_type=Literal[1])]
    """The version of this form."""
    rules: Annotated[tuple[Rule, ...], Field(min_length=1, max_length=10_000)]
    """What is allowed, refused, or left to a person; at least one."""
    purposes: dict[Name, PurposeRule | None] = {}
    """Purposes by name; a session may declare only these."""
    columns: dict[Name, ColumnRule] = {}
    """Protected columns by `relation.column`."""
    rows: dict[Name, Annotated[RowRule, BeforeValidator(_predicate, json_schema_input_type=Expression | RowRule)]] = {}
    """Row filters by relation: a predicate, or a predicate and who is exempt."""
    limits: LimitRules = LimitRules()
    """Ceilings; what is not given has its default."""
    tools: dict[Name, ToolRule] = {}
    """What holds for tools and actions by name, with globs: which arguments are shown, and how long they may run."""
    rates: Annotated[tuple[RateRule, ...], Field(max_length=1000)] = ()
    """How often one principal may call tools and actions."""


def policy_schema() -> dict[str, Any]:
    """Returns the JSON Schema (draft 2020-12) of the policy file.

    Example:
        >>> policy_schema()["required"]
        ['version', 'rules']
    """
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | PolicyFile.model_json_schema(by_alias=True)
