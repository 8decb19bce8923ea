"""What is PostgreSQL's own in the ledger's store: what makes a commit durable, changed tables, migrations, and roles."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from sqlalchemy.engine import make_url

from guardrails.errors import LedgerError, TamperedError, UsageError
from guardrails.ledger.migrations import migrate
from guardrails.ledger.stores.base import Batch, Tile
from guardrails.ledger.stores.postgres import PostgresStore
from guardrails.ledger.stores.postgres_schema import REVISIONS, differences
from tests.conftest import missing
from tests.support.ledger_stores import (
    FIRST_HEAD,
    PostgresPlace,
    append_within,
    appended,
    assert_sound,
    begun,
    secret,
    texts_of,
)
from tests.support.private_postgres import private_server, programs

DOCS = Path(__file__).parents[2] / "docs" / "ledger-postgres.md"


@pytest.fixture
def place(postgres_url: str) -> Iterator[PostgresPlace]:
    made = PostgresPlace.new(postgres_url)
    yield made
    made.remove()


@pytest.fixture
def store(place: PostgresPlace) -> Iterator[PostgresStore]:
    opened = begun(place.open())
    assert isinstance(opened, PostgresStore)
    yield opened
    opened.close()


def with_options(url: str, **options: str) -> str:
    # libpq takes a plus sign as it is.
    return make_url(url).update_query_dict(options).render_as_string(hide_password=False).replace("+", "%20")


def description(place: PostgresPlace) -> list[str]:
    """What the catalog says of a ledger's schema that `differences` does not look at: the order of columns, and storage."""
    query = (
        "SELECT c.relname, a.attnum, a.attname, a.attstorage::text, c.reloptions::text FROM pg_attribute a"
        " JOIN pg_class c ON c.oid = a.attrelid WHERE c.relnamespace = {s}::regnamespace AND a.attnum > 0 ORDER BY 1, 2"
    )
    return [str(row) for row in place.execute(query.replace("{s}", f"'{place.schema}'"))]


@pytest.mark.parametrize(
    ("asked", "used"), [("off", "on"), ("local", "on"), ("remote_write", "on"), ("remote_apply", "remote_apply")]
)
def test_a_commit_is_never_less_durable_than_on(place: PostgresPlace, asked: str, used: str) -> None:
    url = with_options(place.url, options=f"-c synchronous_commit={asked}")
    with closing(begun(PostgresStore(url, schema=place.schema))) as store, store.transaction():
        append_within(store, ("s", "0"))
        assert isinstance(store, PostgresStore)
        assert store._run("SHOW synchronous_commit") == [(used,)]


def test_the_url_cannot_change_what_names_mean(place: PostgresPlace) -> None:
    url = with_options(place.url, options="-c search_path=public -c row_security=on")
    with closing(begun(PostgresStore(url, schema=place.schema))) as store, store.transaction():
        append_within(store, ("s", "0"))
        assert isinstance(store, PostgresStore)
        assert store._run("SELECT current_setting('search_path'), current_setting('row_security')") == [
            ("pg_catalog, pg_temp", "off")
        ]


def test_a_server_without_fsync_is_refused() -> None:
    if programs() is None:
        missing("no programs of a PostgreSQL server were found")
    with private_server() as server:
        server.make(fsync="off")
        server.start()
        with pytest.raises(LedgerError, match="fsync"):
            PostgresStore(server.url)
        with closing(begun(PostgresStore(server.url, unsafe_allow_fsync_off=True))) as store:
            appended(store, ("s", "0"))
            assert_sound(store)


def test_the_schema_is_named_in_the_url_or_beside_it(place: PostgresPlace) -> None:
    named = with_options(place.url, ledger_schema=place.schema, application_name="mine")
    with closing(begun(PostgresStore(named))) as store, closing(PostgresStore(place.url, schema=place.schema)) as same:
        assert isinstance(store, PostgresStore)
        assert store.schema == same.schema == place.schema
        batch = appended(store, ("s", "0"))
        with same.snapshot():
            assert same.head() == batch.head


@pytest.mark.parametrize("url", ["sqlite:///x.db", "postgresql+psycopg2://x/y", "postgresql://x/y?no_such_option=1", "x"])
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(UsageError) as refused:
        PostgresStore(url)
    assert refused.value.code == "usage.database_unsupported"


@pytest.mark.parametrize("name", ["a.b", 'a"b', "Ledger", "pg_ledger", "", "a b", "x" * 64, "ä"])
def test_names_of_schemas_that_would_need_quoting_are_refused(postgres_url: str, name: str) -> None:
    with pytest.raises(UsageError):
        PostgresStore(postgres_url, schema=name or "-")
    with pytest.raises(UsageError):
        PostgresStore(with_options(postgres_url, ledger_schema=name or "-"))


