"""Questions about real values through the whole guard: the policy's word, the session's budget, the ledger, the command line."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from guardrails import Denied, Guard, PolicyError, Principal
from guardrails.budget import ProbeBudget
from guardrails.policy import Policy
from tests.support.command_line import call

ANA = Principal("ana@example.com", groups={"support"})
POLICY = """\
version: 1
rules:
  - {id: staff, effect: allow, actions: [select], relations: [staff]}
columns:
  staff.email: {mask: pseudonym, predicate: equality}
  staff.code: {mask: pseudonym, predicate: equality}
  staff.salary: {mask: full, predicate: real, min_group: 3, except: {groups: [payroll]}}
limits: {probes: 4}
"""


@pytest.fixture
def database(tmp_path: Path) -> str:
    path = tmp_path / "staff.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE staff (id INTEGER PRIMARY KEY, email TEXT, code INTEGER, salary INTEGER, team TEXT)")
        rows = [(i, f"person{i}@example.com", 100 + i, 1000 * i, "AB"[i % 2]) for i in range(1, 9)]
        connection.executemany("INSERT INTO staff VALUES (?, ?, ?, ?, ?)", rows)
        connection.commit()
    return f"sqlite:///{path}"


@pytest.fixture
def guard(database: str, tmp_path: Path) -> Iterator[Guard]:
    with Guard.open(Policy.from_text(POLICY), database=database, ledger=f"sqlite:///{tmp_path}/audit.db") as opened:
        yield opened


def ids(guard: Guard, sql: str, params: object = None) -> list[object]:
    return [row[0] for row in guard.execute(sql, params).rows]  # type: ignore[arg-type]


def test_an_address_finds_its_person_and_so_does_the_token(guard: Guard) -> None:
    with guard.session(principal=ANA):
        [(number, token)] = guard.execute("SELECT id, email FROM staff WHERE email = 'person5@example.com'").rows
        assert (number, str(token)[:4]) == (5, "tok_")
        assert ids(guard, "SELECT id FROM staff WHERE email = ?", [token]) == [5]
        assert ids(guard, "SELECT id FROM staff WHERE email = :e", {"e": "person6@example.com"}) == [6]
        assert guard.check("SELECT id FROM staff WHERE email = :e", {"e": token}).probes == 0


def test_a_number_matches_as_real_one_and_as_the_one_that_was_shown(guard: Guard) -> None:
    with guard.session(principal=ANA):
        [(shown,)] = guard.execute("SELECT code FROM staff WHERE id = 2").rows
        assert shown != 102
        assert ids(guard, "SELECT id FROM staff WHERE code = ?", [shown]) == [2]
        assert ids(guard, "SELECT id FROM staff WHERE code = 102") == [2]
        assert len(ids(guard, "SELECT id FROM staff WHERE code <> 102")) == 7


def test_the_budget_is_the_session_s_and_refusals_take_nothing(guard: Guard) -> None:
    with guard.session(principal=ANA):
        assert ids(guard, "SELECT id FROM staff WHERE salary BETWEEN 3000 AND 5000 ORDER BY id") == [3, 4, 5]
        with pytest.raises(Denied) as refused:
            guard.execute("SELECT id FROM staff WHERE email IN ('a', 'b', 'c')")
        assert refused.value.code == "policy.probe_budget"
        assert refused.value.receipt is not None
        assert "2 left" in refused.value.message
        assert guard.execute("SELECT team, avg(salary) FROM staff GROUP BY team ORDER BY team").rows == (
            ("A", 5000.0),
            ("B", 4000.0),
        )
        assert ids(guard, "SELECT id FROM staff WHERE salary > 7500") == [8]
        with pytest.raises(Denied, match="questions about protected values"):
            guard.execute("SELECT id FROM staff WHERE salary > 6500")
        assert len(ids(guard, "SELECT id FROM staff WHERE team = 'A'")) == 4
    with guard.session(principal=ANA):
        assert ids(guard, "SELECT id FROM staff WHERE salary > 7500") == [8]


def test_who_sees_the_value_spends_nothing(guard: Guard) -> None:
    with guard.session(principal=Principal("pay", groups={"payroll"})):
        for _ in range(6):
            assert guard.execute("SELECT max(salary) FROM staff WHERE salary < 5500").rows == ((5000,),)


async def test_tasks_of_one_session_share_its_budget(guard: Guard) -> None:
    async def ask(number: int) -> bool:
        try:
            await guard.aexecute("SELECT id FROM staff WHERE salary > ?", [number])
        except Denied as refused:
            assert refused.code == "policy.probe_budget"
            return False
        return True

    with guard.session(principal=ANA):
        assert sum(await asyncio.gather(*(ask(n) for n in range(9)))) == 4


def test_threads_take_no_more_than_there_is() -> None:
    budget, granted = ProbeBudget(), list[bool]()
    threads = [threading.Thread(target=lambda: granted.append(budget.spend(1, 50)[0])) for _ in range(80)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(granted) == 50


def test_the_ledger_tells_what_was_asked_and_not_of_whom(guard: Guard) -> None:
    with guard.session(principal=ANA):
        guard.execute("SELECT id FROM staff WHERE email = 'person5@example.com'")
    intent = next(e for e in guard.ledger.entries() if e["type"] == "intent")
    decision = intent["decision"]
    assert isinstance(decision, dict)
    assert decision["probes"] == 1
    assert {"column": "staff.email", "mask": "pseudonym", "predicate": "equality"} in decision["masks"]
    assert {"column": "staff.salary", "mask": "full", "predicate": "real", "min_group": 3} in decision["masks"]
    assert b"person5@example.com" not in b"".join(leaf for _, leaf in guard.ledger.leaves())


def test_check_says_what_a_statement_would_ask(database: str, tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY)
    done = call("check", "--policy", str(policy), "--database", database, "SELECT id FROM staff WHERE email IN ('a', 'b')")
    obligations = done.lines()[0]["obligations"]
    assert {"type": "probes", "count": 2, "limit": 4} in obligations
    assert {"type": "mask", "column": "staff.email", "mask": "pseudonym", "predicate": "equality"} in obligations


@pytest.mark.parametrize("option", ["predicate: equality", "min_group: 5"])
def test_a_column_that_nobody_may_use_has_no_conditions(option: str) -> None:
    with pytest.raises(PolicyError) as found:
        Policy.from_text(POLICY.replace("{mask: pseudonym, predicate: equality}", f"{{mask: deny, {option}}}", 1))
    assert found.value.code == "policy.contradiction"


def test_a_group_of_one_is_no_group() -> None:
    with pytest.raises(PolicyError):
        Policy.from_text(POLICY.replace("min_group: 3", "min_group: 1"))


def test_an_insert_may_tell_of_what_conditions_may_ask(tmp_path: Path) -> None:
    path = tmp_path / "members.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE members (id INTEGER PRIMARY KEY, email TEXT UNIQUE)")
        connection.execute("INSERT INTO members VALUES (1, 'ada@example.com')")
        connection.commit()
    rule = {"id": "all", "effect": "allow", "actions": ["select", "insert"], "relations": ["members"]}
    told = "INSERT INTO members (email) VALUES ('bo@example.com'), ('cy@example.com')"
    for predicate, probes in (("masked", 0), ("equality", 2)):
        policy = Policy(rules=[rule], columns={"members.email": {"mask": "full", "predicate": predicate}}, limits={"probes": 3})
        with (
            Guard.open(policy, database=f"sqlite:///{path}", ledger="sqlite:///:memory:") as opened,
            opened.session(principal=ANA),
        ):
            decision = opened.check(told)
            assert (decision.code, decision.probes) == (("ok", probes) if probes else ("mask.write_tells", 0))
            copied = opened.check("INSERT INTO members (email) SELECT 'x' || value FROM json_each('[1, 2, 3]')")
            assert copied.code == "mask.write_tells"
            if probes:
                assert opened.execute(told).rows_changed == 2
                with pytest.raises(Denied) as refused:
                    opened.execute("INSERT INTO members (email) VALUES ('di@example.com'), ('ed@example.com')")
                assert refused.value.code == "policy.probe_budget"
