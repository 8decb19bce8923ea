"""A guard in an engine that an application has already: its ORM models and data frames go on, guarded.

Run it: python examples/sqlalchemy_install.py
"""

import tempfile
from pathlib import Path

import pandas as pd
import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from guardrails import Guard, Policy, Principal

POLICY = """
version: 1
rules:
  - {id: shop, effect: allow, actions: [select, insert, update], relations: [customers], principals: {groups: [support]}}
columns:
  customers.email: {mask: fixed, value: hidden}
"""


class Base(DeclarativeBase):
    pass


class Customer(Base):
    __tablename__ = "customers"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    email: Mapped[str | None]


def main(folder: Path) -> None:
    engine = sa.create_engine(f"sqlite:///{folder / 'shop.db'}")
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add_all([Customer(name="Ada", email="ada@example.com"), Customer(name="Bo", email="bo@example.com")])
        session.commit()
    policy, ledger = Policy.from_text(POLICY), f"sqlite:///{folder / 'audit.db'}"
    with Guard.open(policy, database=str(engine.url), ledger=ledger) as guard:
        guard.install(engine)  # from here on, whatever runs on it
        with guard.session(principal=Principal("ana@example.com", groups={"support"}), agent="support-bot"):
            with Session(engine) as session:
                session.get_one(Customer, 1).name = "Adele"
                session.flush()
                session.rollback()
                print(session.get_one(Customer, 1).name)
            print(pd.read_sql("SELECT name, email FROM customers ORDER BY name", engine))
            raw = engine.raw_connection().cursor()
            print(type(raw).__module__, hasattr(raw, "executescript"))
        ends = [e["status"] for e in guard.ledger.entries() if e["type"] == "outcome" and "transaction" in e]
        print(ends)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        main(Path(name))
