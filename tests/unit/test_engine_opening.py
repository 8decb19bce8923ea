"""From URLs and engines of SQLAlchemy's to engines: what opens, and what is an error rather than a guess."""

from __future__ import annotations

import socket
from pathlib import Path

import psycopg
import pytest
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import create_async_engine

from guardrails.engines import open_engine, place_of
from guardrails.errors import UsageError
from tests.support.plans import make_plan


def _code(database: object, **options: str) -> str:
    with pytest.raises(UsageError) as caught:
        open_engine(database, **options)  # type: ignore[arg-type]
    assert "secret" not in str(caught.value)
    return caught.value.code


def test_relative_and_absolute_sqlite_urls_open(sqlite_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(sqlite_path.parent)
    for url in ("sqlite:///shop.db", f"sqlite:///{sqlite_path}", f"sqlite+pysqlite:///{sqlite_path}"):
        engine = open_engine(url)
        assert engine.dialect == "sqlite"
        assert "customers" in engine.catalog().relations
    assert open_engine("sqlite:///shop.db").name == "sqlite:///shop.db"


def test_odd_characters_in_a_path_are_the_files_own(tmp_path: Path, sqlite_path: Path) -> None:
    for name in ("a b.db", "q#1.db", "ü.db"):
        (tmp_path / name).write_bytes(sqlite_path.read_bytes())
        assert "customers" in open_engine(f"sqlite:///{tmp_path / name}").catalog().relations


@pytest.mark.parametrize(
    "url",
    [
        "",
        "shop.db",
        "sqlite://",
        "sqlite:///",
        "sqlite:///:memory:",
        "sqlite:///file:shop.db?uri=true",
        "sqlite://shop.db",
        "sqlite+aiosqlite:///shop.db",
        "postgres://localhost/shop",
        "postgresql+psycopg2://localhost/shop",
        "postgresql+asyncpg://localhost/shop",
        "postgresql://u:secret@localhost/shop?sslmod=require",
        "postgresql://u:secret@localhost:port/shop",
        "mysql+mysqldb://u:secret@localhost/shop",
        "duckdb:///shop?threads=1&enable_external_access=true",
        "duckdb://host/shop",
        "clickhouse://localhost/shop",
        "mssql+pyodbc://u:secret@localhost/shop",
        "oracle://u:secret@localhost/shop",
    ],
)
def test_urls_that_are_not_understood_are_errors(url: str) -> None:
    assert _code(url) == "usage.database_unsupported"


@pytest.mark.parametrize("option", ["mode=ro", "timeout=5", "typo=1"])
def test_unknown_options_of_a_sqlite_url_are_errors(sqlite_path: Path, option: str) -> None:
    assert _code(f"sqlite:///{sqlite_path}?{option}") == "usage.database_unsupported"


def test_a_missing_sqlite_file_is_an_error_and_not_created(tmp_path: Path) -> None:
    assert _code(f"sqlite:///{tmp_path}/missing.db") == "usage.database_unreachable"
    assert _code(f"sqlite:///{tmp_path}") == "usage.database_unreachable"
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_database_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("secret " * 1000)
    assert _code(f"sqlite:///{path}") == "usage.database_unreachable"


def test_an_unreachable_server_is_an_error() -> None:
    assert _code("postgresql://u:secret@127.0.0.1:1/shop") == "usage.database_unreachable"
    assert _code("postgresql://u:secret@127.0.0.1:1/shop?connect_timeout=1") == "usage.database_unreachable"


def test_sqlite_has_no_roles(sqlite_path: Path) -> None:
    assert _code(f"sqlite:///{sqlite_path}", role="reader") == "usage.database_unsupported"


def test_the_label_of_a_database_holds_no_credentials(postgres_url: str) -> None:
    url = make_url(postgres_url).set(password="secret")
    engine = open_engine(url.render_as_string(hide_password=False))
    assert engine.name == f"postgresql://{url.host or ''}{f':{url.port}' if url.port else ''}/{url.database}"
    engine.dispose()


def test_asynchronous_engines_are_reached_by_their_url(sqlite_path: Path, postgres_url: str) -> None:
    for url in (f"sqlite+aiosqlite:///{sqlite_path}", postgres_url.replace("postgresql://", "postgresql+psycopg://")):
        engine = open_engine(create_async_engine(url))
        assert engine.execute(make_plan("SELECT 1", engine.dialect)).rows == ((1,),)
        engine.dispose()
    assert _code(create_async_engine("sqlite+aiosqlite://")) == "usage.database_unsupported"


def test_the_servers_extra_is_named_when_the_driver_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "psycopg", None)
    with pytest.raises(UsageError, match="postgres") as caught:
        open_engine("postgresql://localhost/shop")
    assert caught.value.code == "usage.extra_missing"
    assert psycopg.__version__


def test_the_same_label_in_another_folder_is_another_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    places = []
    for folder in (tmp_path / "staging", tmp_path / "production"):
        folder.mkdir()
        monkeypatch.chdir(folder)
        places.append(place_of("sqlite:///shop.db"))
    assert places[0] != places[1] == place_of(f"sqlite:///{tmp_path / 'production' / 'shop.db'}")
    assert "production" not in places[1]
    monkeypatch.setattr(socket, "gethostname", lambda: "elsewhere")
    assert place_of("sqlite:///shop.db") != places[1]
    assert place_of("postgresql://localhost/shop") != place_of("postgresql://db.example.com/shop")
    distant = place_of("postgresql://db.example.com/shop")
    monkeypatch.setattr(socket, "gethostname", lambda: "a third")
    assert place_of("postgresql://db.example.com/shop") == distant
