"""Row filters in barrier views of a real PostgreSQL: indexes serve, hidden rows do not show, and nothing that was tampered with is used."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from guardrails import Guard, Principal
from guardrails.engines import Engine, open_engine
from guardrails.errors import EngineError, GuardrailsError, StatementError
from guardrails.install import trusted
from guardrails.masking.keys import KEY_VARIABLE, MaskKeyring
from guardrails.model import Obligations, RowFilter, Value
from guardrails.policy import Policy
from guardrails.sql.barriers import BARRIER_SCHEMA
from tests.support.corpus import queries
from tests.support.generator import seeded, statement
from tests.support.installed import explained, installed_database, installer_of, policy_of, states
from tests.support.live import run_postgres
from tests.support.twins import FILTERED, KEY, LIMITS, ROWS_ONLY, Database, change_hidden, fill_postgres

POLICY = policy_of(rows={"customers": "region = principal.region"})
GENERATED = 250

ORDERS = """
CREATE TABLE orders (id int PRIMARY KEY, region text, tier varchar(12), placed date, amount int);
INSERT INTO orders SELECT i, CASE i % 3 WHEN 0 THEN 'EU' WHEN 1 THEN 'US' ELSE 'AP' END, 'tier ' || i % 5, date '2026-01-01' + i % 300, i
  FROM generate_series(1, 20000) AS i;
CREATE INDEX orders_placed ON orders (placed);
ANALYZE orders
"""


def _orders(url: str) -> str:
    run_postgres(url, *(s for s in ORDERS.split(";\n") if s.strip()))
    return url


def _filter(predicate: str, **values: Value) -> Obligations:
    return Obligations(row_filters=(RowFilter("orders", predicate, tuple(values.items())),), limits=LIMITS)


@pytest.fixture(scope="module")
def orders(new_postgres: Callable[[], str]) -> Iterator[Database]:
    database = installed_database(_orders(new_postgres()), policy_of(rows={"orders": "region = principal.region"}))
    yield database
    database.engine.dispose()


@pytest.fixture(scope="module")
def twins(new_postgres: Callable[[], str]) -> Iterator[tuple[Database, Database]]:
    """Twins that differ in what the masks protect."""
    one, two = (installed_database(fill_postgres(new_postgres(), secret), POLICY) for secret in (1, 2))
    yield one, two
    one.engine.dispose()
    two.engine.dispose()


@pytest.fixture(scope="module")
def hidden(new_postgres: Callable[[], str]) -> Iterator[Database]:
    """The first twin with other rows behind the filter, which the engine's statistics tell of."""
    url = change_hidden(fill_postgres(new_postgres(), 1))
    run_postgres(url, "ANALYZE")
    database = installed_database(url, POLICY)
    yield database
    database.engine.dispose()


_PLANS: tuple[tuple[str, ...], ...] = (
    ("enable_nestloop",),
    ("enable_hashjoin",),
    ("enable_hashjoin", "enable_mergejoin"),
    ("enable_seqscan",),
    ("enable_sort",),
    ("enable_material",),
)


@pytest.fixture(scope="module")
def without_hidden(new_postgres: Callable[[], str]) -> Iterator[Callable[[str], list[object]]]:
    """What a statement answers where no row is behind the filter, by each of several ways to plan it.

    Whether a condition that fails for a row is ever tried on it is the plan's to decide, and plans follow statistics: one statement may
    answer and fail on one database, whoever's rows are in it.
    """
    url = fill_postgres(new_postgres(), 1)
    name = url.partition("?")[0].rpartition("/")[2]
    run_postgres(url, "DELETE FROM customers WHERE region <> 'EU'", "ANALYZE")
    database = installed_database(url, POLICY)

    def planned(sql: str, settings: tuple[str, ...]) -> object:
        # Settings of a database are for sessions to come.
        database.engine.dispose()
        run_postgres(url, f"ALTER DATABASE {name} RESET ALL", *(f"ALTER DATABASE {name} SET {s} = off" for s in settings))
        return _as_set(database.guarded(sql, ROWS_ONLY))

    yield lambda sql: [planned(sql, settings) for settings in _PLANS]
    database.engine.dispose()


