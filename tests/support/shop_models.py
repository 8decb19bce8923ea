"""The shop of `tests.support.schema` as ORM models."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

__all__ = ["Base", "Customer", "Order"]


class Base(DeclarativeBase):
    pass


class Customer(Base):
    __tablename__ = "customers"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    email: Mapped[str | None]
    region: Mapped[str]
    created_at: Mapped[datetime]
    orders: Mapped[list[Order]] = relationship(back_populates="customer", order_by="Order.id", passive_deletes=True)


class Order(Base):
    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    customer_id: Mapped[int] = mapped_column(sa.ForeignKey("customers.id"))
    amount: Mapped[Decimal]
    status: Mapped[str]
    region: Mapped[str]
    created_at: Mapped[datetime]
    customer: Mapped[Customer] = relationship(back_populates="orders")
