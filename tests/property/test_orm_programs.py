"""The same small ORM programs on a bare engine and on a guarded one: under a policy that allows everything, they do the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship

from guardrails import Guard, Policy, Principal

POLICY = """
version: 1
rules: [{id: all, effect: allow, actions: [read, write], relations: ['*']}]
limits: {rows: 100000, rows_changed: 100000}
"""
DRIVERS = {"sqlite": "sqlite", "postgres": "postgresql+psycopg", "mysql": "mysql+pymysql"}


class Base(DeclarativeBase):
    pass


class Author(Base):
    __tablename__ = "authors"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    name: Mapped[str] = mapped_column(sa.String(40))
    rank: Mapped[int | None]
    books: Mapped[list[Book]] = relationship(back_populates="author", cascade="all, delete-orphan", order_by="Book.id")


class Book(Base):
    __tablename__ = "books"
    id: Mapped[int] = mapped_column(primary_key=True)
    author_id: Mapped[int] = mapped_column(sa.ForeignKey("authors.id"))
    title: Mapped[str] = mapped_column(sa.String(40))
    author: Mapped[Author] = relationship(back_populates="books")


@dataclass(frozen=True)
class Step:
    """One thing that a program does, to one author."""

    verb: Literal["add", "rename", "promote", "write", "remove", "flush", "commit", "rollback", "save", "undo", "read", "many"]
    author: int = 0
    text: str = ""


STEPS = st.builds(
    Step,
    st.sampled_from(
        ["add", "rename", "promote", "write", "remove", "flush", "commit", "rollback", "save", "undo", "read", "many"]
    ),
    st.integers(1, 4),
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=5),
)


def run(engine: sa.Engine, steps: list[Step]) -> list[object]:
    """Runs a program in one session; returns what it saw, and what is there in the end."""
    seen: list[object] = []
    with Session(engine) as session:
        for step in steps:
            try:
                seen.append(_step(session, step))
            except sa.exc.IntegrityError:
                # A program may write books of an author whom it has removed.
                session.rollback()
                seen.append("violated")
    with Session(engine) as session:
        return [*seen, _everything(session)]


def _step(session: Session, step: Step) -> object:
    author = session.get(Author, step.author)
    match step.verb:
        case "add" if author is None:
            session.add(Author(id=step.author, name=step.text, rank=None))
        case "rename" if author is not None:
            author.name = step.text
        case "promote":
            change = sa.update(Author).where(Author.id <= step.author).values(rank=sa.func.coalesce(Author.rank, 0) + 1)
            session.execute(change)
        case "write" if author is not None:
            author.books.append(Book(title=step.text))
        case "many" if author is not None:
            rows = [{"author_id": step.author, "title": f"{step.text}{n}"} for n in range(5)]
            return sorted(session.scalars(sa.insert(Book).returning(Book.title), rows))
        case "remove" if author is not None:
            session.delete(author)
        case "flush":
            session.flush()
        case "commit":
            session.commit()
        case "rollback":
            session.rollback()
        case "save":
            session.begin_nested()
        case "undo" if session.in_nested_transaction():
            nested = session.get_nested_transaction()
            assert nested is not None
            nested.rollback()
        case "read":
            return _everything(session)
    return None


def _everything(session: Session) -> object:
    books = session.scalars(sa.select(Book).order_by(Book.title, Book.author_id)).all()
    authors = session.scalars(sa.select(Author).order_by(Author.id)).all()
    return (
        [(a.id, a.name, a.rank, sorted(b.title for b in a.books)) for a in authors],
        [(b.title, b.author.name) for b in books],
        session.execute(
            sa.select(Author.id, sa.func.count(Book.id)).outerjoin(Book).group_by(Author.id).order_by(Author.id)
        ).all(),
    )


@pytest.fixture(scope="module", params=["sqlite", "postgres", "mysql"])
def engines(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[sa.Engine, sa.Engine, Guard]]:
    folder: Path = tmp_path_factory.mktemp("orm")
    if request.param == "sqlite":
        urls = [f"sqlite:///{folder / name}.db" for name in ("bare", "guarded")]
    else:
        make: Callable[[], str] = request.getfixturevalue("new_postgres" if request.param == "postgres" else "new_mariadb")
        urls = [make() for _ in range(2)]
    bare, other = (
        sa.create_engine(
            sa.make_url(url).set(drivername=DRIVERS[request.param]),
            connect_args={"charset": "utf8mb4"} if request.param == "mysql" else {},
        )
        for url in urls
    )
    for engine in (bare, other):
        Base.metadata.create_all(engine)
    if request.param == "sqlite":
        sa.event.listen(bare, "connect", lambda raw, _: raw.execute("PRAGMA foreign_keys = ON"))
        bare.dispose()
    policy, ledger = Policy.from_text(POLICY), f"sqlite:///{folder / 'audit.db'}"
    with Guard.open(policy, database=urls[1], ledger=ledger) as guard:
        guard.install(other)
        yield bare, other, guard
    bare.dispose()


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(st.lists(STEPS, max_size=8))
def test_programs_do_the_same(engines: tuple[sa.Engine, sa.Engine, Guard], steps: list[Step]) -> None:
    bare, guarded, guard = engines
    with guard.session(principal=Principal("ana@example.com"), agent="a"):
        assert run(guarded, steps) == run(bare, steps)
        for engine in (bare, guarded):
            with engine.begin() as connection:
                connection.execute(sa.delete(Book).where(Book.id > 0))
                connection.execute(sa.delete(Author).where(Author.id > 0))
