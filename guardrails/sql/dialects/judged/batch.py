"""T-SQL takes several statements without a semicolon between them: `SELECT 1 DROP TABLE t` is two.

Every word that begins a statement must stand where the one statement has it. Such words are reserved in T-SQL, so that an unquoted one
is never a name.
Source: https://learn.microsoft.com/en-us/sql/t-sql/language-elements/reserved-keywords-transact-sql
"""

from __future__ import annotations

from dataclasses import dataclass, field

from sqlglot.tokenizer_core import Token, TokenType

from guardrails.errors import StatementError

__all__ = ["check_batch"]

_START_WORDS = """
ALTER BACKUP BEGIN BREAK BULK CHECKPOINT CLOSE COMMIT CONTINUE CREATE DBCC DEALLOCATE DECLARE DELETE DENY DROP DUMP ELSE EXEC
EXECUTE FETCH GO GOTO GRANT IF INSERT KILL LOAD MERGE OPEN PRINT RAISERROR READTEXT RECONFIGURE RESTORE RETURN REVERT REVOKE
ROLLBACK SAVE SELECT SET SETUSER SHUTDOWN THROW TRUNCATE UPDATE UPDATETEXT USE WAITFOR WHILE WITH WRITETEXT
"""
_STARTS = frozenset(_START_WORDS.split())
"""Reserved words that begin a statement or go on with one; `GO` ends a batch for Microsoft's own clients."""
_CHANGES = frozenset({"INSERT", "UPDATE", "DELETE"})
_JUDGED = _CHANGES | {"SELECT", "WITH"}
_SET_OPERATORS = frozenset({"UNION", "EXCEPT", "INTERSECT"})
_AFTER_WITH = frozenset({"ROLLUP", "CUBE", "TIES"})


def check_batch(tokens: list[Token]) -> None:
    """Checks that the tokens are one statement.

    Raises:
        StatementError: A word begins another one (``sql.multiple_statements``), or the first one is of a kind that is not judged
            (``sql.statement_unsupported``).
    """
    batch = _Batch([_word(t) for t in tokens])
    first = batch.words[0].split(" ")[0] if batch.words else ""
    if first in _STARTS - _JUDGED:
        raise StatementError(
            "sql.statement_unsupported", f"{first} is never run through this guard.", evidence={"kind": first.lower()}
        )
    for index in range(len(tokens)):
        batch.step(index)


def _word(token: Token) -> str:
    if token.token_type in (TokenType.IDENTIFIER, TokenType.STRING, TokenType.NATIONAL_STRING):
        return ""
    # Some of sqlglot's tokens are several words.
    return " ".join(token.text.upper().split())


@dataclass(slots=True)
class _Batch:
    """Where in the statement we are: its verb, and how deep in parentheses and CASE."""

    words: list[str]
    verb: str = ""
    depth: int = 0
    cases: list[int] = field(default_factory=list)
    has_source: bool = False
    has_set: bool = False

    def step(self, index: int) -> None:
        word = self.words[index]
        before = self.words[index - 1] if index else ""
        if word in ("(", ")"):
            self.depth += 1 if word == "(" else -1
        elif word == "CASE":
            self.cases.append(self.depth)
        elif word == "END":
            if not self.cases or self.cases.pop() != self.depth:
                raise _several("END")
        elif word == "VALUES":
            self.has_source |= self.depth == 0
        elif any(part in _STARTS for part in word.split(" ")) and not self._belongs(word, before, index):
            raise _several(word)

    def _belongs(self, word: str, before: str, index: int) -> bool:
        after = self.words[index + 1] if index + 1 < len(self.words) else ""
        if index == 0:
            self.verb = word.split(" ")[0]
            return True
        match word:
            case "SELECT":
                return self._is_select(before, self.words[index - 2] if index > 1 else "")
            case "WITH":
                # A hint's parenthesis is refused with the hint.
                return after in _AFTER_WITH or after == "("
            case "SET":
                is_first, self.has_set = not self.has_set, True
                return self.verb == "UPDATE" and is_first and self.depth == 0
            case "ELSE":
                return bool(self.cases) and self.cases[-1] == self.depth
            case "FETCH":
                return before in ("ROW", "ROWS")
        return word in _CHANGES and self._is_main(word, before)

    def _is_select(self, before: str, before_that: str) -> bool:
        is_arm = before in _SET_OPERATORS or (before == "ALL" and before_that in _SET_OPERATORS)
        is_inner = before == "("
        if self.verb == "INSERT" and self.depth == (1 if is_inner else 0) and not is_arm:
            is_first, self.has_source = not self.has_source, True
            return is_first or is_inner
        return is_arm or is_inner or self._is_main("SELECT", before)

    def _is_main(self, verb: str, before: str) -> bool:
        """Whether this is the statement after its common table expressions."""
        is_main = self.verb == "WITH" and before == ")" and self.depth == 0
        if is_main:
            self.verb = verb
        return is_main


def _several(word: str) -> StatementError:
    return StatementError(
        "sql.multiple_statements", f"{word[:20]} begins another statement.", hint="Send one statement at a time."
    )