CHANGES = {
    "a trigger": "CREATE TRIGGER t BEFORE INSERT ON {s}.entries EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    "a rule": "CREATE RULE r AS ON DELETE TO {s}.secrets DO INSTEAD NOTHING",
    "a policy": "ALTER TABLE {s}.entries ENABLE ROW LEVEL SECURITY",
    "a view": "ALTER TABLE {s}.entries RENAME TO hidden; CREATE VIEW {s}.entries AS SELECT * FROM {s}.hidden",
    "a type": "ALTER TABLE {s}.entries ALTER COLUMN idx TYPE numeric",
    "a default": "ALTER TABLE {s}.head ALTER COLUMN published SET DEFAULT 'x'",
    "a column more": "ALTER TABLE {s}.head ADD COLUMN more text",
    "a column less": "ALTER TABLE {s}.secrets DROP COLUMN sealed",
    "a constraint less": "ALTER TABLE {s}.tiles DROP CONSTRAINT tiles_hashes_check",
    "an index less": "DROP INDEX {s}.entries_by_session",
    "an index more": "CREATE INDEX more ON {s}.entries (seq)",
    "a table less": "DROP TABLE {s}.secret_subjects",
    "a table that inherits": "CREATE TABLE {s}.more () INHERITS ({s}.entries)",
    "a table that is not logged": "ALTER TABLE {s}.entries SET UNLOGGED",
    "null": "ALTER TABLE {s}.head ALTER COLUMN note DROP NOT NULL",
    "a collation": 'ALTER TABLE {s}.open_intents ALTER COLUMN entry_id TYPE text COLLATE "POSIX"',
    "a sequence": "CREATE SEQUENCE {s}.numbers",
}


@pytest.mark.parametrize("change", CHANGES)
def test_changed_tables_are_noticed(place: PostgresPlace, store: PostgresStore, change: str) -> None:
    appended(store, ("s", "0"))
    for statement in CHANGES[change].split("; "):
        place.execute(statement)
    with pytest.raises(TamperedError), store.transaction():
        store.is_new()
    with store.snapshot():
        assert store.damage()


DAMAGE = {
    "an entry less": "DELETE FROM {s}.entries WHERE idx = 3",
    "an entry beyond the end": "INSERT INTO {s}.entries VALUES (600, 'x', 0, 'x')",
    "the end cut off": "DELETE FROM {s}.entries WHERE idx >= 590",
    "the head moved back": "UPDATE {s}.head SET size = 599",
    "no head": "DELETE FROM {s}.head",
    "a tile less": "DELETE FROM {s}.tiles WHERE idx = 0",
    "a tile more": "INSERT INTO {s}.tiles SELECT 1, 0, root, hashes FROM {s}.tiles WHERE idx = 0",
    "an intent beyond the end": "INSERT INTO {s}.open_intents VALUES ('i', 600, false)",
    "a secret beyond the end": "INSERT INTO {s}.secrets VALUES (600, 'n', sha256('x'), NULL)",
    "a mark of nothing": "INSERT INTO {s}.secret_subjects VALUES (0, 'n', sha256('x'))",
    "archived in the head alone": "UPDATE {s}.head SET archived = 256",
}


@pytest.mark.parametrize("what", DAMAGE)
def test_rows_that_contradict_each_other_are_damage(place: PostgresPlace, store: PostgresStore, what: str) -> None:
    appended(store, *[(f"s{n % 2}", str(n)) for n in range(600)])
    with store.snapshot():
        assert store.damage() == []
    place.execute(DAMAGE[what])
    with store.snapshot():
        assert store.damage()


def test_what_no_ledger_writes_cannot_be_stored(place: PostgresPlace, store: PostgresStore) -> None:
    appended(store, ("s", "0"))
    wrong = [
        Batch(1, FIRST_HEAD.__class__("k", "n", 1), tiles=[Tile(0, 0, b"short", b"r" * 32)]),
        Batch(1, FIRST_HEAD.__class__("k", "n", 1), tiles=[Tile(0, 0, b"h" * 8192, b"short")]),
        Batch(1, FIRST_HEAD.__class__("k", "n", 1, frontier=b"short")),
        Batch(1, FIRST_HEAD.__class__("k", "n", 1, archived=1)),
        Batch(1, FIRST_HEAD.__class__("k", "n", 2)),
        Batch(0, FIRST_HEAD.__class__("k", "n", 0)),
    ]
    for batch in wrong:
        with pytest.raises(LedgerError), store.transaction():
            store.write(batch)
    with pytest.raises(LedgerError) as refused:
        appended(store, ("s", "1"), secrets=[secret(1, "n" * 1001)])
    assert refused.value.code == "ledger.entry_invalid"
    assert_sound(store)
    with store.snapshot():
        assert store.head().size == 1


