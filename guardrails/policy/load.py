"""Loading a policy: YAML to validated models, every mistake an error with its line and column, nothing ignored."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from guardrails.errors import PolicyError, UsageError
from guardrails.model import Catalog, Limits
from guardrails.policy.bind import BoundPolicy, bind
from guardrails.policy.conditions import Condition, ConditionError
from guardrails.policy.document import Document, read_document
from guardrails.policy.schema import ACTION_GROUPS, SQL_ACTIONS, PolicyFile, Rule

__all__ = ["Policy"]

_MAX_BYTES = 1_000_000
_WORDS = (*SQL_ACTIONS, *ACTION_GROUPS)


@dataclass(frozen=True)
class Policy:
    """A validated policy, not yet held against a schema.

    Args:
        file: The validated content.
        document: Where each part stands; None for a policy built in Python.
    """

    file: PolicyFile
    document: Document | None = None
    digest: str = field(init=False)
    conditions: Mapping[str, Condition] = field(init=False)

    def __post_init__(self) -> None:
        canonical = json.dumps(self.file.model_dump(mode="json", by_alias=True), sort_keys=True, separators=(",", ":"))
        object.__setattr__(self, "digest", hashlib.sha256(canonical.encode()).hexdigest())
        document = self.document or Document({}, {}, {}, "policy")
        _check(self.file, document)
        object.__setattr__(self, "conditions", dict(_conditions(self.file, document)))

    @classmethod
    def load(cls, path: str | Path) -> Policy:
        """Reads a policy file.

        Raises:
            UsageError: The file cannot be read (``usage.file_missing``).
            PolicyError: It is invalid.
        """
        try:
            with Path(path).open("rb") as file:
                data = file.read(_MAX_BYTES + 1)
            text = data.decode("utf-8-sig")
        except OSError as error:
            raise UsageError(
                "usage.file_missing", f"The policy {path} cannot be read.", evidence={"error": str(error)}
            ) from None
        except UnicodeDecodeError:
            raise PolicyError("policy.syntax", "The policy is not UTF-8 text.", source=str(path), line=1, column=1) from None
        return cls.from_text(text, source=str(path))

    @classmethod
    def from_text(cls, text: str, source: str = "policy") -> Policy:
        """Parses and validates policy text; `source` names it in errors.

        Raises:
            PolicyError: It is invalid; `line` and `column` say where.
        """
        document = read_document(text, source)
        try:
            file = PolicyFile.model_validate(document.data)
        except ValidationError as error:
            raise _explain(error, document) from None
        return cls(file, document)

    @property
    def limits(self) -> Limits:
        """The ceilings, as an obligation."""
        return Limits(**self.file.limits.model_dump())

    def bind(self, catalog: Catalog) -> BoundPolicy:
        """Holds the policy against a schema.

        Raises:
            PolicyError: It names a relation or column that the schema lacks, or a mask or row filter that does not fit.
        """
        return bind(
            self.file, self.document or Document({}, {}, {}, "policy"), catalog, self.digest, self.limits, self.conditions
        )


def _explain(error: ValidationError, document: Document) -> PolicyError:
    # An unknown key says most; a list that is too short is often only what an invalid item leaves behind.
    rank = {"extra_forbidden": 0, "too_short": 2}
    first = min(error.errors(), key=lambda e: (rank.get(e["type"], 1), document.place(tuple(e["loc"])).line))
    path = tuple("except" if p == "exemption" else p for p in first["loc"])
    name = ".".join(str(p) for p in path)
    if first["type"] == "extra_forbidden":
        known = _known_keys(path[:-1])
        near = difflib.get_close_matches(str(path[-1]), known, 1)
        meant = f" Did you mean `{near[0]}`?" if near else f" Known are: {', '.join(sorted(known))}."
        return document.error("policy.unknown_key", f"Unknown key `{path[-1]}`.{meant}", path, of_key=True)
    if first["type"] == "missing":
        return document.error("policy.invalid", f"`{name}` is missing.", path[:-1])
    return document.error("policy.invalid", f"`{name}`: {first['msg']}.", path)


def _known_keys(path: tuple[int | str, ...]) -> list[str]:
    """The keys that the schema knows at a path."""
    schema = PolicyFile.model_json_schema(by_alias=True)
    node: dict[str, object] = schema

    def deref(part: object) -> dict[str, object]:
        here: dict[str, object] = dict(part) if isinstance(part, dict) else {}
        for option in here.get("anyOf", []) if isinstance(here.get("anyOf"), list) else []:  # type: ignore[attr-defined]
            if isinstance(option, dict) and "$ref" in option:
                here = option
        reference = here.get("$ref")
        if isinstance(reference, str):
            here = dict(schema["$defs"][reference.rsplit("/", 1)[1]])
        return here

    for step in path:
        properties = node.get("properties")
        if isinstance(step, int):
            node = deref(node.get("items"))
        elif isinstance(properties, dict) and step in properties:
            node = deref(properties[step])
        else:
            node = deref(node.get("additionalProperties"))
    found = node.get("properties")
    return list(found) if isinstance(found, dict) else []


def _check(file: PolicyFile, document: Document) -> None:
    """What single fields cannot say: duplicates, undeclared purposes, misspelt actions, contradictions."""
    seen: dict[str, int] = {}
    scopes: dict[str, tuple[int, str]] = {}
    for index, rule in enumerate(file.rules):
        path = ("rules", index)
        if rule.id in seen:
            raise document.error("policy.contradiction", f"Two rules have the id `{rule.id}`.", (*path, "id"))
        seen[rule.id] = index
        _check_actions(rule, index, document)
        _check_purposes(rule.purposes, file, document, (*path, "purposes"))
        if rule.approval is not None and rule.effect != "approve":
            raise document.error(
                "policy.contradiction",
                f"`approval` stands in a rule of effect {rule.effect}.",
                (*path, "approval"),
                of_key=True,
            )
        scope = json.dumps(
            rule.model_dump(mode="json", exclude={"id", "effect", "description", "message", "approval"}), sort_keys=True
        )
        if scope in scopes and scopes[scope][1] != rule.effect:
            other = file.rules[scopes[scope][0]].id
            raise document.error(
                "policy.contradiction",
                f"The rules `{other}` and `{rule.id}` say {scopes[scope][1]} and {rule.effect} of the same.",
                path,
            )
        scopes[scope] = (index, rule.effect)
    for section in ("columns", "rows"):
        folded: dict[str, str] = {}
        for name in getattr(file, section):
            if name.lower() in folded:
                raise document.error(
                    "policy.contradiction",
                    f"`{name}` stands twice, also as `{folded[name.lower()]}`.",
                    (section, name),
                    of_key=True,
                )
            folded[name.lower()] = name
            exemption = getattr(file, section)[name].exemption
            if exemption is not None:
                _check_purposes(exemption.purposes, file, document, (section, name, "except", "purposes"))
                if not exemption.groups and not exemption.purposes:
                    raise document.error("policy.contradiction", f"`{name}` exempts everybody.", (section, name, "except"))


def _check_actions(rule: Rule, index: int, document: Document) -> None:
    is_sql = False
    for number, action in enumerate(rule.actions):
        path = ("rules", index, "actions", number)
        is_word = action in _WORDS
        is_sql = is_sql or is_word
        if is_word:
            continue
        near = difflib.get_close_matches(action.lower(), _WORDS, 1, 0.7)
        if near:
            raise document.error("policy.invalid", f"Unknown action `{action}`. Did you mean `{near[0]}`?", path)
        if not all(part and all(c.isalnum() or c in "_-*" for c in part) for part in action.split(".")):
            raise document.error("policy.invalid", f"`{action}` is not the name of an action or a tool.", path)
    if is_sql and not rule.relations and not rule.columns:
        raise document.error(
            "policy.invalid", f"The rule `{rule.id}` names no relations.", ("rules", index), hint="Add `relations`."
        )
    for number, column in enumerate(rule.columns):
        if "." not in column:
            raise document.error("policy.invalid", f"`{column}` is not `relation.column`.", ("rules", index, "columns", number))


def _check_purposes(names: Iterable[str], file: PolicyFile, document: Document, path: tuple[str | int, ...]) -> None:
    for number, name in enumerate(names):
        if name not in file.purposes:
            near = difflib.get_close_matches(name, file.purposes, 1)
            meant = f" Did you mean `{near[0]}`?" if near else ""
            hint = "" if file.purposes else "Declare it in the section `purposes`."
            raise document.error("policy.invalid", f"The purpose `{name}` is not declared.{meant}", (*path, number), hint=hint)


def _conditions(file: PolicyFile, document: Document) -> Iterator[tuple[str, Condition]]:
    for index, rule in enumerate(file.rules):
        if rule.when is None:
            continue
        try:
            yield rule.id, Condition(rule.when)
        except ConditionError as error:
            raise document.error(
                "policy.condition_invalid", f"The condition of `{rule.id}` {error}.", ("rules", index, "when")
            ) from None
