"""What an engine says about a statement, against what `Access` says.

An oracle lets the real engine answer four questions about the *original* text: does it accept it, does it write, which relations and
columns does it read, which does it change. `examine` holds the library's answer against it; any difference is a `Finding`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from guardrails.flow import judge
from guardrails.masking import mask_expression
from guardrails.model import Access, Catalog, ColumnRef, Context, DialectName, Principal, Statement
from guardrails.policy import BoundPolicy, Policy

__all__ = ["CHANGES", "Examination", "Examiner", "Finding", "Oracle", "Verdict", "changed"]

CHANGES = frozenset({"insert", "update", "delete", "merge"})
_DATA = CHANGES | {"select", "show"}
_READ_ONLY = """\
version: 1
rules:
  - {id: read, effect: allow, actions: [select], relations: ["*", "*.*"]}
limits: {rows: 100000, seconds: 10}
"""


@dataclass(frozen=True)
class Finding:
    """Something that the engine does and `Access` denies: `question` is one of reads, relations, writes, wrote, functions, rights."""

    question: str
    detail: str

    def __str__(self) -> str:
        return f"{self.question}: {self.detail}"


@dataclass
class Verdict:
    """The engine's answers about one understood statement.

    Args:
        findings: Differences.
        lacking: Columns that it reads and `Access` lacks.
        wrote: It changed something.
        unread: Columns that `Access` lists and the engine does not read; None where the engine cannot tell.
        is_late: It took too long to be run to its end.
        has_failed: It was accepted, and failed when it ran.
    """

    findings: list[Finding] = field(default_factory=list)
    lacking: frozenset[ColumnRef] = frozenset()
    wrote: bool = False
    unread: frozenset[ColumnRef] | None = None
    is_late: bool = False
    has_failed: bool = False

    def add(self, question: str, detail: object) -> None:
        self.findings.append(Finding(question, str(detail)))

    def hold_reads(self, columns: frozenset[ColumnRef], access: Access) -> None:
        """Holds the columns that the engine reads against the list."""
        self.lacking |= columns - set(access.reads)
        if self.lacking:
            self.add("reads", f"lacks {sorted(map(str, self.lacking))}")


class Oracle(Protocol):
    """One engine with the grammar's schema and rows."""

    dialect: DialectName

    def catalog(self) -> Catalog:
        """The library's catalog of it."""
        ...

    def accepts(self, sql: str) -> bool:
        """Whether the engine takes the text as one statement; nothing is run."""
        ...

    def verdict(self, sql: str, access: Access, *, is_run: bool) -> Verdict:
        """Asks the engine about a statement that the library understood; `is_run`: runs it to see whether it writes."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class Examination:
    """What came out of one statement: `code` is the library's, `ok` when it is allowed under a policy that allows every read."""

    sql: str
    is_accepted: bool
    code: str
    access: Access | None = None
    verdict: Verdict | None = None

    @property
    def is_allowed(self) -> bool:
        return self.code == "ok"


def changed(access: Access) -> frozenset[tuple[str, str]]:
    """Returns (action, relation) of every change that `Access` lists."""
    return frozenset((u.action, u.relation) for u in access.relations if u.action in CHANGES)


class Examiner:
    """Judges statements under a policy that allows every read and nothing else, and asks the engine.

    Args:
        oracle: The engine.
        doctor: Changes an `Access` before it is held against the engine: to show that a difference is seen.
    """

    def __init__(self, oracle: Oracle, doctor: Callable[[Access], Access] | None = None) -> None:
        self.oracle = oracle
        self.catalog = oracle.catalog()
        self._policy: BoundPolicy = Policy.from_text(_READ_ONLY).bind(self.catalog)
        self._doctor = doctor

    def with_doctor(self, doctor: Callable[[Access], Access]) -> Examiner:
        """Returns one that changes every `Access` before it is used."""
        made = Examiner.__new__(Examiner)
        made.__dict__.update(self.__dict__, _doctor=doctor)
        return made

    def examine(self, sql: str) -> Examination:
        """Judges one statement and, where the library understood it, asks the engine about it."""
        dialect = self.oracle.dialect
        judgement = judge(
            Statement(sql, {}, dialect), self.catalog, self._policy, Principal("ana"), Context(),
            lambda mask, column: mask_expression(mask, column, dialect, b"k" * 32),
        )  # fmt: skip
        code, access = judgement.decision.code, judgement.decision.access
        is_understood = access is not None and not code.startswith(("sql.", "usage."))
        is_accepted = self.oracle.accepts(sql)
        if not is_accepted or not is_understood or access is None or access.kind not in _DATA:
            return Examination(sql, is_accepted, code)
        if self._doctor is not None:
            access = self._doctor(access)
        is_run = code == "ok" or access.is_read_only
        # What reads the schema is answered with rows of the guard's own, so there the text that runs is the one to ask about.
        if access.reads_schema and judgement.plan is None:
            return Examination(sql, True, code, access)
        text = judgement.plan.sql if access.reads_schema and judgement.plan is not None else sql
        return Examination(sql, True, code, access, self.oracle.verdict(text, access, is_run=is_run))