def test_an_error_does_not_quote_the_row(place: PostgresPlace, store: PostgresStore) -> None:
    planted = secret(0, "sql")
    with pytest.raises(LedgerError) as refused:
        appended(store, ("s", "0"), secrets=[planted, planted])
    assert planted.salt.hex() not in str(refused.value.diagnostics())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_leaves_its_parents_connection_alone(store: PostgresStore) -> None:
    def server_process() -> list[tuple[object, ...]]:
        with store.transaction():
            return store._run("SELECT pg_backend_pid()")

    before = server_process()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            appended(store, ("child", "0"))
            store.close()
            status = server_process() == before
        except LedgerError:
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    assert server_process() == before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_transaction_does_not_cross_a_fork(store: PostgresStore) -> None:
    with store.transaction():
        append_within(store, ("s", "0"))
        child = os.fork()
        if child == 0:
            status = 1
            try:
                store.head()
            except (LedgerError, UsageError):
                status = 0
            finally:
                os._exit(status)
        assert os.waitpid(child, 0)[1] == 0
    assert texts_of(store, "s") == [(0, "0")]


def test_rows_without_a_head_are_not_a_new_ledger(place: PostgresPlace, store: PostgresStore) -> None:
    appended(store, ("s", "0"))
    place.execute("DELETE FROM {s}.head")
    with pytest.raises(TamperedError), store.transaction():
        store.is_new()
    with pytest.raises(TamperedError):
        appended(store, ("s", "1"))


def test_a_new_ledger_and_a_migrated_one_have_the_same_tables(place: PostgresPlace, postgres_url: str) -> None:
    begun(place.open()).close()
    other = PostgresPlace.new(postgres_url)
    assert migrate(other.url, schema=other.schema) == (None, REVISIONS[-1])
    assert migrate(other.url, schema=other.schema) == (REVISIONS[-1], REVISIONS[-1])
    assert migrate(with_options(place.url, ledger_schema=place.schema)) == (REVISIONS[-1], REVISIONS[-1])
    for each in (place, other):
        assert (
            differences(
                lambda query, values, each=each: psycopg.connect(each.url).execute(query, values).fetchall(), each.schema
            )
            == []
        )
    assert description(place) == description(other) != []
    # Nobody has begun the log in them.
    with closing(other.open()) as store:
        with store.transaction():
            assert store.is_new()
        appended(begun(store), ("s", "0"))
        assert_sound(store)
    other.remove()


@pytest.mark.parametrize(
    ("version", "way_out"), [("0000", "Use the release that made them"), ("9999", "Use the release that made them")]
)
def test_tables_of_another_version_are_refused(place: PostgresPlace, store: PostgresStore, version: str, way_out: str) -> None:
    place.execute("UPDATE {s}.alembic_version SET version_num = %s", version)
    for begin in (store.transaction, store.snapshot):
        with pytest.raises(LedgerError, match=way_out) as refused, begin():
            store.is_new()
        assert refused.value.code == "ledger.unavailable"


