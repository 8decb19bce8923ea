"""pandas over a guarded engine: the masks, filters and limits of the policy hold for frames too."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import sqlalchemy as sa

from guardrails import Denied, Guard, Policy
from guardrails.integrations import dbapi
from tests.support.guarded_shop import ANA, open_guard
from tests.support.shop_urls import ENGINES, shop_url

WRITING = """
version: 1
rules:
  - {id: all, effect: allow, actions: [read, write, create], relations: ['*']}
"""


@pytest.fixture(params=ENGINES)
def guard(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Guard]:
    with open_guard(shop_url(request, request.param), tmp_path) as opened:
        yield opened


def test_frames_are_masked(guard: Guard) -> None:
    engine = guard.engine()
    frame = pd.read_sql("SELECT id, email, created_at FROM customers ORDER BY id", engine)
    assert frame.id.tolist() == [1, 2, 3]
    assert set(frame.email) == {"hidden"}
    query = sa.text("SELECT amount FROM orders WHERE id = :id")
    assert float(pd.read_sql_query(query, engine, params={"id": 3}).amount[0]) == 30.25
    table = pd.read_sql_table("orders", engine, columns=["id", "amount"])
    assert table.amount.astype(float).tolist() == [10.5, 20.0, 30.25, 0.0]
    parts = pd.read_sql_query("SELECT id FROM orders ORDER BY id", engine, chunksize=3)
    assert [part.id.tolist() for part in parts] == [[1, 2, 3], [4]]
    for query in ("SELECT salary FROM employees", "DROP TABLE orders"):
        with pytest.raises(Denied):
            pd.read_sql(query, engine)
    with pytest.raises(ValueError, match="employees"):
        pd.read_sql_table("employees", engine)


@pytest.mark.filterwarnings("ignore:pandas only supports SQLAlchemy")
def test_frames_from_the_driver(guard: Guard) -> None:
    frame = pd.read_sql("SELECT id, email FROM customers ORDER BY id", dbapi.connect(guard))
    assert frame.values.tolist() == [[1, "hidden"], [2, "hidden"], [3, "hidden"]]


@pytest.mark.parametrize("name", ["sqlite", "postgres"])
def test_to_sql(request: pytest.FixtureRequest, tmp_path: Path, name: str) -> None:
    frame = pd.DataFrame({"day": [1, 2, 3], "total": [1.5, 2.5, None], "note": ["a", None, "c"]})
    with (
        Guard.open(
            Policy.from_text(WRITING), database=shop_url(request, name), ledger=f"sqlite:///{tmp_path / 'audit.db'}"
        ) as guard,
        guard.session(principal=ANA, agent="a"),
    ):
        engine = guard.engine()
        assert frame.to_sql("totals", engine, index=False) == 3
        assert frame.to_sql("totals", engine, index=False, if_exists="append", method="multi") == 3
        back = pd.read_sql_table("totals", engine)
        pd.testing.assert_frame_equal(back, pd.concat([frame, frame], ignore_index=True), check_dtype=False)
        with pytest.raises(ValueError, match="exists"):
            frame.to_sql("totals", engine)
        with pytest.raises(Denied):
            frame.to_sql("totals", engine, if_exists="replace")
        assert len(pd.read_sql("SELECT day FROM totals", engine)) == 6