REGION = _filter("region = principal.region", region="EU")


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT amount FROM orders WHERE id = 7",
        "SELECT count(*) FROM orders WHERE placed = '2026-02-03'",
        "SELECT amount FROM orders WHERE id BETWEEN 10 AND 20",
    ],
)
def test_an_index_serves_behind_a_filter(orders: Database, sql: str) -> None:
    fenced, placed = Database(orders.engine, orders.url).plan(sql, REGION), orders.plan(sql, REGION)
    assert "Seq Scan" in explained(orders.url, fenced)
    assert "Index Cond" in explained(orders.url, placed)
    assert "Seq Scan" not in explained(orders.url, placed)
    assert orders.run(placed) == orders.run(fenced)


def test_hidden_rows_do_not_show(
    twins: tuple[Database, Database], hidden: Database, without_hidden: Callable[[str], list[object]]
) -> None:
    placed = by_plan = 0
    statements = [*queries("postgres"), *(statement(seeded(seed), "postgres") for seed in range(GENERATED))]
    for sql in statements:
        one, two = (database.guarded(sql, ROWS_ONLY) for database in (twins[0], hidden))
        if one[0] == "refused" or one[:2] == ("error", "engine.timeout") or two[:2] == ("error", "engine.timeout"):
            continue
        placed += BARRIER_SCHEMA in twins[0].plan(sql, ROWS_ONLY).sql
        if "LIMIT" in sql or "FETCH" in sql or "OVER" in sql:
            assert one[0] == two[0], sql
        elif _as_set(one) != _as_set(two):
            # Hidden rows are in the planner's statistics; what comes of another plan comes of visible rows alone.
            shown = f"{sql}\n{hidden.plan(sql, ROWS_ONLY).sql}\n{one}\n{two}"
            assert "error" in (one[0], two[0]), shown
            possible = without_hidden(sql)
            assert _as_set(one) in possible, shown
            assert _as_set(two) in possible, shown
            by_plan += 1
    assert placed > 100, placed
    assert by_plan < 4, by_plan


def test_the_view_answers_as_the_fence_does(twins: tuple[Database, Database]) -> None:
    fenced = Database(twins[0].engine, twins[0].url)
    for sql in [*queries("postgres"), *(statement(seeded(seed), "postgres") for seed in range(GENERATED))]:
        one, two = (database.guarded(sql, ROWS_ONLY) for database in (twins[0], fenced))
        if ("error", "engine.timeout") in (one[:2], two[:2]) or "LIMIT" in sql or "FETCH" in sql or "OVER" in sql:
            continue
        assert _as_set(one) == _as_set(two), sql


def test_protected_values_do_not_show_with_a_filter(twins: tuple[Database, Database]) -> None:
    for seed in range(GENERATED):
        sql = statement(seeded(seed), "postgres")
        one, two = (database.guarded(sql, FILTERED) for database in twins)
        if ("error", "engine.timeout") not in (one[:2], two[:2]):
            assert one == two, f"{sql}\n{twins[0].plan(sql, FILTERED).sql}"


def _as_set(answer: tuple[object, ...]) -> object:
    return (answer[0], sorted(map(repr, answer[1]))) if isinstance(answer[1], tuple) else answer


PROBES = [
    "SELECT id FROM customers WHERE 1 / (credit - 77) > -100 ORDER BY id",
    "SELECT id FROM customers WHERE CAST(name || 'x' AS text) LIKE '%q' AND 1 / (credit - 77) > -100 ORDER BY id",
    "SELECT count(*) FROM customers WHERE name LIKE '%h' OR email LIKE 'h\\'",
    "SELECT id FROM customers WHERE name LIKE 'q\\' OR email LIKE 'h\\' ORDER BY id",
    "SELECT id FROM customers WHERE CAST(credit AS text) = '77' AND 1 / (id - id) = 1",
    "SELECT id FROM customers WHERE id = 2 AND 1 / (credit - 77) = 0",
    "SELECT c.id FROM customers c JOIN orders o ON o.customer_id = c.id AND 1 / (c.credit - 77) > -100 ORDER BY c.id, o.id",
]