def test_tables_of_an_older_version_ask_to_be_migrated(
    place: PostgresPlace, store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This release is the first; the revision after it is one that adds what the head does not have yet."""
    monkeypatch.setattr("guardrails.ledger.stores.postgres_schema.REVISIONS", (*REVISIONS, "0002"))
    place.execute("ALTER TABLE {s}.head DROP COLUMN published")
    for begin in (store.transaction, store.snapshot):
        with pytest.raises(LedgerError, match="guardrails ledger migrate"), begin():
            store.is_new()


def test_a_migration_that_may_not_leaves_everything_as_it_was(place: PostgresPlace) -> None:
    with nobody(place.url) as (url, _), pytest.raises(LedgerError):
        migrate(url, schema=place.schema)
    assert place.execute("SELECT 1 FROM pg_namespace WHERE nspname = %s", place.schema) == []


class nobody:  # noqa: N801 - reads as a context
    """A login that may do nothing but connect."""

    def __init__(self, url: str) -> None:
        self._owner = url
        self._name = f"guardrails_test_{id(self):x}"

    def __enter__(self) -> tuple[str, str]:
        with closing(psycopg.connect(self._owner, autocommit=True)) as connection:
            connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(self._name)))
        url = make_url(self._owner).set(username=self._name)
        return url.render_as_string(hide_password=False), self._name

    def __exit__(self, *_: object) -> None:
        with closing(psycopg.connect(self._owner, autocommit=True)) as connection:
            connection.execute(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(self._name)))
            connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(self._name)))


@pytest.fixture
def roles(place: PostgresPlace) -> Iterator[dict[str, PostgresPlace]]:
    """The roles of the documentation, made with its statements, in a schema of the test's own."""
    made, granted = (block for block in re.findall(r"```sql\n(.*?)```", DOCS.read_text(), re.DOTALL))
    with nobody(place.url) as owner, nobody(place.url) as writer, nobody(place.url) as reader:
        names = {"ledger_owner": owner, "ledger_writer": writer, "ledger_reader": reader}

        def run(text: str) -> None:
            for name, (_, role) in names.items():
                text = text.replace(name, role)
            for statement in text.replace("guardrails_ledger", place.schema).strip().rstrip(";").split(";\n"):
                if "CREATE ROLE" not in statement:
                    place.execute(statement)

        run(made)
        assert migrate(owner[0], schema=place.schema) == (None, REVISIONS[-1])
        run(granted)
        yield {name.removeprefix("ledger_"): PostgresPlace(url, place.schema) for name, (url, _) in names.items()}
        place.remove()


def test_a_writer_appends_and_changes_nothing(roles: dict[str, PostgresPlace]) -> None:
    with closing(begun(roles["writer"].open())) as store:
        appended(
            store, *[("s", str(n)) for n in range(300)], opened=[("i", 0), ("j", 1)], secrets=[secret(0, "sql", b"m" * 32)]
        )
        appended(store, ("s", "300"), closed=["i"], given_up=["j"])
        assert_sound(store)
        with store.transaction():
            assert not store.is_new()
        with pytest.raises(LedgerError), store.transaction():
            store.erase([(0, "sql")])
        with pytest.raises(LedgerError), store.transaction():
            store.drop_leaves(256, "kept")
        with store.snapshot():
            assert store.damage() == []
            assert store.open_intents() == [("j", 1, True)]
            assert len(store.secrets(0)) == 1
    for forbidden in (
        "UPDATE {s}.entries SET leaf = 'x'",
        "DELETE FROM {s}.entries",
        "TRUNCATE {s}.entries",
        "UPDATE {s}.tiles SET root = sha256('x')",
        "DELETE FROM {s}.tiles",
        "DELETE FROM {s}.head",
        "DELETE FROM {s}.secrets",
        "UPDATE {s}.secrets SET salt = sha256('x')",
        "UPDATE {s}.open_intents SET idx = 0",
        "ALTER TABLE {s}.entries DISABLE TRIGGER ALL",
        "CREATE TABLE {s}.more (id int)",
        "DROP TABLE {s}.entries",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            roles["writer"].execute(forbidden)


def test_a_reader_reads_and_an_owner_erases(roles: dict[str, PostgresPlace]) -> None:
    with closing(begun(roles["writer"].open())) as writer:
        appended(writer, *[("s", str(n)) for n in range(300)], secrets=[secret(0, "sql", b"m" * 32)])
    with closing(roles["reader"].open(read_only=True)) as reader:
        assert_sound(reader)
        with reader.snapshot():
            assert not reader.is_new()
            assert reader.damage() == []
            assert reader.tile(0, 0) is not None
            assert len(reader.secrets(0)) == 1
    with closing(roles["reader"].open()) as reader, pytest.raises(LedgerError, match=r"docs/ledger-postgres\.md"):
        appended(reader, ("s", "0"))
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        roles["reader"].execute("INSERT INTO {s}.entries VALUES (300, 'x', 0, 'x')")
    with closing(roles["owner"].open()) as owner:
        with owner.transaction():
            assert owner.erase([(0, "sql")]) == 1
        owner.drop_old_pages()
        with owner.transaction():
            owner.drop_leaves(256, "kept")
        with owner.snapshot():
            assert owner.secrets_of(b"m" * 32) == []


def test_a_login_that_may_nothing_is_told_so(place: PostgresPlace, store: PostgresStore) -> None:
    with nobody(place.url) as (url, _), closing(PostgresStore(url, schema=place.schema)) as stranger:
        for begin in (stranger.transaction, stranger.snapshot):
            with pytest.raises(LedgerError, match=r"docs/ledger-postgres\.md"), begin():
                stranger.is_new()
