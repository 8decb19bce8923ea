"""SQL understanding: parse, resolve, rewrite. The only part of the library that knows sqlglot; it could be lifted out on its own."""

from guardrails.sql.changed_rows import CountQuery, count_queries, stored_rows
from guardrails.sql.crosscheck import cross_check
from guardrails.sql.ddl import catalog_from_ddl
from guardrails.sql.dialects import dialect_name
from guardrails.sql.filters import check_predicate
from guardrails.sql.params import given_rows
from guardrails.sql.parse import Parsed, parse
from guardrails.sql.preview import PreviewQuery, preview_queries
from guardrails.sql.resolve import Resolved, relation_access, resolve
from guardrails.sql.rewrite import Rewritten, rewrite
from guardrails.sql.token_places import TokenPlace, remaining_texts, take_tokens
from guardrails.sql.token_query import token_query

__all__ = [
    "CountQuery",
    "Parsed",
    "PreviewQuery",
    "Resolved",
    "Rewritten",
    "TokenPlace",
    "catalog_from_ddl",
    "check_predicate",
    "count_queries",
    "cross_check",
    "dialect_name",
    "given_rows",
    "parse",
    "preview_queries",
    "relation_access",
    "remaining_texts",
    "resolve",
    "rewrite",
    "stored_rows",
    "take_tokens",
    "token_query",
]