@pytest.mark.parametrize("sql", PROBES)
@pytest.mark.parametrize("is_placed", [True, False])
def test_an_error_tells_of_no_hidden_row(twins: tuple[Database, Database], hidden: Database, sql: str, is_placed: bool) -> None:
    one, two = (d if is_placed else Database(d.engine, d.url) for d in (twins[0], hidden))
    assert (BARRIER_SCHEMA in one.plan(sql, ROWS_ONLY).sql) == is_placed
    assert one.guarded(sql, ROWS_ONLY) == two.guarded(sql, ROWS_ONLY)


def test_the_probe_is_able_to_tell(hidden: Database, without_hidden: Callable[[str], list[object]]) -> None:
    assert hidden.raw(PROBES[0])[0] == "error"
    assert not any("error" in str(answer) for answer in without_hidden(PROBES[0]))


def test_a_plan_alone_decides_whether_some_statements_fail(without_hidden: Callable[[str], list[object]]) -> None:
    """Without a hidden row, and so is nothing that a guard could hold: what the comparison above allows for does happen."""
    # A hash join tries the dear equality first, and the division on what it finds; a nested loop begins with what is cheap.
    sql = "SELECT a.id FROM orders a JOIN orders b ON 1 / (a.id - b.id + 1) < 9 AND a.id + 1 + 1 + 1 + 1 = b.id + 1 + 1 + 1 + 1"
    failed = ["Division by zero" in str(answer) for answer in without_hidden(sql)]
    assert any(failed)
    assert not all(failed)


@pytest.mark.parametrize("is_placed", [True, False])
def test_the_planner_tries_no_condition_on_the_values_of_hidden_rows(new_postgres: Callable[[], str], is_placed: bool) -> None:
    """The stored statistics hold frequent values of every row, and the planner runs a condition on them to guess its share."""
    databases = []
    for hidden_text in ("hidden", "other"):
        url = new_postgres()
        run_postgres(
            url,
            "CREATE TABLE notes (id int PRIMARY KEY, region text, note text)",
            f"INSERT INTO notes SELECT i, CASE i % 2 WHEN 0 THEN 'EU' ELSE 'US' END, CASE i % 2 WHEN 0 THEN 'seen' ELSE '{hidden_text}'"
            " END FROM generate_series(1, 1000) AS i",
            "ANALYZE notes",
        )
        database = installed_database(url, policy_of(rows={"notes": "region = principal.region"}))
        databases.append(database if is_placed else Database(database.engine, url))
    obligations = Obligations(
        row_filters=(RowFilter("notes", "region = principal.region", (("region", "EU"),)),), limits=LIMITS
    )
    probe = "SELECT count(*) FROM {} WHERE note LIKE '%hid\\'"
    one, two = (d.guarded(probe.format("notes"), obligations) for d in databases)
    assert one == two == (("count",), ((0,),))
    # A fence alone does not hold the planner.
    fenced = probe.format("(SELECT * FROM notes WHERE region = 'EU' OFFSET 0) AS notes")
    one, two = (d.raw(fenced) for d in databases)
    assert (one[0], two[0]) == ("error", ("count",))
    for database in databases:
        database.engine.dispose()


# The engine's settings and the principal's values.


