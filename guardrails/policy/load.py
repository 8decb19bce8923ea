"""Loading a policy: text to validated models, every mistake an error with its line and column, nothing ignored."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from guardrails.errors import PolicyError, UsageError
from guardrails.model import Catalog, Limits
from guardrails.policy.binding import BoundPolicy, bind
from guardrails.policy.checks import check_policy, compile_conditions
from guardrails.policy.conditions import Condition
from guardrails.policy.document import MAX_BYTES, Document, raise_all, read_document
from guardrails.policy.explain import explain
from guardrails.policy.schema import ColumnRule, LimitRules, PolicyFile, PurposeRule, RateRule, RowRule, Rule, ToolRule

__all__ = ["Policy", "read_policy_text"]

_MOST_PROBLEMS = 200
"""Looked for before the first ones in the file's order are told."""


class Policy:
    """A validated policy, not yet held against a schema.

    Read it with `Policy.load` or `Policy.from_text`, or build it in Python; the parts are models or plain mappings of the file's form.

    Args:
        rules: At least one.
        purposes: Declared purposes by name.
        columns: Protected columns by `relation.column`.
        rows: Row filters by relation.
        limits: Ceilings.
        tools: What holds for tools and actions by name.
        rates: How often tools may be called.
        version: Of the form.

    Raises:
        PolicyError: It is invalid.

    Example:
        >>> policy = Policy(rules=[{"id": "read", "effect": "allow", "actions": ["select"], "relations": ["orders"]}])
        >>> policy.limits.rows
        1000
    """

    __slots__ = ("_canonical", "_conditions", "_digest", "_document", "_file")

    def __init__(
        self,
        *,
        rules: Sequence[Rule | Mapping[str, Any]],
        purposes: Mapping[str, PurposeRule | Mapping[str, Any] | None] | None = None,
        columns: Mapping[str, ColumnRule | Mapping[str, Any]] | None = None,
        rows: Mapping[str, RowRule | Mapping[str, Any] | str] | None = None,
        limits: LimitRules | Mapping[str, Any] | None = None,
        tools: Mapping[str, ToolRule | Mapping[str, Any]] | None = None,
        rates: Sequence[RateRule | Mapping[str, Any]] | None = None,
        version: int = 1,
    ) -> None:
        data: dict[str, object] = {"version": version, "rules": list(rules)}
        given = {"purposes": purposes, "columns": columns, "rows": rows, "limits": limits, "tools": tools}
        data |= {name: value for name, value in given.items() if value is not None}
        data |= {"rates": list(rates)} if rates is not None else {}
        self._validate(Document(data))

    @classmethod
    def load(cls, path: str | Path) -> Policy:
        """Reads a policy file.

        Raises:
            UsageError: The file cannot be read (``usage.file_missing``).
            PolicyError: It is invalid; `line` and `column` say where, the evidence lists what else is wrong.
        """
        return cls.from_text(read_policy_text(path), source=str(path))

    @classmethod
    def from_text(cls, text: str, source: str = "policy") -> Policy:
        """Parses and validates policy text; `source` names it in errors.

        Raises:
            PolicyError: It is invalid; `line` and `column` say where, the evidence lists what else is wrong.
        """
        policy = cls.__new__(cls)
        policy._validate(read_document(text, source))
        return policy

    def _validate(self, document: Document) -> None:
        try:
            file = PolicyFile.model_validate(document.data)
        except ValidationError as error:
            raise_all(explain(error, document))
            raise PolicyError("policy.invalid", "The policy does not fit its schema.", source=document.source) from None
        conditions, problems = compile_conditions(file, document)
        raise_all([*islice(check_policy(file, document), _MOST_PROBLEMS), *problems])
        content = file.model_dump(mode="json", by_alias=True)
        # A policy that says nothing of tools keeps the digest that it had before they could be spoken of.
        content = {key: value for key, value in content.items() if value or key not in ("tools", "rates")}
        canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
        self._canonical = canonical
        self._file = file
        self._document = document
        self._conditions = conditions
        self._digest = hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()

    @property
    def file(self) -> PolicyFile:
        """The validated content."""
        return self._file

    @property
    def canonical(self) -> str:
        """The content as canonical JSON, with every default written out: what `digest` is over."""
        return self._canonical

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of the content as canonical JSON; comments and the order of keys do not count."""
        return self._digest

    @property
    def source(self) -> str:
        """The file's path, or what else names the policy in errors."""
        return self._document.source

    @property
    def conditions(self) -> Mapping[str, Condition]:
        """The compiled conditions by rule id."""
        return self._conditions

    @property
    def limits(self) -> Limits:
        """The ceilings, as an obligation."""
        return Limits(**self._file.limits.model_dump())

    def bind(self, catalog: Catalog) -> BoundPolicy:
        """Holds the policy against a schema.

        Raises:
            PolicyError: It names a relation or column that the schema lacks, or a mask or row filter that does not fit.
        """
        return bind(self._file, self._document, catalog, self._digest, self.limits, self._conditions)


def read_policy_text(path: str | Path) -> str:
    """Reads a policy file's text, of which no more than the largest allowed size is read.

    Raises:
        UsageError: The file cannot be read (``usage.file_missing``).
        PolicyError: It is too large or not UTF-8 (``policy.syntax``).
    """
    source = str(path)
    try:
        with Path(path).open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = {"error": str(error)}
        raise UsageError("usage.file_missing", f"The policy {source} cannot be read.", evidence=reason) from None
    if len(data) > MAX_BYTES:
        raise PolicyError("policy.syntax", f"The policy is larger than {MAX_BYTES} bytes.", source=source, line=1, column=1)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise PolicyError("policy.syntax", "The policy is not UTF-8 text.", source=source, line=line, column=1) from None
