"""Texts at the edges of the lexers: each is refused, or the engine answers the regenerated text as it answers the original.

Where the engine itself refuses, the guard refuses or fails too; the few texts that it reads in the one way that is left are listed.
"""

from __future__ import annotations

import pytest

from tests.support.lexical_corpus import lexical
from tests.support.twins import Database

_LENIENT = {
    # The driver, not the engine, refuses the second semicolon.
    "SELECT 1 ; ;",
    "SELECT !! 5",
    # Words that the engine reserves in this place, and that can mean nothing else there.
    "SELECT 1 window",
    "SELECT 1 year, 2 AS month",
    'SELECT offset FROM (SELECT 1 AS "offset") t',
    'SELECT t.values FROM (SELECT 1 AS "values") t',
    # SQLite lets a table function's argument see the function's own columns, and finds the name ambiguous.
    "SELECT j.key, j.value FROM customers, json_each('[' || id || ']') j WHERE customers.id = 1",
}
Twins = tuple[Database, Database]


@pytest.fixture(params=["sqlite", "postgres"])
def twins(request: pytest.FixtureRequest) -> Twins:
    """The engines that the corpus has texts for."""
    found: Twins = request.getfixturevalue(f"{request.param}_twins")
    return found


def _asked(database: Database, sql: str) -> tuple[object, ...]:
    try:
        return database.raw(sql)
    except ValueError as error:
        # The driver does not take a NUL or a surrogate.
        return ("error", str(error))


def _difference(database: Database, sql: str) -> str | None:
    asked, answered = _asked(database, sql), database.guarded(sql)
    if answered[0] == "refused":
        return None
    if asked[0] == "error":
        return (
            None if answered[0] == "error" or sql in _LENIENT else f"the engine refuses {sql!r}, the guard answers {answered}"
        )
    return None if repr(asked) == repr(answered) else f"{sql!r}: {asked} became {answered}"


def test_no_text_is_read_otherwise(twins: Twins) -> None:
    found = [_difference(twins[0], sql) for sql in lexical(twins[0].dialect)]
    assert [f for f in found if f] == []
    answered = [sql for sql in lexical(twins[0].dialect) if _asked(twins[0], sql)[0] != "error"]
    allowed = [sql for sql in answered if twins[0].guarded(sql)[0] != "refused"]
    assert len(allowed) > 0.6 * len(answered), "most of what the engine takes is allowed, or this test says little"


def test_the_harness_sees_a_difference(twins: Twins, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Database, "raw", lambda self, sql: (("a",), ((2,),)))
    assert _difference(twins[0], "SELECT 1 AS a") is not None
    monkeypatch.setattr(Database, "raw", lambda self, sql: ("error", "no"))
    assert _difference(twins[0], "SELECT 1 AS a") is not None
