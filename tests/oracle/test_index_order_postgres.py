"""An index of several columns gives rows in the order of one that no condition names: the guard closes that way, and only there."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from guardrails.engines import open_engine
from guardrails.model import ColumnRef, Mask, Obligations, RowFilter
from tests.support.installed import explained
from tests.support.live import run_postgres
from tests.support.twins import LIMITS, Database

DDL = """
CREATE TABLE people (id serial PRIMARY KEY, region text, email text, note text, is_active bool, pad text)
CREATE INDEX people_region_email ON people (region, email)
CREATE INDEX people_active ON people (email) WHERE is_active AND region = 'r1'
CREATE TABLE notes (id serial PRIMARY KEY, region text, email text UNIQUE, note text, pad text)
CREATE TABLE logs (id int, region text, email text) PARTITION BY RANGE (id)
CREATE TABLE logs_one PARTITION OF logs DEFAULT
CREATE INDEX logs_one_region_email ON logs_one (region, email)
"""
FILL = """
INSERT INTO people (region, email, note, is_active, pad)
  SELECT 'r' || i % 3000, md5(i || '{secret}'), 'n', i % 9 = 0, repeat('x', 60) FROM generate_series(1, 60000) AS i
INSERT INTO notes (region, email, note, pad) SELECT 'r', md5(i || '{secret}'), 'n' || i, repeat('x', 60) FROM generate_series(1, 20000) AS i
INSERT INTO logs SELECT i, 'r' || i % 3000, md5(i || '{secret}') FROM generate_series(1, 60000) AS i
VACUUM ANALYZE
"""
MASKED = Obligations(masks=tuple(Mask(ColumnRef(t, "email"), "full") for t in ("people", "notes", "logs")), limits=LIMITS)


def _lines(text: str) -> list[str]:
    return text.replace("\n  ", " ").strip().splitlines()


@pytest.fixture(scope="module")
def twins(new_postgres: Callable[[], str]) -> Iterator[tuple[Database, Database]]:
    urls = [new_postgres(), new_postgres()]
    for secret, url in enumerate(urls):
        run_postgres(url, *_lines(DDL), *_lines(FILL.replace("{secret}", str(secret))))
    one, two = (Database(open_engine(url), url) for url in urls)
    yield one, two
    one.engine.dispose()
    two.engine.dispose()


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT id FROM people WHERE region = 'r7' LIMIT 3",
        "SELECT id FROM people WHERE region = 'r7' ORDER BY region LIMIT 4",
        "SELECT id FROM people WHERE region = 'r1' AND is_active LIMIT 2",
        "SELECT p.id FROM notes n JOIN people p ON p.region = 'r' || n.id WHERE n.id < 4 LIMIT 9",
        "SELECT id FROM logs WHERE region = 'r7' LIMIT 3",
    ],
)
def test_an_index_does_not_tell_the_order_of_a_masked_column(twins: tuple[Database, Database], sql: str) -> None:
    one, two = (database.guarded(sql, MASKED) for database in twins)
    assert one == two
    assert twins[0].plan(sql, MASKED).index_use == "bitmap"


def test_the_way_is_there_without_the_guard(twins: tuple[Database, Database]) -> None:
    sql = "SELECT id FROM (SELECT id, region, '***' AS email FROM people) p WHERE region = 'r7' LIMIT 3"
    assert twins[0].raw(sql) != twins[1].raw(sql)


def test_a_filter_on_a_masked_column_closes_it_too(twins: tuple[Database, Database]) -> None:
    filters = (RowFilter("notes", "email < principal.most", (("most", "1"),)),)
    plan = twins[0].plan("SELECT id FROM notes", Obligations(MASKED.masks, filters, LIMITS))
    assert plan.index_use == "bitmap"
    assert "->  Index Scan" not in explained(twins[0].url, plan)


@pytest.mark.parametrize(
    ("sql", "node"),
    [
        ("SELECT note FROM notes WHERE id = 7", "Index Scan using notes_pkey"),
        ("SELECT note, email FROM notes WHERE id BETWEEN 7 AND 9", "Index Scan using notes_pkey"),
        ("SELECT note, email FROM notes ORDER BY id LIMIT 3", "Index Scan using notes_pkey"),
        ("SELECT note, email FROM people WHERE id = 7", "Bitmap Index Scan on people_pkey"),
    ],
)
def test_conditions_on_other_columns_use_their_index_through_masks(
    twins: tuple[Database, Database], sql: str, node: str
) -> None:
    assert node in explained(twins[0].url, twins[0].plan(sql, MASKED))