@pytest.mark.parametrize(
    ("predicate", "values"),
    [
        ("tier IN (principal.tiers)", {"tiers": ["tier 1", "tier 3"]}),
        ("tier IN (principal.tiers)", {"tiers": "tier 1"}),
        ("tier IN (principal.tiers)", {"tiers": []}),
        ("tier NOT IN (principal.tiers)", {"tiers": []}),
        ("tier NOT IN (principal.tiers)", {"tiers": ["tier 1", 'a"b', "c\\d", "{e,f}", "NULL", ""]}),
        ("amount <= principal.most AND region = principal.region", {"most": 12, "region": "EU"}),
        ("amount <= principal.most", {"most": -1}),
        ("placed >= principal.since", {"since": __import__("datetime").date(2026, 9, 1)}),
        ("region = principal.region OR principal.sees_all", {"region": "EU", "sees_all": True}),
        ("region = principal.region OR principal.sees_all", {"region": "EU", "sees_all": False}),
        ("region = principal.region", {"region": ""}),
        ("region <> principal.region", {"region": ""}),
        ("region <> principal.region", {"region": "it's \"quoted\" \\ {x,y} $1 :p '; DROP TABLE orders; --"}),
        ("region = 'EU'", {}),
        ("amount % 2 = principal.parity", {"parity": 1}),
    ],
)
def test_values_mean_the_same_as_bound_ones(new_postgres: Callable[[], str], predicate: str, values: dict[str, Value]) -> None:
    database = installed_database(_small(new_postgres()), policy_of(rows={"orders": predicate}))
    sql, obligations = "SELECT id, region, tier FROM orders ORDER BY id", _filter(predicate, **values)
    plan = database.plan(sql, obligations)
    assert BARRIER_SCHEMA in plan.sql
    assert not any(isinstance(v, str) and len(v) > 3 and v in plan.sql for v in values.values())
    assert database.run(plan) == Database(database.engine, database.url).guarded(sql, obligations)
    database.engine.dispose()


def _small(url: str) -> str:
    return (
        run_postgres(
            url,
            "CREATE TABLE orders (id int PRIMARY KEY, region text, tier varchar(12), placed date, amount int)",
            "INSERT INTO orders SELECT i, CASE i % 3 WHEN 0 THEN 'EU' WHEN 1 THEN 'US' ELSE '' END, 'tier ' || i % 5,"
            " date '2026-01-01' + i, i FROM generate_series(1, 60) AS i",
        )
        or url
    )


def test_a_value_of_another_type_gets_the_fence(orders: Database) -> None:
    for value in (5, True, 1.5, b"EU", ["EU"]):
        obligations = _filter("region = principal.region", region=value)
        try:
            plan = orders.plan("SELECT id FROM orders", obligations)
        except StatementError as error:
            assert error.code == "policy.row_filter_invalid"
        else:
            assert BARRIER_SCHEMA not in plan.sql
            assert not plan.settings


def test_a_value_that_no_text_holds_is_a_failure_and_no_more(orders: Database) -> None:
    for value in ("a\0b", "\ud800"):
        answer = orders.guarded("SELECT count(*) FROM orders", _filter("region = principal.region", region=value))
        assert answer[0] == "error", value
    assert orders.guarded("SELECT count(*) FROM orders", REGION)[1] == ((6666,),)


def test_without_its_setting_a_view_has_no_rows(orders: Database) -> None:
    (view,) = orders.engine.catalog().placed
    with psycopg.connect(orders.url) as connection:
        count = f'SELECT count(*) FROM {BARRIER_SCHEMA}."{view.name}"'.encode()
        assert connection.execute(count).fetchone() == (0,)
        connection.execute("SELECT set_config('guardrails.p_region', '=EU', true)")
        assert connection.execute(count).fetchone() == (6666,)
        connection.rollback()
        # What a transaction has set is an empty text after it.
        assert connection.execute("SELECT current_setting('guardrails.p_region', true)").fetchone() == ("",)
        assert connection.execute(count).fetchone() == (0,)


def test_nothing_of_the_schema_exists_for_agents(orders: Database) -> None:
    (view,) = orders.engine.catalog().placed
    for sql in (
        f'SELECT * FROM {BARRIER_SCHEMA}."{view.name}"',
        f'CREATE VIEW {BARRIER_SCHEMA}."{view.name}" AS SELECT 1 AS id',
        f"CREATE TABLE {BARRIER_SCHEMA}.mine (id int)",
        f'DROP VIEW {BARRIER_SCHEMA}."{view.name}"',
        "SELECT set_config('guardrails.p_region', '=US', true)",
        "SELECT current_setting('guardrails.p_region', true)",
        "SELECT pg_catalog.current_setting('guardrails.p_region')",
        "SET guardrails.p_region = '=US'",
        "SHOW guardrails.p_region",
    ):
        assert orders.guarded(sql, REGION)[0] == "refused", sql
    assert orders.guarded("SELECT table_name FROM information_schema.tables WHERE table_schema = 'guardrails'")[0] != "error"


