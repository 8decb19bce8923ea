"""Values between Python and PostgreSQL: what a plan binds, and what a result may hold."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import psycopg
from psycopg.abc import Buffer, Loader
from psycopg.types.datetime import DateLoader, IntervalLoader, TimestampLoader, TimestamptzLoader
from psycopg.types.json import Jsonb

from guardrails.model import Row, Value

__all__ = ["bound", "plain_row", "register_loaders"]


def bound(params: Mapping[str, Value]) -> list[object]:
    """Returns the values in placeholder order; dictionaries, and lists that hold one, become jsonb."""
    return [Jsonb(v) if isinstance(v, dict) or (isinstance(v, list) and _holds_dict(v)) else v for v in params.values()]


def _holds_dict(values: list[Value]) -> bool:
    return any(isinstance(v, dict) or (isinstance(v, list) and _holds_dict(v)) for v in values)


def plain_row(row: tuple[Any, ...]) -> Row:
    """Returns a row of the values that a result may hold; what Python has no plain type for (ranges, addresses) becomes text."""
    return tuple(map(_plain, row))


def _plain(value: object) -> Value:
    if value is None:
        return None
    if isinstance(value, (bool, int, float, str, bytes, Decimal, datetime, date, time, timedelta, UUID)):
        return value
    if isinstance(value, (bytearray, memoryview)):
        return bytes(value)
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    return str(value)


def register_loaders(cursor: psycopg.Cursor[Any]) -> None:
    """Lets dates that Python cannot hold (`infinity`, years before 1 or after 9999) through as their text."""
    for name, loader in _LOADERS.items():
        cursor.adapters.register_loader(name, loader)


class _Date(DateLoader):
    def load(self, data: Buffer) -> Any:
        try:
            return super().load(data)
        except psycopg.DataError:
            return bytes(data).decode()


class _Timestamp(TimestampLoader):
    def load(self, data: Buffer) -> Any:
        try:
            return super().load(data)
        except psycopg.DataError:
            return bytes(data).decode()


class _Timestamptz(TimestamptzLoader):
    def load(self, data: Buffer) -> Any:
        try:
            return super().load(data)
        except psycopg.DataError:
            return bytes(data).decode()


class _Interval(IntervalLoader):
    def load(self, data: Buffer) -> Any:
        try:
            return super().load(data)
        except (psycopg.DataError, OverflowError):
            return bytes(data).decode()


_LOADERS: dict[str, type[Loader]] = {"date": _Date, "timestamp": _Timestamp, "timestamptz": _Timestamptz, "interval": _Interval}
