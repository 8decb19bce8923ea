"""Texts at the edges of the lexers: each is refused, or the engine answers the regenerated text as it answers the original.

Where the engine itself refuses, the guard refuses or fails too; the few texts that it reads in the one way that is left are listed.
"""

from __future__ import annotations

import pytest

from tests.support.lexical_corpus import lexical, spaced
from tests.support.twins import Database

_LENIENT = {
    "sqlite": {
        # SQLite lets a table function's argument see the function's own columns, and finds the name ambiguous.
        "SELECT j.key, j.value FROM customers, json_each('[' || id || ']') j WHERE customers.id = 1",
        # The driver, not the engine, refuses the second semicolon.
        "SELECT 1 ; ;",
        "SELECT !! 5",
        # A word that is reserved here, and can mean nothing else.
        'SELECT t.values FROM (SELECT 1 AS "values") t',
    },
    "postgres": {
        "SELECT !! 5",
        # Words that the engine reserves in this place, and that can mean nothing else there.
        "SELECT 1 window",
        "SELECT 1 year, 2 AS month",
        'SELECT offset FROM (SELECT 1 AS "offset") t',
        'SELECT t.values FROM (SELECT 1 AS "values") t',
    },
    "mysql": {
        # Reserved here, not in MySQL, or the other way round.
        "SELECT 1 AS format, 2 AS range, 3 AS partition",
        "SELECT over FROM (SELECT 1 AS over) t",
        "SELECT 1 AS rows",
        "SELECT 1 AS offset",
        'SELECT offset FROM (SELECT 1 AS "offset") t',
        # MySQL's, or the standard's; MariaDB runs what they are short for.
        "SELECT 1 IS NOT DISTINCT FROM 1",
        "SELECT '{\"a\":1}' -> '$.a'",
        "TABLE customers",
        "SELECT 1, * FROM (SELECT 1 AS a) t",
        # Blanks before the parenthesis, which one mode of the server takes; there is no other function of the name.
        "SELECT count (*) FROM customers",
        "SELECT sum (id) FROM customers",
        "SELECT max/**/(id) FROM customers",
        "SELECT now () IS NOT NULL",
        "SELECT substring ('abc', 2)",
        # Letter case of aliases, which the server tells apart where file names are.
        "WITH t(a) AS (SELECT 1) SELECT T.A FROM t",
        "SELECT customers.* FROM customers AS CUSTOMERS WHERE id = 1",
        "SELECT Customers.id FROM customers WHERE id = 1",
        "SELECT c.ID, C.id FROM customers c WHERE c.id = 1",
        # A string where a relation stands.
        'SELECT"id"FROM"customers"WHERE"id"=1',
    },
    "duckdb": set[str](),
}
Twins = tuple[Database, Database]


@pytest.fixture(params=["sqlite", "postgres", "mysql", "duckdb"])
def twins(request: pytest.FixtureRequest) -> Twins:
    """Each engine, and the texts of its own that the corpus has."""
    found: Twins = request.getfixturevalue(f"{request.param}_twins")
    return found


def _asked(database: Database, sql: str) -> tuple[object, ...]:
    try:
        return database.raw(sql)
    except ValueError as error:
        # The driver does not take a NUL or a surrogate.
        return ("error", str(error))


def _difference(dialect: str, sql: str, asked: tuple[object, ...], answered: tuple[object, ...]) -> str | None:
    if answered[0] == "refused":
        return None
    if asked[0] == "error":
        is_settled = answered[0] == "error" or sql in _LENIENT[dialect]
        return None if is_settled else f"the engine refuses {sql!r}, the guard answers {answered}"
    return None if repr(asked) == repr(answered) else f"{sql!r}: {asked} became {answered}"


def test_no_text_is_read_otherwise(twins: Twins) -> None:
    database = twins[0]
    own = lexical(database.dialect)
    answers = [(sql, _asked(database, sql), database.guarded(sql)) for sql in [*own, *spaced()]]
    assert [f for answer in answers if (f := _difference(database.dialect, *answer))] == []
    taken = [guarded for _, asked, guarded in answers[: len(own)] if asked[0] != "error"]
    allowed = [guarded for guarded in taken if guarded[0] != "refused"]
    assert len(allowed) > 0.6 * len(taken), "most of what the engine takes is allowed, or this test says little"


def test_the_harness_sees_a_difference() -> None:
    answer = (("a",), ((1,),))
    assert _difference("sqlite", "SELECT 1 AS a", answer, answer) is None
    assert _difference("sqlite", "SELECT 1 AS a", (("a",), ((2,),)), answer) is not None
    assert _difference("sqlite", "SELECT 1 AS a", ("error", "no"), answer) is not None