def test_changes_are_held_to_visible_rows_with_the_view(new_postgres: Callable[[], str]) -> None:
    database = installed_database(_small(new_postgres()), policy_of(rows={"orders": "region = principal.region"}))
    changed = database.guarded("UPDATE orders SET amount = 0 WHERE id IN (SELECT id FROM orders WHERE amount < 31)", REGION)
    assert changed[0] != "error", changed
    with psycopg.connect(database.url) as connection:
        found = connection.execute("SELECT DISTINCT region, count(*) FROM orders WHERE amount = 0 GROUP BY 1").fetchall()
    assert found == [("EU", 10)]
    database.engine.dispose()


# What is not exactly what was set up is not used.


def _used(engine: Engine, policy: Policy, key: bytes = KEY) -> bool:
    return bool(trusted(policy.bind(engine.catalog()), key).barriers)


_VIEW_OF = "SELECT id, region, tier, placed, amount FROM public.orders AS gr_row"
TAMPERED = {
    "predicate": "CREATE OR REPLACE VIEW {view} WITH (security_barrier = true) AS " + _VIEW_OF,
    "constant": "CREATE OR REPLACE VIEW {view} WITH (security_barrier = true) AS " + _VIEW_OF + " WHERE region = 'US'",
    "barrier off": "ALTER VIEW {view} SET (security_barrier = false)",
    "barrier reset": "ALTER VIEW {view} RESET (security_barrier)",
    "another option": "ALTER VIEW {view} SET (check_option = local)",
    "invoker": "ALTER VIEW {view} SET (security_invoker = true)",
    "a column less": "DROP VIEW {view}; CREATE VIEW {view} WITH (security_barrier = true) AS "
    "SELECT id, region, tier, placed FROM public.orders AS gr_row",
    "a column swapped": "CREATE OR REPLACE VIEW {view} WITH (security_barrier = true) AS "
    "SELECT id, tier::text AS region, tier, placed, amount FROM public.orders AS gr_row",
    "a table": "DROP VIEW {view}; CREATE TABLE {view} AS " + _VIEW_OF,
    "a materialised view": "DROP VIEW {view}; CREATE MATERIALIZED VIEW {view} AS " + _VIEW_OF,
    "gone": "DROP VIEW {view}",
    "renamed": "ALTER VIEW {view} RENAME TO other",
    "no comment": "COMMENT ON VIEW {view} IS NULL",
    "comment": "COMMENT ON VIEW {view} IS '{{\"guardrails\": 1, \"types\": [\"text\"], \"seal\": \"00\"}}'",
    "comment of no form": "COMMENT ON VIEW {view} IS '[[[1'",
    "rule": "CREATE RULE more AS ON INSERT TO {view} DO INSTEAD NOTHING",
    "columns swapped by name": "ALTER VIEW {view} RENAME COLUMN region TO r; ALTER VIEW {view} RENAME COLUMN tier TO region;"
    "ALTER VIEW {view} RENAME COLUMN r TO tier",
    "renamed column": "ALTER VIEW {view} RENAME COLUMN amount TO amounts",
    "another owner": "ALTER VIEW {view} OWNER TO pg_monitor",
    "base renamed": "ALTER TABLE orders RENAME TO old_orders; CREATE TABLE orders (LIKE old_orders)",
    "base column renamed": "ALTER TABLE orders RENAME COLUMN tier TO t; ALTER TABLE orders RENAME COLUMN amount TO tier;"
    "ALTER TABLE orders RENAME COLUMN t TO amount",
    "base column added": "ALTER TABLE orders ADD COLUMN more int",
    "row-level security": "ALTER TABLE orders ENABLE ROW LEVEL SECURITY",
}  # fmt: skip


