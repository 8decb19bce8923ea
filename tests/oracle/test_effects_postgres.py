"""What statements set off on a real server: triggers, rules, and code of users that hides behind types."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from guardrails.catalog import postgres_digest, read_postgres
from tests.support.live import Live, open_live, run_postgres

ALLOW = "version: 1\nrules:\n  - {id: a, effect: allow, actions: [all], relations: ['*'], where: optional}\n"
MASKED = f"{ALLOW}columns:\n  people.email: {{mask: fixed, value: xx}}\n"
TRIGGER = "CREATE FUNCTION public.f() RETURNS trigger LANGUAGE plpgsql {settings} AS $f$ {body} $f$"


@pytest.fixture(scope="module")
def url(new_postgres: Callable[[], str]) -> str:
    url = new_postgres()
    run_postgres(
        url,
        "CREATE TABLE people (id int PRIMARY KEY, email text)",
        "CREATE TABLE notes (id int PRIMARY KEY, body text, changed timestamptz, person int)",
        "INSERT INTO people VALUES (1, 'ana@x')",
        "INSERT INTO notes VALUES (1, 'one')",
    )
    return url


@pytest.fixture
def live(url: str, tmp_path: Path) -> Iterator[Live]:
    with open_live(url, MASKED, tmp_path) as live:
        yield live


def _with_trigger(url: str, body: str, settings: str = "", when: str = "BEFORE INSERT OR UPDATE ON notes FOR EACH ROW") -> None:
    run_postgres(
        url,
        "DROP FUNCTION IF EXISTS f() CASCADE",
        TRIGGER.format(body=body, settings=settings),
        f"CREATE TRIGGER g {when} EXECUTE FUNCTION f()",
    )


@pytest.mark.parametrize(
    "body",
    [
        "BEGIN NEW.changed := now(); RETURN NEW; END",
        "BEGIN NEW.body = trim(NEW.body)::text; -- tidy\n IF TG_OP = 'INSERT' AND NEW.id IS DISTINCT FROM 7"
        " THEN NEW.changed := NULL; END IF; RETURN new; END;",
        "BEGIN IF NEW.id < 0 THEN RAISE EXCEPTION 'no'; END IF; RETURN NEW; END",
    ],
)
def test_a_trigger_that_sets_its_own_row_passes(url: str, live: Live, body: str) -> None:
    _with_trigger(url, body, "SET search_path = ''")
    assert live.code("INSERT INTO notes (id, body) VALUES (2, ' x ')") == "ok"
    assert live.code("UPDATE notes SET body = 'y' WHERE id = 2") == "ok"
    assert live.code("DELETE FROM notes WHERE id = 2") == "ok"


@pytest.mark.parametrize(
    ("body", "settings"),
    [
        ("BEGIN NEW.body := (SELECT email FROM public.people LIMIT 1); RETURN NEW; END", ""),
        ("BEGIN NEW.body := email FROM public.people; RETURN NEW; END", ""),
        ("BEGIN SELECT email INTO NEW.body FROM public.people; RETURN NEW; END", ""),
        ("BEGIN NEW.body := public.leak(); RETURN NEW; END", ""),
        ("BEGIN NEW.body := leak(); RETURN NEW; END", ""),
        ("BEGIN NEW.body := trim(NEW.body); RETURN NEW; END", "SET search_path = public, pg_catalog"),
        ("BEGIN PERFORM pg_notify('a', NEW.body); RETURN NEW; END", ""),
        ("BEGIN EXECUTE 'SELECT 1'; RETURN NEW; END", ""),
        ("BEGIN NEW.body := database_to_xml(true, true, ''); RETURN NEW; END", ""),
        ("BEGIN NEW.body := (TABLE public.people); RETURN NEW; END", ""),
        ("BEGIN /* ' */ NEW.body := email FROM public.people; /* ' */ RETURN NEW; END", ""),
        ("BEGIN -- \r NEW.body := email FROM public.people;\n RETURN NEW; END", ""),
        (
            "BEGIN NEW.body := '\\'' || email FROM public.people; --'; \n RETURN NEW; END",
            "SET standard_conforming_strings = off",
        ),
        ('BEGIN NEW.body := "leak"(); RETURN NEW; END', ""),
        ("BEGIN NEW.body := E'\\''; RETURN NEW; END", ""),
        ("BEGIN NEW.body := 'x'::public.mood; RETURN NEW; END", ""),
        ("DECLARE x text; BEGIN RETURN NEW; END", ""),
        ("BEGIN RETURN NEW; /* or not */ END", ""),
    ],
)
def test_any_other_trigger_is_refused(url: str, live: Live, body: str, settings: str) -> None:
    _with_trigger(url, body, f"SECURITY DEFINER {settings}")
    assert live.code("INSERT INTO notes (id) VALUES (3)") == "sql.effects_unknown"
    assert live.code("UPDATE notes SET body = 'y'") == "sql.effects_unknown"
    assert live.code("INSERT INTO notes (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET body = 'z'") == "sql.effects_unknown"
    assert live.code("MERGE INTO notes USING (SELECT 1 AS i) AS s ON id = s.i WHEN MATCHED THEN DELETE") in (
        *("sql.effects_unknown", "policy.no_rule"),
    )
    assert live.code("SELECT id FROM notes") == "ok"
    assert live.code("DELETE FROM notes WHERE id = 77") == "ok"


def test_a_condition_that_calls_a_users_function_counts(url: str, live: Live) -> None:
    run_postgres(url, "CREATE OR REPLACE FUNCTION odd() RETURNS bool LANGUAGE plpgsql AS 'BEGIN RETURN true; END'")
    when = "BEFORE INSERT OR UPDATE ON notes FOR EACH ROW WHEN ({})"
    _with_trigger(url, "BEGIN RETURN NEW; END", when=when.format("length(NEW.body) > 1"))
    assert live.code("UPDATE notes SET body = 'yy'") == "ok"
    _with_trigger(url, "BEGIN RETURN NEW; END", when=when.format("odd()"))
    assert live.code("UPDATE notes SET body = 'yy'") == "sql.effects_unknown"


def test_a_trigger_that_is_switched_off_or_truncates_counts_for_nothing_else(url: str, live: Live) -> None:
    _with_trigger(url, "BEGIN PERFORM 1; RETURN NULL; END", when="AFTER TRUNCATE ON notes")
    assert live.code("UPDATE notes SET body = 'y'") == "ok"
    assert live.code("TRUNCATE notes") == "sql.effects_unknown"
    _with_trigger(url, "BEGIN PERFORM 1; RETURN NEW; END")
    assert live.code("UPDATE notes SET body = 'y'") == "sql.effects_unknown"
    run_postgres(url, "ALTER TABLE notes DISABLE TRIGGER g")
    assert live.code("UPDATE notes SET body = 'y'") == "ok"
    run_postgres(url, "ALTER TABLE notes ENABLE ALWAYS TRIGGER g")
    assert live.code("UPDATE notes SET body = 'y'") == "sql.effects_unknown"


def test_the_body_of_a_trigger_is_read_as_it_is_now(url: str, live: Live) -> None:
    _with_trigger(url, "BEGIN RETURN NEW; END")
    assert live.code("UPDATE notes SET body = 'y'") == "ok"
    replaced = TRIGGER.format(body="BEGIN NEW.body := email FROM public.people; RETURN NEW; END", settings="")
    run_postgres(url, replaced.replace("CREATE", "CREATE OR REPLACE"))
    assert live.code("UPDATE notes SET body = 'y'") == "sql.effects_unknown"


@pytest.mark.parametrize("rule", ["INSTEAD NOTHING", "INSTEAD SELECT email FROM people", "ALSO DELETE FROM people"])
def test_a_rule_makes_changes_refused_and_reading_not(new_postgres: Callable[[], str], tmp_path: Path, rule: str) -> None:
    url = new_postgres()
    run_postgres(url, "CREATE TABLE people (id int, email text)", "CREATE TABLE notes (id int)")
    with open_live(url, MASKED, tmp_path) as live:
        assert live.code("INSERT INTO notes VALUES (1)") == "ok"
        run_postgres(url, f"CREATE RULE r AS ON INSERT TO notes DO {rule}")
        assert live.code("INSERT INTO notes VALUES (1)") == "sql.effects_unknown"
        assert live.code("UPDATE notes SET id = 2") == "ok"
        assert live.rows("SELECT id FROM notes") == [(2,)]
        run_postgres(url, "ALTER TABLE notes DISABLE RULE r")
        assert live.code("INSERT INTO notes VALUES (1)") == "ok"


def test_effects_go_along_partitions_children_and_foreign_keys(new_postgres: Callable[[], str], tmp_path: Path) -> None:
    url = new_postgres()
    run_postgres(
        url,
        TRIGGER.format(body="BEGIN PERFORM 1; RETURN NEW; END", settings=""),
        "CREATE TABLE base (id int) PARTITION BY LIST (id)",
        "CREATE TABLE one PARTITION OF base FOR VALUES IN (1)",
        "CREATE TABLE rest PARTITION OF base DEFAULT",
        "CREATE TRIGGER g BEFORE INSERT ON rest FOR EACH ROW EXECUTE FUNCTION f()",
        "CREATE TABLE parent (id int)",
        "CREATE TABLE child () INHERITS (parent)",
        "CREATE TRIGGER g BEFORE INSERT OR UPDATE ON child FOR EACH ROW EXECUTE FUNCTION f()",
        "CREATE TABLE a (id int PRIMARY KEY)",
        "CREATE TABLE b (id int PRIMARY KEY REFERENCES a ON DELETE CASCADE)",
        "CREATE TABLE c (id int REFERENCES b ON DELETE SET NULL ON UPDATE CASCADE)",
        "CREATE TRIGGER g AFTER UPDATE ON c FOR EACH ROW EXECUTE FUNCTION f()",
        "CREATE TABLE p (id int) PARTITION BY LIST (id)",
        "CREATE TABLE q PARTITION OF p DEFAULT",
        "CREATE TRIGGER g AFTER DELETE ON p FOR EACH ROW EXECUTE FUNCTION f()",
    )
    expected = {
        "INSERT INTO base VALUES (1)": True,
        "UPDATE base SET id = 2": True,
        "DELETE FROM base WHERE id = 77": False,
        "INSERT INTO one VALUES (1)": False,
        "INSERT INTO parent VALUES (1)": False,
        "UPDATE parent SET id = 2": True,
        "INSERT INTO child VALUES (1)": True,
        "DELETE FROM a WHERE id = 77": True,
        "UPDATE a SET id = 7 WHERE id = 77": False,
        "INSERT INTO a VALUES (1)": False,
        "UPDATE b SET id = 7 WHERE id = 77": True,
        "DELETE FROM c WHERE id = 77": False,
        "DELETE FROM q WHERE id = 77": True,
        "INSERT INTO q VALUES (1)": False,
    }
    with open_live(url, ALLOW, tmp_path) as live:
        assert {s: live.code(s) == "sql.effects_unknown" for s in expected} == expected


def test_triggers_on_schema_changes_refuse_those(new_postgres: Callable[[], str], tmp_path: Path) -> None:
    url = new_postgres()
    with open_live(url, ALLOW, tmp_path) as live:
        assert live.code("CREATE TABLE t (id int)") == "ok"
        run_postgres(
            url,
            "CREATE FUNCTION e() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN NULL; END'",
            "CREATE EVENT TRIGGER g ON ddl_command_start EXECUTE FUNCTION e()",
        )
        for statement in ("CREATE TABLE u (id int)", "ALTER TABLE t ADD COLUMN x int", "DROP TABLE t"):
            assert live.code(statement) == "sql.effects_unknown"
        assert live.code("INSERT INTO t VALUES (1)") == "ok"


SPY = (
    "CREATE TABLE people (id int PRIMARY KEY, email text)",
    "INSERT INTO people VALUES (1, 'ana@x'), (2, 'bob@x')",
    "CREATE TYPE pair AS (a text, b text)",
    "CREATE TABLE t (id int, p pair, ps pair[], d text)",
    "INSERT INTO t VALUES (1, ROW('x', 'y'), ARRAY[ROW('x', 'y')::pair], 'z')",
    "CREATE FUNCTION spy(pair) RETURNS text LANGUAGE sql AS 'SELECT string_agg(email, '','') FROM public.people'",
    "CREATE FUNCTION spy(pair, pair) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT count(*)::int FROM public.people'",
    "CREATE FUNCTION low(pair, pair) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT true FROM public.people'",
)
OPERATORS = tuple(
    f"CREATE OPERATOR {sign} (LEFTARG = pair, RIGHTARG = pair, FUNCTION = low)" for sign in ("=", "<", ">", "<=", ">=")
)
OPERATOR_CLASS = (
    "CREATE OPERATOR CLASS pairs DEFAULT FOR TYPE pair USING btree AS"
    " OPERATOR 1 <, OPERATOR 2 <=, OPERATOR 3 =, OPERATOR 4 >=, OPERATOR 5 >, FUNCTION 1 spy(pair, pair)"
)
USES = (
    "SELECT p FROM t",
    "SELECT concat(p) FROM t",
    "SELECT id FROM t WHERE p = p",
    "SELECT p::text FROM t",
    "SELECT count(DISTINCT p) FROM t",
    "SELECT id FROM t ORDER BY p",
    "SELECT id FROM t ORDER BY ps",
    "SELECT to_json(t) FROM t",
    "SELECT count(*) FROM t AS a JOIN t AS b USING (p)",
    "UPDATE t SET p = p",
    "INSERT INTO t VALUES (3)",
)
OTHERS = ("SELECT id, d FROM t", "SELECT count(*) FROM t", "UPDATE t SET d = 'y' WHERE id = 1", "SELECT email FROM people")


@pytest.fixture(scope="module")
def spied(new_postgres: Callable[[], str]) -> str:
    url = new_postgres()
    run_postgres(url, *SPY)
    return url


@pytest.fixture
def spying(spied: str, tmp_path: Path) -> Iterator[Live]:
    with open_live(spied, MASKED, tmp_path) as live:
        yield live


def test_operators_and_functions_of_users_are_not_found(spied: str, spying: Live) -> None:
    """They are in the schema `public`, which the search path of a guarded statement leaves out."""
    run_postgres(spied, *OPERATORS)
    for statement in (
        "SELECT spy(p) FROM t",
        "SELECT public.spy(p) FROM t",
        "SELECT (t.p).spy FROM t",
        "SELECT p OPERATOR(public.=) p FROM t",
    ):
        assert spying.code(statement) in ("sql.function_not_allowed", "sql.construct_unsupported", "sql.column_unknown"), (
            statement
        )
    # The system's own comparison of rows compares their fields.
    assert spying.rows("SELECT id FROM t WHERE p = ROW('x'::text, 'y'::text)") == [(1,)]
    for sign in ("=", "<", ">", "<=", ">="):
        run_postgres(spied, f"DROP OPERATOR {sign} (pair, pair)")


@pytest.mark.parametrize("context", ["AS IMPLICIT", "AS ASSIGNMENT", ""])
def test_a_cast_that_calls_a_function_taints_its_type(spied: str, spying: Live, context: str) -> None:
    assert [spying.code(u) for u in OTHERS] == ["ok"] * len(OTHERS)
    assert spying.code("SELECT p FROM t") == "ok"
    run_postgres(spied, f"CREATE CAST (pair AS text) WITH FUNCTION spy(pair) {context}")
    try:
        assert [spying.code(u) for u in USES] == ["sql.effects_unknown"] * len(USES)
        assert [spying.code(u) for u in OTHERS] == ["ok"] * len(OTHERS)
    finally:
        run_postgres(spied, "DROP CAST (pair AS text)")
    assert spying.code("SELECT p FROM t") == "ok"


def test_a_trigger_may_convert_values_of_such_a_type(spied: str, spying: Live) -> None:
    run_postgres(
        spied,
        "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.d := NEW.p; RETURN NEW; END'",
        "CREATE TRIGGER g BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION f()",
    )
    try:
        assert spying.code("UPDATE t SET id = 1") == "ok"
        run_postgres(spied, "CREATE CAST (pair AS text) WITH FUNCTION spy(pair) AS ASSIGNMENT")
        assert spying.code("UPDATE t SET id = 1") == "sql.effects_unknown"
    finally:
        run_postgres(spied, "DROP CAST IF EXISTS (pair AS text)", "DROP FUNCTION f() CASCADE")


def test_an_operator_class_taints_its_type(spied: str, spying: Live) -> None:
    run_postgres(spied, *OPERATORS, OPERATOR_CLASS)
    try:
        assert [spying.code(u) for u in USES] == ["sql.effects_unknown"] * len(USES)
        assert [spying.code(u) for u in OTHERS] == ["ok"] * len(OTHERS)
    finally:
        run_postgres(spied, "DROP OPERATOR CLASS pairs USING btree", "DROP OPERATOR FAMILY pairs USING btree")
        for sign in ("=", "<", ">", "<=", ">="):
            run_postgres(spied, f"DROP OPERATOR {sign} (pair, pair)")
    assert spying.code("SELECT p FROM t") == "ok"


@pytest.mark.parametrize(
    "change",
    [
        "CREATE CAST (text AS bool) WITH FUNCTION public.truth(text) AS IMPLICIT",
        "CREATE FUNCTION pg_catalog.lower(int) RETURNS text LANGUAGE sql AS 'SELECT email FROM public.people'",
        "CREATE AGGREGATE pg_catalog.max(bool) (sfunc = public.pick, stype = bool)",
        "CREATE OPERATOR pg_catalog.+ (LEFTARG = text, RIGHTARG = text, FUNCTION = public.plus)",
    ],
)
def test_what_replaces_the_systems_own_refuses_everything(new_postgres: Callable[[], str], tmp_path: Path, change: str) -> None:
    url = new_postgres()
    run_postgres(
        url,
        "CREATE TABLE people (id int, email text)",
        "CREATE FUNCTION truth(text) RETURNS bool LANGUAGE sql AS 'SELECT true FROM public.people'",
        "CREATE FUNCTION pick(bool, bool) RETURNS bool LANGUAGE sql AS 'SELECT true FROM public.people'",
        "CREATE FUNCTION plus(text, text) RETURNS text LANGUAGE sql AS 'SELECT email FROM public.people'",
    )
    with open_live(url, MASKED, tmp_path) as live:
        assert live.code("SELECT 1") == "ok"
        run_postgres(url, change)
        assert live.code("SELECT 1") == "sql.effects_unknown"
        assert live.code("SELECT id FROM people") == "sql.effects_unknown"


def test_constraints_that_call_functions_with_effects_refuse_writes(new_postgres: Callable[[], str], tmp_path: Path) -> None:
    url = new_postgres()
    run_postgres(
        url,
        "CREATE FUNCTION pure(text) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT $1 <> ''bad'''",
        "CREATE FUNCTION wild(text) RETURNS bool LANGUAGE plpgsql VOLATILE AS 'BEGIN PERFORM pg_notify(''a'', $1); RETURN true; END'",
        "CREATE DOMAIN good AS text CHECK (pure(VALUE))",
        "CREATE DOMAIN bad AS text CHECK (wild(VALUE))",
        "CREATE TABLE t (id int, g good CHECK (pure(g)))",
        "CREATE TABLE u (id int, b text CHECK (wild(b)))",
        "CREATE TABLE v (id int, b bad, bs bad[])",
    )
    expected = {
        "INSERT INTO t VALUES (1, 'x')": "ok",
        "SELECT g FROM t": "ok",
        "INSERT INTO u VALUES (1, 'x')": "sql.effects_unknown",
        "UPDATE u SET id = 1": "sql.effects_unknown",
        "SELECT b FROM u": "ok",
        "INSERT INTO v VALUES (1, 'x')": "sql.effects_unknown",
        "UPDATE v SET bs = NULL": "sql.effects_unknown",
        "INSERT INTO v (id) VALUES (1)": "ok",
    }
    with open_live(url, ALLOW, tmp_path) as live:
        assert {s: live.code(s) for s in expected} == expected


@pytest.mark.parametrize("extension", ["citext", "hstore", "ltree", "isn", "cube"])
def test_types_of_usual_extensions_are_not_tainted(new_postgres: Callable[[], str], extension: str) -> None:
    with psycopg.connect(new_postgres()) as connection:
        found = connection.execute("SELECT 1 FROM pg_available_extensions WHERE name = %s", (extension,)).fetchone()
        if found is None:
            pytest.skip(f"the server has no extension {extension}")
        connection.execute(f"CREATE EXTENSION {extension}".encode())
        type_ = {"isn": "isbn"}.get(extension, extension)
        connection.execute(f"CREATE TABLE t (a {type_}, b {type_}[])".encode())
        catalog = read_postgres(connection)
        assert catalog.effects == ()
        assert [c.has_user_code for c in catalog.relations["t"].columns] == [False, False]


DIGESTED = (
    "CREATE TABLE public.t (id int, a text)",
    "CREATE TABLE public.c () INHERITS (public.t)",
    "ALTER TABLE public.c NO INHERIT public.t",
    "CREATE FUNCTION public.f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
    "CREATE TRIGGER g BEFORE INSERT ON public.t FOR EACH ROW EXECUTE FUNCTION public.f()",
    "ALTER TABLE public.t DISABLE TRIGGER g",
    "CREATE OR REPLACE FUNCTION public.f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NULL; RETURN NEW; END'",
    "ALTER FUNCTION public.f() SECURITY DEFINER",
    "CREATE RULE r AS ON INSERT TO public.t DO INSTEAD NOTHING",
    "ALTER TABLE public.t DISABLE RULE r",
    "ALTER TABLE public.t ENABLE ROW LEVEL SECURITY",
    "ALTER TABLE public.t FORCE ROW LEVEL SECURITY",
    "CREATE POLICY p ON public.t USING (id > 1)",
    "ALTER POLICY p ON public.t USING (id > 2)",
    "ALTER TABLE public.t ADD COLUMN g text GENERATED ALWAYS AS (a || 'x') STORED",
    "ALTER TABLE public.t ALTER COLUMN g DROP EXPRESSION",
    "CREATE TYPE public.mood AS ENUM ('a')",
    "CREATE FUNCTION public.m(public.mood) RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE CAST (public.mood AS int) WITH FUNCTION public.m(public.mood)",
    "CREATE FUNCTION public.n(public.mood, public.mood) RETURNS bool LANGUAGE sql AS 'SELECT true'",
    "CREATE OPERATOR public.< (LEFTARG = public.mood, RIGHTARG = public.mood, FUNCTION = public.n)",
    "CREATE DOMAIN public.d AS text",
    "ALTER DOMAIN public.d ADD CHECK (VALUE <> 'x')",
    "ALTER TABLE public.t ADD CHECK (id > 0)",
    "ALTER TABLE public.t ADD PRIMARY KEY (id)",
    "CREATE TABLE public.r (id int REFERENCES public.t ON DELETE CASCADE)",
    "CREATE MATERIALIZED VIEW public.mv AS SELECT id FROM public.t",
)


def test_the_version_follows_everything_that_statements_set_off(new_postgres: Callable[[], str]) -> None:
    with psycopg.connect(new_postgres(), autocommit=True) as connection:
        before = postgres_digest(connection)
        for statement in DIGESTED:
            connection.execute(statement.encode())
            now = postgres_digest(connection)
            assert now != before, statement
            assert postgres_digest(connection) == now
            before = now
        for statement in ("INSERT INTO public.r VALUES (NULL)", "ANALYZE", "REFRESH MATERIALIZED VIEW public.mv"):
            connection.execute(statement.encode())
            assert postgres_digest(connection) == before, statement
