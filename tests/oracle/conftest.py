from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.twins import (
    Database,
    change_hidden,
    engine_of,
    fill_duckdb,
    fill_mysql,
    fill_postgres,
    fill_sqlite,
    open_twins,
)


@pytest.fixture(scope="session")
def sqlite_twins(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Database, Database]]:
    folder: Path = tmp_path_factory.mktemp("twins")
    twins = open_twins([fill_sqlite(folder / f"{secret}.db", secret) for secret in (1, 2)])
    yield twins
    for database in twins:
        database.engine.dispose()


@pytest.fixture(scope="session")
def postgres_twins(new_postgres: Callable[[], str]) -> Iterator[tuple[Database, Database]]:
    twins = open_twins([fill_postgres(new_postgres(), secret) for secret in (1, 2)])
    yield twins
    for database in twins:
        database.engine.dispose()


@pytest.fixture(scope="session")
def mysql_twins(new_mariadb: Callable[[], str]) -> Iterator[tuple[Database, Database]]:
    twins = open_twins([fill_mysql(new_mariadb(), secret) for secret in (1, 2)])
    yield twins
    for database in twins:
        database.engine.dispose()


@pytest.fixture(scope="session")
def duckdb_twins(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Database, Database]]:
    folder: Path = tmp_path_factory.mktemp("ducks")
    twins = open_twins([fill_duckdb(folder / f"{secret}.duckdb", secret) for secret in (1, 2)])
    yield twins
    for database in twins:
        database.engine.dispose()


@pytest.fixture(params=["sqlite", "postgres", "mysql", "duckdb"])
def twins(request: pytest.FixtureRequest) -> tuple[Database, Database]:
    found: tuple[Database, Database] = request.getfixturevalue(f"{request.param}_twins")
    return found


@pytest.fixture
def hidden_twin(twins: tuple[Database, Database], tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Database]:
    """The first twin again, with other rows where the filter on region hides them."""
    if twins[0].dialect == "sqlite":
        url = fill_sqlite(tmp_path / "hidden.db", 1)
    elif twins[0].dialect == "duckdb":
        url = fill_duckdb(tmp_path / "hidden.duckdb", 1)
    elif twins[0].dialect == "mysql":
        url = fill_mysql(request.getfixturevalue("new_mariadb_now")(), 1)
    else:
        url = fill_postgres(request.getfixturevalue("postgres_db"), 1)
    database = Database(engine_of(change_hidden(url)), url)
    yield database
    database.engine.dispose()
