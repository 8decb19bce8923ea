"""LangChain's `SQLDatabase` and its toolkit on a guard: in an agent, described, narrowed to some tables, and in code of one's own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from langchain_community.agent_toolkits.sql.toolkit import SQLDatabaseToolkit
from langchain_community.utilities.sql_database import SQLDatabase

from guardrails import Denied, Guard, GuardrailsError, Policy, UsageError
from guardrails.integrations.langchain_middleware import GuardMiddleware
from guardrails.integrations.langchain_sql import GuardedSQLDatabase, guarded_sql_database, guarded_sql_toolkit
from guardrails.integrations.langgraph import InterruptChannel, resume
from guardrails.testing import ModelServer, ToolCall, Turn, follow
from tests.support.langchain_agents import AGENT, MODELS, People, agent_of, asked, chat, in_thread, saver
from tests.support.never_runs import FORBIDDEN, nothing_runs
from tests.support.paused_shop import loopback
from tests.support.shop_urls import ENGINES, shop_url
from tests.support.story import MASKED, POLICY, QUESTION, SECRETS, Story, signed

THREAD = in_thread("conversation-7")


@pytest.fixture
def story(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Story]:
    loopback(monkeypatch)
    with Story.open(tmp_path) as opened:
        yield opened


@pytest.mark.parametrize("way", ["toolkit", "middleware"])
def test_the_toolkit_tells_the_story(story: Story, tmp_path: Path, way: str) -> None:
    guard = story.reopen(InterruptChannel())
    with ModelServer(story.script("sql_db_query", argument="query")) as server, saver(tmp_path) as checkpoints:
        model = chat("openai", server.url)
        tools = guarded_sql_toolkit(guard, model).get_tools()
        assert [tool.name for tool in tools] == ["sql_db_query", "sql_db_schema", "sql_db_list_tables", "sql_db_query_checker"]
        middleware: list[Any] = []
        if way == "middleware":
            tools = SQLDatabaseToolkit(db=guarded_sql_database(guard), llm=model).get_tools()
            middleware = [GuardMiddleware(guard)]
        agent = agent_of(model, tools, middleware=middleware, checkpointer=checkpoints)
        state = agent.invoke(asked(QUESTION), THREAD, context=People(story.ana))
        story.approve()
        state = agent.invoke(resume(state["__interrupt__"]), THREAD, context=People(story.ana))
        statuses = [message.status for message in state["messages"] if message.type == "tool"]
        assert statuses == ["error", "success", "success"]
        story.check_sent(server)
    assert story.orders_left() == 3
    told = {"agent": AGENT, "model": MODELS["openai"], "conversation": "conversation-7"}
    story.check_entries(framework="langgraph", tool="sql_db_query", **told)


def test_all_tools_of_the_toolkit_work_in_an_agent(story: Story) -> None:
    calls = (
        ToolCall("call_1", "sql_db_list_tables", {"tool_input": ""}),
        ToolCall("call_2", "sql_db_schema", {"table_names": "customers, orders"}),
        ToolCall("call_3", "sql_db_schema", {"table_names": "employees"}),
        ToolCall("call_4", "sql_db_query_checker", {"query": "SELECT 1"}),
    )

    def script(told: Any) -> Any:
        if "Double check" in told.question:
            return Turn("SELECT 1")
        return follow([*(Turn("", (call,)) for call in calls), Turn("Done.")])(told)

    with ModelServer(script) as server:
        model = chat("openai", server.url)
        agent = agent_of(model, guarded_sql_toolkit(story.guard, model).get_tools())
        state = agent.invoke(asked("What is there?"), context=People(story.ana))
    listed, described, hidden, checked = [message.content for message in state["messages"] if message.type == "tool"]
    assert listed == "customers, orders"
    assert all(name in described for name in ("CREATE TABLE customers", "CREATE TABLE orders", "ssn TEXT", *MASKED))
    assert not any(secret in described for secret in SECRETS)
    assert "employees" in hidden
    assert "not found" in hidden
    assert "salary" not in hidden
    assert checked == "SELECT 1"


def test_everybody_sees_what_is_theirs(story: Story) -> None:
    database = guarded_sql_database(story.guard)
    with story.guard.session(principal=story.ana):
        assert database.get_usable_table_names() == ["customers", "orders"]
        assert "customer_id INTEGER" in database.get_table_info(["orders"])
        assert "FOREIGN KEY(customer_id) REFERENCES customers (id)" in database.table_info
        assert "3 rows from orders table" in database.get_context()["table_info"]
    with story.guard.session(principal=signed("sam@example.com")):
        assert database.get_usable_table_names() == []
        assert database.table_info == ""
        with pytest.raises(ValueError, match="not found"):
            database.get_table_info(["orders"])
        assert database.run_no_throw("SELECT * FROM orders").startswith("Refused (policy.no_rule)")


def test_only_included_tables_are_there(story: Story) -> None:
    narrow = guarded_sql_database(story.guard, include_tables=["orders"], sample_rows_in_table_info=1)
    ignoring = guarded_sql_database(story.guard, ignore_tables=["customers"])
    outside = [
        "SELECT * FROM customers",
        "SELECT (SELECT max(name) FROM customers) FROM orders",
        "SELECT * FROM orders JOIN customers ON customers.id = customer_id",
        "WITH c AS (SELECT * FROM main.customers) SELECT * FROM c",
        "SELECT name FROM sqlite_master",
        "EXPLAIN SELECT * FROM customers",
        "INSERT INTO orders SELECT 9, 1, 1, name, region, '' FROM customers",
        "SELECT name FROM pragma_table_info('customers')",
    ]
    with story.guard.session(principal=story.ana):
        for database in (narrow, ignoring):
            assert database.get_usable_table_names() == ["orders"]
            assert "customers" not in database.get_table_info()
            assert database.run("SELECT count(*) FROM orders") == "[(4,)]"
            for sql in outside:
                assert database.run_no_throw(sql).startswith("Refused (sql."), sql
                with pytest.raises(Denied):
                    database.run(sa.text(sql), fetch="cursor")
        assert "1 rows from orders table" in narrow.get_table_info()
        assert {entry["tool"] for entry in story.entries("refusal")} == {"sql_database"}
        assert guarded_sql_database(story.guard).run("SELECT count(*) FROM customers") == "[(3,)]"
    with pytest.raises(UsageError, match="has no custommers"):
        guarded_sql_database(story.guard, include_tables=["custommers"])
    with pytest.raises(UsageError):
        guarded_sql_database(story.guard, include_tables=["orders"], ignore_tables=["customers"])


@pytest.mark.parametrize("sql", FORBIDDEN.values(), ids=FORBIDDEN)
def test_what_is_forbidden_does_not_run(story: Story, sql: str) -> None:
    database = guarded_sql_database(story.guard)
    with story.guard.session(principal=story.ana), nothing_runs(story.database):
        assert re.match(r"Refused \(", database.run_no_throw(sql))
        with pytest.raises(GuardrailsError):
            database.run(sa.text(sql.replace(":", r"\:")))
    assert story.entries("intent") == []


def test_it_is_a_sql_database_for_code_of_ones_own(story: Story) -> None:
    database = guarded_sql_database(story.guard, max_string_length=5)
    assert isinstance(database, SQLDatabase)
    assert database.dialect == "sqlite"
    with story.guard.session(principal=story.ana):
        rows = database.run("SELECT name, email FROM customers WHERE id = :id", include_columns=True, parameters={"id": 1})
        assert rows == "[{'name': 'Ada', 'email': 'hi...'}]"
        assert database.run("SELECT name FROM customers ORDER BY id", fetch="one") == "[('Ada',)]"
        assert database.run(sa.select(sa.literal(1))) == "[(1,)]"
        cursor = database.run("SELECT email FROM customers", fetch="cursor")
        assert {row[0] for row in cursor} == {"hidden"}
        assert database.run("UPDATE orders SET status = 'paid' WHERE id = 1") == ""
    with pytest.raises(UsageError):
        GuardedSQLDatabase.from_uri(f"sqlite:///{story.database}")
    with pytest.raises(UsageError, match="No session"):
        database.run_no_throw("SELECT 1")


@pytest.mark.parametrize("engine", ENGINES)
def test_on_every_database(request: pytest.FixtureRequest, tmp_path: Path, engine: str) -> None:
    policy = Policy.from_text(POLICY)
    ana = signed("ana@example.com", "support")
    with Guard.open(policy, database=shop_url(request, engine), ledger=f"sqlite:///{tmp_path / 'audit.db'}") as guard:
        database = guarded_sql_database(guard, include_tables=["customers"])
        with guard.session(principal=ana):
            assert database.get_usable_table_names() == ["customers"]
            described = database.get_table_info()
            assert "CREATE TABLE customers" in described
            assert all(shown in described for shown in MASKED)
            assert not any(secret in described for secret in SECRETS)
            assert database.run("SELECT name, email FROM customers WHERE id = 1") == "[('Ada', 'hidden')]"
            assert database.run_no_throw("SELECT count(*) FROM orders").startswith("Refused (sql.relation_unknown)")
            assert database.run_no_throw("DROP TABLE customers").startswith("Refused (")
            cursor = database.run("SELECT email FROM customers", fetch="cursor")
            assert {row[0] for row in cursor} == {"hidden"}


def test_a_custom_description_and_views(story: Story) -> None:
    told = guarded_sql_database(story.guard, custom_table_info={"orders": "Orders, one a row."}, view_support=True)
    with story.guard.session(principal=story.ana):
        assert "Orders, one a row." in told.get_table_info(["orders"])
        assert "customers" in told.get_table_info_no_throw(["customers"])
        assert told.get_table_info_no_throw(["nothing"]).startswith("Error:")
