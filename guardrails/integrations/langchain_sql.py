"""LangChain's `SQLDatabase` and its toolkit, guarded: what they describe is what the user may see, and every statement is judged.

`langchain-community`, which both come from, is being sunset; it is supported here and required nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal, cast

import sqlalchemy as sa

from guardrails.errors import Denied, GuardrailsError, UsageError
from guardrails.guard import Guard

try:
    from langchain_community.agent_toolkits.sql.toolkit import SQLDatabaseToolkit
    from langchain_community.utilities.sql_database import SQLDatabase
    from langchain_core.language_models import BaseLanguageModel
    from langchain_core.tools import BaseTool
except ModuleNotFoundError as missing:
    raise UsageError(
        "usage.extra_missing",
        "LangChain's SQL toolkit needs langchain-community.",
        hint="Install guardrails-sql[langchain] and langchain-community.",
    ) from missing

from guardrails.integrations._langchain_runtime import call_id, calling, tool_name
from guardrails.integrations._langchain_tables import create_table, sample
from guardrails.integrations._toolbox import refusal_text
from guardrails.integrations.langchain import SelfGuarded, guard_tools
from guardrails.integrations.sqlalchemy import guarded_engine
from guardrails.policy import SeenRelation

__all__ = ["GuardedSQLDatabase", "guarded_sql_database", "guarded_sql_toolkit"]

_TOOL = "sql_database"
"""The name under which statements are recorded that no tool of an agent runs."""
_SHOWN_VALUE = 100
"""Characters of a value in sample rows, as `SQLDatabase` shows them."""


def guarded_sql_database(
    guard: Guard,
    *,
    include_tables: Iterable[str] | None = None,
    ignore_tables: Iterable[str] | None = None,
    sample_rows_in_table_info: int = 3,
    custom_table_info: Mapping[str, str] | None = None,
    view_support: bool = False,
    max_string_length: int = 300,
) -> GuardedSQLDatabase:
    """Returns a `SQLDatabase` whose every statement goes through a guard, for the toolkit, chains and code of your own.

    Tables are named as the policy names them: with their schema when it is not the database's default. Rows are shown as the policy
    masks and filters them; tables that the user may not read are not listed.

    Args:
        guard: What statements go through. A session must be active when one is run, or a `Principal` come with the run's context.
        include_tables: Only these are listed, described and may be named in a statement. None: all.
        ignore_tables: These are not.
        sample_rows_in_table_info: How many rows a description shows.
        custom_table_info: Descriptions to show instead, by table.
        view_support: Views are listed and described too.
        max_string_length: Longer texts in results are cut.

    Raises:
        UsageError: Both `include_tables` and `ignore_tables` are given, or one of them names what the database does not have
            (``usage.input_invalid``).
    """
    return GuardedSQLDatabase(
        guard,
        include_tables=include_tables,
        ignore_tables=ignore_tables,
        sample_rows_in_table_info=sample_rows_in_table_info,
        custom_table_info=custom_table_info,
        view_support=view_support,
        max_string_length=max_string_length,
    )


def guarded_sql_toolkit(guard: Guard, llm: BaseLanguageModel[Any], **options: Any) -> SQLDatabaseToolkit:
    """Returns a `SQLDatabaseToolkit` on a guarded database, whose tools answer a refusal with a tool message of status ``error``.

    Args:
        guard: What statements go through.
        llm: The model that checks queries, for ``sql_db_query_checker``.
        options: As for `guarded_sql_database`.
    """
    return _GuardedToolkit(db=guarded_sql_database(guard, **options), llm=llm)


class _GuardedToolkit(SQLDatabaseToolkit):
    def get_tools(self) -> list[BaseTool]:
        return guard_tools(cast(GuardedSQLDatabase, self.db).guard, super().get_tools())


class GuardedSQLDatabase(SQLDatabase, SelfGuarded):
    """A `SQLDatabase` behind a guard; made by `guarded_sql_database`. Nothing is asked of the database when it is made."""

    def __init__(
        self,
        guard: Guard,
        *,
        include_tables: Iterable[str] | None = None,
        ignore_tables: Iterable[str] | None = None,
        sample_rows_in_table_info: int = 3,
        custom_table_info: Mapping[str, str] | None = None,
        view_support: bool = False,
        max_string_length: int = 300,
    ) -> None:
        if not isinstance(guard, Guard):
            raise UsageError("usage.input_invalid", "It is made from a guard, not from an engine or a URL.")
        if include_tables is not None and ignore_tables is not None:
            raise UsageError("usage.input_invalid", "Give either include_tables or ignore_tables.")
        self.guard = guard
        self._engine = guarded_engine(guard, tool=_TOOL)
        # The connection's search path is the guard's affair.
        self._schema = None
        self._offered = _offered(guard, include_tables, ignore_tables)
        self._sample_rows_in_table_info = sample_rows_in_table_info
        self._descriptions = dict(custom_table_info or {})
        self._view_support = view_support
        self._max_string_length = max_string_length

    def get_usable_table_names(self) -> Iterable[str]:
        """Returns the names of the tables that are offered and that the user may read."""
        with calling(self.guard):
            return sorted(relation.key for relation in self._seen())

    def get_table_info(self, table_names: list[str] | None = None, get_col_comments: bool = False) -> str:  # noqa: ARG002
        """Describes tables: their columns as CREATE TABLE, and sample rows as the user sees them. There are no comments.

        Args:
            table_names: Which; None: all that are usable.
            get_col_comments: Has no effect.

        Raises:
            ValueError: One of them is not usable.
        """
        with calling(self.guard):
            seen = {relation.key: relation for relation in self._seen()}
            missing = set(table_names or ()) - set(seen)
            if missing:
                raise ValueError(f"table_names {missing} not found in database")
            return "\n\n".join(
                self._described(seen[name], seen) for name in sorted(seen if table_names is None else set(table_names))
            )

    def get_table_info_no_throw(self, table_names: list[str] | None = None) -> str:
        """As `get_table_info`, with an error's text in its place."""
        try:
            return super().get_table_info_no_throw(table_names)
        except GuardrailsError as error:
            return _told(error)

    def run_no_throw(self, command: str, *args: Any, **kwargs: Any) -> Any:
        """As `run`, with a refusal's or an error's text in its place."""
        try:
            return super().run_no_throw(command, *args, **kwargs)
        except GuardrailsError as error:
            return _told(error)

    def _execute(
        self,
        command: str | sa.Executable,
        fetch: Literal["all", "one", "cursor"] = "all",
        *,
        parameters: dict[str, Any] | None = None,
        execution_options: dict[str, Any] | None = None,
    ) -> Any:
        with calling(self.guard), self._offering():
            if not isinstance(command, str) or fetch == "cursor":
                return super()._execute(command, fetch, parameters=parameters, execution_options=execution_options)
            if fetch not in ("all", "one"):
                raise ValueError("Fetch parameter must be either 'one', 'all', or 'cursor'")
            rows = self._rows(command, parameters)
            return rows if fetch == "all" else rows[:1]

    def _rows(self, sql: str, parameters: dict[str, Any] | None = None) -> list[dict[str, Any]]:
        result = self.guard.execute(sql, parameters or {}, tool=tool_name() or _TOOL, tool_call_id=call_id())
        return [dict(zip(result.columns, row, strict=True)) for row in result.rows]

    def _seen(self) -> Sequence[SeenRelation]:
        kinds = ("view", "materialized_view") if not self._view_support else ()
        offered = self._offered
        seen = (relation for relation in self.guard.seen() if relation.relation.kind not in kinds)
        return [relation for relation in seen if offered is None or relation.key in offered]

    def _described(self, relation: SeenRelation, seen: Mapping[str, SeenRelation]) -> str:
        if relation.key in self._descriptions:
            return self._descriptions[relation.key]
        text = create_table(relation, seen, self._engine.dialect)
        count = self._sample_rows_in_table_info
        if not count or relation.effect != "allow":
            # Nobody is asked for an approval because something is described.
            return text
        try:
            with self._offering():
                rows = self._rows(sample(relation, count, self._engine.dialect))
        except Denied:
            # The policy may ask more of a statement than of a look at the schema.
            return text
        lines = ["\t".join(str(value)[:_SHOWN_VALUE] for value in row.values()) for row in rows]
        names = "\t".join(column.column.name for column in relation.columns)
        shown = "\n".join([f"{count} rows from {relation.key} table:", names, *lines])
        return f"{text}\n\n/*\n{shown}\n*/"

    @contextmanager
    def _offering(self) -> Iterator[None]:
        if self._offered is None:
            yield
            return
        with self.guard.offering(self._offered):
            yield


def _told(error: GuardrailsError) -> str:
    """A refusal's text; a guarded tool that runs has a way of its own to tell it."""
    if tool_name() is not None:
        raise error
    return refusal_text(error)


def _offered(guard: Guard, include: Iterable[str] | None, ignore: Iterable[str] | None) -> frozenset[str] | None:
    """The keys of the relations that statements may name; None when only the policy decides."""
    if include is None and ignore is None:
        return None
    known, named = set(guard.database.catalog().relations), set(include if include is not None else ignore or ())
    if not named <= known:
        raise UsageError("usage.input_invalid", f"The database has no {', '.join(sorted(named - known))}.")
    return frozenset(named if include is not None else known - named)