@pytest.mark.parametrize("how", TAMPERED)
def test_what_was_tampered_with_is_not_used(new_postgres: Callable[[], str], how: str) -> None:
    policy = policy_of(rows={"orders": "region = principal.region"})
    database = installed_database(_small(new_postgres()), policy)
    plan = database.plan("SELECT count(*) FROM orders", REGION)
    assert database.run(plan)[1] == ((20,),)
    assert _used(database.engine, policy)
    version = database.engine.catalog().version
    (view,) = database.engine.catalog().placed
    with psycopg.connect(database.url, autocommit=True) as connection:
        connection.execute(TAMPERED[how].format(view=f'{BARRIER_SCHEMA}."{view.name}"').encode())
    assert database.engine.catalog().version != version
    assert database.run(plan)[0] == "error"
    assert not _used(database.engine, policy)
    # What was judged before the change gives no rows; what is judged after it is fenced, and setting up mends it.
    after = installer_of(database.engine, policy)
    assert after.look()[0].state in ("missing", "changed", "fenced")
    if how == "a table" or how == "a materialised view":
        with pytest.raises(EngineError) as refused:
            after.install()
        assert refused.value.code == "install.refused"
    elif how == "row-level security":
        assert after.install()[0].state == "fenced"
    else:
        assert after.install()[0].state in ("created", "replaced")
        assert _used(database.engine, policy)
    database.engine.dispose()


def test_a_forged_seal_with_another_key_is_not_used(new_postgres: Callable[[], str]) -> None:
    policy = policy_of(rows={"orders": "region = principal.region"})
    url = _small(new_postgres())
    engine = open_engine(url)
    assert states(installer_of(engine, policy, b"x" * 32).install()) == {"orders": "created"}
    assert _used(engine, policy, b"x" * 32)
    assert not _used(engine, policy)
    # A seal that is good for one predicate is none for another.
    other = policy_of(rows={"orders": "region <> principal.region"})
    assert states(installer_of(engine, other).install()) == {"orders": "created", "public.orders": "removed"}
    (view,) = engine.catalog().placed
    assert not _used(engine, policy)
    wanted = installer_of(engine, policy).look()[0].name
    run_postgres(url, f'ALTER VIEW {BARRIER_SCHEMA}."{view.name}" RENAME TO "{wanted}"')
    assert not _used(engine, policy)
    engine.dispose()


def test_a_role_without_rights_gets_the_fence(new_postgres: Callable[[], str]) -> None:
    policy = policy_of(rows={"orders": "region = principal.region"})
    url, role = _small(new_postgres()), f"gr_reader_{threading.get_ident()}"
    owner = open_engine(url)
    run_postgres(url, f"CREATE ROLE {role}", f"GRANT SELECT (id, region) ON orders TO {role}")
    try:
        reader = open_engine(url, role=role)
        installer_of(owner, policy).install()
        assert not _used(reader, policy)
        installer_of(owner, policy, grantees=[role]).install()
        # The view would read with its owner's rights what the role may not.
        assert not _used(reader, policy)
        run_postgres(url, f"GRANT SELECT ON orders TO {role}")
        assert _used(reader, policy)
        database = Database(reader, url, trusted(policy.bind(reader.catalog()), KEY))
        plan = database.plan("SELECT count(*) FROM orders", REGION)
        assert reader.execute(plan).rows == ((20,),)
        run_postgres(url, f"REVOKE SELECT ON orders FROM {role}")
        with pytest.raises(EngineError) as changed:
            reader.execute(plan)
        assert changed.value.code == "engine.schema_changed"
        assert not _used(reader, policy)
        reader.dispose()
    finally:
        owner.dispose()
        run_postgres(url, f"DROP OWNED BY {role}", f"DROP ROLE {role}")


def test_filters_that_a_view_cannot_hold_stay_fenced(new_postgres: Callable[[], str]) -> None:
    url = _small(new_postgres())
    engine = open_engine(url)
    for predicate in (
        "region IN (principal.groups, 'EU')",
        "principal.region IS NOT NULL",
        "CAST(amount AS double precision) > principal.most",
    ):
        policy = policy_of(rows={"orders": predicate})
        found = installer_of(engine, policy).install()
        assert states(found)["orders"] == "fenced", predicate
        assert found[0].reason
        assert not _used(engine, policy)
    engine.dispose()


