"""`create_all` and `drop_all` of ordinary models, by a policy that allows them: the keys come out as SQLAlchemy meant them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship

from guardrails import Denied, Guard, Policy, Principal
from tests.support.schema import make_sqlite_shop

_POLICY = """
version: 1
rules:
  - {id: own, effect: allow, actions: [ddl, select, insert], relations: ['own_*']}
"""
_ANA = Principal("ana@example.com")


class _Base(DeclarativeBase):
    pass


class _Person(_Base):
    __tablename__ = "own_people"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(sa.String(50), unique=True)
    balance: Mapped[Decimal] = mapped_column(sa.Numeric(10, 2), default=Decimal("0.50"))
    since: Mapped[datetime] = mapped_column(server_default=sa.func.now())
    boss_id: Mapped[int | None] = mapped_column(sa.ForeignKey("own_people.id"))
    team: Mapped[list[_Person]] = relationship(back_populates="boss")
    boss: Mapped[_Person | None] = relationship(back_populates="team", remote_side="_Person.id")


class _Badge(_Base):
    __tablename__ = "own_badges"
    person_id: Mapped[int] = mapped_column(sa.ForeignKey("own_people.id"), primary_key=True)
    number: Mapped[int] = mapped_column(sa.BigInteger, primary_key=True)


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{make_sqlite_shop(tmp_path / 'shop.db')}"
    make: Callable[[], str] = request.getfixturevalue("new_postgres")
    return make()


def test_models_are_made_filled_and_dropped(url: str, tmp_path: Path) -> None:
    with (
        Guard.open(Policy.from_text(_POLICY), database=url, ledger=f"sqlite:///{tmp_path / 'audit.db'}") as guard,
        guard.session(principal=_ANA),
    ):
        engine = guard.engine()
        _Base.metadata.create_all(engine)
        with Session(engine) as session:
            session.add(_Person(name="Lea", team=[_Person(name="Bo"), _Person(name="Ed")]))
            session.commit()
            lea = session.scalars(sa.select(_Person).where(_Person.boss_id.is_(None))).one()
            assert (lea.id, lea.balance, len(lea.team)) == (1, Decimal("0.50"), 2)
            assert isinstance(lea.since, datetime)
        shape = sa.inspect(engine)
        assert shape.get_pk_constraint("own_people")["constrained_columns"] == ["id"]
        assert shape.get_pk_constraint("own_badges")["constrained_columns"] == ["person_id", "number"]
        (itself,) = shape.get_foreign_keys("own_people")
        assert (itself["referred_table"], itself["referred_columns"]) == ("own_people", ["id"])
        _Base.metadata.drop_all(engine)
        assert shape.get_table_names() == []


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TABLE own_a (id int, up int REFERENCES own_a (missing), PRIMARY KEY (id))",
        "CREATE TABLE own_a (id int, PRIMARY KEY (missing))",
        "CREATE TABLE own_a (id int, up int REFERENCES other.own_a (id))",
        "CREATE TABLE own_a (id int, up int REFERENCES customers (id))",
        "ALTER TABLE own_a ADD COLUMN up int REFERENCES own_a (id)",
    ],
)
def test_a_reference_that_fits_nothing_is_refused(url: str, tmp_path: Path, sql: str) -> None:
    ledger = f"sqlite:///{tmp_path / 'audit.db'}"
    with (
        Guard.open(Policy.from_text(_POLICY), database=url, ledger=ledger) as guard,
        guard.session(principal=_ANA),
        pytest.raises(Denied),
    ):
        guard.execute(sql)