def test_partitions_and_children_have_views_of_their_own(new_postgres: Callable[[], str]) -> None:
    url = new_postgres()
    run_postgres(
        url,
        "CREATE TABLE orders (id int, region text) PARTITION BY LIST (region)",
        "CREATE TABLE orders_eu PARTITION OF orders FOR VALUES IN ('EU')",
        "CREATE TABLE orders_rest PARTITION OF orders DEFAULT",
        "INSERT INTO orders SELECT i, CASE i % 2 WHEN 0 THEN 'EU' ELSE 'US' END FROM generate_series(1, 10) AS i",
    )
    policy = policy_of(rows={"orders": "region = principal.region", "orders_rest": "id < 6"})
    database = installed_database(url, policy)
    assert len(database.engine.catalog().placed) == 3
    with Guard.open(policy, database=database.engine, ledger="sqlite:///:memory:") as guard:
        guard._judging.keyring = MaskKeyring(KEY)
        for region, sql, count in (
            ("EU", "SELECT count(*) FROM orders_eu", 5),
            ("US", "SELECT count(*) FROM orders_eu", 0),
            ("US", "SELECT count(*) FROM orders_rest", 3),
        ):
            with guard.session(principal=Principal("a", attributes={"region": region})):
                assert BARRIER_SCHEMA in (guard.check(sql).sql or "")
                assert guard.execute(sql).rows == ((count,),)


# Through the guard.


@pytest.fixture
def guarded(new_postgres: Callable[[], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Guard]:
    monkeypatch.setenv(KEY_VARIABLE, KEY.hex())
    policy = policy_of(rows={"orders": "region = principal.region"}, columns={"orders.tier": {"mask": "partial", "last": 1}})
    url = _small(new_postgres())
    engine = open_engine(f"{url}?application_name=gr" if "?" not in url else url)
    installer_of(engine, policy).install()
    with Guard.open(policy, database=engine, ledger=f"sqlite:///{tmp_path}/ledger.db") as guard:
        yield guard


def test_principals_on_one_connection_do_not_meet(guarded: Guard) -> None:
    expected = {"EU": 20, "US": 20, "": 20, "none": 0}
    for region in ["EU", "US", "none", "", "EU", "none", "US"] * 3:
        with guarded.session(principal=Principal("p", attributes={"region": region})):
            assert BARRIER_SCHEMA in (guarded.check("SELECT 1 FROM orders").sql or "")
            assert guarded.execute("SELECT count(*) FROM orders").rows == ((expected[region],),)
            rows = guarded.execute("SELECT DISTINCT region FROM orders").rows
            assert rows == (((region,),) if expected[region] else ())


def test_a_tool_with_its_own_connection_gets_the_fence(guarded: Guard) -> None:
    seen: list[str] = []

    @guarded.tool
    def own(sql: str, params: list[object]) -> list[object]:
        seen.append(sql)
        return [1]

    @guarded.tool
    def stub(sql: str) -> list[dict[str, object]]: ...

    with guarded.session(principal=Principal("p", attributes={"region": "EU"})):
        assert own("SELECT count(*) AS n FROM orders", []) == [1]
        assert stub("SELECT count(*) AS n FROM orders") == [{"n": 20}]
    assert BARRIER_SCHEMA not in seen[0]
    assert "OFFSET 0" in seen[0]


def test_a_person_without_the_value_is_refused(guarded: Guard) -> None:
    with guarded.session(principal=Principal("p")), pytest.raises(GuardrailsError) as refused:
        guarded.execute("SELECT count(*) FROM orders")
    assert refused.value.code == "policy.obligation"


def test_an_approval_binds_the_values_in_settings(guarded: Guard) -> None:
    from guardrails.flow import approval_digest
    from guardrails.model import Context, Statement

    digests = set()
    for region in ("EU", "US"):
        principal = Principal("p", attributes={"region": region})
        with guarded.session(principal=principal) as session:
            judgement = guarded._judging.judge(Statement("SELECT 1 FROM orders", {}, "postgres"), session)
            digests.add(approval_digest(judgement, Principal("p"), Context(), {}))
    assert len(digests) == 2
